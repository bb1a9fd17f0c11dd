"""What a camera sees over an orthophoto, flat or laid over hills: the inverse of `tilefix.localization.rectify`."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.camera import CameraModel, Mount, camera_to_ned
from tilefix.geodesy import Grid
from tilefix.maps.terrain import Terrain
from tilefix.types import Float32Array, Float64Array, UInt8Array

OUTSIDE_RGB = (60, 62, 60)  # ground beyond the imagery
SKY_RGB = (190, 205, 220)
# Rays flatter than this show sky: ground further than 20 heights away is haze anyway.
_MIN_DEPRESSION = 0.05
# Every so many pixels the ground is computed exactly, linear between: under 0.01 px off at any tilt that maps.
_MESH_PX = 8
# Rays are followed to the hills until they are this close to them, in height.
_CLOSE_M, _MOST_STEPS = 0.01, 40


@dataclass(frozen=True, slots=True)
class Exposure:
    """What optics and sensor do to a picture; the defaults do nothing.

    `gain`: of brightness. `motion_px`: (x, y) path of the picture during the exposure. `blur_px`: standard deviation
    of the point spread. `noise`: standard deviation, of full scale 1. `vignette`: share of light lost in the corners.
    """

    gain: float = 1.0
    motion_px: tuple[float, float] = (0.0, 0.0)
    blur_px: float = 0.0
    noise: float = 0.0
    vignette: float = 0.0


def render_view(
    pixels: UInt8Array,
    grid: Grid,
    camera: CameraModel,
    mount: Mount,
    east_m: float,
    north_m: float,
    agl_m: float,
    roll_deg: float,
    pitch_deg: float,
    yaw_deg: float,
    *,
    outside_rgb: tuple[int, int, int] = OUTSIDE_RGB,
    terrain: Terrain | None = None,
) -> UInt8Array:
    """The picture, uint8 (camera.height, camera.width, 3) RGB, of a camera `agl_m` above flat ground, or above the zero
    of `terrain`, which must not be so steep that a ray meets it twice.

    `pixels`: uint8 (H, W, 3) on `grid`; position in the same local metres. Where the camera is coarser than the
    imagery, the imagery is area-averaged to about the camera's sampling first, so that nothing aliases. Ground beyond
    the imagery is `outside_rgb`; above the horizon is sky.
    """
    if not agl_m > 0.0:
        raise ValueError(f"agl_m {agl_m} must be positive")
    columns, rows = _mesh(camera)
    rays = _rays(camera) @ camera_to_ned(roll_deg, pitch_deg, yaw_deg, mount).T  # (mesh rows, mesh columns, NED)
    down = rays[..., 2] / np.linalg.norm(rays, axis=-1)
    sky = down < _MIN_DEPRESSION
    reach = np.where(sky, agl_m / _MIN_DEPRESSION, agl_m / np.maximum(rays[..., 2], 1e-9))
    if terrain is not None:
        reach = np.where(sky, reach, _reach_of_hills(rays, terrain, east_m, north_m, agl_m))
    to_east, to_north = east_m + rays[..., 1] * reach, north_m + rays[..., 0] * reach
    seen = ~sky
    picture = np.empty((camera.height, camera.width, 3), np.uint8)
    picture[:] = outside_rgb
    if seen.any():
        box = (to_east[seen].min(), to_east[seen].max(), to_north[seen].min(), to_north[seen].max())
        window, window_grid = _window(pixels, grid, box, agl_m / max(camera.fx, camera.fy))
        if window.size:
            at_x = (to_east - window_grid.west_m) / window_grid.gsd_m - 0.5
            at_y = (window_grid.north_m - to_north) / window_grid.gsd_m - 0.5
            # OpenCV's remap rounds positions to 1/32 pixel.
            picture = np.asarray(
                cv2.remap(
                    window,
                    _dense(at_x, columns, rows, camera),
                    _dense(at_y, columns, rows, camera),
                    cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_CONSTANT,
                    borderValue=outside_rgb,
                ),
                dtype=np.uint8,
            )
    if sky.any():
        picture[_dense(down, columns, rows, camera) < _MIN_DEPRESSION] = SKY_RGB
    return picture


def _reach_of_hills(rays: Float64Array, terrain: Terrain, east_m: float, north_m: float, agl_m: float) -> Float64Array:
    """How far along each ray (NED, any length) the ground lies: ray length times reach is the distance.

    A fixed point of reach = (height of the camera - height of the ground there) / (fall of the ray), which is one as
    long as slope times tangent of the ray from straight down stays below 1.
    """
    if (terrain.at(east_m, north_m) or 0.0) >= agl_m:
        raise ValueError(f"agl_m {agl_m:g} is below the ground at {east_m:g}, {north_m:g}")
    fall = np.maximum(rays[..., 2], 1e-9)
    reach = np.asarray(agl_m / fall)
    for _ in range(_MOST_STEPS):
        ground_m = np.nan_to_num(terrain.sampled(east_m + rays[..., 1] * reach, north_m + rays[..., 0] * reach))
        step = (agl_m - ground_m) / fall - reach
        reach = np.maximum(reach + 0.8 * step, 1e-3)
        if float(np.abs(step * fall).max()) < _CLOSE_M:
            break
    return reach


def expose(picture: UInt8Array, exposure: Exposure, rng: np.random.Generator) -> UInt8Array:
    """The picture as optics and sensor deliver it, same shape; noise from `rng`."""
    result = picture.astype(np.float32)
    length = math.hypot(*exposure.motion_px)
    if length > 0.5:
        result = np.asarray(cv2.filter2D(result, -1, _streak(exposure.motion_px)), dtype=np.float32)
    if exposure.blur_px > 0.0:
        result = np.asarray(cv2.GaussianBlur(result, (0, 0), exposure.blur_px), dtype=np.float32)
    result *= np.float32(exposure.gain)
    if exposure.vignette > 0.0:
        y = np.linspace(-1.0, 1.0, picture.shape[0], dtype=np.float32)[:, None]
        x = np.linspace(-1.0, 1.0, picture.shape[1], dtype=np.float32)
        result *= (1.0 - np.float32(exposure.vignette) * 0.5 * (x * x + y * y))[..., None]
    if exposure.noise > 0.0:
        result += np.float32(255.0 * exposure.noise) * rng.standard_normal(result.shape, dtype=np.float32)
    return np.asarray(np.clip(result + 0.5, 0.0, 255.0), dtype=np.uint8)


def _streak(motion_px: tuple[float, float]) -> Float32Array:
    half = math.ceil(max(abs(motion_px[0]), abs(motion_px[1])) / 2.0)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for share in np.linspace(-0.5, 0.5, 8 * half + 1):
        x, y = half + share * motion_px[0], half + share * motion_px[1]
        column, row = min(int(x), 2 * half - 1), min(int(y), 2 * half - 1)
        fx, fy = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - fy, fy], [1 - fx, fx])
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


@functools.lru_cache(maxsize=8)
def _mesh(camera: CameraModel) -> tuple[Float64Array, Float64Array]:
    """Pixel columns and rows of the mesh, evenly spread from the first pixel centre to the last."""
    return (
        np.linspace(0.0, camera.width - 1.0, math.ceil(camera.width / _MESH_PX) + 1),
        np.linspace(0.0, camera.height - 1.0, math.ceil(camera.height / _MESH_PX) + 1),
    )


@functools.lru_cache(maxsize=8)
def _rays(camera: CameraModel) -> Float64Array:
    """Directions (mesh rows, mesh columns, 3) in camera axes that the mesh's pixels look along."""
    columns, rows = np.meshgrid(*_mesh(camera))
    points = np.stack([columns.ravel(), rows.ravel()], axis=-1)[:, None, :]
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-9)
    flat = cv2.undistortPointsIter(points, camera.matrix, np.array(camera.distortion), np.eye(3), np.eye(3), criteria)
    flat = flat.reshape(*columns.shape, 2)
    return np.concatenate([flat, np.ones((*columns.shape, 1))], axis=-1)


