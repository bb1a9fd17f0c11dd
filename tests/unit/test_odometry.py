"""Odometry, against what it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tilefix.localization.odometry import Odometry, Throw
from tilefix.localization.settings import LocalizerSettings

SIGMA_DEG = 0.35


def odometry_of(acceleration_mps2: float) -> Odometry:
    settings = LocalizerSettings(acceleration_mps2=acceleration_mps2, attitude_sigma_deg=SIGMA_DEG, mount_sigma_deg=0.0)
    return Odometry(settings)


def thrown(sigma_m: float, yaw_deg: float = 0.0) -> Throw:
    """From so high up that the attitude's error throws a picture so far."""
    c, s = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    return Throw(np.array([[-c, s], [s, c]]), sigma_m / math.radians(SIGMA_DEG) * np.eye(2))


def fly(odometry: Odometry, speed: float, steps: int, *, dt: float = 0.25, noise: float = 0.0, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    throw = rng.normal(0.0, noise, 2)
    for _ in range(steps):
        odometry.propagate(dt)
        nxt = rng.normal(0.0, noise, 2)
        odometry.observe(speed * dt + nxt[0] - throw[0], nxt[1] - throw[1], thrown(max(noise, 0.01)), 0.05)
        throw = nxt


def test_velocity_settles_on_the_truth() -> None:
    odometry = odometry_of(1.0)
    fly(odometry, 12.0, 60)
    assert odometry.velocity_mps == pytest.approx((12.0, 0.0), abs=0.05)
    state, _ = odometry.at(2.0)
    assert state[0] == pytest.approx(12.0 * (60 * 0.25 + 2.0), abs=0.3)


def test_velocity_sigma_covers_attitude_noise() -> None:
    errors, sigmas = [], []
    for seed in range(40):
        odometry = odometry_of(0.5)
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
        odometry.observe(*(step + later - throw), thrown(0.8), 0.05, dt)
        throw = later
    true = speed * np.array([math.cos(80 * rate * dt), math.sin(80 * rate * dt)])
    error = float(np.hypot(*(odometry.velocity_mps - true)))
    return error, odometry.velocity_covariance().sigma_major


def test_a_long_turn_that_no_lean_tells_of_is_followed_and_its_error_stated() -> None:
    found = [circle(odometry_of(1.5), 20.0, 2.0, seed) for seed in range(20)]
    assert max(error / sigma for error, sigma in found) < 2.5
    assert np.median([error for error, _ in found]) < 1.5


def test_steady_flight_is_stated_surer_than_a_turn() -> None:
    straight = odometry_of(1.5)
    for _ in range(80):
        straight.lean(3.5, 0.0, 0.0, 0.25)
        straight.propagate(0.25)
        straight.observe(5.0, 0.0, thrown(0.8), 0.05, 0.25)
    assert straight.velocity_covariance().sigma_major < 0.6 * circle(odometry_of(1.5), 20.0, 2.0, 0)[1]


def test_error_grows_ahead_of_the_last_frame() -> None:
    odometry = odometry_of(1.0)
    fly(odometry, 5.0, 20)
    spreads = [odometry.at(seconds)[1][0, 0] for seconds in (0.0, 0.5, 1.0, 2.0)]
    assert spreads == sorted(spreads)
    assert spreads[-1] > 4 * spreads[1]


def test_a_skipped_frame_moves_on_and_hands_over_its_doubt() -> None:
    odometry = odometry_of(1.0)
    fly(odometry, 10.0, 40)
    before = odometry.raw_east_m
    odometry.propagate(1.0)
    sigma_m = odometry.skip()
    assert odometry.raw_east_m - before == pytest.approx(10.0, abs=0.5)
    assert sigma_m > 0.3
    # Nothing is left but what the attitude may throw the picture.
    assert odometry.at(0.0)[1][0, 0] == pytest.approx(0.01**2, rel=0.01)


def test_a_steadier_attitude_than_stated_sharpens_velocity() -> None:
    rng = np.random.default_rng(5)
    sigmas = {}
    for name, real_sigma in (("steady", 0.05), ("as stated", 0.8)):
        odometry = odometry_of(1.0)
        throw = rng.normal(0.0, real_sigma, 2)
        for _ in range(120):
            odometry.propagate(0.25)
            nxt = rng.normal(0.0, real_sigma, 2)
            odometry.observe(3.0 + nxt[0] - throw[0], nxt[1] - throw[1], thrown(0.8), 0.05)
            throw = nxt
        sigmas[name] = math.sqrt(odometry.velocity_covariance().ee)
        assert abs(odometry.velocity_mps[0] - 12.0) < 3.0 * sigmas[name]
    assert sigmas["steady"] < 0.7 * sigmas["as stated"]


def test_an_attitude_stated_without_noise_is_allowed() -> None:
    odometry = odometry_of(1.0)
    for _ in range(20):
        odometry.propagate(0.5)
        odometry.observe(5.0, 0.0, thrown(0.0), 0.1)
    assert odometry.velocity_mps == pytest.approx((10.0, 0.0), abs=0.1)


def test_a_steady_vehicle_has_a_sharper_velocity_than_one_that_leans_or_turns() -> None:
    sigmas = {}
    for name, leans, turn_rps in (
        ("steady", (0.5, 0.5), 0.0),
        ("leaning", (0.5, -4.0), 0.0),
        ("turning", (0.5, 0.5), 0.3),
    ):
        odometry = odometry_of(1.5)
        for step in range(60):
            odometry.lean(0.0, leans[step >= 56], turn_rps, 0.25)
            odometry.propagate(0.25)
            odometry.observe(3.0, 0.0, thrown(0.5), 0.1, 0.25)
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
        odometry, throw = odometry_of(1.5), rng.normal(0.0, sigma_m, 2)
        for _ in range(80):
            nxt = keep * throw + sigma_m * math.sqrt(1.0 - keep * keep) * rng.normal(0.0, 1.0, 2)
            odometry.lean(0.0, 0.0, 0.0, dt)
            odometry.propagate(dt)
            odometry.observe(12.0 * dt + nxt[0] - throw[0], nxt[1] - throw[1], thrown(sigma_m), 0.02, dt)
            throw = nxt
        errors2.append(odometry.velocity_mps[1] ** 2)
        variances.append(odometry.velocity_covariance().nn)
    assert 0.1 < np.mean(errors2) / np.mean(variances) < 1.3


def test_a_motion_that_no_vehicle_makes_is_not_believed() -> None:
    odometry = odometry_of(1.5)
    assert odometry.believes(500.0, 0.0, 0.25, thrown(0.1), 0.1)  # nothing is known yet
    for _ in range(60):
        odometry.lean(0.0, 0.0, 0.0, 0.25)
        odometry.propagate(0.25)
        odometry.observe(3.0, 0.0, thrown(0.5), 0.1, 0.25)
    assert odometry.believes(3.2, 0.2, 0.25, thrown(0.5), 0.1)
    for east_m, north_m in ((0.0, 0.0), (-3.0, 0.0), (3.0, 6.0)):  # a still picture, a heading turned over, another row
        assert not odometry.believes(east_m, north_m, 0.25, thrown(0.5), 0.1)
    odometry.doubt()
    assert odometry.believes(0.0, 0.0, 0.25, thrown(0.5), 0.1)


def test_a_corrected_heading_turns_the_velocity_clockwise() -> None:
    odometry = odometry_of(1.0)
    fly(odometry, 10.0, 40)
    odometry.turn(30.0)
    turned = (10.0 * math.cos(math.radians(30.0)), -10.0 * math.sin(math.radians(30.0)))
    assert odometry.velocity_mps == pytest.approx(turned, abs=0.05)
    odometry.turn(-30.0)
    assert odometry.velocity_mps == pytest.approx((10.0, 0.0), abs=0.05)
    assert odometry.raw_east_m == pytest.approx(100.0)


def test_ahead_of_the_last_frame_a_steady_vehicle_may_begin_to_manoeuvre() -> None:
    usual_mps2, ahead_s = 1.5, 2.0
    odometry = odometry_of(usual_mps2)
    for _ in range(80):
        odometry.lean(0.0, 0.0, 0.0, 0.25)
        odometry.propagate(0.25)
        odometry.observe(3.0, 0.0, thrown(0.3), 0.05, 0.25)
    covariance = odometry.at(ahead_s)[1]
    # White acceleration over that time: position by the cube, velocity by the time itself.
    assert covariance[0, 0] > usual_mps2**2 * ahead_s**3 / 3.0
    assert covariance[2, 2] > usual_mps2**2 * ahead_s


def test_blind_flight_is_at_least_as_unsure_as_usual() -> None:
    sigmas_m = []
    for expected_mps2 in (0.0, 1.5, 6.0):
        odometry = odometry_of(1.5)
        fly(odometry, 10.0, 40)
        odometry.expect(expected_mps2)
        odometry.propagate(3.0)
        sigmas_m.append(odometry.skip())
    assert sigmas_m[0] == sigmas_m[1] > 1.5 * math.sqrt(9.0)
    assert sigmas_m[2] > 2.0 * sigmas_m[1]


def test_a_velocity_that_was_forgotten_does_not_leave_its_lag_behind() -> None:
    """A turn shows in innovations that lag; once the velocity is measured anew they say nothing."""
    odometry = odometry_of(1.5)
    circle(odometry, 20.0, 4.0, 3)
    odometry.doubt()
    for _ in range(4):
        odometry.lean(3.5, 0.0, 0.0, 0.25)
        odometry.propagate(0.25)
        odometry.observe(5.0, 0.0, thrown(0.8), 0.05, 0.25)
    assert odometry.velocity_covariance().sigma_major < 1.3


def steady(odometry: Odometry, frames: int, throw: Throw, error_m: np.ndarray, before_m: np.ndarray) -> None:
    """Flies north at 10 m/s, 4 frames a second, pictures being thrown by `error_m`, the one before by `before_m`."""
    for _ in range(frames):
        odometry.lean(0.0, 0.0, 0.0, 0.25)
        odometry.propagate(0.25)
        odometry.observe(*(np.array([0.0, 2.5]) + error_m - before_m), throw, 0.02, 0.25)
        before_m = error_m


def test_a_told_tilt_moves_the_place_back_and_the_velocity_hardly() -> None:
    error_m, throw = np.array([2.0, -1.0]), thrown(2.0)
    odometry = odometry_of(1.5)
    odometry.begin(throw)
    steady(odometry, 40, throw, error_m, error_m)
    raw_m = np.array([odometry.raw_east_m, odometry.raw_north_m])
    before, spread = odometry.at(0.0)
    assert before[:2] == pytest.approx(raw_m, abs=0.1)  # nothing tells the error yet
    assert spread[0, 0] == pytest.approx(4.0, rel=0.1)
    rad = error_m / throw.metres[0, 0]
    odometry.observe_tilt(rad, (0.2 / throw.metres[0, 0]) ** 2 * np.eye(2), 400.0)
    state, told = odometry.at(0.0)
    back_m = raw_m - state[:2]
    assert 0.4 < float(back_m @ error_m) / float(error_m @ error_m) < 1.0
    assert 0.8 < math.sqrt(told[0, 0]) < 1.8  # the slope that may be unknown among it
    assert odometry.velocity_mps == pytest.approx((0.0, 10.0), abs=0.15)


def test_pictures_of_one_ground_tell_the_tilt_once() -> None:
    throw, told = thrown(2.0), (0.5 / thrown(2.0).metres[0, 0]) ** 2 * np.eye(2)

    def left_m(way_m: float, pictures: int) -> float:
        odometry = odometry_of(1.5)
        odometry.begin(throw)
        for _ in range(pictures):
            odometry.propagate(0.25)
            odometry.observe(0.0, way_m, throw, 0.02, 0.25)
            odometry.observe_tilt(np.zeros(2), told, 400.0)
        return math.sqrt(odometry.at(0.0)[1][0, 0])

    # What is common to all pictures of it stays, however often it is looked at.
    assert left_m(0.0, 200) > 0.8 * left_m(0.0, 20) > 0.3
    assert left_m(200.0, 20) < 0.85 * left_m(0.0, 20)


def test_a_tilt_that_no_attitude_has_is_not_believed() -> None:
    throw = thrown(2.0)
    odometry = odometry_of(1.5)
    odometry.begin(throw)
    steady(odometry, 20, throw, np.zeros(2), np.zeros(2))
    before = odometry.at(0.0)
    odometry.observe_tilt(np.array([0.1, 0.0]), 1e-8 * np.eye(2), 400.0)
    after = odometry.at(0.0)
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])


