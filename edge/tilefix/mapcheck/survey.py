"""The whole map, place by place: how likely a frame from a height is to match there, and to be told from elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tilefix.mapbuild.package import Progress
from tilefix.mapcheck.sight import MIN_COVERED, Sight
from tilefix.types import BoolArray, Float32Array

MAX_PLACES = 2500  # looked at, however large the map: the cost is bounded
FINEST = 1.0 / 3.0  # of the footprint between places; nearer ones show the same
HARD_BELOW = 0.5  # chance of a match; and of being found without knowing where


@dataclass(frozen=True)
class Survey:
    """Places on a lattice, row 0 in the north, float32 (rows, columns), NaN where the map has no imagery.

    `match`: chance that a frame there matches while the place is about known. `found`: that it is told from all other
    places at once. `west_m`, `north_m`: outer corner of the lattice; `step_m`: between places.
    """

    agl_m: float
    footprint_m: float
    west_m: float
    north_m: float
    step_m: float
    match: Float32Array
    found: Float32Array

    @property
    def on_map(self) -> BoolArray:
        """Where there is imagery to match."""
        return np.isfinite(self.match)

    @property
    def hard_share(self) -> float:
        """Share of the imaged area where a frame most likely does not match."""
        return _share(self.match, self.on_map)

    @property
    def ambiguous_share(self) -> float:
        """Share of the imaged area where a single frame most likely does not tell the place from others."""
        return _share(self.found, self.on_map)


def _share(chance: Float32Array, on_map: BoolArray) -> float:
    total = int(on_map.sum())
    return float((chance[on_map] < HARD_BELOW).sum()) / total if total else 1.0


def survey(sight: Sight, agl_m: float, *, max_places: int = MAX_PLACES, progress: Progress | None = None) -> Survey:
    """Looks at places all over the map, a third of a footprint apart, or further where that would be too many."""
    grid = sight.package.grid
    width_m, height_m = grid.east_m - grid.west_m, grid.north_m - grid.south_m
    footprint_m = sight.footprint_m(agl_m)
    step_m = max(FINEST * footprint_m, math.sqrt(width_m * height_m / max_places))
    columns, rows = max(1, math.floor(width_m / step_m)), max(1, math.floor(height_m / step_m))
    west_m = 0.5 * (grid.west_m + grid.east_m - columns * step_m)
    north_m = 0.5 * (grid.north_m + grid.south_m + rows * step_m)
    match = np.full((rows, columns), np.nan, np.float32)
    found = match.copy()
    for row in range(rows):
        for column in range(columns):
            east, north = west_m + (column + 0.5) * step_m, north_m - (row + 0.5) * step_m
            glance = sight.glance(east, north, agl_m)
            if glance.chances is not None:
                match[row, column], found[row, column] = glance.chances.match, glance.chances.found
            elif glance.covered >= MIN_COVERED:
                match[row, column] = found[row, column] = 0.0  # imagery without any edge
        if progress is not None:
            progress("looking at places", (row + 1) / rows)
    return Survey(agl_m, footprint_m, west_m, north_m, step_m, match, found)
