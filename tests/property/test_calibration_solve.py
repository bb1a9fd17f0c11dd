"""Planted errors are recovered from sightings, within what is stated; what a flight cannot tell is said."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sightings import series_of, sightings_of, with_errors
from tilefix.calibration.estimate import OPEN_SIGMA
from tilefix.calibration.model import Parameters
from tilefix.calibration.solve import solve

NOTHING = Parameters(0.0, 0.0, 0.0)
EXPECTED_SIGMA = OPEN_SIGMA.vector
angle = st.floats(-12.0, 12.0)
SERIES = series_of(seconds=100.0)


@settings(max_examples=8, deadline=None)
@given(angle, angle, angle, st.floats(-0.15, 0.15), st.floats(-0.4, 0.4), st.floats(-15.0, 15.0), st.integers(0, 99))
def test_planted_errors_are_recovered(roll, pitch, yaw, focal, time, east, seed) -> None:
    truth = Parameters(roll, pitch, yaw, focal, time, east, -east)
    seen = sightings_of(truth, SERIES, np.random.default_rng(seed), wild=0.1)
    found = solve(NOTHING, SERIES, seen, expected=NOTHING, expected_sigma=EXPECTED_SIGMA)
    error = np.abs(found.parameters.vector - truth.vector)
    assert (error[:3] < 0.2).all()
    assert error[3] < 0.004
    assert error[4] < 0.01
    assert (error[5:7] < 0.4).all()
    assert (error < 4.0 * found.sigma).all()


def test_stated_sigmas_are_honest_when_the_attitude_errs_for_long() -> None:
    """The mean of an error that lasts 30 s does not shrink with the number of frames."""
    scores = []
    for seed in range(10):
        rng = np.random.default_rng([7, seed])
        truth = Parameters(2.0, 5.0, -3.0, 0.05, 0.2, 4.0, -6.0)
        series = series_of(seconds=160.0, step_s=0.5)
        seen = sightings_of(truth, series, rng, every_s=4.0)
        found = solve(truth, with_errors(series, rng), seen, expected=NOTHING, expected_sigma=EXPECTED_SIGMA, steps=3)
        scores.append((found.parameters.vector - truth.vector) / found.sigma)
    rms = np.sqrt(np.mean(np.square(scores), axis=0))
    # The root mean square of ten draws of a standard normal lies between 0.4 and 1.6 in 99 of 100 cases.
    assert (rms[:3] > 0.4).all()
    assert (rms < 1.6).all()


def test_a_straight_flight_cannot_tell_mount_from_map_or_time() -> None:
    series = series_of(seconds=100.0, straight=True)
    # Of parts near the middle only, as perspective over the whole picture tells a little of the tilt.
    seen = sightings_of(NOTHING, series, np.random.default_rng(3), noise_m=1.0, width=0.1)
    straight = solve(NOTHING, series, seen, expected=NOTHING, expected_sigma=EXPECTED_SIGMA, steps=2).sigma
    turning = solve(
        NOTHING, SERIES, sightings_of(NOTHING, SERIES, np.random.default_rng(3), noise_m=1.0),
        expected=NOTHING, expected_sigma=EXPECTED_SIGMA, steps=2,
    ).sigma  # fmt: skip
    assert straight[4] > 0.3
    assert straight[6] > 5.0
    assert turning[4] < 0.02
    assert turning[6] < 0.5


def test_wild_sightings_weigh_little() -> None:
    rng = np.random.default_rng(5)
    seen = sightings_of(NOTHING, SERIES, rng, wild=0.2)
    found = solve(NOTHING, SERIES, seen, expected=NOTHING, expected_sigma=EXPECTED_SIGMA)
    far = np.hypot(*found.residuals_m.T) > 5.0
    assert far.any()
    assert found.weights[far].max() < 0.2
    assert np.median(found.weights[~far]) > 0.8
