"""How late positions are at best, from exposure to sending: what the autopilot's delay parameter should say. Pure.

An autopilot takes every position for as old as the parameter says. What is sent is carried to that age, so any value
works; the least that pictures take makes the prediction the shortest.
"""

from __future__ import annotations

import math
from collections import deque

_KEPT = 300
_ENOUGH = 30
_STEP_MS = 10.0
# A difference below this is not worth a line.
TOLERANCE_MS = 50.0


class LeastLatency:
    """The shortest time from exposure to sending over the last pictures."""

    def __init__(self) -> None:
        self._ms: deque[float] = deque(maxlen=_KEPT)
        self._exposed_ns: int | None = None

    def note(self, exposed_ns: int, sent_ns: int) -> None:
        """Notes that a position which a picture of `exposed_ns` led to was sent; only the first of each counts."""
        if self._exposed_ns is None or exposed_ns > self._exposed_ns:
            self._exposed_ns = exposed_ns
            self._ms.append(max(sent_ns - exposed_ns, 0) / 1e6)

    @property
    def ms(self) -> float | None:
        """The least, `None` until enough pictures came."""
        return min(self._ms) if len(self._ms) >= _ENOUGH else None

    def to_set_ms(self, transit_ms: float = 0.0, held_ms: float = math.inf) -> float | None:
        """What the parameter should be, in tens of milliseconds: the least, and the way; no more than is held."""
        least = self.ms
        return None if least is None else advised_ms(least + transit_ms, held_ms)


def advised_ms(late_ms: float, held_ms: float) -> float:
    """The delay to set for positions that are so late, in tens of milliseconds, where the autopilot holds so much."""
    return min(max(round(late_ms / _STEP_MS) * _STEP_MS, _STEP_MS), held_ms)
