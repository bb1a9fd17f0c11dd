"""The simulated camera: what it shows lies where the camera geometry says."""

import cv2
import numpy as np
import pytest

from tilefix.camera import CameraModel, Mount, camera_to_ned, ground_to_pixel
from tilefix.geodesy import Grid
from tilefix.localization.rectify import Rectifier
from tilefix.maps.terrain import Terrain
from tilefix.simulation.camera import OUTSIDE_RGB, SKY_RGB, Exposure, expose, render_view

GRID = Grid(-200.0, 150.0, 0.5, 800, 600)
CAMERA = CameraModel.from_hfov(320, 240, 60.0)


def _map_with_spot(east_m, north_m, radius_px=2):
    pixels = np.full((GRID.height_px, GRID.width_px, 3), 40, np.uint8)
    column, row = GRID.to_pixel(east_m, north_m)
    cv2.circle(pixels, (round(column), round(row)), radius_px, (250, 250, 250), -1)
    return pixels, GRID.to_local(round(column), round(row))


def _centroid(picture):
    weight = picture[..., 1].astype(float) - picture[..., 1].min()
    weight[weight < 0.3 * weight.max()] = 0.0
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()


@pytest.mark.parametrize("attitude", [(0, 0, 0), (0, 0, 90), (6, -9, 200), (-14, 12, -33)])
@pytest.mark.parametrize("mount", [Mount(), Mount(2.0, 10.0, 90.0)])
def test_a_spot_appears_where_the_geometry_says(attitude, mount):
    east_m, north_m, agl_m = 20.0, -10.0, 120.0
    to_ned = camera_to_ned(*attitude, mount)
    homography = ground_to_pixel(CAMERA, to_ned, agl_m)
    centre = np.linalg.inv(homography) @ [190.0, 100.0, 1.0]
    pixels, spot = _map_with_spot(east_m + centre[0] / centre[2], north_m + centre[1] / centre[2])
    expected = homography @ [spot[0] - east_m, spot[1] - north_m, 1.0]
    picture = render_view(pixels, GRID, CAMERA, mount, east_m, north_m, agl_m, *attitude)
    assert _centroid(picture) == pytest.approx(expected[:2] / expected[2], abs=0.25)


@pytest.mark.parametrize("attitude", [(0.0, 0.0, 0.0), (8.0, -12.0, 200.0)])
def test_a_spot_on_a_hill_appears_where_its_height_puts_it(attitude):
    easts, norths = GRID.to_local(*np.meshgrid(np.arange(800.0), np.arange(600.0)))
    hill = (25.0 * np.exp(-((easts - 20.0) ** 2 + (norths + 30.0) ** 2) / 900.0)).astype(np.float32)
    terrain = Terrain(GRID, hill - np.float32(3.0))
    pixels, spot = _map_with_spot(35.0, -22.0)
    height_m = terrain.at(*spot)
    assert height_m > 5.0
    picture = render_view(pixels, GRID, CAMERA, Mount(), 10.0, -20.0, 100.0, *attitude, terrain=terrain)
    to_ned = camera_to_ned(*attitude, Mount())
    ray = CAMERA.matrix @ to_ned.T @ np.array([spot[1] + 20.0, spot[0] - 10.0, 100.0 - height_m])
    assert _centroid(picture) == pytest.approx((ray[0] / ray[2], ray[1] / ray[2]), abs=0.3)


def test_a_camera_below_the_ground_is_refused():
    terrain = Terrain(GRID, np.full((600, 800), 60.0, np.float32))
    with pytest.raises(ValueError, match="below the ground"):
        render_view(_map_with_spot(0.0, 0.0)[0], GRID, CAMERA, Mount(), 0.0, 0.0, 50.0, 0.0, 0.0, 0.0, terrain=terrain)


def test_distortion_moves_a_spot_as_opencv_says():
    camera = CameraModel.from_hfov(320, 240, 80.0, (-0.25, 0.06, 0.001, -0.002, 0.0))
    pixels, spot = _map_with_spot(60.0, 40.0)
    picture = render_view(pixels, GRID, camera, Mount(), 0.0, 0.0, 100.0, 0.0, 0.0, 0.0)
    ray = np.array([[[spot[0], -spot[1], 100.0]]])
    expected, _ = cv2.projectPoints(ray, np.zeros(3), np.zeros(3), camera.matrix, np.array(camera.distortion))
    assert _centroid(picture) == pytest.approx(expected.ravel(), abs=0.3)


def test_rectifying_gives_the_map_back():
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 255, (75, 100, 3), dtype=np.uint8)
    pixels = cv2.resize(noise, (GRID.width_px, GRID.height_px), interpolation=cv2.INTER_CUBIC)
    attitude = (5.0, -7.0, 40.0)
    picture = render_view(pixels, GRID, CAMERA, Mount(), 10.0, 20.0, 100.0, *attitude)
    rectifier = Rectifier(CAMERA, Mount())
    view = rectifier.view(*attitude, 100.0)
    patch = rectifier.prepare(picture, 100.0, 0.5).patch(view, gsd_m=0.5, size_px=121, centre_m=view.centre_m)
    column, row = GRID.to_pixel(10.0 + patch.east_m - 30.0, 20.0 + patch.north_m + 30.0)
    x, y = round(column), round(row)
    truth = pixels[y : y + 121, x : x + 121]
    assert patch.mask.mean() > 0.9
    assert np.corrcoef(patch.image[patch.mask].ravel(), truth[patch.mask].ravel())[0, 1] > 0.98


def test_a_coarser_camera_averages_and_does_not_alias():
    checks = (np.indices((600, 800)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    picture = render_view(checks, GRID, CameraModel.from_hfov(64, 48, 60.0), Mount(), 0, 0, 110.0, 0, 0, 13.0)
    assert np.abs(picture[8:-8, 8:-8].astype(float) - 127.5).max() < 30.0


def test_sky_and_ground_beyond_the_imagery():
    pixels = np.full((GRID.height_px, GRID.width_px, 3), 200, np.uint8)
    picture = render_view(pixels, GRID, CAMERA, Mount(pitch_deg=75.0), 0, 0, 50.0, 0, 0, 0)
    assert tuple(picture[0, 160]) == SKY_RGB
    assert tuple(picture[239, 160]) == (200, 200, 200)
    away = render_view(pixels, GRID, CAMERA, Mount(), 5000.0, 0, 50.0, 0, 0, 0)
    assert (away == OUTSIDE_RGB).all()
    with pytest.raises(ValueError, match="agl_m"):
        render_view(pixels, GRID, CAMERA, Mount(), 0, 0, 0.0, 0, 0, 0)


def test_exposure_blurs_along_the_motion_and_adds_repeatable_noise():
    picture = np.zeros((41, 41, 3), np.uint8)
    picture[20, 20] = 255
    streaked = expose(picture, Exposure(motion_px=(8.0, 0.0)), np.random.default_rng(1))
    assert streaked[20, 16:25].min() > 10
    assert streaked[18, :].max() == 0
    noisy = [expose(picture, Exposure(noise=0.05, vignette=0.3), np.random.default_rng(1)) for _ in range(2)]
    assert np.array_equal(*noisy)
    assert noisy[0].std() > picture.std() / 2
    flat = expose(np.full((41, 41, 3), 200, np.uint8), Exposure(vignette=0.5, gain=1.1), np.random.default_rng(1))
    assert flat[20, 20, 0] == 220
    assert flat[0, 0, 0] == 110
