"""What a map knows of the heights of generated ground: a survey of the truth, with its error."""

from __future__ import annotations

import math

import numpy as np

from tilefix.geodesy import Grid
from tilefix.maps.terrain import Terrain
from tilefix.simulation.noise import fractal_noise, rng_for

DEM_GSD_M, DEM_SIGMA_M = 10.0, 1.0
GROUND_AMSL_M = 212.0


def surveyed(truth: Terrain, seed: int, grid: Grid) -> Terrain:
    """What a map says of the ground: means over 10 m, above sea level, wrong by about a metre."""
    columns, rows = (math.ceil(n * grid.gsd_m / DEM_GSD_M) + 1 for n in (grid.width_px, grid.height_px))
    dem = Grid(grid.west_m, grid.north_m, DEM_GSD_M, columns, rows)
    easts, norths = dem.to_local(*np.meshgrid(np.arange(columns), np.arange(rows)))  # type: ignore[arg-type]
    noise = fractal_noise(rng_for(seed, "survey"), (rows, columns), (30.0, 6.0), (1.0, 1.0))
    heights = truth.sampled(np.asarray(easts), np.asarray(norths)) + DEM_SIGMA_M * noise
    return Terrain(dem, (heights + GROUND_AMSL_M).astype(np.float32))


def level(grid: Grid) -> Terrain:
    """The truth of ground without hills."""
    corners = Grid(grid.west_m, grid.north_m, max(grid.east_m - grid.west_m, grid.north_m - grid.south_m), 2, 2)
    return Terrain(corners, np.zeros((2, 2), np.float32))
