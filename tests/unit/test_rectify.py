"""Rectification against the simulated camera: what was rendered comes back as the map it was rendered from."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from support.scenes import noise_ground
from tilefix.camera import CameraModel, Mount
from tilefix.geodesy import Grid
from tilefix.localization.rectify import PreparedFrame, Rectifier, View, _reduced
from tilefix.maps.terrain import Relief, Terrain
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


_AT = (np.arange(SIDE) + 0.5) * 0.5
# Slopes of up to 0.4: as steep as pastures are.
HILLS = Terrain(GRID, (10.0 * np.sin(_AT / 35.0)[None, :] + 8.0 * np.cos(_AT / 30.0)[:, None]).astype(np.float32))


def over_hills(
    east_m: float, north_m: float, attitude: tuple[float, float, float]
) -> tuple[Rectifier, np.ndarray, View]:
    """The camera `AGL_M` above the hills' zero; the view knows the height above ground and the relief."""
    camera, mount = CameraModel.from_hfov(640, 480, 55.0), Mount()
    image = render_view(GROUND, GRID, camera, mount, east_m, north_m, AGL_M, *attitude, terrain=HILLS)
    below_m = HILLS.at(east_m, north_m)
    assert below_m is not None
    rectifier = Rectifier(camera, mount)
    view = rectifier.view(*attitude, AGL_M - below_m)
    assert view is not None
    return rectifier, image, view.over(view.agl_m, Relief(HILLS, east_m, north_m, below_m))


@pytest.mark.parametrize("attitude", [(0.0, 0.0, 0.0), (7.0, -5.0, 133.0), (-15.0, 10.0, 280.0)])
@pytest.mark.parametrize("place", [(12.25, -20.25), (-60.25, 50.25)])
def test_hills_come_back_laid_flat(place: tuple[float, float], attitude: tuple[float, float, float]) -> None:
    rectifier, image, view = over_hills(*place, attitude)
    centre = (round(view.centre_m[0]), round(view.centre_m[1]))
    prepared = rectifier.prepare(image, view.agl_m, 0.5)
    size = {"gsd_m": 0.5, "size_px": 121, "centre_m": centre}
    patch = prepared.patch(view, **size)  # type: ignore[arg-type]
    truth = map_patch(place[0] + centre[0], place[1] + centre[1], 121)
    assert similarity(patch.image, truth, patch.mask) > 0.96
    beside = map_patch(place[0] + centre[0] + 0.5, place[1] + centre[1], 121)
    assert similarity(patch.image, truth, patch.mask) > similarity(patch.image, beside, patch.mask)
    flat = prepared.patch(view.over(view.agl_m, None), **size)  # type: ignore[arg-type]
    assert similarity(flat.image, truth, flat.mask) < similarity(patch.image, truth, patch.mask) - 0.1


def test_turn_and_scale_are_undone_over_hills_too() -> None:
    rectifier, image, view = over_hills(12.25, -20.25, (0.0, 0.0, 40.0))
    wrong = rectifier.view(0.0, 0.0, 30.0, view.agl_m / 1.1)
    assert wrong is not None
    wrong = wrong.over(wrong.agl_m, view.relief)
    prepared = rectifier.prepare(image, wrong.agl_m, 0.5)
    patch = prepared.patch(wrong, gsd_m=0.5, size_px=101, centre_m=(0.0, 0.0), turn_deg=10.0, scale=1.1)
    assert similarity(patch.image, map_patch(12.25, -20.25, 101), patch.mask) > 0.96


