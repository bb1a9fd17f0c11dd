"""Time stamps of another clock, mapped to the autopilot's own as ArduPilot does it. Pure.

The transport that took least time sets the offset between the clocks; a stamp that seems older than the limit is taken
for exactly that old, and drags the offset along. Every 100 samples the offset becomes the least of those. One filter
serves all stamped messages of a link (ODOMETRY, VISION_POSITION_ESTIMATE, MAV_CMD_EXTERNAL_POSITION_ESTIMATE), so two
clocks on one link, or one that goes back, misdate the next hundred. Source: ArduPilot AP_RTC/JitterCorrection.
"""

from __future__ import annotations

LINK_LIMIT_S = 0.5
RECEIVER_LIMIT_S = 2.0
WINDOW = 100


class JitterCorrection:
    """The filter of one link, or of one receiver that is fed by GPS_INPUT."""

    def __init__(self, limit_s: float = LINK_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._offset_s: float | None = None
        self._least_s: float | None = None
        self._count = 0

    def local_s(self, stamp_s: float, now_s: float) -> float:
        """When the message was stamped, by the autopilot's clock: at least `limit_s` ago, and never later than now."""
        apart_s = now_s - stamp_s
        if self._offset_s is None or apart_s < self._offset_s:
            self._offset_s = apart_s
        at_s = stamp_s + self._offset_s
        if at_s + self._limit_s < now_s:
            at_s = now_s - self._limit_s
            self._offset_s = at_s - stamp_s
        self._least_s = apart_s if self._least_s is None else min(self._least_s, apart_s)
        self._count += 1
        if self._count == WINDOW:
            self._offset_s, self._least_s, self._count = self._least_s, None, 0
        return at_s
