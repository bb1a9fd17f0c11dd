"""How well pictures still match the map, against how they did when the flight began. Pure.

The correlation of accepted matches is some place's own, another over woods than over a town; its mean over minutes is
the map's and the season's. Falling far below its start, it says that imagery of another year began. What the lens does
shows less: frames that it spoils do not match at all, and those do not count here.
"""

from __future__ import annotations

import math

SETTLE_S = 60.0  # of matches: what they correlate with the map at the start
RECENT_S = 60.0  # time constant of the running mean
LOW_SHARE, WELL_SHARE = 0.65, 0.8  # of the start's: warned of below, called well again above
GAP_S = 2.0  # a longer pause between two matches counts as this much


class MatchDrift:
    """Follows the correlation of matches over one flight."""

    def __init__(self) -> None:
        self._settled_s = 0.0
        self._start = self._recent = 0.0
        self._at_ns: int | None = None
        self._low = False

    def note(self, at_ns: int, correlation: float) -> None:
        """Takes in a match at an instant; earlier instants than the last one, and what is no correlation, count for
        nothing."""
        if not 0.0 < correlation <= 1.0 or (self._at_ns is not None and at_ns <= self._at_ns):
            return
        seconds = GAP_S if self._at_ns is None else min((at_ns - self._at_ns) / 1e9, GAP_S)
        self._at_ns = at_ns
        if self._settled_s < SETTLE_S:
            self._start += (correlation - self._start) * seconds / (self._settled_s + seconds)
            self._settled_s += seconds
            self._recent = self._start
            return
        self._recent += (correlation - self._recent) * (1.0 - math.exp(-seconds / RECENT_S))
        self._low = self.share_of_start < (WELL_SHARE if self._low else LOW_SHARE)

    @property
    def settled(self) -> bool:
        """True once the start is known."""
        return self._settled_s >= SETTLE_S

    @property
    def share_of_start(self) -> float:
        """The running mean of the last minutes over that of the first; 1 before there is any."""
        return self._recent / self._start if self._start > 0.0 else 1.0

    @property
    def low(self) -> bool:
        """True from when the share fell below `LOW_SHARE` until it is above `WELL_SHARE`."""
        return self._low
