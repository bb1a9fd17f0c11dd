"""MAV_CMD_EXTERNAL_POSITION_ESTIMATE: a position that the estimator is set to, while it has none of its own. Pure.

Only as COMMAND_INT, in the frame GLOBAL (GLOBAL_INT from 4.6 on), without a height: z must be not-a-number. It is
refused within a second of the last position that was fused, without an origin, and once aiding stopped; and it keeps
none of these clocks running. It is taken without a gate. Source: ArduPilot GCS_Common, NavEKF3_core::setLatLng.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilefix.simulation.acceptance.firmware import Firmware

FRESH_S = 1.0
LATEST_S = 5.0
_GLOBAL, _GLOBAL_INT = 0, 5  # MAV_FRAME


@dataclass(frozen=True, slots=True)
class ExternalEstimate:
    """One command. `sent_s` by the sender's clock, `processing_s` how much earlier it held, `sigma_m` may be NaN."""

    frame: int
    sent_s: float
    processing_s: float
    sigma_m: float
    lat_deg: float
    lon_deg: float
    z: float


def denied(given: ExternalEstimate, firmware: Firmware) -> bool:
    """True for a command of a form that is not taken."""
    frames = (_GLOBAL, _GLOBAL_INT) if firmware.takes_global_int else (_GLOBAL,)
    in_range = abs(given.lat_deg) <= 90.0 and abs(given.lon_deg) <= 180.0
    return given.frame not in frames or not math.isnan(given.z) or not in_range
