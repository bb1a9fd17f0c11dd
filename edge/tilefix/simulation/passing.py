"""What moves over the ground under a camera: painted into the ground itself before a picture of it is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from tilefix.camera import CameraModel, Mount, camera_to_ned
from tilefix.geodesy import Grid
from tilefix.simulation.noise import fractal_noise, rng_for
from tilefix.simulation.sight import Scenery
from tilefix.simulation.vehicle import Motion
from tilefix.types import BoolArray, Float32Array, Float64Array, UInt8Array

SKY_LIGHT = 0.38  # of the light is left in the sun's shadow
SUN_RAD = 0.0093  # the sun's diameter as seen from the ground
MOST_FINER = 4  # times as many pixels to a side as the imagery's
_FARTHEST = 4.0  # heights
_COARSE_PX = 16  # of a window: smooth fields are computed this coarsely, linear between


@dataclass(frozen=True, eq=False)
class Ground:
    """A window of imagery to paint on. `pixels`: float32 (h, w, 3), 0 to 255; `column`, `row`: of its first pixel,
    counted over the whole imagery, so that what keeps to the ground can be told by them."""

    pixels: Float32Array
    grid: Grid
    column: int
    row: int

    def places(self) -> tuple[Float64Array, Float64Array]:
        """East and north metres of a coarse lattice that `spread` makes a field of the window from."""
        rows, columns = (np.linspace(0.0, side - 1.0, max(2, side // _COARSE_PX)) for side in self.pixels.shape[:2])
        east = self.grid.west_m + (columns + 0.5) * self.grid.gsd_m
        north = self.grid.north_m - (rows + 0.5) * self.grid.gsd_m
        return np.broadcast_to(east, (len(rows), len(columns))), np.broadcast_to(
            north[:, None], (len(rows), len(columns))
        )

    def spread(self, coarse: Float64Array) -> Float32Array:
        """A field over the window from its values on the lattice, linear between."""
        height, width = self.pixels.shape[:2]
        x = np.linspace(0.0, coarse.shape[1] - 1.0, width, dtype=np.float32)
        y = np.linspace(0.0, coarse.shape[0] - 1.0, height, dtype=np.float32)[:, None]
        shape = (height, width)
        return np.asarray(
            cv2.remap(
                coarse.astype(np.float32), np.broadcast_to(x, shape).copy(), np.broadcast_to(y, shape).copy(),
                cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
            ),
            np.float32,
        )  # fmt: skip

    def shade(self, cover: Float32Array) -> None:
        """Takes the sun's light away where `cover`, (h, w), is 1."""
        self.pixels[...] *= 1.0 - (1.0 - np.float32(SKY_LIGHT)) * cover[..., None]

    def lay(self, colour: Float32Array, cover: Float32Array | BoolArray) -> None:
        """Lays a colour, (h, w, 3) or (3,), over the ground where `cover`, (h, w), is 1."""
        self.pixels[...] += (colour - self.pixels) * np.asarray(cover, np.float32)[..., None]


class Passing(Protocol):
    """Something that moves. `moves_mps`: east and north, of most of it, over the ground, with the vehicle in that
    motion."""

    def paint(self, ground: Ground, motion: Motion) -> None:
        """Paints what is there at the instant of a vehicle's motion."""
        ...

    def moves_mps(self, motion: Motion) -> tuple[float, float]:
        """How it moves over the ground."""
        ...


def passed_over(scenery: Scenery, passing: Passing, camera: CameraModel, mount: Mount, motion: Motion) -> Scenery:
    """The ground around the vehicle with what passes there: for one picture. The hills are kept.

    Low down the window is finer than the imagery, so that small things have their shape; they move by parts of a pixel.
    """
    grid = scenery.grid
    west_m, east_m, south_m, north_m = _in_view(camera, mount, motion)
    left, top = (math.floor(at) for at in grid.to_pixel(west_m, north_m))
    right, bottom = (math.ceil(at) + 1 for at in grid.to_pixel(east_m, south_m))
    camera_gsd_m = motion.agl_m / max(camera.fx, camera.fy)
    coarser = max(1, int(camera_gsd_m / grid.gsd_m + 0.25))  # as `render_view` takes it
    left, top = max(left, 0) // coarser * coarser, max(top, 0) // coarser * coarser
    right, bottom = min(right, grid.width_px), min(bottom, grid.height_px)
    wide, high = (right - left) // coarser, (bottom - top) // coarser
    if wide <= 0 or high <= 0:
        return scenery
    finer = min(max(1, math.ceil(grid.gsd_m / camera_gsd_m)), MOST_FINER)
    cut = scenery.pixels[top : top + high * coarser, left : left + wide * coarser]
    size = (wide * finer, high * finer)
    smooth = cv2.INTER_AREA if coarser > 1 else cv2.INTER_LINEAR
    pixels = np.asarray(cv2.resize(cut, size, interpolation=smooth), np.float32)
    scale = finer / coarser
    window = Grid(grid.west_m + left * grid.gsd_m, grid.north_m - top * grid.gsd_m, grid.gsd_m / scale, *size)
    ground = Ground(pixels, window, round(left * scale), round(top * scale))
    passing.paint(ground, motion)
    return Scenery(np.asarray(np.clip(ground.pixels + 0.5, 0.0, 255.0), np.uint8), window, scenery.terrain)


