"""The forecast between frames."""

from __future__ import annotations

import dataclasses

import pytest

from tilefix.service.forecast import Forecast
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason

S = 1_000_000_000


def _predict(at_ns: int) -> Fix | NoFix:
    """5 m/s east from 10 s on, one metre sigma growing with the square of time, coasting after 2 s, lost after 5 s."""
    seconds = at_ns / S - 10.0
    if seconds > 5.0:
        return NoFix(at_ns, Reason.NO_MATCH)
    variance = 1.0 + seconds**2
    kind = FixKind.FIX if seconds <= 2.0 else FixKind.COAST
    velocity = Covariance(0.1, 0.0, 0.1)
    covariance = Covariance(variance, 0.0, variance)
    return Fix(at_ns, kind, 47.0, 8.0 + 1e-5 * seconds, 5.0 * seconds, 0.0, covariance, seconds, 5.0, 0.0, velocity)


def test_between_its_instants_it_follows_the_prediction_and_never_claims_less_sigma() -> None:
    forecast = Forecast.after(10 * S, _predict)
    for tenths in range(45):
        at_ns = 10 * S + tenths * S // 10
        estimate, exact = forecast.at(at_ns), _predict(at_ns)
        assert isinstance(estimate, Fix)
        assert isinstance(exact, Fix)
        assert estimate.at_ns == at_ns
        assert estimate.east_m == pytest.approx(exact.east_m)
        assert estimate.lon_deg == pytest.approx(exact.lon_deg, abs=1e-12)
        assert estimate.match_age_s == pytest.approx(exact.match_age_s)
        assert exact.sigma_m - 1e-9 <= estimate.sigma_m <= 1.1 * exact.sigma_m
        assert not (estimate.kind is FixKind.FIX and exact.kind is FixKind.COAST)


def test_it_ends_where_the_prediction_ends() -> None:
    forecast = Forecast.after(10 * S, _predict)
    assert isinstance(forecast.at(15 * S), Fix)
    assert forecast.at(15 * S + 1) == NoFix(15 * S + 1, Reason.NO_MATCH)
    assert forecast.at(60 * S) == NoFix(60 * S, Reason.NO_MATCH)


def test_a_prediction_that_never_ends_is_not_trusted_for_ever() -> None:
    first = _predict(10 * S)
    assert isinstance(first, Fix)
    forecast = Forecast.after(10 * S, lambda at_ns: Fix(at_ns, *[getattr(first, name) for name in Fix.__slots__[1:]]))
    assert isinstance(forecast.at(40 * S), Fix)
    assert forecast.at(41 * S) == NoFix(41 * S, Reason.NO_FRAME)


def test_before_its_frame_it_says_what_it_holds_for() -> None:
    early = Forecast.after(10 * S, _predict).at(9 * S)
    assert isinstance(early, Fix)
    assert early.at_ns == 10 * S


def test_a_refusal_stays_one() -> None:
    forecast = Forecast.after(S, lambda at_ns: NoFix(at_ns, Reason.AMBIGUOUS))
    assert forecast.at(2 * S) == NoFix(2 * S, Reason.AMBIGUOUS)
    assert forecast.begins_ns == S


def test_without_velocity_there_is_none_between_either() -> None:
    def still(at_ns: int) -> Fix:
        return Fix(at_ns, FixKind.FIX, 47.0, 8.0, 0.0, 0.0, Covariance(1.0, 0.0, 1.0), 0.0)

    between = Forecast.after(S, still).at(S + 1)
    assert isinstance(between, Fix)
    assert between.velocity_covariance is None


def test_a_flight_over_180_degrees_goes_on_there() -> None:
    def predict(at_ns: int) -> Fix | NoFix:
        one = _predict(at_ns)
        assert isinstance(one, Fix)
        lon_deg = one.lon_deg + 171.999999
        return dataclasses.replace(one, lon_deg=lon_deg if lon_deg < 180.0 else lon_deg - 360.0)

    estimate = Forecast((predict(10 * S), predict(11 * S))).at(10 * S + S // 2)
    assert isinstance(estimate, Fix)
    assert estimate.lon_deg == pytest.approx(-179.999996, abs=1e-9)
