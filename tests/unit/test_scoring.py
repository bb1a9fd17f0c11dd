"""The score's definitions, against figures worked out by hand."""

from __future__ import annotations

import math

import pytest

from support.answers import LOCAL, fix_at
from tilefix.evaluation.scoring import COVERAGE_QUANTILES, Answer, is_false_fix, judge, kind_of, score
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason


def _answer(position: Fix | NoFix, truth_m: tuple[float, float] | None, gsd_m: float = 0.5) -> Answer:
    truth = None if truth_m is None else LOCAL.to_geodetic(*truth_m)
    return judge("f", 0.0, position, truth, LOCAL, gsd_m)


def test_quantiles_are_those_of_the_tables() -> None:
    assert pytest.approx((2.2957, 6.1801, 11.8290), abs=5e-4) == COVERAGE_QUANTILES


@pytest.mark.parametrize(
    ("position", "gsd_m", "kind"),
    [
        (NoFix(0, Reason.NO_MATCH), 0.5, "none"),
        (fix_at(0, 0, match_age_s=2.0), 0.5, "fix"),
        (fix_at(0, 0, match_age_s=2.01), 0.5, "coast"),
        (fix_at(0, 0, match_age_s=math.inf), 0.5, "coast"),
        (fix_at(0, 0, kind=FixKind.COAST), 0.5, "coast"),
        (fix_at(0, 0, covariance=Covariance(100.0, 0.0, 1.0)), 0.5, "fix"),
        (fix_at(0, 0, covariance=Covariance(100.1, 0.0, 1.0)), 0.5, "coast"),
        (fix_at(0, 0, covariance=Covariance(100.1, 0.0, 1.0)), 8.0, "fix"),
        # Variances of 64 along both axes, correlated by a half: the major axis has 96, sigma 9.8 m.
        (fix_at(0, 0, covariance=Covariance(64.0, 32.0, 64.0)), 0.5, "fix"),
        # ... by 5/8: 104, sigma 10.2 m.
        (fix_at(0, 0, covariance=Covariance(64.0, 40.0, 64.0)), 0.5, "coast"),
    ],
)
def test_kinds(position: Fix | NoFix, gsd_m: float, kind: str) -> None:
    assert kind_of(position, gsd_m) == kind


@pytest.mark.parametrize(
    ("error_m", "sigma_m", "gsd_m", "false_fix"),
    [
        (25.1, 8.3, 0.5, True),  # beyond 25 m and 3 sigma = 24.9 m
        (25.1, 8.4, 0.5, False),  # within 3 sigma = 25.2 m
        (24.9, 5.0, 0.5, False),  # within 25 m, and within 5 sigma = 25 m
        (24.9, 4.9, 0.5, True),  # beyond 10 m and 5 sigma = 24.5 m
        (10.1, 2.0, 0.5, True),
        (9.9, 0.1, 0.5, False),  # within 10 m, however sure it was
        (10.1, 2.0, 6.0, False),  # within 2 map pixels = 12 m
        (12.1, 2.0, 6.0, True),
        (30.0, 9.0, 20.0, True),  # the first rule knows no pixels
    ],
)
def test_a_false_fix(error_m: float, sigma_m: float, gsd_m: float, false_fix: bool) -> None:
    assert is_false_fix(error_m, sigma_m, gsd_m) is false_fix


def test_the_error_is_answer_minus_truth() -> None:
    answer = _answer(fix_at(103.0, -50.0), (100.0, -46.0))
    assert answer.error_m == pytest.approx((3.0, -4.0), abs=1e-6)
    assert answer.distance_m == pytest.approx(5.0, abs=1e-6)
    assert _answer(fix_at(0.0, 0.0), None).error_m is None
    assert _answer(NoFix(0, Reason.OFF_MAP), (0.0, 0.0)).distance_m is None


def test_a_flight_scored_by_hand() -> None:
    wide = Covariance(400.0, 0.0, 400.0)
    score_ = score(
        [
            _answer(NoFix(0, Reason.AMBIGUOUS), (0.0, 0.0)),
            # Sigma 2 m: squared distances 0.25, 1, 4, 225; quantiles 2.30, 6.18, 11.83.
            _answer(fix_at(1.0, 0.0), (0.0, 0.0)),
            _answer(fix_at(0.0, 2.0), (0.0, 0.0)),
            _answer(fix_at(4.0, 0.0), (0.0, 0.0)),
            _answer(fix_at(0.0, 30.0), (0.0, 0.0)),
            # Sigma 20 m, 50 m off: squared distance 6.25, no false fix.
            _answer(fix_at(30.0, 40.0, kind=FixKind.COAST, covariance=wide, reason=Reason.NO_MATCH), (0.0, 0.0)),
            _answer(fix_at(7.0, 7.0, kind=FixKind.COAST, reason=Reason.NO_MATCH), None),
            _answer(fix_at(7.0, 7.0), None),
        ]
    )
    assert (score_.frames, score_.fixes, score_.coasts, score_.nones) == (8, 5, 2, 1)
    assert score_.availability == 5 / 8
    assert score_.with_truth == 6
    assert score_.median_error_m == pytest.approx(3.0, abs=1e-5)  # of 1, 2, 4, 30
    assert score_.p95_error_m == pytest.approx(4.0 + 0.85 * 26.0, abs=1e-4)  # at place 2.85 of 0..3
    assert score_.max_error_m == pytest.approx(30.0, abs=1e-5)
    assert score_.coast_max_error_m == pytest.approx(50.0, abs=1e-4)
    assert score_.median_sigma_m == pytest.approx(2.0)
    assert score_.false_fixes == 1
    assert (score_.coverage_1sigma, score_.coverage_2sigma, score_.coverage_3sigma) == (2 / 5, 3 / 5, 4 / 5)
    assert score_.reasons == {"NO_MATCH": 2, "AMBIGUOUS": 1}
    assert list(score_.reasons) == ["NO_MATCH", "AMBIGUOUS"]


def test_coverage_uses_the_whole_covariance() -> None:
    tilted = Covariance(100.0, 90.0, 100.0)  # along north-east sigma 13.8 m, across it 3.2 m
    along, across = _answer(fix_at(9.0, 9.0, covariance=tilted), (0.0, 0.0)), None
    across = _answer(fix_at(9.0, -9.0, covariance=tilted), (0.0, 0.0))
    assert score([along]).coverage_1sigma == 1.0
    assert score([across]).coverage_3sigma == 0.0


def test_nothing_to_count() -> None:
    empty = score([])
    assert (empty.frames, empty.availability, empty.median_error_m, empty.coverage_1sigma) == (0, 0.0, None, None)
    blind = score([_answer(NoFix(0, Reason.NO_MATCH), None)] * 3)
    assert (blind.nones, blind.p95_error_m, blind.false_fixes) == (3, None, 0)
