"""What the heartbeat says: whether tilefix works, from when its parts last did. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tilefix.links.messages import HealthState

# A frame takes a third of a second; one that takes this long is stuck.
STUCK_NS = 5_000_000_000
# Frames that fail one after the other: not a strange picture, but something broken.
FAILURES_IN_A_ROW = 5


@dataclass
class Health:
    """Notes of the daemon's threads; each field is written by one thread only.

    `looking_since_ns`: when the frame now looked at was begun, `None` between frames. `looked_ns`: when the last one
    was done. `failures`: frames in a row that raised. `sent`: the last turn to publish sent a position.
    """

    looking_since_ns: int | None = None
    looked_ns: int | None = None
    failures: int = 0
    sent: bool = False

    def state(self, now_ns: int, *, connected: bool) -> HealthState:
        """The state for the heartbeat. `connected`: the autopilot is heard."""
        since_ns = self.looking_since_ns
        if self.failures >= FAILURES_IN_A_ROW or (since_ns is not None and now_ns - since_ns > STUCK_NS):
            return HealthState.CRITICAL
        if self.looked_ns is None or not connected:
            return HealthState.BOOT if self.looked_ns is None else HealthState.STANDBY
        return HealthState.ACTIVE if self.sent else HealthState.STANDBY
