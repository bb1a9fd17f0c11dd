"""The ground's height: a grid in local metres, and the relief around one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilefix.geodesy import Grid
from tilefix.types import Float32Array, Float64Array

# What a height on land or sea bed can be, metres above sea level; beyond it a file is broken or in other units.
HEIGHT_RANGE_M = (-500.0, 9000.0)


@dataclass(frozen=True, eq=False)
class Terrain:
    """Ground heights. `height_m`: float32 (H, W) on `grid`, NaN where unknown; above whatever zero its maker chose."""

    grid: Grid
    height_m: Float32Array

    def sampled(self, east_m: Float64Array, north_m: Float64Array) -> Float64Array:
        """Heights at places (arrays of one shape, local metres), bilinear between pixel centres.

        NaN next to a pixel without a height; beyond the grid the height at its edge.
        """
        return bilinear(self.height_m, *self._pixels(east_m, north_m))

    def at(self, east_m: float, north_m: float) -> float | None:
        """The height at one place; `None` where it is unknown."""
        height_m = float(self.sampled(np.array([east_m]), np.array([north_m]))[0])
        return height_m if np.isfinite(height_m) else None

    def around(self, east_m: float, north_m: float, half_m: float) -> tuple[float, float] | None:
        """Mean and standard deviation over a square, of at most about 32 x 32 samples; `None` where all is unknown."""
        steps = np.linspace(-half_m, half_m, max(2, min(32, int(2.0 * half_m / self.grid.gsd_m) + 1)))
        easts, norths = np.meshgrid(
            np.clip(east_m + steps, self.grid.west_m, self.grid.east_m),
            np.clip(north_m + steps, self.grid.south_m, self.grid.north_m),
        )
        heights = self.sampled(easts, norths)
        known = heights[np.isfinite(heights)]
        return (float(known.mean()), float(known.std())) if known.size else None

    def _pixels(self, east_m: Float64Array, north_m: Float64Array) -> tuple[Float64Array, Float64Array]:
        grid = self.grid
        return (
            (np.asarray(east_m, np.float64) - grid.west_m) / grid.gsd_m - 0.5,
            (grid.north_m - np.asarray(north_m, np.float64)) / grid.gsd_m - 0.5,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Relief:
    """The ground around a believed place, as heights above the plane that the height above ground is counted from.

    `east_m`, `north_m`: the point below the camera; `plane_m`: height of the plane, in the terrain's own zero.
    """

    terrain: Terrain
    east_m: float
    north_m: float
    plane_m: float

    def above_plane(self, east_m: Float64Array, north_m: Float64Array) -> Float64Array:
        """Heights above the plane at offsets from the place. What is unknown is as high as the middle of the rest."""
        heights = self.terrain.sampled(self.east_m + east_m, self.north_m + north_m) - self.plane_m
        unknown = ~np.isfinite(heights)
        if unknown.any():
            heights[unknown] = 0.0 if unknown.all() else float(np.median(heights[~unknown]))
        return heights


def bilinear(values: Float32Array | Float64Array, columns: Float64Array, rows: Float64Array) -> Float64Array:
    """`values` (H, W) at pixel positions, exact to float64; the edge's value beyond it, NaN next to NaN."""
    height, width = values.shape
    x, y = np.clip(columns, 0.0, width - 1.0), np.clip(rows, 0.0, height - 1.0)
    left, top = x.astype(np.int64), y.astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    fx, fy = x - left, y - top
    upper = values[top, left] * (1.0 - fx) + values[top, right] * fx
    lower = values[bottom, left] * (1.0 - fx) + values[bottom, right] * fx
    return np.asarray(upper * (1.0 - fy) + lower * fy, dtype=np.float64)
