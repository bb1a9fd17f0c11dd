"""PX4: positions from a map (GLOBAL_POSITION_SENSOR), and local ones (ODOMETRY, VISION_POSITION_ESTIMATE).

Source: PX4's aux_global_position_control.cpp and the parameter files of its ekf2 module.
"""

from __future__ import annotations

from tilefix.doctor.case import Case
from tilefix.doctor.rules.rule import Effect, Rule
from tilefix.doctor.rules.wants import Bits, Is, NoneOf, Want, Within
from tilefix.links.messages import AutopilotKind, Route
from tilefix.publishing.parameters import SENSOR_ID

_PX4 = AutopilotKind.PX4
_MAP = (Route.GLOBAL_POSITION,)
_LOCAL = (Route.VISION, Route.ODOMETRY)
_HORIZONTAL, _VERTICAL, _VELOCITY, _YAW = 1, 2, 4, 8


def _horizon(case: Case) -> Want:
    delay_ms = case.parameters.get("EKF2_AGP0_DELAY", 0.0)
    return Within(delay_ms, 1000.0, delay_ms)


def _noise(case: Case) -> Want:
    return Within(0.01, case.start_sigma_m, 1.0)


RULES = (
    Rule(
        "EKF2_AGP0_ID",
        Is(SENSOR_ID),
        "the slot listens to tilefix's id only",
        _PX4,
        routes=_MAP,
        effect=Effect.AT_BOOT,
        essential=True,
    ),
    Rule(
        "EKF2_DELAY_MAX",
        _horizon,
        "EKF2_AGP0_DELAY is larger: what is that old is never fused",
        _PX4,
        routes=_MAP,
        effect=Effect.AT_BOOT,
    ),
    Rule(
        "EKF2_AGP0_CTRL",
        Bits(on=_HORIZONTAL),
        "positions of this slot are not fused",
        _PX4,
        routes=_MAP,
        essential=True,
    ),
    Rule(
        "EKF2_AGP0_NOISE",
        _noise,
        "a floor under the sigma that tilefix states: above it, good fixes count for less",
        _PX4,
        routes=_MAP,
    ),
    Rule("EKF2_AGP0_GATE", Within(3.0, 1e3, 3.0), "true positions are rejected", _PX4, routes=_MAP),
    Rule(
        "EKF2_EV_CTRL",
        Bits(on=_HORIZONTAL, off=_VERTICAL | _YAW | _VELOCITY),
        "horizontal position is to be fused, height and yaw are not tilefix's, and this message has no velocity",
        _PX4,
        routes=(Route.VISION,),
    ),
    Rule(
        "EKF2_EV_CTRL",
        Bits(on=_HORIZONTAL, off=_VERTICAL | _YAW),
        "horizontal position is to be fused; height and yaw are not tilefix's",
        _PX4,
        routes=(Route.ODOMETRY,),
    ),
    Rule("EKF2_EV_NOISE_MD", Is(0), "the sigma that tilefix states is to be used", _PX4, routes=_LOCAL),
    Rule("EKF2_EVP_NOISE", _noise, "a floor under the sigma that tilefix states", _PX4, routes=_LOCAL),
    Rule("EKF2_EV_QMIN", Within(0, 100, 0), "above 100 nothing is fused", _PX4, routes=_LOCAL),
    Rule("EKF2_HGT_REF", NoneOf((3,), 1), "height must not come from vision: tilefix's is none of its own", _PX4),
)
