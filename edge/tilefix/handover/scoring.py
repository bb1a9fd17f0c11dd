"""How good vision is, against GNSS while that is good: error, bias, and whether the stated sigmas hold. Pure.

Errors of fixes are not independent: the attitude's wander throws them off for ten seconds and more, so a minute of
fixes says no more than a handful of independent ones (`CORRELATION_S`), and a bias is told from an excursion by that.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from tilefix.handover.compare import Comparison
from tilefix.handover.settings import HandoverSettings

# Of fixes' errors on generated flights 0.6 is left after 5 s, 0.4 after 10 s, 0.2 after 20 s.
CORRELATION_S = 12.0
# Comparisons closer than this add nothing but work: their errors are nearly the same.
_EVERY_NS = 900_000_000
_GAP_S = 3.0  # a longer pause counts as this much
# A bias is called one beyond so many metres and so many sigmas of what honest errors leave in a window: on generated
# development flights honest ones reached 7.6 m and, of those beyond 6 m, 3.1 sigmas. Between the two nothing is said.
BIAS_M, BIAS_SIGMAS, DOUBT_SIGMAS = 8.5, 2.5, 1.8
# Stated sigmas are called too small when the true ones are so many times larger.
OVERCONFIDENT = 2.5
_CAPPED = 50.0  # of one squared Mahalanobis distance, so that one wild fix does not make the mean
WITHIN = (2.2957, 6.1801, 11.8292)  # chi-square with two degrees of freedom at 68.27, 95.45 and 99.73 %


class Verdict(enum.Enum):
    """What the score says of vision; the value is what a pilot reads."""

    NOT_ENOUGH = "not compared enough"
    CONSISTENT = "consistent"
    BIASED = "biased"
    OVERCONFIDENT = "overconfident"


@dataclass(frozen=True, slots=True)
class Score:
    """The comparisons of the last window. `seconds`: that they span; `bias_*`: medians of the difference by axis;
    `stretch`: how many times larger than stated the sigmas of the difference are, by the median of the squared
    Mahalanobis distance, capped; `within`: shares within 1, 2 and 3 sigma as stated."""

    verdict: Verdict
    seconds: float = 0.0
    count: int = 0
    median_m: float = math.nan
    p95_m: float = math.nan
    bias_east_m: float = 0.0
    bias_north_m: float = 0.0
    bias_sigmas: float = 0.0
    stretch: float = 1.0
    within: tuple[float, float, float] = (math.nan, math.nan, math.nan)

    @property
    def bias_m(self) -> float:
        """Length of the bias."""
        return math.hypot(self.bias_east_m, self.bias_north_m)


class ShadowScore:
    """Scores vision over a sliding window of comparisons."""

    def __init__(self, settings: HandoverSettings | None = None) -> None:
        self._settings = settings or HandoverSettings()
        self._kept: deque[tuple[int, float, float, float]] = deque()  # at_ns, east, north, squared distance
        self._score = Score(Verdict.NOT_ENOUGH)

    def clear(self) -> None:
        """Forgets everything."""
        self._kept.clear()
        self._score = Score(Verdict.NOT_ENOUGH)

    @property
    def score(self) -> Score:
        """The score as of the last comparison."""
        return self._score

    def add(self, comparison: Comparison) -> Score:
        """Takes in a comparison with good GNSS; one that is not later than the last counts for nothing."""
        at_ns = comparison.at_ns
        if self._kept and at_ns - self._kept[-1][0] < _EVERY_NS:
            return self._score
        self._kept.append((at_ns, comparison.east_m, comparison.north_m, comparison.distance2()))
        while at_ns - self._kept[0][0] > self._settings.window_s * 1e9:
            self._kept.popleft()
        self._score = self._judged(comparison)
        return self._score

    def _judged(self, newest: Comparison) -> Score:
        kept = np.array(self._kept)
        seconds = float(np.minimum(np.diff(kept[:, 0]) / 1e9, _GAP_S).sum())
        sizes, distances2 = np.hypot(kept[:, 1], kept[:, 2]), kept[:, 3]
        bias = np.median(kept[:, 1:3], axis=0)
        median_m, p95_m = np.percentile(sizes, [50.0, 95.0])
        stretch = math.sqrt(max(float(np.minimum(distances2, _CAPPED).mean()) / 2.0, 1e-6))
        # The bias in sigmas of the mean of so many seconds: vision's share shrinks by the number of independent errors
        # in them (T / 2 tau, Bartlett 1946), the receiver's slow one does not.
        share = min(1.0, 2.0 * CORRELATION_S / max(seconds, 1e-3))
        sigmas = math.sqrt(newest.total(share).mahalanobis2(float(bias[0]), float(bias[1])))
        within = tuple(float(np.mean(distances2 < limit)) for limit in WITHIN)
        verdict = Verdict.CONSISTENT
        if seconds < self._settings.min_window_s:
            verdict = Verdict.NOT_ENOUGH
        elif math.hypot(*bias) > BIAS_M and sigmas > DOUBT_SIGMAS:
            verdict = Verdict.BIASED if sigmas > BIAS_SIGMAS else Verdict.NOT_ENOUGH
        elif stretch > OVERCONFIDENT:
            verdict = Verdict.OVERCONFIDENT
        return Score(
            verdict, seconds, len(kept), float(median_m), float(p95_m), float(bias[0]), float(bias[1]), sigmas,
            stretch, (within[0], within[1], within[2]),
        )  # fmt: skip


class Calibration:
    """How many times larger than stated vision's variances are, over the minutes of a flight: a window holds too few
    independent errors to tell. Begins at 1, which counts as much as `PRIOR_S` of comparisons."""

    PRIOR_S, MEMORY_S = 20.0, 300.0
    MOST = 4.0

    def __init__(self) -> None:
        self._mean = 1.0
        self._seconds = 0.0
        self._at_ns: int | None = None

    def note(self, comparison: Comparison) -> None:
        """Takes in a comparison with good GNSS."""
        since_s = 0.0 if self._at_ns is None else (comparison.at_ns - self._at_ns) / 1e9
        self._at_ns = comparison.at_ns
        weight_s = min(max(since_s, 0.0), 1.0)
        self._seconds = min(self._seconds + weight_s, self.MEMORY_S)
        ratio = min(comparison.distance2(), _CAPPED) / 2.0
        self._mean += (ratio - self._mean) * weight_s / (self._seconds + self.PRIOR_S)

    @property
    def stretch(self) -> float:
        """Of variances, 1 to `MOST`: vision that errs less than stated is not taken for better than it says."""
        return min(max(self._mean, 1.0), self.MOST)
