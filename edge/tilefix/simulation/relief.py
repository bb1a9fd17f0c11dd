"""Hills for a generated world: smooth, fractal, the same for the same seed."""

from __future__ import annotations

import math

import numpy as np

from tilefix.errors import FlightError
from tilefix.geodesy import Grid
from tilefix.maps.terrain import Terrain
from tilefix.simulation.noise import fractal_noise, rng_for

GSD_M = 5.0
# Weights as wavelengths: every octave is about as steep as the others.
_WAVELENGTHS_M = (900.0, 450.0, 225.0, 110.0)
_WEIGHTS = (1.0, 0.5, 0.25, 0.1)


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
