"""ArduPilot: what the vehicle does when its position is lost all the same."""

from __future__ import annotations

from tilefix.doctor.rules.rule import Rule
from tilefix.doctor.rules.wants import NoneOf, OneOf, Within
from tilefix.links.messages import Airframe, Route

RULES = (
    Rule(
        "FS_EKF_ACTION",
        OneOf((1, 2, 3)),
        "when positions end, a copter has to land or hold: with 0 it ran away by 450 m in a minute",
        airframes=(Airframe.COPTER,),
    ),
    Rule(
        "FS_EKF_THRESH",
        Within(0.6, 1.0, 0.8),
        "at 0 or far above 1 the loss of position is not noticed",
        airframes=(Airframe.COPTER,),
    ),
    Rule(
        "ARSPD_TYPE",
        NoneOf((0,)),
        "between estimates the plane is carried on by its airspeed; without a sensor only by a guess of it",
        routes=(Route.EXTERNAL_ESTIMATE,),
        airframes=(Airframe.PLANE,),
        advice=True,
    ),
)
