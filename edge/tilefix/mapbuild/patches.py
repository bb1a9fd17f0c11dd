"""Where tiles stand on a map, and the patch of ground that each one shows."""

from __future__ import annotations

import math

import cv2
import numpy as np

from tilefix.errors import MapError
from tilefix.geodesy import Grid
from tilefix.types import BoolArray, Float32Array, UInt8Array

MIN_TILE_COVERAGE = 0.6
_MAX_OVERHANG = (
    1.0 - MIN_TILE_COVERAGE
)  # of a patch that may hang over the map's edge, when it is full along the other axis
_MAX_CROP_PX = 16_384  # OpenCV warps at most 32,767 px


def tile_centres(grid: Grid, patch_m: float, stride_m: float) -> Float32Array:
    """Centres (N, 2), east and north metres, of a regular lattice centred on the grid; rows go south, then east.

    Tiles may hang over the map's edge as far as `MIN_TILE_COVERAGE` allows, so that the edge is covered too.
    """

    def axis(low_m: float, high_m: float) -> list[float]:
        reach_m = max(0.0, (high_m - low_m) - 2.0 * (0.5 - _MAX_OVERHANG) * patch_m)
        steps = math.floor(reach_m / stride_m + 1e-9)
        middle_m = 0.5 * (low_m + high_m)
        return [middle_m + (i - 0.5 * steps) * stride_m for i in range(steps + 1)]

    east, north = axis(grid.west_m, grid.east_m), axis(grid.south_m, grid.north_m)[::-1]
    lattice = np.stack(np.meshgrid(np.array(east), np.array(north)), axis=-1)
    return lattice.reshape(-1, 2).astype(np.float32)


def check_crop(grid: Grid, patch_m: float) -> None:
    """Raises `MapError` when a patch spans more map pixels than can be resampled."""
    if patch_m / grid.gsd_m > _MAX_CROP_PX:
        raise MapError(
            f"a patch of {patch_m:g} m spans {patch_m / grid.gsd_m:.0f} px at {grid.gsd_m:g} m/px",
            mend=f"choose --gsd-m of at least {patch_m / _MAX_CROP_PX:.2g}",
        )


def cut_patch(
    pixels: UInt8Array,
    coverage: UInt8Array,
    grid: Grid,
    *,
    east_m: float,
    north_m: float,
    patch_m: float,
    patch_px: int,
) -> tuple[UInt8Array, BoolArray, float]:
    """The north-up square of ground `patch_m` wide around a place.

    `pixels` uint8 (H, W, 3) and `coverage` uint8 (H, W) lie on `grid`. Gives uint8 (patch_px, patch_px, 3), a mask
    that is True where the patch shows ground (half a pixel or more), and the covered share of the patch. Pixels
    without ground are black. Area-weighted: the source is read at least as finely as it is stored, then averaged.
    """
    fine = max(1, math.ceil(patch_m / patch_px / grid.gsd_m - 1e-6))
    size = patch_px * fine
    step_m = patch_m / size
    margin_px = math.ceil(0.5 * patch_m / grid.gsd_m) + 2
    column, row = grid.to_pixel(east_m, north_m)
    left, right = max(0, math.floor(column) - margin_px), min(grid.width_px, math.ceil(column) + margin_px + 1)
    top, bottom = max(0, math.floor(row) - margin_px), min(grid.height_px, math.ceil(row) + margin_px + 1)
    if left >= right or top >= bottom:
        return np.zeros((patch_px, patch_px, 3), np.uint8), np.zeros((patch_px, patch_px), np.bool_), 0.0
    scale = step_m / grid.gsd_m
    first_column, first_row = grid.to_pixel(east_m - 0.5 * (patch_m - step_m), north_m + 0.5 * (patch_m - step_m))
    to_source = np.array([[scale, 0.0, first_column - left], [0.0, scale, first_row - top]])

    def warp(source: UInt8Array) -> UInt8Array:
        warped = cv2.warpAffine(
            np.ascontiguousarray(source),
            to_source,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0),
        )
        return np.asarray(cv2.resize(warped, (patch_px, patch_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)

    source_coverage = coverage[top:bottom, left:right]
    cover = warp(source_coverage)
    patch = warp(pixels[top:bottom, left:right])
    mask: BoolArray = cover >= 128
    share = float(cover.mean()) / 255.0
    if int(cover.min()) < 255:
        # Edge pixels were mixed with the black beyond: take the black out again.
        scaled = patch.astype(np.float32) * (255.0 / np.maximum(cover, 1).astype(np.float32))[..., None]
        patch = np.where(mask[..., None], np.minimum(np.rint(scaled), 255.0), 0.0).astype(np.uint8)
    return patch, mask, share
