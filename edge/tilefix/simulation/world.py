"""A generated world: orthophoto-like imagery of a place that exists nowhere, seen in as many looks as wanted.

Nothing in it repeats, and the same seed gives the same bytes. Which seeds are for what is fixed here, so that what a
model is scored on is never what it learned from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from tilefix.geodesy import Grid, LocalFrame
from tilefix.simulation import surface
from tilefix.simulation.ground import Cover, Layout
from tilefix.simulation.layout import plan
from tilefix.simulation.looks import Look, Season, drone_look, satellite_look
from tilefix.simulation.noise import fractal_noise, rng_for
from tilefix.simulation.palette import Paint, paint
from tilefix.types import Float32Array, UInt8Array

__all__ = [
    "EVALUATION_SEED_START",
    "TRAINING_SEEDS",
    "VALIDATION_SEEDS",
    "Look",
    "Season",
    "World",
    "drone_look",
    "generate_world",
    "satellite_look",
]

TRAINING_SEEDS = range(1000)
VALIDATION_SEEDS = range(1000, 2000)  # to choose settings and checkpoints by
EVALUATION_SEED_START = 9000  # from here on: figures that are published

_GONE_SHARE = 0.02  # of buildings and trees, different ones in each look
_BAND_ROWS = 256
_NOISE_STEPS = 32.0  # int8 steps per standard deviation
_FINE_M, _FINE_WEIGHTS = (0.5, 1.6, 4.5), (0.45, 0.7, 0.7)
_COARSE_M, _COARSE_WEIGHTS = (14.0, 45.0, 150.0, 500.0), (0.6, 0.8, 0.8, 0.6)


def generate_world(seed: int, *, size_m: float = 2000.0, gsd_m: float = 0.5) -> World:
    """The world of that seed, `size_m` x `size_m` metres in pixels of `gsd_m`; a few seconds at 2 km and 0.5 m, minutes
    and 5 GiB at 10 km and 0.8 m."""
    if not 50.0 <= size_m <= 10000.0:
        raise ValueError(f"size_m {size_m} must be 50 to 10000")
    if not 0.1 <= gsd_m <= 5.0 or size_m / gsd_m > 16384:
        raise ValueError(f"gsd_m {gsd_m} must be 0.1 to 5, and a world at most 16384 px wide")
    side_px = round(size_m / gsd_m)
    layout = plan(seed, size_m)
    regions = surface.paint_ground(layout, side_px, gsd_m)
    rng = rng_for(seed, "place")
    frame = LocalFrame(round(float(rng.uniform(35.0, 58.0)), 4), round(float(rng.uniform(-10.0, 30.0)), 4))
    grid = Grid(-side_px * gsd_m / 2.0, side_px * gsd_m / 2.0, gsd_m, side_px, side_px)
    fine, coarse = _texture_fields(seed, "lasting", side_px, gsd_m)
    return World(seed, frame, grid, _cleared(layout, regions, gsd_m), regions, fine, coarse)


@dataclass(frozen=True)
class World:
    """A place. `frame`, `grid`: where it lies; `ground`: region per pixel of the bare ground."""

    seed: int
    frame: LocalFrame
    grid: Grid
    layout: Layout
    ground: surface.RegionArray
    _fine: npt.NDArray[np.int8]
    _coarse: npt.NDArray[np.int8]

    def render(self, look: Look) -> UInt8Array:
        """The orthophoto of that look: uint8 (H, W, 3) RGB on `grid`, north up."""
        regions, height_m = self._build(look)
        elevation = look.sun_elevation_deg
        light = surface.sunlight(height_m, self.grid.gsd_m, look.sun_azimuth_deg, elevation, 0.42)
        del height_m  # of a world of 10 km these arrays take a GiB each or nearly so
        colour = self._colour(regions, light, look)
        del regions, light
        return _sensor(colour, self.seed, look, self.grid.gsd_m)

    def _build(self, look: Look) -> tuple[surface.RegionArray, Float32Array]:
        gsd_m, layout = self.grid.gsd_m, self.layout
        regions = self.ground.copy()
        height_m = np.zeros(regions.shape, np.float32)
        rng = rng_for(self.seed, "moved", look.moved_seed)
        lean = (look.lean_east, -look.lean_north)
        places = max((building.place for building in layout.buildings), default=0)
        gone = rng.random(places + 1) < _GONE_SHARE
        for building in layout.buildings:
            if not gone[building.place]:
                surface.raise_building(regions, height_m, building, layout.glass, gsd_m, lean)
        for at in self._cars(rng):
            paint_job = layout.cars[int(rng.integers(len(layout.cars)))]
            surface.park_car(regions, height_m, at, paint_job, layout.glass, gsd_m)
        trees = layout.trees[rng.random(len(layout.trees)) >= _GONE_SHARE]
        cones = {i for i, cover in enumerate(layout.regions.cover) if cover == Cover.CONIFER}
        surface.Crowns(gsd_m, look.season is Season.WINTER).plant(regions, height_m, trees, cones, lean)
        return regions, height_m

    def _cars(self, rng: np.random.Generator) -> list[tuple[float, float, float]]:
        taken = rng.random(len(self.layout.slots)) < rng.uniform(0.25, 0.65)
        cars = [(float(x), float(y), float(angle)) for x, y, angle in self.layout.slots[taken]]
        for points, width_m in self.layout.lanes:
            steps = np.diff(points, axis=0)
            for _ in range(int(rng.poisson(len(points) * 0.03 * (width_m / 7.0) ** 2))):
                i = int(rng.integers(len(steps)))
                angle = math.atan2(steps[i, 1], steps[i, 0]) + (math.pi if rng.random() < 0.5 else 0.0)
                at = points[i] + steps[i] * rng.random()
                side = width_m * 0.24
                cars.append((float(at[0]) - math.sin(angle) * side, float(at[1]) + math.cos(angle) * side, angle))
        return cars

    def _colour(self, regions: surface.RegionArray, light: Float32Array, look: Look) -> Float32Array:
        paints = paint(self.layout.regions, self.seed, look)
        fresh_fine, fresh_coarse = _texture_fields(
            self.seed, f"fresh {look.moved_seed}", self.grid.width_px, self.grid.gsd_m
        )
        colour = np.empty((*regions.shape, 3), np.float32)
        fields = (self._fine, self._coarse, fresh_fine, fresh_coarse)
        for top in range(0, regions.shape[0], _BAND_ROWS):
            rows = slice(top, top + _BAND_ROWS)
            band = regions[rows]
            brightness = np.ones(band.shape, np.float32)
            for i, field in enumerate(fields):
                brightness += np.take(paints.texture[:, i], band) * (field[rows].astype(np.float32) / _NOISE_STEPS)
            brightness += self._rows(band, rows, paints)
            shade = np.clip(brightness, 0.2, 1.8) * light[rows]
            hue = np.take(paints.tint, band) * (fields[1][rows].astype(np.float32) + fields[3][rows]) / _NOISE_STEPS
            for channel, (turn, sky) in enumerate(((1.0, 0.92), (-0.3, 0.97), (0.6, 1.1))):
                shadowed = 1.0 + (sky - 1.0) * np.clip(1.0 - light[rows], 0.0, 1.0)  # shade is lit by the blue sky
                colour[rows, :, channel] = (
                    np.take(paints.colour[:, channel], band) * shade * shadowed * (1.0 + turn * hue)
                )
        return colour

    def _rows(self, band: surface.RegionArray, rows: slice, paints: Paint) -> Float32Array:
        """Rows of crops, of tiles, of mowing; with the tractor's tramlines in fields."""
        gsd_m = self.grid.gsd_m
        x_m = np.arange(band.shape[1], dtype=np.float32) * np.float32(gsd_m)
        y_m = (np.arange(rows.start, rows.start + band.shape[0], dtype=np.float32) * np.float32(gsd_m))[:, None]
        phase = np.take(paints.row_x, band) * x_m + np.take(paints.row_y, band) * y_m
        phase += self._coarse[rows].astype(np.float32) * np.float32(0.3 / _NOISE_STEPS)
        amplitude = np.take(paints.row_amplitude, band)
        wave = np.sin(np.float32(2.0 * math.pi) * phase)
        tram = (phase / 8.0) % 1.0 < 0.06
        return np.asarray(amplitude * (wave - np.float32(1.8) * tram), dtype=np.float32)