@pytest.mark.parametrize("turned", [True, False])
def test_a_turn_tells_the_error_that_turns_with_the_body(turned: bool) -> None:
    """Half of an error may keep its direction, so that no turn tells all of it."""
    roll_rad, odometry = math.radians(0.4), odometry_of(1.5)
    facing = [thrown(2.0, yaw_deg) for yaw_deg in (0.0, 180.0 if turned else 0.0)]
    errors_m = [throw.metres @ throw.body @ (roll_rad, 0.0) for throw in facing]
    odometry.begin(facing[0])
    steady(odometry, 40, facing[0], errors_m[0], errors_m[0])
    steady(odometry, 8, facing[1], errors_m[1], errors_m[0])
    off_m = np.array([odometry.raw_east_m, odometry.raw_north_m]) - odometry.at(0.0)[0][:2]
    share = float(off_m @ errors_m[1]) / float(errors_m[1] @ errors_m[1])
    assert (0.4 < share < 1.1) if turned else (abs(share) < 0.2)
    sigma_m = math.sqrt(odometry.at(0.0)[1][0, 0])
    assert (1.0 < sigma_m < 1.7) if turned else (sigma_m > 1.9)


def test_heights_that_a_map_has_wrong_tell_less_the_smaller_the_view() -> None:
    def sigma_m(surface_sigma_m: float, side_m: float) -> float:
        settings = LocalizerSettings(attitude_sigma_deg=SIGMA_DEG, mount_sigma_deg=0.0, surface_sigma_m=surface_sigma_m)
        odometry, throw = Odometry(settings), thrown(2.0)
        odometry.begin(throw)
        steady(odometry, 20, throw, np.zeros(2), np.zeros(2))
        odometry.observe_tilt(np.zeros(2), 1e-8 * np.eye(2), side_m)
        return math.sqrt(odometry.at(0.0)[1][0, 0])

    assert sigma_m(0.1, 400.0) < 0.4 < 0.7 < sigma_m(1.0, 400.0) < sigma_m(1.0, 200.0) < 0.95 * 2.0
    assert sigma_m(1.0, 400.0) == pytest.approx(sigma_m(0.5, 200.0))


