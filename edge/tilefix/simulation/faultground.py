"""Faults of the map and of the ground itself: edits of north-up imagery around the way that is flown meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from tilefix.geodesy import Grid
from tilefix.simulation.looks import Look, Season
from tilefix.simulation.noise import rng_for
from tilefix.types import BoolArray, Float32Array, UInt8Array

ORCHARD_M = 7.0  # from tree to tree, both ways
ROLL_DEG = 35.0

Place = tuple[float, float]  # east and north, metres


def around(grid: Grid, places: Sequence[Place], radius_m: float) -> BoolArray:
    """True within that radius of any of the places, (H, W)."""
    mask = np.zeros((grid.height_px, grid.width_px), np.uint8)
    radius = max(1, round(radius_m / grid.gsd_m))
    for place in places:
        x, y = grid.to_pixel(*place)
        cv2.circle(mask, (round(x), round(y)), radius, 255, cv2.FILLED)
    return np.asarray(mask > 0)


def mixed(pixels: UInt8Array, other: UInt8Array, mask: BoolArray) -> UInt8Array:
    """`other` where the mask is true."""
    return np.asarray(np.where(mask[..., None], other, pixels), np.uint8)


def wrong_season(look: Look, flown: Look) -> Look:
    """The map's look half a year from the flight's: low sun from the other side, fields worked anew."""
    season = Season((flown.season + 2) % 4)
    elevation = 22.0 if season in (Season.AUTUMN, Season.WINTER) else 55.0
    azimuth = 360.0 - flown.sun_azimuth_deg
    return replace(
        look, season=season, sun_azimuth_deg=azimuth, sun_elevation_deg=elevation, moved_seed=look.moved_seed + 1
    )


def swapped(pixels: UInt8Array, grid: Grid, places: Sequence[Place], reach_m: float) -> UInt8Array:
    """The square around the places exchanged with one of the same size that lies furthest from it on the grid."""
    columns, rows = zip(*(grid.to_pixel(*place) for place in places), strict=True)
    reach = reach_m / grid.gsd_m
    side = round(max(max(columns) - min(columns), max(rows) - min(rows)) + 2.0 * reach)
    side = min(side, grid.width_px // 2, grid.height_px // 2)
    left = _within(0.5 * (max(columns) + min(columns)) - 0.5 * side, grid.width_px - side)
    top = _within(0.5 * (max(rows) + min(rows)) - 0.5 * side, grid.height_px - side)
    to_left = 0 if left > grid.width_px - side - left else grid.width_px - side
    to_top = 0 if top > grid.height_px - side - top else grid.height_px - side
    if abs(to_left - left) < side and abs(to_top - top) < side:
        raise ValueError(f"no room to exchange squares of {side * grid.gsd_m:g} m")
    here, there = (slice(y, y + side) for y in (top, to_top)), (slice(x, x + side) for x in (left, to_left))
    (y0, y1), (x0, x1) = here, there
    out = pixels.copy()
    out[y0, x0], out[y1, x1] = pixels[y1, x1], pixels[y0, x0]
    return np.asarray(out, np.uint8)


def _within(start: float, most: int) -> int:
    return min(max(round(start), 0), most)


def orchard(grid: Grid, seed: int, soil_rgb: Sequence[float], crown_rgb: Sequence[float]) -> UInt8Array:
    """An orchard that repeats exactly every `ORCHARD_M` both ways, over the whole grid. Its phase and direction
    follow from the seed, its colours are the look's."""
    angle = float(rng_for(seed, "fault", "orchard").uniform(0.0, np.pi / 2.0))
    x = np.arange(grid.width_px, dtype=np.float32) * np.float32(grid.gsd_m)
    y = np.arange(grid.height_px, dtype=np.float32)[:, None] * np.float32(grid.gsd_m)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    turn = np.float32(2.0 * np.pi / ORCHARD_M)
    # Crowns are round: the product of two waves, cut at half of its height.
    wave: Float32Array = (1.0 + np.cos(turn * (c * x + s * y))) * (1.0 + np.cos(turn * (c * y - s * x))) / 4.0
    crown = np.clip((wave - 0.35) / 0.15, 0.0, 1.0)[..., None]
    soil, leaves = np.array(soil_rgb, np.float32), np.array(crown_rgb, np.float32)
    return np.asarray(soil * (1.0 - crown) + leaves * crown + 0.5, np.uint8)
