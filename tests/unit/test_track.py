"""Odometry and the map offset, against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tilefix.localization.track import MapOffset, Odometry
from tilefix.types import Covariance


def fly(odometry: Odometry, speed: float, steps: int, *, dt: float = 0.25, noise: float = 0.0, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    throw = rng.normal(0.0, noise, 2)
    for _ in range(steps):
        odometry.propagate(dt)
        nxt = rng.normal(0.0, noise, 2)
        odometry.observe(speed * dt + nxt[0] - throw[0], nxt[1] - throw[1], max(noise, 0.01), 0.05)
        throw = nxt


def test_velocity_settles_on_the_truth() -> None:
    odometry = Odometry(1.0)
    fly(odometry, 12.0, 60)
    assert odometry.velocity_mps == pytest.approx((12.0, 0.0), abs=0.05)
    state, _ = odometry.at(2.0)
    assert state[0] == pytest.approx(12.0 * (60 * 0.25 + 2.0), abs=0.3)


def test_velocity_sigma_covers_attitude_noise() -> None:
    errors, sigmas = [], []
    for seed in range(40):
        odometry = Odometry(0.5)
        fly(odometry, 12.0, 50, noise=0.8, seed=seed)
        errors.append(odometry.velocity_mps[1])
        sigmas.append(math.sqrt(odometry.velocity_covariance().nn))
    assert 0.4 < np.std(errors) / np.mean(sigmas) < 1.3
    # Raw differences would be noisy to 0.8 * sqrt(2) / 0.25 = 4.5 m/s.
    assert np.std(errors) < 1.0


def circle(odometry: Odometry, speed: float, acceleration: float, seed: int) -> tuple[float, float]:
    """(error, sigma) of the velocity after 20 s on a circle, flown with a lean that never changes."""
    rng = np.random.default_rng(seed)
    dt, rate = 0.25, acceleration / speed
    throw = rng.normal(0.0, 0.5, 2)
    for k in range(80):
        course = rate * dt * np.array([k, k + 1])
        step = speed / rate * np.array([np.diff(np.sin(course))[0], -np.diff(np.cos(course))[0]])
        later = rng.normal(0.0, 0.5, 2)
        odometry.lean(3.5, 0.0, 0.0, dt)
        odometry.propagate(dt)
        odometry.observe(*(step + later - throw), 0.8, 0.05, dt)
        throw = later
    true = speed * np.array([math.cos(80 * rate * dt), math.sin(80 * rate * dt)])
    error = float(np.hypot(*(odometry.velocity_mps - true)))
    return error, odometry.velocity_covariance().sigma_major


def test_a_long_turn_that_no_lean_tells_of_is_followed_and_its_error_stated() -> None:
    found = [circle(Odometry(1.5), 20.0, 2.0, seed) for seed in range(20)]
    assert max(error / sigma for error, sigma in found) < 2.5
    assert np.median([error for error, _ in found]) < 1.5


def test_steady_flight_is_stated_surer_than_a_turn() -> None:
    straight = Odometry(1.5)
    for _ in range(80):
        straight.lean(3.5, 0.0, 0.0, 0.25)
        straight.propagate(0.25)
        straight.observe(5.0, 0.0, 0.8, 0.05, 0.25)
    assert straight.velocity_covariance().sigma_major < 0.6 * circle(Odometry(1.5), 20.0, 2.0, 0)[1]


def test_error_grows_ahead_of_the_last_frame() -> None:
    odometry = Odometry(1.0)
    fly(odometry, 5.0, 20)
    spreads = [odometry.at(seconds)[1][0, 0] for seconds in (0.0, 0.5, 1.0, 2.0)]
    assert spreads == sorted(spreads)
    assert spreads[-1] > 4 * spreads[1]


def test_a_skipped_frame_moves_on_and_hands_over_its_doubt() -> None:
    odometry = Odometry(1.0)
    fly(odometry, 10.0, 40)
    before = odometry.raw_east_m
    odometry.propagate(1.0)
    sigma_m = odometry.skip()
    assert odometry.raw_east_m - before == pytest.approx(10.0, abs=0.5)
    assert sigma_m > 0.3
    assert odometry.at(0.0)[1][0, 0] == 0.0


def test_offset_weighs_matches_and_drifts_linearly() -> None:
    offset = MapOffset(0.0, 0.0, Covariance(4.0, 0.0, 4.0))
    offset.observe(2.0, -2.0, Covariance(4.0, 0.0, 4.0))
    assert (offset.east_m, offset.north_m) == pytest.approx((1.0, -1.0))
    assert offset.covariance_m2 == pytest.approx(2.0 * np.eye(2))
    for _ in range(10):
        offset.drift(0.5)
    assert offset.covariance_m2 == pytest.approx((2.0 + 5.0**2) * np.eye(2))
    offset.jump(3.0)
    assert offset.covariance_m2 == pytest.approx((27.0 + 9.0) * np.eye(2))
    assert offset.distance2(1.0 + 6.0, -1.0, Covariance(0.0, 0.0, 0.0)) == pytest.approx(1.0)
    offset.observe(1.0, -1.0, Covariance(1.0, 0.0, 1.0))
    assert offset.covariance_m2[0, 0] == pytest.approx(36.0 / 37.0)


def test_a_sharp_match_counts_along_its_sharp_axis() -> None:
    offset = MapOffset(0.0, 0.0, Covariance(9.0, 0.0, 9.0))
    offset.observe(3.0, 3.0, Covariance(0.01, 0.0, 900.0))
    assert offset.east_m == pytest.approx(3.0, abs=0.02)
    assert offset.north_m == pytest.approx(0.03, abs=0.02)


def test_a_steadier_attitude_than_stated_sharpens_velocity() -> None:
    rng = np.random.default_rng(5)
    sigmas = {}
    for name, real_sigma in (("steady", 0.05), ("as stated", 0.8)):
        odometry = Odometry(1.0)
        throw = rng.normal(0.0, real_sigma, 2)
        for _ in range(120):
            odometry.propagate(0.25)
            nxt = rng.normal(0.0, real_sigma, 2)
            odometry.observe(3.0 + nxt[0] - throw[0], nxt[1] - throw[1], 0.8, 0.05)
            throw = nxt
        sigmas[name] = math.sqrt(odometry.velocity_covariance().ee)
        assert abs(odometry.velocity_mps[0] - 12.0) < 3.0 * sigmas[name]
    assert sigmas["steady"] < 0.7 * sigmas["as stated"]


def test_an_attitude_stated_without_noise_is_allowed() -> None:
    odometry = Odometry(1.0)
    for _ in range(20):
        odometry.propagate(0.5)
        odometry.observe(5.0, 0.0, 0.0, 0.1)
    assert odometry.velocity_mps == pytest.approx((10.0, 0.0), abs=0.1)


def test_a_steady_vehicle_has_a_sharper_velocity_than_one_that_leans_or_turns() -> None:
    sigmas = {}
    for name, leans, turn_rps in (
        ("steady", (0.5, 0.5), 0.0),
        ("leaning", (0.5, -4.0), 0.0),
        ("turning", (0.5, 0.5), 0.3),
    ):
        odometry = Odometry(1.5)
        for step in range(60):
            odometry.lean(0.0, leans[step >= 56], turn_rps, 0.25)
            odometry.propagate(0.25)
            odometry.observe(3.0, 0.0, 0.5, 0.1, 0.25)
        sigmas[name] = math.sqrt(odometry.velocity_covariance().ee)
        assert odometry.velocity_mps[0] == pytest.approx(12.0, abs=0.05)
    assert sigmas["steady"] < 0.7 * sigmas["leaning"]
    assert sigmas["steady"] < 0.7 * sigmas["turning"]


def test_velocity_covers_an_attitude_error_that_wanders() -> None:
    """Ornstein-Uhlenbeck, 30 s: as an autopilot's is."""
    dt, sigma_m = 0.25, 1.5
    keep = math.exp(-dt / 30.0)
    errors2, variances = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        odometry, throw = Odometry(1.5), rng.normal(0.0, sigma_m, 2)
        for _ in range(80):
            nxt = keep * throw + sigma_m * math.sqrt(1.0 - keep * keep) * rng.normal(0.0, 1.0, 2)
            odometry.lean(0.0, 0.0, 0.0, dt)
            odometry.propagate(dt)
            odometry.observe(12.0 * dt + nxt[0] - throw[0], nxt[1] - throw[1], sigma_m, 0.02, dt)
            throw = nxt
        errors2.append(odometry.velocity_mps[1] ** 2)
        variances.append(odometry.velocity_covariance().nn)
    assert 0.1 < np.mean(errors2) / np.mean(variances) < 1.3


