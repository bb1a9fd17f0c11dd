"""The clock that tilefix dates its messages by, told from outside."""

from __future__ import annotations

from typing import Any


class LinkClock:
    """Learned from tilefix's own questions for the time: each tells the link's clock a moment before it arrives.
    `epoch_ns`: when that clock began, by the clock of whoever listens; `None` before the first question."""

    def __init__(self) -> None:
        self.epoch_ns: int | None = None

    def hear(self, message: Any, now_ns: int) -> None:
        """Takes in a message of tilefix."""
        if message.get_type() == "TIMESYNC" and message.tc1 == 0:
            epoch_ns = now_ns - message.ts1
            self.epoch_ns = epoch_ns if self.epoch_ns is None else min(self.epoch_ns, epoch_ns)