def test_a_plane_of_relief_is_the_plane() -> None:
    camera = CameraModel.from_hfov(640, 480, 55.0)
    image = render_view(GROUND, GRID, camera, Mount(), 12.25, -20.25, AGL_M, 4.0, -6.0, 77.0)
    rectifier = Rectifier(camera, Mount())
    plane = rectifier.view(4.0, -6.0, 77.0, AGL_M)
    assert plane is not None
    level = Terrain(GRID, np.full((SIDE, SIDE), 321.0, np.float32))
    raised = rectifier.view(4.0, -6.0, 77.0, AGL_M + 30.0)  # another plane to count from, the same ground
    assert raised is not None
    prepared = rectifier.prepare(image, AGL_M, 0.5)
    patches = [
        prepared.patch(view, gsd_m=0.5, size_px=150, centre_m=(3.0, -2.0), turn_deg=5.0, scale=1.02)
        for view in (plane, plane.over(AGL_M, Relief(level, 0.0, 0.0, 321.0)))
    ]
    np.testing.assert_allclose(patches[0].image.astype(int), patches[1].image.astype(int), atol=12)
    assert float(np.abs(patches[0].image.astype(int) - patches[1].image).mean()) < 0.6
    lifted = raised.over(AGL_M + 30.0, Relief(level, 0.0, 0.0, 291.0))
    again = prepared.patch(lifted, gsd_m=0.5, size_px=150, centre_m=(3.0, -2.0))
    once = prepared.patch(plane, gsd_m=0.5, size_px=150, centre_m=(3.0, -2.0))
    assert float(np.abs(once.image.astype(int) - again.image).mean()) < 0.6


def test_ground_above_the_camera_shows_nothing() -> None:
    rectifier, image, view = over_hills(12.25, -20.25, (0.0, 0.0, 0.0))
    cliff = np.zeros((SIDE, SIDE), np.float32)
    cliff[:, SIDE // 2 + 40 :] = 200.0
    view = view.over(view.agl_m, Relief(Terrain(GRID, cliff), 0.0, 0.0, 0.0))
    patch = rectifier.prepare(image, view.agl_m, 0.5).patch(view, gsd_m=0.5, size_px=121, centre_m=(0.0, 0.0))
    assert not patch.mask[:, 110:].any()
    assert patch.mask[:, :90].all()


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


@pytest.mark.parametrize("distortion", [(0.0,) * 5, (-0.2, 0.05, 0.0, 0.0, 0.0)])
def test_a_prepared_frame_is_prepared_again_for_finer_pixels(distortion) -> None:
    camera = CameraModel(640, 480, 500.0, 500.0, 319.5, 239.5, distortion)
    image = np.random.default_rng(4).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    rectifier = Rectifier(camera, Mount())
    coarse = rectifier.prepare(image, 100.0, 1.0, grey=True)
    again, fine = rectifier.finer(coarse, 100.0, 0.4), rectifier.prepare(image, 100.0, 0.4, grey=True)
    assert np.array_equal(again.image, fine.image)
    assert np.array_equal(again.inside, fine.inside)
    assert again.camera == fine.camera
    with pytest.raises(ValueError, match="not prepared by a rectifier"):
        rectifier.finer(PreparedFrame(coarse.image, coarse.inside, coarse.camera), 100.0, 0.4)


@pytest.mark.parametrize("distortion", [(), (0.05, 0.0, 0.0, 0.0, 0.0)])
def test_what_hides_the_ground_is_left_out_at_finer_pixels_too(distortion) -> None:
    camera = CameraModel.from_hfov(640, 480, 60.0, **({"distortion": distortion} if distortion else {}))
    rectifier = Rectifier(camera, Mount())
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    coarse = rectifier.prepare(image, 100.0, 0.8, grey=True)
    hidden = np.zeros(coarse.image.shape, bool)
    hidden[:, : hidden.shape[1] // 2] = True
    fine = rectifier.finer(coarse.without(hidden), 100.0, 0.3)
    middle = fine.inside.shape[1] // 2
    assert fine.inside.shape[1] > 1.5 * coarse.inside.shape[1]
    assert not fine.inside[:, : middle - 2].any()
    assert fine.inside[20:-20, middle + 2 : -20].min() == 255
    assert not coarse.without(hidden).inside[hidden].any()