def _in_view(camera: CameraModel, mount: Mount, motion: Motion) -> tuple[float, float, float, float]:
    """West, east, south and north of the level ground in view, as far as `_FARTHEST` times the height, and a rim."""
    corners = [
        ((x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, 1.0)
        for x in (0, camera.width)
        for y in (0, camera.height)
    ]
    rays = np.array(corners) @ camera_to_ned(motion.roll_deg, motion.pitch_deg, motion.yaw_deg, mount).T
    fall = np.maximum(rays[:, 2], np.hypot(rays[:, 0], rays[:, 1]) / _FARTHEST)
    north_m, east_m = (motion.agl_m * rays[:, axis] / fall for axis in (0, 1))
    rim_m = 10.0 + 0.05 * motion.agl_m
    return (
        motion.east_m + float(east_m.min()) - rim_m, motion.east_m + float(east_m.max()) + rim_m,
        motion.north_m + float(north_m.min()) - rim_m, motion.north_m + float(north_m.max()) + rim_m,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class OwnShadow:
    """The vehicle's shadow: arms and body of a copter `span_m` across, away from the sun by the height times the
    tangent of the sun's distance from straight up, with the soft edge that the sun's own width gives it."""

    span_m: float
    sun_azimuth_deg: float
    sun_elevation_deg: float

    def paint(self, ground: Ground, motion: Motion) -> None:
        away = math.radians(self.sun_azimuth_deg + 180.0)
        reach_m = motion.agl_m / math.tan(math.radians(self.sun_elevation_deg))
        east_m, north_m = motion.east_m + reach_m * math.sin(away), motion.north_m + reach_m * math.cos(away)
        gsd_m, yaw = ground.grid.gsd_m, math.radians(motion.yaw_deg)
        cover = np.zeros(ground.pixels.shape[:2], np.float32)
        for turn_deg, length, width in ((45.0, 1.0, 0.09), (-45.0, 1.0, 0.09), (0.0, 0.42, 0.26)):
            fill_rectangle(
                cover, ground.grid, east_m, north_m, yaw + math.radians(turn_deg),
                length * self.span_m, width * self.span_m, 1.0,
            )  # fmt: skip
        for quarter in range(4):  # the discs that its propellers sweep
            angle = yaw + math.radians(45.0 + 90.0 * quarter)
            x, y = ground.grid.to_pixel(
                east_m + 0.42 * self.span_m * math.sin(angle), north_m + 0.42 * self.span_m * math.cos(angle)
            )
            cv2.circle(
                cover, _fixed(x, y), max(1, round(0.16 * self.span_m / gsd_m * 16)), 0.6, cv2.FILLED, cv2.LINE_AA, 4
            )
        soft_m = 0.3 * SUN_RAD * math.hypot(motion.agl_m, reach_m)
        ground.shade(np.asarray(cv2.GaussianBlur(cover, (0, 0), max(soft_m / gsd_m, 0.4)), np.float32))

    def moves_mps(self, motion: Motion) -> tuple[float, float]:
        return motion.east_mps, motion.north_mps


class CloudShadow:
    """Shadows of clouds that drift with the wind up there and cover a share of the ground, about as large as the
    picture, with edges `soft_m` wide."""

    _SIDE = 512

    def __init__(
        self, share: float, speed_mps: float, towards_deg: float, size_m: float, seed: int, soft_m: float = 15.0
    ) -> None:
        self._way = math.sin(math.radians(towards_deg)), math.cos(math.radians(towards_deg))
        self._speed_mps, self._cell_m = speed_mps, size_m / 24.0
        side = (self._SIDE, self._SIDE)
        field = fractal_noise(rng_for(seed, "passing", "clouds"), side, [48.0, 20.0, 9.0], [1.0, 0.45, 0.2])
        steep = float(np.median(np.hypot(*np.gradient(field)))) / self._cell_m  # of the field, a metre
        self._cover = np.clip((field - float(np.quantile(field, 1.0 - share))) / (steep * soft_m) + 0.5, 0.0, 1.0)

    def paint(self, ground: Ground, motion: Motion) -> None:
        grid, drifted_m = ground.grid, self._speed_mps * motion.at_s
        east_m = grid.west_m + (np.arange(grid.width_px) + 0.5) * grid.gsd_m - drifted_m * self._way[0]
        north_m = grid.north_m - (np.arange(grid.height_px)[:, None] + 0.5) * grid.gsd_m - drifted_m * self._way[1]
        shape = (grid.height_px, grid.width_px)
        x, y = (
            np.ascontiguousarray(np.broadcast_to(0.5 * self._SIDE + metres / self._cell_m, shape), np.float32)
            for metres in (east_m, north_m)
        )
        ground.shade(np.asarray(cv2.remap(self._cover, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)))

    def moves_mps(self, motion: Motion) -> tuple[float, float]:  # noqa: ARG002
        return self._speed_mps * self._way[0], self._speed_mps * self._way[1]


def fill_rectangle(
    plane: Float32Array | UInt8Array, grid: Grid, east_m: float, north_m: float, heading_rad: float, length_m: float,
    width_m: float, value: float | tuple[float, ...],
) -> None:  # fmt: skip
    """Fills a rectangle of a plane on `grid`, its edges smoothed, to a sixteenth of a pixel."""
    s, c = math.sin(heading_rad), math.cos(heading_rad)
    corners = []
    for ahead, aside in ((0.5, 0.5), (0.5, -0.5), (-0.5, -0.5), (-0.5, 0.5)):
        a, b = ahead * length_m, aside * width_m
        corners.append(_fixed(*grid.to_pixel(east_m + a * s + b * c, north_m + a * c - b * s)))
    cv2.fillConvexPoly(plane, np.array(corners, np.int32), value, cv2.LINE_AA, 4)


def _fixed(x: float, y: float) -> tuple[int, int]:
    """A place in sixteenths of a pixel, as OpenCV draws."""
    return round(x * 16), round(y * 16)
