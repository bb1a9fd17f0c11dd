"""ArduPilot, VISION_POSITION_ESTIMATE and ODOMETRY: what the autopilot does to them before EKF3 sees them."""

from __future__ import annotations

from tilefix.doctor.case import Case
from tilefix.doctor.rules.rule import Effect, Rule
from tilefix.doctor.rules.wants import Is, NoneOf, Want, Within
from tilefix.links.messages import Route
from tilefix.publishing.latency import LARGEST_MS

_ROUTES = (Route.VISION, Route.ODOMETRY)


def _known(case: Case) -> bool:
    return case.delay_ms is not None


def _delay(case: Case) -> Want:
    return Is(min(case.delay_ms or 0.0, LARGEST_MS))


RULES = (
    Rule(
        "VISO_TYPE",
        Is(1),
        "the autopilot takes no positions from outside; 1 is MAVLink",
        routes=_ROUTES,
        effect=Effect.AT_BOOT,
        essential=True,
    ),
    Rule(
        "VISO_DELAY_MS",
        _delay,
        "[publish] delay_ms says how late positions come; by any difference they are wrong by speed times time",
        routes=_ROUTES,
        since=(4, 5, 2),
        when=_known,
    ),
    Rule("VISO_ORIENT", Is(0), "positions are north-east-down already", routes=_ROUTES),
    Rule("VISO_SCALE", Is(1), "positions are metres already", routes=_ROUTES),
    *(
        Rule(f"VISO_POS_{axis}", Is(0), "positions are the vehicle's, not those of a camera beside it", routes=_ROUTES)
        for axis in "XYZ"
    ),
    Rule(
        "VISO_QUAL_MIN",
        Within(0, 100, 0),
        "above 100 every ODOMETRY counts as bad",
        routes=(Route.ODOMETRY,),
    ),
    Rule(
        "VISO_TYPE",
        NoneOf((1,), 0),
        "unless another computer feeds it, the vehicle does not arm: VisOdom not healthy",
        routes=(Route.GPS_INPUT, Route.EXTERNAL_ESTIMATE),
        effect=Effect.AT_BOOT,
        advice=True,
    ),
)
