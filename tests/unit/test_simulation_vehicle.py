"""The simulated vehicle and its course."""

import math
from itertools import pairwise

import numpy as np
import pytest

from tilefix.geodesy import Grid
from tilefix.simulation.vehicle import COPTER, PLANE, Course, Motion, SimulatedVehicle, Weather, between, wander

GRID = Grid(-1000.0, 1000.0, 0.5, 4000, 4000)


def _fly(seconds, *, seed=5, airframe=COPTER, push=(0.0, 0.0), course_deg=0.0, **start):
    vehicle = SimulatedVehicle(0.0, 0.0, 120.0, seed=seed, airframe=airframe, **start)
    return [vehicle.step(0.01, *push, 0.0, course_deg) for _ in range(round(seconds * 100))]


def test_same_seed_gives_the_same_flight():
    assert _fly(3.0) == _fly(3.0)
    assert _fly(3.0) != _fly(3.0, seed=6)


def test_position_is_the_integral_of_velocity():
    motions = _fly(20.0, push=(0.4, -0.2))
    moved = np.cumsum([(m.east_mps * 0.01, m.north_mps * 0.01) for m in motions], axis=0)
    assert moved[-1] == pytest.approx((motions[-1].east_m, motions[-1].north_m), abs=0.1)


def test_height_wanders_slowly_around_the_hold():
    heights = np.array([m.agl_m for m in _fly(120.0)])
    climbs = np.array([m.climb_mps for m in _fly(120.0)])
    assert 0.2 < heights.std() < 3.0
    assert abs(heights.mean() - 120.0) < 4.0
    assert np.abs(climbs).max() < 3.0


def test_a_copter_leans_forward_to_speed_up_and_turns_its_nose_at_a_limited_rate():
    motions = _fly(1.5, push=(0.0, 2.0), weather=Weather(0.0, 0.0, 0.0))
    assert np.mean([m.pitch_deg for m in motions[50:]]) == pytest.approx(-math.degrees(math.atan(2.0 / 9.81)), abs=2.0)
    turned = _fly(2.0, course_deg=170.0)
    assert turned[-1].yaw_deg % 360.0 == pytest.approx(70.0, abs=2.0)


def test_a_copter_leans_into_the_wind_to_stay():
    # Wind from the north (blowing south): thrust must point north, nose down when facing it.
    motions = _fly(0.5, weather=Weather(0.0, -8.0, 0.0))
    assert np.mean([m.pitch_deg for m in motions]) < -3.0


def test_a_plane_banks_into_the_turn():
    motions = _fly(1.5, airframe=PLANE, yaw_deg=0.0, speed_mps=20.0, push=(3.0, 0.0), weather=Weather(0.0, 0.0, 0.0))
    assert np.mean([m.roll_deg for m in motions[100:]]) > 8.0


def test_wander_stays_inside_and_is_long_enough():
    path = wander(9001, GRID, margin_m=150.0, length_m=3000.0)
    assert path == wander(9001, GRID, margin_m=150.0, length_m=3000.0)
    assert all(GRID.contains(*point, 150.0) for point in path)
    assert sum(math.dist(a, b) for a, b in pairwise(path)) >= 3000.0
    with pytest.raises(ValueError, match="no room"):
        wander(1, GRID, margin_m=950.0, length_m=100.0)


def test_a_course_leads_along_its_legs_and_ends():
    course = Course([(0.0, 0.0), (200.0, 0.0), (200.0, 200.0)], 10.0)
    assert course.velocity(50.0, 0.0) == pytest.approx((10.0, 0.0))
    east, north = course.velocity(50.0, 30.0)
    assert east > 0.0 > north  # back to the leg
    assert course.velocity(195.0, 10.0) == pytest.approx((10.0 * 5 / math.hypot(5, 40), 9.92), abs=0.05)
    assert course.velocity(200.0, 190.0) == (0.0, 0.0)
    with pytest.raises(ValueError, match="two waypoints"):
        Course([(0.0, 0.0)], 5.0)


def test_between_takes_the_short_way_round():
    early, late = (Motion(t, t, 0, 100, 0, 0, 0, 0, 0, yaw) for t, yaw in ((0.0, 350.0), (1.0, 10.0)))
    assert between(early, late, 0.5).yaw_deg == pytest.approx(360.0)
    assert between(early, late, 0.25).east_m == pytest.approx(0.25)