def test_a_motion_that_no_vehicle_makes_is_not_believed() -> None:
    odometry = Odometry(1.5)
    assert odometry.believes(500.0, 0.0, 0.25, 0.1, 0.1)  # nothing is known yet
    for _ in range(60):
        odometry.lean(0.0, 0.0, 0.0, 0.25)
        odometry.propagate(0.25)
        odometry.observe(3.0, 0.0, 0.5, 0.1, 0.25)
    assert odometry.believes(3.2, 0.2, 0.25, 0.5, 0.1)
    for east_m, north_m in ((0.0, 0.0), (-3.0, 0.0), (3.0, 6.0)):  # a still picture, a heading turned over, another row
        assert not odometry.believes(east_m, north_m, 0.25, 0.5, 0.1)
    odometry.doubt()
    assert odometry.believes(0.0, 0.0, 0.25, 0.5, 0.1)


def test_a_corrected_heading_turns_the_velocity_clockwise() -> None:
    odometry = Odometry(1.0)
    fly(odometry, 10.0, 40)
    odometry.turn(30.0)
    turned = (10.0 * math.cos(math.radians(30.0)), -10.0 * math.sin(math.radians(30.0)))
    assert odometry.velocity_mps == pytest.approx(turned, abs=0.05)
    odometry.turn(-30.0)
    assert odometry.velocity_mps == pytest.approx((10.0, 0.0), abs=0.05)
    assert odometry.raw_east_m == pytest.approx(100.0)


