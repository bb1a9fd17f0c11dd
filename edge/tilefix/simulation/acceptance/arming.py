"""Why ArduPilot does not arm, as far as positions from outside have to do with it. Pure.

Every receiver that is set up must have a 3D fix and be healthy, all within 50 m of each other and the one in use within
10 m of the estimate; visual odometry that any set of sources names must be set up, and heard lately wherever it is set
up. Source: ArduPilot AP_Arming::gps_checks, AP_NavEKF_Source::pre_arm_check, AP_VisualOdom; words as told in flight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tilefix.simulation.acceptance.gnss import FIX_3D

Pair = tuple[float, float]
_APART_M = 50.0
_FROM_ESTIMATE_M = 10.0


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """One receiver that is set up: its number (0-based), fix, whether its rate is healthy, and (east_m, north_m)."""

    number: int
    fix_type: int
    healthy: bool
    position: Pair | None


def gps_failure(receivers: Sequence[ReceiverState], primary: int, estimate: Pair | None) -> str | None:
    """The first thing wrong with the receivers; `estimate`: where the autopilot believes to be, `None` if it does not
    know."""
    for receiver in receivers:
        if receiver.fix_type < FIX_3D:
            return f"GPS {receiver.number + 1}: Bad fix"
        if not receiver.healthy:
            return f"GPS {receiver.number + 1}: not healthy"
    if estimate is None:
        return "AHRS: waiting for home"
    places = [receiver.position for receiver in receivers if receiver.position is not None]
    apart_m = max((math.dist(place, places[0]) for place in places), default=0.0)
    if apart_m > _APART_M:
        return f"GPS positions differ by {apart_m:4.1f}m"
    used = next((one.position for one in receivers if one.number == primary), None)
    if used is not None and math.dist(used, estimate) > _FROM_ESTIMATE_M:
        return f"GPS and AHRS differ by {math.dist(used, estimate):4.1f}m"
    return None


def vision_failure(*, needed: bool, present: bool, healthy: bool) -> str | None:
    """What is wrong with visual odometry. `needed`: a set of sources names it; `present`: VISO_TYPE was set at
    power-up."""
    if needed and not present:
        return "AHRS: EK3 sources require VisualOdom"
    return "VisOdom: not healthy" if present and not healthy else None
