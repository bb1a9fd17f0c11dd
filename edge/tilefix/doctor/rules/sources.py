"""ArduPilot: which sensors EKF3 takes position, velocity, height and yaw from, one set for GNSS, one for vision."""

from __future__ import annotations

from tilefix.doctor.rules.rule import Rule
from tilefix.doctor.rules.wants import Bits, Is, NoneOf, OneOf
from tilefix.links.messages import Route

_GPS = (Route.GPS_INPUT,)
_EXTERNAL = (Route.VISION, Route.ODOMETRY)
_BARO = "tilefix's height is the barometer's own; 1 takes it from there"

RULES = (
    Rule("EK3_SRC1_POSXY", Is(3), "position has to come from the receivers, of which tilefix is one", routes=_GPS),
    Rule(
        "EK3_SRC1_VELXY",
        Is(3),
        "tilefix sends a velocity with each position, and the real receiver's is needed before",
        routes=_GPS,
    ),
    Rule("EK3_SRC1_POSZ", OneOf((1, 2)), _BARO, routes=_GPS),
    Rule("EK3_SRC1_VELZ", OneOf((3, 0)), "climb comes from the receivers or from none", routes=_GPS),
    Rule(
        "EK3_SRC1_YAW",
        OneOf((1, 3, 8)),
        "tilefix sends no yaw: one that comes from a receiver alone ends with GNSS",
        routes=_GPS,
    ),
    Rule("EK3_SRC{set}_POSXY", Is(6), "this set takes its position from tilefix", routes=_EXTERNAL),
    Rule(
        "EK3_SRC{set}_VELXY",
        OneOf((0, 5)),
        "VISION_POSITION_ESTIMATE carries no velocity, and a receiver's ends with GNSS",
        routes=(Route.VISION,),
    ),
    Rule(
        "EK3_SRC{set}_VELXY",
        OneOf((6, 0, 5)),
        "a receiver's velocity ends with GNSS; ODOMETRY carries the camera's",
        routes=(Route.ODOMETRY,),
    ),
    Rule("EK3_SRC{set}_POSZ", OneOf((1, 2)), _BARO, routes=_EXTERNAL),
    Rule("EK3_SRC{set}_VELZ", Is(0), "nothing gives a climb rate there without GNSS", routes=_EXTERNAL),
    Rule("EK3_SRC{set}_YAW", OneOf((1, 8)), "tilefix sends no yaw: the compass gives it", routes=_EXTERNAL),
    *(
        Rule(
            f"EK3_SRC{number}_YAW",
            NoneOf((6,), 1),
            "yaw from outside is none of tilefix's: it would be the autopilot's own",
            routes=_EXTERNAL,
        )
        for number in (1, 2, 3)
    ),
    Rule(
        "EK3_SRC_OPTIONS",
        Bits(off=1),
        "bit 0 fuses the velocities of every set at once: a spoofed receiver's too while vision is selected",
        routes=_EXTERNAL,
    ),
)
