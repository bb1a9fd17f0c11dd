"""Rectification against the simulated camera: what was rendered comes back as the map it was rendered from."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from support.scenes import noise_ground
from tilefix.camera import CameraModel, Mount
from tilefix.geodesy import Grid
from tilefix.rectify import Rectifier, _reduced
from tilefix.simulation.camera import render_view

SIDE = 800
GRID = Grid(-200.0, 200.0, 0.5, SIDE, SIDE)
GROUND = noise_ground(3, SIDE)
AGL_M = 120.0


def similarity(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    x, y = a[mask].astype(float).ravel(), b[mask].astype(float).ravel()
    return float(np.corrcoef(x, y)[0, 1])


def map_patch(east_m: float, north_m: float, size_px: int) -> np.ndarray:
    column, row = (round(v) for v in GRID.to_pixel(east_m, north_m))
    half = size_px // 2
    return GROUND[row - half : row + half + 1, column - half : column + half + 1]


@pytest.mark.parametrize(
    ("camera", "mount"),
    [
        (CameraModel.from_hfov(640, 480, 55.0), Mount()),
        (CameraModel.from_hfov(1600, 900, 55.0), Mount(2.0, 5.0, 90.0)),
        (CameraModel.from_hfov(640, 480, 55.0, (-0.12, 0.03, 0.001, -0.001, 0.0)), Mount()),
    ],
    ids=["plain", "large and mounted askew", "distorted lens"],
)
@pytest.mark.parametrize(("roll", "pitch", "yaw"), [(0.0, 0.0, 0.0), (7.0, -5.0, 133.0)])
def test_rendered_view_comes_back_north_up(camera, mount, roll, pitch, yaw) -> None:
    image = render_view(GROUND, GRID, camera, mount, 12.25, -20.25, AGL_M, roll, pitch, yaw)
    rectifier = Rectifier(camera, mount)
    view = rectifier.view(roll, pitch, yaw, AGL_M)
    assert view is not None
    centre = (round(view.centre_m[0]), round(view.centre_m[1]))
    patch = rectifier.prepare(image, AGL_M, 0.5).patch(view, gsd_m=0.5, size_px=121, centre_m=centre)
    assert patch.mask.mean() > 0.9
    truth = map_patch(12.25 + centre[0], -20.25 + centre[1], 121)
    assert similarity(patch.image, truth, patch.mask) > 0.97
    # One pixel off is clearly worse: the registration has no half-pixel to hide in.
    beside = map_patch(12.25 + centre[0] + 0.5, -20.25 + centre[1], 121)
    assert similarity(patch.image, truth, patch.mask) > similarity(patch.image, beside, patch.mask)


def test_turn_and_scale_undo_wrong_heading_and_height() -> None:
    camera, mount = CameraModel.from_hfov(640, 480, 55.0), Mount()
    image = render_view(GROUND, GRID, camera, mount, 0.25, 0.25, AGL_M, 0.0, 0.0, 40.0)
    rectifier = Rectifier(camera, mount)
    wrong = rectifier.view(0.0, 0.0, 30.0, AGL_M / 1.1)
    assert wrong is not None
    prepared = rectifier.prepare(image, wrong.agl_m, 0.5)
    put_right = prepared.patch(wrong, gsd_m=0.5, size_px=101, centre_m=(0.0, 0.0), turn_deg=10.0, scale=1.1)
    left_wrong = prepared.patch(wrong, gsd_m=0.5, size_px=101, centre_m=(0.0, 0.0))
    truth = map_patch(0.25, 0.25, 101)
    assert similarity(put_right.image, truth, put_right.mask) > 0.97
    assert similarity(left_wrong.image, truth, left_wrong.mask) < 0.8


def test_footprint_is_what_trigonometry_says() -> None:
    rectifier = Rectifier(CameraModel.from_hfov(852, 480, 73.7), Mount())
    view = rectifier.view(0.0, 0.0, 0.0, 50.0)
    assert view is not None
    size = view.corners_m.max(axis=0) - view.corners_m.min(axis=0)
    assert size == pytest.approx([74.95, 42.2], abs=0.1)
    assert view.area_m2 == pytest.approx(size[0] * size[1])
    assert view.extent_m == pytest.approx(size[0])


def test_horizon_in_view_gives_no_view() -> None:
    rectifier = Rectifier(CameraModel.from_hfov(640, 480, 90.0), Mount())
    assert rectifier.view(0.0, 20.0, 0.0, 100.0) is not None
    assert rectifier.view(0.0, 45.0, 0.0, 100.0) is None
    assert rectifier.tilt_deg(0.0, 45.0) == pytest.approx(45.0)


def test_frame_of_another_size_is_refused() -> None:
    rectifier = Rectifier(CameraModel.from_hfov(640, 480, 60.0), Mount())
    with pytest.raises(ValueError, match="320 x 240"):
        rectifier.prepare(np.zeros((240, 320, 3), np.uint8), 100.0, 0.5)


@pytest.mark.parametrize("size", [(1080, 1920), (1081, 1920), (540, 960)])
def test_a_picture_reduced_in_halves_is_the_area_average(size) -> None:
    rng = np.random.default_rng(1)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (*size, 3), np.uint8), (0, 0), 3.0)
    found, at_once = _reduced(picture, 210, 118), cv2.resize(picture, (210, 118), interpolation=cv2.INTER_AREA)
    assert found.shape == (118, 210, 3)
    assert np.abs(found.astype(int) - at_once).max() <= 3
    assert np.abs(found.astype(int) - at_once).mean() < 1.0
