"""How good the answers of a flight were, by the definitions of the results format.

`fix`: a map match accepted within the last 2 s and sigma_m <= max(10 m, 2 map pixels); `coast`: any other position;
`none`: no position. A *false fix* is a `fix` or `coast` whose error exceeds 25 m and 3 sigma, or exceeds
max(10 m, 2 map pixels) and 5 sigma, sigma being that of the major axis.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilefix.geodesy import LocalFrame
from tilefix.types import FIX_MAX_MATCH_AGE_S, Fix, FixKind, NoFix, fix_max_sigma_m

# Quantiles of chi-square with two degrees of freedom, whose distribution function is 1 - exp(-x / 2).
COVERAGE_QUANTILES = tuple(-2.0 * math.log(1.0 - p) for p in (0.6827, 0.9545, 0.9973))
FALSE_FIX_RULES = ((25.0, 3.0), (10.0, 5.0))  # (metres, sigmas), both exceeded; 10 m grows to 2 map pixels


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered for one frame. `truth`: (lat_deg, lon_deg); `error_m`: (east, north) of answer minus truth,
    `None` without a position or a truth."""

    frame: str
    time_s: float
    kind: str
    position: Fix | NoFix
    truth: tuple[float, float] | None
    error_m: tuple[float, float] | None
    false_fix: bool

    @property
    def fix(self) -> Fix | None:
        """The position, `None` when there is none."""
        return self.position if isinstance(self.position, Fix) else None

    @property
    def distance_m(self) -> float | None:
        """How far off the position is."""
        return None if self.error_m is None else math.hypot(*self.error_m)


def kind_of(position: Fix | NoFix, gsd_m: float) -> str:
    """`fix`, `coast` or `none`, judged by age and sigma on a map of that ground sampling."""
    if isinstance(position, NoFix):
        return "none"
    recent = 0.0 <= position.match_age_s <= FIX_MAX_MATCH_AGE_S
    tight = position.sigma_m <= fix_max_sigma_m(gsd_m)
    return "fix" if position.kind is FixKind.FIX and recent and tight else "coast"


def is_false_fix(error_m: float, sigma_m: float, gsd_m: float) -> bool:
    """True for a position that is wrong and claims not to be."""
    (far_m, far_sigmas), (near_m, near_sigmas) = FALSE_FIX_RULES
    near_m = max(near_m, 2.0 * gsd_m)
    return (error_m > far_m and error_m > far_sigmas * sigma_m) or (
        error_m > near_m and error_m > near_sigmas * sigma_m
    )


def judge(
    frame: str,
    time_s: float,
    position: Fix | NoFix,
    truth: tuple[float, float] | None,
    local: LocalFrame,
    gsd_m: float,
) -> Answer:
    """The answer to one frame, with its error where a truth (lat_deg, lon_deg) is known."""
    error: tuple[float, float] | None = None
    false_fix = False
    if isinstance(position, Fix) and truth is not None:
        east_m, north_m = local.to_local(*truth)
        found_east_m, found_north_m = local.to_local(position.lat_deg, position.lon_deg)
        error = (found_east_m - east_m, found_north_m - north_m)
        false_fix = is_false_fix(math.hypot(*error), position.sigma_m, gsd_m)
    return Answer(frame, time_s, kind_of(position, gsd_m), position, truth, error, false_fix)


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of a flight.

    `availability`: `fix` over all frames. `median_error_m`, `p95_error_m`, `max_error_m`: over `fix` with a truth;
    `coast_max_error_m`: over `coast`. `coverage_*`: share of `fix` and `coast` with a truth whose squared Mahalanobis
    distance lies within the chi-square quantile of 68.27, 95.45 and 99.73 %. `None` where nothing could be counted.
    `reasons`: how often each reason was given for a frame that did not itself match.
    """

    frames: int
    fixes: int
    coasts: int
    nones: int
    availability: float
    with_truth: int
    median_error_m: float | None
    p95_error_m: float | None
    max_error_m: float | None
    coast_max_error_m: float | None
    median_sigma_m: float | None
    false_fixes: int
    coverage_1sigma: float | None
    coverage_2sigma: float | None
    coverage_3sigma: float | None
    reasons: dict[str, int]


def score(answers: Sequence[Answer]) -> Score:
    """Counts the answers. Percentiles interpolate linearly between samples."""
    kinds = Counter(answer.kind for answer in answers)
    fix_errors = [d for a in answers if a.kind == "fix" and (d := a.distance_m) is not None]
    coast_errors = [d for a in answers if a.kind == "coast" and (d := a.distance_m) is not None]
    mahalanobis2 = [
        a.fix.covariance_m2.mahalanobis2(*a.error_m) for a in answers if a.fix is not None and a.error_m is not None
    ]
    one, two, three = (_share(mahalanobis2, quantile) for quantile in COVERAGE_QUANTILES)
    reasons = Counter(a.position.reason.name for a in answers if a.position.reason is not None)
    return Score(
        frames=len(answers),
        fixes=kinds["fix"],
        coasts=kinds["coast"],
        nones=kinds["none"],
        availability=kinds["fix"] / len(answers) if answers else 0.0,
        with_truth=sum(a.truth is not None for a in answers),
        median_error_m=_percentile(fix_errors, 50.0),
        p95_error_m=_percentile(fix_errors, 95.0),
        max_error_m=_percentile(fix_errors, 100.0),
        coast_max_error_m=_percentile(coast_errors, 100.0),
        median_sigma_m=_percentile([a.fix.sigma_m for a in answers if a.kind == "fix" and a.fix is not None], 50.0),
        false_fixes=sum(a.false_fix for a in answers),
        coverage_1sigma=one,
        coverage_2sigma=two,
        coverage_3sigma=three,
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    )


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(np.asarray(values, dtype=np.float64), percent)) if values else None


def _share(values: Sequence[float], quantile: float) -> float | None:
    return sum(value < quantile for value in values) / len(values) if values else None