def _dense(values: Float64Array, columns: Float64Array, rows: Float64Array, camera: CameraModel) -> Float32Array:
    """Mesh values at every pixel, bilinear; float32 (height, width)."""
    x = np.arange(camera.width) / (columns[1] - columns[0])
    y = np.arange(camera.height) / (rows[1] - rows[0])
    i, j = np.minimum(y.astype(int), len(rows) - 2), np.minimum(x.astype(int), len(columns) - 2)
    fy, fx = (y - i).astype(np.float32)[:, None], (x - j).astype(np.float32)
    mesh = values.astype(np.float32)
    across = mesh[:, j] * (1.0 - fx) + mesh[:, j + 1] * fx
    return np.asarray(across[i] * (1.0 - fy) + across[i + 1] * fy, dtype=np.float32)


def _window(
    pixels: UInt8Array, grid: Grid, box: tuple[float, float, float, float], camera_gsd_m: float
) -> tuple[UInt8Array, Grid]:
    """The imagery around a box (west, east, south, north), reduced to just below the camera's sampling."""
    west, east, south, north = box
    left, top = grid.to_pixel(west, north)
    right, bottom = grid.to_pixel(east, south)
    factor = max(1, int(camera_gsd_m / grid.gsd_m + 0.25))
    x0, y0 = (max(0, (math.floor(v) - 2) // factor * factor) for v in (left, top))
    x1, y1 = min(grid.width_px, math.ceil(right) + 3), min(grid.height_px, math.ceil(bottom) + 3)
    x1, y1 = x1 - (x1 - x0) % factor, y1 - (y1 - y0) % factor
    if x1 <= x0 or y1 <= y0:
        return np.empty((0, 0, 3), np.uint8), grid
    window = np.asarray(pixels[y0:y1, x0:x1])
    gsd_m = grid.gsd_m * factor
    size = (window.shape[1] // factor, window.shape[0] // factor)
    if factor > 1:
        window = np.asarray(cv2.resize(window, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return window, Grid(grid.west_m + x0 * grid.gsd_m, grid.north_m - y0 * grid.gsd_m, gsd_m, *size)