def _texture_fields(
    seed: int, name: str, side_px: int, gsd_m: float
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    rng = rng_for(seed, "texture", name)
    fields = []
    for wavelengths_m, weights in ((_FINE_M, _FINE_WEIGHTS), (_COARSE_M, _COARSE_WEIGHTS)):
        field = fractal_noise(rng, (side_px, side_px), [w / gsd_m for w in wavelengths_m], weights)
        fields.append(np.clip(field * _NOISE_STEPS, -127, 127).astype(np.int8))
    return fields[0], fields[1]


def _cleared(layout: Layout, regions: surface.RegionArray, gsd_m: float) -> Layout:
    """The layout without trees and buildings that stand on roads or in water, and slots that are not paved."""
    cover = np.array(layout.regions.cover)

    def on(points_m: npt.NDArray[np.float64], kinds: tuple[Cover, ...]) -> npt.NDArray[np.bool_]:
        at = np.clip(np.floor(points_m / gsd_m).astype(int), 0, regions.shape[0] - 1)
        return np.isin(cover[regions[at[:, 1], at[:, 0]]], kinds)

    blocked = (Cover.ASPHALT, Cover.WATER, Cover.MARKING, Cover.BALLAST)
    trees = layout.trees[~on(layout.trees[:, :2], blocked)]
    paved = (Cover.ASPHALT, Cover.PAVING, Cover.GRAVEL, Cover.MARKING)
    slots = layout.slots[on(layout.slots[:, :2], paved)]
    buildings = []
    for b in layout.buildings:
        shares = np.linspace(-0.5, 0.5, 7)
        u, v = (axis.ravel() for axis in np.meshgrid(shares * b.length_m, shares * b.width_m))
        c, s = math.cos(b.angle_rad), math.sin(b.angle_rad)
        inside = np.stack([b.x_m + c * u - s * v, b.y_m + s * u + c * v], axis=1)
        # All of it on asphalt: a hall in its own yard; a part of it: a house in the street.
        on_road = on(inside, blocked).mean()
        if not on(inside, (Cover.WATER,)).any() and (on_road == 0.0 or on_road > 0.8):
            buildings.append(b)
    return replace(layout, trees=trees, slots=slots, buildings=buildings)


def _sensor(colour: Float32Array, seed: int, look: Look, gsd_m: float) -> UInt8Array:
    """What the sensor makes of the light: blur, colour response, haze, gamma, noise, compression."""
    response = np.array(look.mixing, np.float32) * np.array(look.gain, np.float32)[:, None]
    picture = np.empty(colour.shape, np.uint8)
    rng = rng_for(seed, "sensor", look.moved_seed)
    for top in range(0, colour.shape[0], _BAND_ROWS):
        band = cv2.transform(_blurred(colour, top, look.blur_m / gsd_m), response) + np.array(look.haze, np.float32)
        band = np.power(np.clip(band, 0.0, 1.0), np.float32(look.gamma))
        band += np.float32(look.noise) * rng.standard_normal(band.shape, dtype=np.float32)
        picture[top : top + _BAND_ROWS] = np.clip(band * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    if look.jpeg_quality > 0:
        flags = [cv2.IMWRITE_JPEG_QUALITY, look.jpeg_quality]
        _, coded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    return picture


def _blurred(colour: Float32Array, top: int, blur_px: float) -> Float32Array:
    """A band of rows from `top` on, as it is in the whole picture blurred."""
    bottom = min(top + _BAND_ROWS, colour.shape[0])
    if blur_px <= 0.0:
        return colour[top:bottom]
    reach = math.ceil(4.0 * blur_px) + 1  # OpenCV cuts the kernel off there
    first = max(top - reach, 0)
    band = cv2.GaussianBlur(colour[first : bottom + reach], (0, 0), blur_px)
    return np.asarray(band[top - first : bottom - first], np.float32)
