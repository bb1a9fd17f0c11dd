"""Drawing a layout: which region each pixel shows, how high it stands, and what lies in shadow."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tilefix.simulation.ground import Building, Layout, rectangle
from tilefix.simulation.noise import rng_for
from tilefix.types import Float32Array, Float64Array

RegionArray = npt.NDArray[np.integer[Any]]
_SUBPIXEL_BITS = 4
_SPRITES_PER_SIZE = 8
_BAND_ROWS = 256
CAR_LENGTH_M, CAR_WIDTH_M, CAR_HEIGHT_M = 4.5, 1.9, 1.5


def _fixed(points_m: Float64Array, gsd_m: float) -> npt.NDArray[np.int32]:
    return np.asarray(np.round((points_m / gsd_m - 0.5) * (1 << _SUBPIXEL_BITS)), dtype=np.int32)


def paint_ground(layout: Layout, side_px: int, gsd_m: float) -> RegionArray:
    """The region of each pixel of bare ground (side_px, side_px): uint16, or int32 of a world that has more regions."""
    small = len(layout.regions.cover) <= np.iinfo(np.uint16).max
    regions: RegionArray = np.zeros((side_px, side_px), np.uint16 if small else np.int32)
    for kind, points, region, width_m in layout.strokes:
        fixed = _fixed(points, gsd_m)
        if kind == "fill":
            cv2.fillPoly(regions, [fixed], region, cv2.LINE_8, _SUBPIXEL_BITS)
        else:
            cv2.polylines(regions, [fixed], False, region, max(1, round(width_m / gsd_m)), cv2.LINE_8, _SUBPIXEL_BITS)
    return regions


def raise_building(
    regions: RegionArray,
    height_m: Float32Array,
    building: Building,
    glass: int,
    gsd_m: float,
    lean: tuple[float, float],
) -> None:
    """Draws one building in place: its walls as far as the sensor leans, and its roof."""
    b = building
    x, y = b.x_m + lean[0] * b.eave_m, b.y_m + lean[1] * b.eave_m
    if math.hypot(*lean) * b.eave_m > gsd_m:
        corners = np.vstack(
            [
                rectangle(b.x_m, b.y_m, b.length_m, b.width_m, b.angle_rad),
                rectangle(x, y, b.length_m, b.width_m, b.angle_rad),
            ]
        )
        hull = cv2.convexHull(_fixed(corners, gsd_m))
        cv2.fillConvexPoly(regions, hull, b.facade, cv2.LINE_8, _SUBPIXEL_BITS)
        cv2.fillConvexPoly(height_m, hull, b.eave_m / 2.0, cv2.LINE_8, _SUBPIXEL_BITS)
    reach = 0.5 * math.hypot(b.length_m, b.width_m) + gsd_m
    x0, x1 = max(0, int((x - reach) / gsd_m)), min(regions.shape[1], int((x + reach) / gsd_m) + 1)
    y0, y1 = max(0, int((y - reach) / gsd_m)), min(regions.shape[0], int((y + reach) / gsd_m) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    dx = (np.arange(x0, x1) + 0.5) * gsd_m - x
    dy = ((np.arange(y0, y1) + 0.5) * gsd_m - y)[:, None]
    c, s = math.cos(b.angle_rad), math.sin(b.angle_rad)
    u, v = c * dx + s * dy, -s * dx + c * dy
    from_end, from_side = b.length_m / 2.0 - np.abs(u), b.width_m / 2.0 - np.abs(v)
    inside = (from_end > 0.0) & (from_side > 0.0)
    if b.ridge_m > 0.0:
        slope = np.minimum(from_side, from_end) if b.hipped else from_side
        roof = b.eave_m + b.ridge_m * slope / (b.width_m / 2.0)
    else:
        roof = np.where(np.minimum(from_end, from_side) < 0.6, b.eave_m + 0.5, b.eave_m)
    face = np.full(inside.shape, b.region, regions.dtype)
    if b.solar >= 0:
        face[(v > 0.12 * b.width_m) & (v < 0.42 * b.width_m) & (np.abs(u) < 0.33 * b.length_m)] = b.solar
    elif b.ridge_m == 0.0 and b.width_m > 12.0:  # roof lights and plant
        rng = rng_for(b.region, "roof")
        for _ in range(min(40, int(b.length_m * b.width_m / 120.0))):
            pu, pv = rng.uniform(-0.45, 0.45) * b.length_m, rng.uniform(-0.45, 0.45) * b.width_m
            unit = (np.abs(u - pu) < rng.uniform(0.6, 3.0)) & (np.abs(v - pv) < rng.uniform(0.6, 1.6))
            face[unit] = glass if rng.random() < 0.5 else b.facade
            roof[unit] += rng.uniform(0.3, 1.8)
    elif b.ridge_m > 0.0 and b.length_m > 8.0:  # a chimney near the ridge
        stack = (np.abs(u - 0.25 * b.length_m) < 0.45) & (np.abs(v - 0.08 * b.width_m) < 0.45)
        face[stack] = b.facade
        roof[stack] += 1.0
    window = (slice(y0, y1), slice(x0, x1))
    regions[window][inside] = face[inside]
    height_m[window][inside] = roof[inside]


class Crowns:
    """A store of tree crowns from above: height profiles 0 to 1 by size, negative where there is no crown."""

    def __init__(self, gsd_m: float, bare: bool) -> None:
        self._gsd_m = gsd_m
        self._bare = bare
        self._store: dict[tuple[int, bool], list[Float32Array]] = {}

    def _sprites(self, size: int, cone: bool) -> list[Float32Array]:
        known = self._store.get((size, cone))
        if known is None:
            known = [self._sprite(size, cone, variant) for variant in range(_SPRITES_PER_SIZE)]
            self._store[size, cone] = known
        return known

    def _sprite(self, size: int, cone: bool, variant: int) -> Float32Array:
        rng = rng_for(size, "crown", int(cone), variant)
        radius = size / 2.0
        half = math.ceil(radius * 1.25)
        y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
        turn = np.arctan2(y, x)
        reach = np.full(x.shape, radius)
        for lobes in (3, 5, 8) if cone else (2, 3, 5):
            reach += radius * 0.09 * rng.normal() * np.sin(lobes * turn + rng.uniform(0.0, 6.3))
        r = np.hypot(x, y) / np.maximum(reach, 0.5)
        profile = 1.0 - r if cone else np.sqrt(np.clip(1.0 - r * r, 0.0, None))
        lumps = cv2.GaussianBlur(rng.normal(0.0, 1.0, x.shape), (0, 0), 0.9)
        profile = np.clip(profile + (0.08 if cone else 0.22) * lumps, 0.02, None)
        hole = r >= 1.0
        if self._bare and not cone:  # leafless: a lattice of branches
            hole |= cv2.GaussianBlur(rng.normal(0.0, 1.0, x.shape), (0, 0), 0.6) > 0.05
        profile[hole] = -1.0
        return np.asarray(profile, dtype=np.float32)

    def plant(
        self,
        regions: RegionArray,
        height_m: Float32Array,
        trees: Float64Array,
        cones: set[int],
        lean: tuple[float, float],
    ) -> None:
        """Draws trees (n, 5) in place; a crown covers what is lower than itself. `cones`: regions of conifers."""
        sides = regions.shape
        for i, (x_m, y_m, radius_m, top_m, number) in enumerate(trees.tolist()):
            cone = int(number) in cones
            sprite = self._sprites(max(2, round(2.0 * radius_m / self._gsd_m)), cone)[i % _SPRITES_PER_SIZE]
            half = sprite.shape[0] // 2
            column = int((x_m + lean[0] * top_m * 0.7) / self._gsd_m)
            row = int((y_m + lean[1] * top_m * 0.7) / self._gsd_m)
            x0, x1, y0, y1 = (
                max(0, column - half),
                min(sides[1], column + half + 1),
                max(0, row - half),
                min(sides[0], row + half + 1),
            )
            if x0 >= x1 or y0 >= y1:
                continue
            crown = sprite[y0 - row + half : y1 - row + half, x0 - column + half : x1 - column + half]
            base = 0.15 if cone else 0.4
            top = np.where(crown >= 0.0, top_m * (base + (1.0 - base) * crown), -1.0)
            window = (slice(y0, y1), slice(x0, x1))
            higher = top > height_m[window]
            regions[window][higher] = int(number)
            height_m[window][higher] = top[higher]


def park_car(
    regions: RegionArray, height_m: Float32Array, at: tuple[float, float, float], region: int, glass: int, gsd_m: float
) -> None:
    """Draws one car (x_m, y_m, angle_rad) in place."""
    x, y, angle = at
    body = _fixed(rectangle(x, y, CAR_LENGTH_M, CAR_WIDTH_M, angle), gsd_m)
    cv2.fillConvexPoly(regions, body, region, cv2.LINE_8, _SUBPIXEL_BITS)
    cv2.fillConvexPoly(height_m, body, CAR_HEIGHT_M, cv2.LINE_8, _SUBPIXEL_BITS)
    screen = rectangle(x + 0.7 * math.cos(angle), y + 0.7 * math.sin(angle), 0.6, 1.2, angle)
    cv2.fillConvexPoly(regions, _fixed(screen, gsd_m), glass, cv2.LINE_8, _SUBPIXEL_BITS)


def sunlight(
    height_m: Float32Array, gsd_m: float, azimuth_deg: float, elevation_deg: float, ambient: float
) -> Float32Array:
    """Light on each pixel relative to flat open ground, float32: shading by slope and shadows cast along the sun.

    Shadows: running maximum of (height - distance x tan elevation) towards the sun, doubled in reach at each step.
    """
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    to_sun = (math.sin(azimuth), -math.cos(azimuth))  # x east, y south
    fall_m = gsd_m * math.tan(elevation)
    horizon = height_m
    reach = 1
    longest = max(float(height_m.max()) / fall_m, 1.0)
    while reach < 2.0 * longest:
        shift = np.array([[1.0, 0.0, reach * to_sun[0]], [0.0, 1.0, reach * to_sun[1]]])
        moved = cv2.warpAffine(horizon, shift, height_m.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        moved -= np.float32(reach * fall_m)
        horizon = np.maximum(horizon, moved, out=moved)
        reach *= 2
    light = np.empty_like(height_m)
    for top in range(0, height_m.shape[0], _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        lit = 1.0 - np.clip((horizon[rows] - height_m[rows] - 0.15) / 0.7, 0.0, 1.0)
        # With a row around it, for the slopes.
        first = max(top - 1, 0)
        around = height_m[first : top + _BAND_ROWS + 1]
        own = slice(top - first, top - first + lit.shape[0])
        slope_x, slope_y = (
            np.clip(cv2.Scharr(around, cv2.CV_32F, dx, 1 - dx, scale=1.0 / (32.0 * gsd_m)), -1.2, 1.2)[own]
            for dx in (1, 0)
        )
        facing = math.sin(elevation) - math.cos(elevation) * (slope_x * to_sun[0] + slope_y * to_sun[1])
        facing /= np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y) * math.sin(elevation)
        light[rows] = ambient + (1.0 - ambient) * lit * np.clip(facing, 0.1, 1.6)
    return light
