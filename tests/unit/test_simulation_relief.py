from __future__ import annotations

import numpy as np
import pytest

from tilefix.errors import FlightError
from tilefix.geodesy import Grid
from tilefix.simulation.relief import hills, wooded

GRID = Grid(-600.0, 500.0, 0.5, 2400, 2000)


def test_hills_have_the_relief_asked_for_and_are_smooth() -> None:
    terrain = hills(1000, GRID, 60.0)
    assert (float(terrain.height_m.min()), float(terrain.height_m.max())) == pytest.approx((-30.0, 30.0))
    slopes = np.hypot(*np.gradient(terrain.height_m, terrain.grid.gsd_m))
    assert 0.03 < slopes.mean() < 0.2
    assert slopes.max() < 0.7
    assert terrain.grid.east_m >= GRID.east_m
    assert terrain.grid.south_m <= GRID.south_m


def test_hills_follow_from_the_seed() -> None:
    np.testing.assert_array_equal(hills(1000, GRID, 60.0).height_m, hills(1000, GRID, 60.0).height_m)
    assert (hills(1000, GRID, 60.0).height_m != hills(1001, GRID, 60.0).height_m).any()
    np.testing.assert_allclose(hills(1000, GRID, 30.0).height_m * 2.0, hills(1000, GRID, 60.0).height_m, atol=1e-4)
    assert not hills(1000, GRID, 0.0).height_m.any()


@pytest.mark.parametrize("relief_m", [-1.0, 2001.0, float("nan")])
def test_relief_that_is_none(relief_m: float) -> None:
    with pytest.raises(FlightError, match="hills of"):
        hills(1000, GRID, relief_m)


def test_woods_stand_on_a_third_of_the_ground() -> None:
    ground = hills(1000, GRID, 30.0)
    risen = wooded(ground, 1000, 15.0).height_m - ground.height_m
    assert risen.min() >= -1e-4
    assert risen.max() == pytest.approx(15.0, abs=0.1)
    assert 0.25 < (risen > 7.5).mean() < 0.42
    # Woods and clearings, not single trees: most of the ground is clearly the one or the other.
    assert ((risen > 1.0) & (risen < 14.0)).mean() < 0.3
    np.testing.assert_array_equal(wooded(ground, 1000, 15.0).height_m, ground.height_m + risen)
