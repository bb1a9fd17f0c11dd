"""Where a ray meets the map, by hand; and its derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from support.sightings import series_of, sightings_of
from tilefix.calibration.model import Parameters, Series, Sightings, predicted, residuals

# Level, 100 m above ground, flying north at 10 m/s past the origin at 5 s.
SERIES = Series(np.arange(11.0), np.array([[0.0, 0.0, 0.0, 100.0, 0.0, 10.0 * t - 50.0] for t in range(11)]))


def _seen(ray: tuple[float, float]) -> Sightings:
    return Sightings(np.array([5.0]), np.array([0]), np.array([ray]), np.zeros((1, 2)), np.eye(2)[None])


@pytest.mark.parametrize(
    ("wrong", "ray", "place"),
    [
        ({}, (0.0, 0.0), (0.0, 0.0)),
        ({}, (0.1, 0.0), (10.0, 0.0)),  # right in the picture is east
        ({}, (0.0, 0.1), (0.0, -10.0)),  # down in the picture is behind
        ({"pitch_deg": 9.0}, (0.0, 0.0), (0.0, 100.0 * math.tan(math.radians(9.0)))),
        ({"roll_deg": 5.0}, (0.0, 0.0), (-100.0 * math.tan(math.radians(5.0)), 0.0)),
        ({"yaw_deg": 90.0}, (0.1, 0.0), (0.0, -10.0)),
        ({"log_focal": math.log(2.0)}, (0.1, 0.0), (5.0, 0.0)),
        ({"time_s": -0.5}, (0.0, 0.0), (0.0, -5.0)),  # stamped late: it was taken further south
        ({"east_m": 3.0, "north_m": -2.0}, (0.0, 0.0), (-3.0, 2.0)),
    ],
)
def test_a_ray_meets_the_map_where_geometry_says(wrong, ray, place) -> None:
    guess = Parameters(**{"roll_deg": 0.0, "pitch_deg": 0.0, "yaw_deg": 0.0, **wrong})
    assert predicted(guess, SERIES, _seen(ray))[0] == pytest.approx(place, abs=1e-9)


def test_derivatives_predict_a_small_step() -> None:
    series = series_of(seconds=40.0)
    seen = sightings_of(Parameters(1.0, 2.0, 3.0), series, np.random.default_rng(0))
    guess = Parameters(3.0, -5.0, 10.0, 0.1, 0.15, 4.0, -3.0)
    error_m, by_parameter, by_effect = residuals(guess, series, seen)
    step = np.array([0.02, -0.01, 0.03, 1e-3, 0.0, 0.2, -0.1])
    moved = residuals(guess.moved(step), series, seen)[0]
    assert np.abs(error_m + by_parameter @ step - moved).max() < 2e-3
    effect = np.array([0.02, -0.01, 0.03, 5e-4, 0.2, -0.1, 1e-3, -2e-3])
    shaken = predicted(guess, series, seen, effect.tolist()) - seen.places_m
    assert np.abs(error_m + by_effect @ effect - shaken).max() < 2e-3


def test_the_rate_is_that_of_two_seconds_not_of_two_rows() -> None:
    values = SERIES.values.copy()
    values[5, 1] += 3.0  # one row's shake
    seen = _seen((0.0, 0.0))
    shaken = residuals(Parameters(0.0, 0.0, 0.0, time_s=0.25), Series(SERIES.times_s, values), seen)[1]
    plain = residuals(Parameters(0.0, 0.0, 0.0), SERIES, seen)[1]
    assert plain[0, :, 4] == pytest.approx((0.0, 10.0), abs=1e-6)
    assert np.abs(shaken[0, :, 4] - plain[0, :, 4]).max() < 2.0  # between the rows it would be 5 m/s


def test_a_gap_in_the_log_and_its_ends_are_left_out() -> None:
    series = Series(np.array([0.0, 1.0, 2.0, 3.0, 9.0, 10.0, 11.0, 12.0]), np.zeros((8, 6)))
    inside = series.surrounds(series.times_s, 1.0, 3.0)
    assert inside.tolist() == [False, True, True, False, False, True, True, False]
