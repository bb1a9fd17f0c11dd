from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from support.answers import LOCAL, fix_at
from tilefix.evaluation.scoring import is_false_fix, judge, score
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason

metres = st.floats(-300.0, 300.0)


@st.composite
def covariances(draw: st.DrawFn) -> Covariance:
    major, minor = draw(st.floats(0.5, 60.0)), draw(st.floats(0.5, 60.0))
    turn = draw(st.floats(0.0, math.pi))
    c, s = math.cos(turn), math.sin(turn)
    return Covariance(
        (major * c) ** 2 + (minor * s) ** 2, (major**2 - minor**2) * c * s, (major * s) ** 2 + (minor * c) ** 2
    )


positions: st.SearchStrategy[Fix | NoFix] = st.one_of(
    st.builds(NoFix, st.just(0), st.sampled_from(Reason)),
    st.builds(
        lambda east, north, kind, covariance, age, reason: fix_at(
            east, north, kind=kind, covariance=covariance, match_age_s=age, reason=reason
        ),
        metres,
        metres,
        st.sampled_from(FixKind),
        covariances(),
        st.floats(0.0, 30.0),
        st.none() | st.sampled_from(Reason),
    ),
)
truths = st.none() | st.tuples(metres, metres).map(lambda m: LOCAL.to_geodetic(*m))


@settings(deadline=None)
@given(st.lists(st.tuples(positions, truths), max_size=12), st.floats(0.1, 10.0))
def test_every_frame_is_counted_once(flown: list[tuple[Fix | NoFix, tuple[float, float] | None]], gsd_m: float) -> None:
    answers = [judge(str(k), float(k), position, truth, LOCAL, gsd_m) for k, (position, truth) in enumerate(flown)]
    result = score(answers)
    assert result.fixes + result.coasts + result.nones == result.frames == len(flown)
    assert 0.0 <= result.availability <= 1.0
    assert result.false_fixes <= sum(answer.error_m is not None for answer in answers)
    if result.coverage_1sigma is not None:
        assert result.coverage_2sigma is not None
        assert result.coverage_3sigma is not None
        assert result.coverage_1sigma <= result.coverage_2sigma <= result.coverage_3sigma
    if result.max_error_m is not None:
        assert result.median_error_m is not None
        assert result.p95_error_m is not None
        assert result.median_error_m <= result.p95_error_m <= result.max_error_m
    assert score(answers[::-1]) == result


@settings(deadline=None)
@given(st.floats(0.0, 500.0), st.floats(0.1, 100.0), st.floats(0.1, 30.0), st.floats(1.0, 3.0))
def test_a_larger_error_or_a_smaller_sigma_never_makes_a_false_fix_true(
    error_m: float, sigma_m: float, gsd_m: float, factor: float
) -> None:
    if is_false_fix(error_m, sigma_m, gsd_m):
        assert is_false_fix(error_m * factor, sigma_m, gsd_m)
        assert is_false_fix(error_m, sigma_m / factor, gsd_m)


def test_an_honest_covariance_is_covered_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covariance = Covariance(9.0, 4.0, 5.0)
    errors = rng.multivariate_normal((0.0, 0.0), [[9.0, 4.0], [4.0, 5.0]], 1500)
    truth = LOCAL.to_geodetic(0.0, 0.0)
    result = score(
        [judge("", 0.0, fix_at(east, north, covariance=covariance), truth, LOCAL, 0.5) for east, north in errors]
    )
    for got, expected in (
        (result.coverage_1sigma, 0.6827),
        (result.coverage_2sigma, 0.9545),
        (result.coverage_3sigma, 0.9973),
    ):
        assert got is not None
        assert abs(got - expected) < 4.0 * math.sqrt(expected * (1.0 - expected) / 1500)
