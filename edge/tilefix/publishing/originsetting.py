"""Gives the autopilot an origin when it has none: after a reboot in the air, or a start without GNSS. Pure.

Positions in metres mean nothing to an autopilot without one, and it takes one from GNSS only. After a reboot the one
that it had is given back, so that its own places stay where they were.
"""

from __future__ import annotations

from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import Origin
from tilefix.publishing.position import Position

# The origin is streamed every 2 s; one that is there is heard within this.
_WAIT_NS = 8_000_000_000
_AGAIN_NS = 5_000_000_000


class OriginSetting:
    """Decides when to give one."""

    def __init__(self) -> None:
        self._missing_ns: int | None = None
        self._given_ns: int | None = None
        self._reboots = 0

    def due(self, position: Position, autopilot: KnownAutopilot, *, gnss: bool) -> Origin | None:
        """The origin to give now. Only for a position that a picture confirmed, and while no receiver could do it."""
        if autopilot.reboots != self._reboots:
            self._reboots, self._missing_ns, self._given_ns = autopilot.reboots, None, None
        if autopilot.origin is not None or gnss or position.mirrored or not position.confirmed:
            self._missing_ns = None
            return None
        now_ns = position.at_ns
        if self._missing_ns is None:
            self._missing_ns = now_ns
        given_ns = self._given_ns
        if now_ns - self._missing_ns < _WAIT_NS or (given_ns is not None and now_ns - given_ns < _AGAIN_NS):
            return None
        self._given_ns = now_ns
        return autopilot.before_reboot or Origin(now_ns, position.lat_deg, position.lon_deg, position.amsl_m)
