"""ArduPilot, VISION_POSITION_ESTIMATE and ODOMETRY: what the autopilot does to them before EKF3 sees them."""

from __future__ import annotations

from tilefix.doctor.case import Case
from tilefix.doctor.rules.rule import Effect, Rule
from tilefix.doctor.rules.wants import Is, NoneOf, Want, Within
from tilefix.links.messages import Route

_ROUTES = (Route.VISION, Route.ODOMETRY)


def _quality(case: Case) -> Want:
    """ODOMETRY says 100 divided by the sigma in metres."""
    return Within(-1.0, float(int(100.0 / case.start_sigma_m)), 0.0)


def _floor(case: Case) -> Want:
    return Within(0.01, case.start_sigma_m, 0.2)


RULES = (
    Rule(
        "VISO_TYPE",
        Is(1),
        "the autopilot takes no positions from outside; 1 is MAVLink",
        routes=_ROUTES,
        effect=Effect.AT_BOOT,
        essential=True,
    ),
    Rule("VISO_ORIENT", Is(0), "positions are north-east-down already", routes=_ROUTES),
    Rule("VISO_SCALE", Is(1), "positions are metres already", routes=_ROUTES),
    *(
        Rule(f"VISO_POS_{axis}", Is(0), "positions are the vehicle's, not those of a camera beside it", routes=_ROUTES)
        for axis in "XYZ"
    ),
    Rule("VISO_POS_M_NSE", _floor, "a floor under the sigma that tilefix states", routes=_ROUTES),
    Rule(
        "VISO_QUAL_MIN",
        Within(-1, 0, 0),
        "VISION_POSITION_ESTIMATE has no quality, which counts as 0: above that every position is dropped",
        routes=(Route.VISION,),
    ),
    Rule(
        "VISO_QUAL_MIN",
        _quality,
        "the quality of ODOMETRY is 100 divided by its sigma in metres: true positions are dropped",
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