@pytest.mark.parametrize("turn_deg", [25.0, 180.0])
def test_a_heading_found_wrong_is_no_turn_of_the_vehicle(turn_deg: float) -> None:
    """Nothing turned: what the attitude may throw the pictures stays as unknown as it was."""
    odometry, before, after = odometry_of(1.5), thrown(2.0), thrown(2.0, turn_deg)
    odometry.begin(before)
    steady(odometry, 30, before, np.zeros(2), np.zeros(2))
    sigma_m = math.sqrt(odometry.at(0.0)[1][0, 0])
    odometry.turn(turn_deg)
    velocity = np.array(odometry.velocity_mps)
    for _ in range(20):
        odometry.lean(0.0, 0.0, 0.0, 0.25)
        odometry.propagate(0.25)
        odometry.observe(*(0.25 * velocity), after, 0.02, 0.25)
    assert math.sqrt(odometry.at(0.0)[1][0, 0]) == pytest.approx(sigma_m, rel=0.03)
    assert odometry.velocity_mps == pytest.approx(velocity.tolist(), abs=0.1)


def test_a_turn_that_no_picture_showed_tells_nothing_of_the_attitude() -> None:
    odometry, before, after = odometry_of(1.5), thrown(2.0), thrown(2.0, 180.0)
    odometry.begin(before)
    steady(odometry, 30, before, np.zeros(2), np.zeros(2))
    sigma_m = math.sqrt(odometry.at(0.0)[1][0, 0])
    odometry.propagate(2.0)
    odometry.skip(after)  # the next motion counts from a picture that looks the other way
    steady(odometry, 20, after, np.zeros(2), np.zeros(2))
    assert math.sqrt(odometry.at(0.0)[1][0, 0]) == pytest.approx(sigma_m, rel=0.05)
