from __future__ import annotations

import math

import numpy as np
import pytest

from tilefix.geodesy import Grid
from tilefix.maps.terrain import Relief, Terrain

GRID = Grid(-100.0, 80.0, 10.0, 20, 16)


def sloping(east_per_m: float = 0.3, north_per_m: float = -0.1, unknown: slice | None = None) -> Terrain:
    easts, norths = GRID.to_local(*np.meshgrid(np.arange(20.0), np.arange(16.0)))
    heights = (200.0 + east_per_m * np.asarray(easts) + north_per_m * np.asarray(norths)).astype(np.float32)
    if unknown is not None:
        heights[:, unknown] = np.nan
    return Terrain(GRID, heights)


@pytest.mark.parametrize(("east_m", "north_m"), [(0.0, 0.0), (3.7, -41.2), (-94.9, 74.9), (94.0, -70.0)])
def test_a_slope_is_exact_between_pixels(east_m: float, north_m: float) -> None:
    height_m = sloping().at(east_m, north_m)
    assert height_m == pytest.approx(200.0 + 0.3 * east_m - 0.1 * north_m, abs=1e-4)


def test_beyond_the_grid_the_edge_goes_on() -> None:
    terrain = sloping(north_per_m=0.0)
    assert terrain.at(5000.0, 0.0) == pytest.approx(200.0 + 0.3 * 95.0, abs=1e-4)
    assert terrain.at(-5000.0, 9000.0) == pytest.approx(200.0 - 0.3 * 95.0, abs=1e-4)


def test_unknown_ground_is_unknown() -> None:
    terrain = sloping(unknown=slice(0, 8))
    assert terrain.at(-60.0, 0.0) is None
    assert terrain.at(-21.0, 0.0) is None  # between a known and an unknown pixel
    assert terrain.at(-14.9, 0.0) is not None


def test_the_mean_around_a_place_is_of_what_is_known() -> None:
    mean, spread = sloping(north_per_m=0.0).around(0.0, 0.0, 60.0) or (math.nan, math.nan)
    assert mean == pytest.approx(200.0, abs=0.1)
    assert spread == pytest.approx(0.3 * 120.0 / math.sqrt(12.0), rel=0.15)
    half = sloping(north_per_m=0.0, unknown=slice(0, 10)).around(0.0, 0.0, 60.0)
    assert half is not None
    assert half[0] > 205.0
    assert sloping(unknown=slice(0, 20)).around(0.0, 0.0, 60.0) is None
    assert sloping().around(0.0, 0.0, 0.0) is not None  # a point


def test_relief_counts_from_its_plane_and_place() -> None:
    relief = Relief(sloping(), 10.0, 20.0, 195.0)
    above = relief.above_plane(np.array([[0.0, 30.0]]), np.array([[0.0, -40.0]]))
    np.testing.assert_allclose(above, [[200.0 + 3.0 - 2.0 - 195.0, 200.0 + 12.0 + 2.0 - 195.0]], atol=1e-4)


def test_unknown_relief_is_as_high_as_the_rest() -> None:
    offsets = np.linspace(-90.0, 90.0, 19), np.zeros(19)
    above = Relief(sloping(0.0, 0.0, slice(0, 8)), 0.0, 0.0, 180.0).above_plane(*offsets)
    np.testing.assert_allclose(above, 20.0)
    np.testing.assert_allclose(Relief(sloping(unknown=slice(0, 20)), 0.0, 0.0, 180.0).above_plane(*offsets), 0.0)
