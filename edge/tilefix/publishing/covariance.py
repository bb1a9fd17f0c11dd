"""The variances to write so that an autopilot takes a position for as uncertain as it is. Pure.

ArduPilot makes one error out of the three variances x, y, z of VISION_POSITION_ESTIMATE and ODOMETRY: before 4.7 the
cube root of x^2 + y^2 + z^2, since 4.7.0-beta1 the square root of x + y + z. It clamps the result to
VISO_POS_M_NSE..100 m and takes it for north and for east alike. PX4 takes each variance for what it is.
"""

from __future__ import annotations

import enum
import math

from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import AutopilotKind

Variances = tuple[float, float, float]
_CHANGED_IN = (4, 7, 0)


class VarianceRule(enum.Enum):
    """What an autopilot makes of variances."""

    CUBE_ROOT = "ArduPilot before 4.7"
    SQUARE_ROOT = "ArduPilot from 4.7"
    EITHER = "ArduPilot of a version that may do the one or the other"
    EACH = "as they are"


def rule_of(autopilot: KnownAutopilot) -> VarianceRule:
    """The rule of that firmware. A development build of 4.7.0 may stand on either side of the change, and so may a
    version that was not told: then the error taken is never smaller than stated."""
    if autopilot.kind is not AutopilotKind.ARDUPILOT or autopilot.identity is None:
        return VarianceRule.EACH
    version = autopilot.version
    if version is None or (version == _CHANGED_IN and autopilot.identity.development):
        return VarianceRule.EITHER
    return VarianceRule.CUBE_ROOT if version < _CHANGED_IN else VarianceRule.SQUARE_ROOT


def variances(sigma_m: float, each: Variances, rule: VarianceRule) -> Variances:
    """What to write for an error of `sigma_m`. `each`: the true variances of north, east and down."""
    if rule is VarianceRule.EACH:
        return each
    cube_root, square_root = math.sqrt(sigma_m**3 / 3.0), sigma_m * sigma_m / 3.0
    one = {
        VarianceRule.CUBE_ROOT: cube_root,
        VarianceRule.SQUARE_ROOT: square_root,
        VarianceRule.EITHER: max(cube_root, square_root),
    }[rule]
    return one, one, one


def taken_sigma_m(written: Variances, rule: VarianceRule) -> float:
    """The error that ArduPilot makes of variances, before its clamp; of `EITHER` the smaller one."""
    cube_root = math.pow(sum(one * one for one in written), 1.0 / 3.0)
    square_root = math.sqrt(sum(written))
    return {
        VarianceRule.CUBE_ROOT: cube_root,
        VarianceRule.SQUARE_ROOT: square_root,
        VarianceRule.EITHER: min(cube_root, square_root),
        VarianceRule.EACH: math.sqrt(max(written[:2])),
    }[rule]
