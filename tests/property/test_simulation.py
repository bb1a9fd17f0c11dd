"""What must hold of generated layouts, motion and estimates for any seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilefix.camera import CameraModel, Mount, camera_to_ned, ground_to_pixel, rotation_deg
from tilefix.geodesy import Grid
from tilefix.simulation.camera import render_view
from tilefix.simulation.estimator import Estimator
from tilefix.simulation.leaning import CorrectedLean
from tilefix.simulation.noise import Warp, rng_for, value_noise
from tilefix.simulation.partition import densify, oriented_box, partition, polygon_area, shrink
from tilefix.simulation.vehicle import Motion, wander

SEEDS = st.integers(0, 2**31)
SQUARE = np.array([[0.0, 0.0], [500.0, 0.0], [500.0, 400.0], [0.0, 400.0]])


@given(SEEDS, st.floats(3000.0, 60000.0), st.floats(0.0, 0.3))
@settings(max_examples=30, deadline=None)
def test_a_partition_neither_loses_nor_doubles_ground(seed: int, stop_m2: float, jitter_rad: float) -> None:
    leaves, cuts = partition(rng_for(seed), SQUARE, lambda _: stop_m2, lambda _: jitter_rad)
    assert sum(map(polygon_area, leaves)) == pytest.approx(polygon_area(SQUARE), rel=1e-9)
    assert len(leaves) == len(cuts) + 1
    assert [cut.area_m2 for cut in cuts] == sorted((cut.area_m2 for cut in cuts), reverse=True)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_warp_bends_without_jumps(seed: int) -> None:
    warp = Warp(rng_for(seed), 1000.0, 300.0)
    line = densify(np.array([[-200.0, 100.0], [1200.0, 700.0]]), 2.0, closed=False)
    steps = np.hypot(*np.diff(warp(line), axis=0).T)
    assert steps.max() < 6.0
    assert np.abs(np.diff(steps)).max() < 0.1


@given(SEEDS, st.floats(1.0, 400.0))
@settings(max_examples=25, deadline=None)
def test_noise_is_bounded_and_smooth_at_its_wavelength(seed: int, wavelength_px: float) -> None:
    field = value_noise(rng_for(seed), (64, 96), wavelength_px)
    assert field.shape == (64, 96)
    assert np.abs(field).max() < 12.0
    if wavelength_px > 8.0:
        assert np.abs(np.diff(field, axis=1)).max() < 30.0 / wavelength_px


@given(st.floats(1.0, 200.0), st.floats(1.0, 200.0), st.floats(-3.0, 3.0), st.floats(0.1, 0.9))
@settings(max_examples=40, deadline=None)
def test_an_oriented_box_of_a_rectangle_is_that_rectangle(
    length: float, width: float, turn: float, factor: float
) -> None:
    c, s = math.cos(turn), math.sin(turn)
    corners = np.array([[length, width], [length, -width], [-length, -width], [-length, width]]) / 2.0
    turned = corners @ np.array([[c, s], [-s, c]]) + [30.0, -20.0]
    x, y, long_side, short_side, _ = oriented_box(turned)
    assert (x, y) == pytest.approx((30.0, -20.0), abs=1e-3)
    assert (long_side, short_side) == pytest.approx((max(length, width), min(length, width)), rel=1e-3, abs=1e-3)
    assert polygon_area(shrink(turned, factor)) == pytest.approx(factor**2 * length * width, rel=1e-6)


@given(SEEDS, st.floats(100.0, 3000.0))
@settings(max_examples=30, deadline=None)
def test_a_wandering_path_stays_inside(seed: int, length_m: float) -> None:
    grid = Grid(-600.0, 500.0, 1.0, 1200, 1000)
    path = wander(seed, grid, margin_m=80.0, length_m=length_m)
    assert all(grid.contains(*point, 79.999) for point in path)


@given(
    st.floats(-15.0, 15.0), st.floats(-15.0, 15.0), st.floats(0.0, 360.0), st.floats(60.0, 120.0),
    st.integers(20, 139), st.integers(20, 99),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_each_pixel_shows_the_ground_that_the_geometry_says(
    roll: float, pitch: float, yaw: float, agl_m: float, column: int, row: int
) -> None:
    # Red grows east and green grows north: a picture that tells where each pixel looks.
    grid = Grid(-256.0, 256.0, 2.0, 256, 256)
    ramp = np.arange(256, dtype=np.uint8)
    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = ramp, ramp[::-1, None]
    camera = CameraModel.from_hfov(160, 120, 50.0)
    picture = render_view(pixels, grid, camera, Mount(), 5.0, -7.0, agl_m, roll, pitch, yaw)
    back = np.linalg.inv(ground_to_pixel(camera, camera_to_ned(roll, pitch, yaw, Mount()), agl_m))
    east_m, north_m, scale = back @ [column, row, 1.0]
    east_m, north_m = 5.0 + east_m / scale, -7.0 + north_m / scale
    expected = ((east_m + 255.0) / 2.0, (north_m + 255.0) / 2.0)
    if min(expected) > 1.0 and max(expected) < 254.0:
        assert picture[row, column, :2] == pytest.approx(expected, abs=1.0)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_estimator_follows_honest_positions_and_its_sigma_covers_the_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    estimator = Estimator(0.0, 0.0, 5.0, 0.0)
    for k in range(1, 600):
        now_s = 0.05 * k
        estimator.predict(now_s, 0.0, 0.0)
        if k % 2 == 0:
            at = (5.0 * (now_s - 0.2) + rng.normal(0.0, 2.0), rng.normal(0.0, 2.0))
            estimator.fuse_velocity((5.0 + rng.normal(0.0, 0.3), rng.normal(0.0, 0.3)), 0.3, 0.2)
            estimator.fuse_position(at, 2.0, 0.2)
    error_m = math.dist(estimator.position, (5.0 * 0.05 * 599, 0.0))
    assert error_m < 4.0 * estimator.sigma_m + 0.2
    assert estimator.sigma_m < 1.5


@given(st.floats(-300.0, 300.0), st.floats(-300.0, 300.0))
@settings(deadline=None)
def test_a_jump_fails_the_estimators_gate_until_it_is_reset_there(east_m: float, north_m: float) -> None:
    estimator = Estimator(0.0, 0.0, 0.0, 0.0)
    for k in range(1, 101):
        estimator.predict(0.1 * k, 0.0, 0.0)
        assert estimator.position_ratio((0.0, 0.0), 2.0, 0.0, 5.0) < 1.0
        estimator.fuse_position((0.0, 0.0), 2.0, 0.0)
    off_m, gate_m = math.hypot(east_m, north_m), 5.0 * math.sqrt(2.0) * math.hypot(estimator.sigma_m, 2.0)
    assert (estimator.position_ratio((east_m, north_m), 2.0, 0.0, 5.0) < 1.0) == (off_m < gate_m)
    estimator.reset_position((east_m, north_m), 0.0, 2.0)
    assert estimator.position == pytest.approx((east_m, north_m))
    assert estimator.sigma_m == pytest.approx(2.0)
    assert estimator.position_ratio((east_m, north_m), 2.0, 0.0, 5.0) < 1.0


@given(st.floats(-180.0, 180.0), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_an_attitude_leans_the_way_its_velocity_was_corrected(
    yaw_deg: float, east_mps: float, north_mps: float
) -> None:
    lean = CorrectedLean(2.0)
    lean.corrected((8.0, 3.0), (8.0 + east_mps, 3.0 + north_mps))
    roll_deg, pitch_deg = lean.roll_pitch_deg(Motion(*([0.0] * 9), yaw_deg))
    # Thrust is against the body's down axis.
    north, east = -rotation_deg(roll_deg, pitch_deg, yaw_deg)[:2, 2]
    assert (east, north) == pytest.approx((math.radians(2.0 * east_mps), math.radians(2.0 * north_mps)), abs=3e-4)
    assert lean.push_mps2 == pytest.approx((9.81 * east, 9.81 * north), abs=4e-3)