def test_ahead_of_the_last_frame_a_steady_vehicle_may_begin_to_manoeuvre() -> None:
    usual_mps2, ahead_s = 1.5, 2.0
    odometry = Odometry(usual_mps2)
    for _ in range(80):
        odometry.lean(0.0, 0.0, 0.0, 0.25)
        odometry.propagate(0.25)
        odometry.observe(3.0, 0.0, 0.3, 0.05, 0.25)
    covariance = odometry.at(ahead_s)[1]
    # White acceleration over that time: position by the cube, velocity by the time itself.
    assert covariance[0, 0] > usual_mps2**2 * ahead_s**3 / 3.0
    assert covariance[2, 2] > usual_mps2**2 * ahead_s


def test_blind_flight_is_at_least_as_unsure_as_usual() -> None:
    sigmas_m = []
    for expected_mps2 in (0.0, 1.5, 6.0):
        odometry = Odometry(1.5)
        fly(odometry, 10.0, 40)
        odometry.expect(expected_mps2)
        odometry.propagate(3.0)
        sigmas_m.append(odometry.skip())
    assert sigmas_m[0] == sigmas_m[1] > 1.5 * math.sqrt(9.0)
    assert sigmas_m[2] > 2.0 * sigmas_m[1]


def test_a_velocity_that_was_forgotten_does_not_leave_its_lag_behind() -> None:
    """A turn shows in innovations that lag; once the velocity is measured anew they say nothing."""
    odometry = Odometry(1.5)
    circle(odometry, 20.0, 4.0, 3)
    odometry.doubt()
    for _ in range(4):
        odometry.lean(3.5, 0.0, 0.0, 0.25)
        odometry.propagate(0.25)
        odometry.observe(5.0, 0.0, 0.8, 0.05, 0.25)
    assert odometry.velocity_covariance().sigma_major < 1.3
