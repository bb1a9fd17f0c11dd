"""Which of several GNSS receivers ArduPilot flies by. Pure.

A better fix wins at once; with the same fix, two satellites more win 5 s after the last change, one more after 20 s.
GPS_AUTO_SWITCH: 0 takes GPS_PRIMARY whatever it says, 1 (and 2, which would blend) the best, 4 GPS_PRIMARY while it has
a 3D fix, else the best. Source: ArduPilot AP_GPS::update_primary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

ALWAYS_PRIMARY, BEST, PRIMARY_WITH_FIX = 0, 1, 4
_ONE_MORE_S, _TWO_MORE_S = 20.0, 5.0
_FIX_3D = 3


class Receiver(Protocol):
    """What is known of a receiver; `fix_type` 0 = none there, 1 = no fix."""

    @property
    def fix_type(self) -> int: ...

    @property
    def satellites(self) -> int: ...


class ReceiverSelection:
    """Holds the receiver in use, by its number."""

    def __init__(self) -> None:
        self.primary = 0
        self._changed_s = 0.0

    def update(self, now_s: float, receivers: Mapping[int, Receiver], mode: int, preferred: int) -> int:
        """The receiver in use from now on. `mode`: GPS_AUTO_SWITCH, `preferred`: GPS_PRIMARY."""
        if preferred not in receivers:
            preferred = min(receivers, default=0)
        if mode == ALWAYS_PRIMARY or self.primary not in receivers:
            self.primary = preferred
            return preferred
        if mode == PRIMARY_WITH_FIX and receivers[preferred].fix_type >= _FIX_3D:
            self._change(preferred, now_s)
            return preferred
        for number, other in receivers.items():
            used = receivers[self.primary]
            waited_s = now_s - self._changed_s
            more = other.satellites - used.satellites
            if other.fix_type > used.fix_type or (
                other.fix_type == used.fix_type
                and ((more >= 2 and waited_s >= _TWO_MORE_S) or (more >= 1 and waited_s >= _ONE_MORE_S))
            ):
                self._change(number, now_s)
        return self.primary

    def _change(self, number: int, now_s: float) -> None:
        if number != self.primary:
            self.primary, self._changed_s = number, now_s
