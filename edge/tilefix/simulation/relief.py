"""Hills for a generated world: smooth, fractal, the same for the same seed."""

from __future__ import annotations

import math

import cv2
import numpy as np

from tilefix.errors import FlightError
from tilefix.geodesy import Grid
from tilefix.maps.terrain import Terrain
from tilefix.simulation.noise import fractal_noise, rng_for, value_noise

GSD_M = 5.0
# Weights as wavelengths: every octave is about as steep as the others.
_WAVELENGTHS_M = (900.0, 450.0, 225.0, 110.0)
_WEIGHTS = (1.0, 0.5, 0.25, 0.1)
_WOOD_M = 300.0  # wavelength of woods and clearings
_EDGE_M = 5.0  # over which a wood rises, one sigma


def hills(seed: int, grid: Grid, relief_m: float) -> Terrain:
    """Ground heights over `grid` between -`relief_m`/2 and +`relief_m`/2, about a plane that heights count from.

    Raises `FlightError` for hills beyond 2000 m.
    """
    if not 0.0 <= relief_m <= 2000.0:
        raise FlightError(f"hills of {relief_m:g} m", mend="give 0 to 2000")
    columns = math.ceil((grid.east_m - grid.west_m) / GSD_M) + 1
    rows = math.ceil((grid.north_m - grid.south_m) / GSD_M) + 1
    field = fractal_noise(rng_for(seed, "hills"), (rows, columns), [w / GSD_M for w in _WAVELENGTHS_M], _WEIGHTS)
    low, high = float(field.min()), float(field.max())
    heights = ((field - low) / (high - low) - 0.5) * relief_m
    return Terrain(Grid(grid.west_m, grid.north_m, GSD_M, columns, rows), heights.astype(np.float32))


def wooded(ground: Terrain, seed: int, height_m: float) -> Terrain:
    """The surface of a ground that woods of that height stand on, on about a third of it: what a map of the bare ground
    does not know."""
    shape = ground.height_m.shape
    field = value_noise(rng_for(seed, "woods"), (shape[0], shape[1]), _WOOD_M / ground.grid.gsd_m)
    woods = cv2.GaussianBlur(
        (field > np.quantile(field, 2.0 / 3.0)).astype(np.float32), (0, 0), _EDGE_M / ground.grid.gsd_m
    )
    return Terrain(ground.grid, ground.height_m + np.float32(height_m) * np.asarray(woods, np.float32))
