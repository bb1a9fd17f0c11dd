from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tilefix.geodesy import Grid
from tilefix.localization.ground import NARROW_M, Place, ground_below
from tilefix.maps.terrain import Terrain
from tilefix.types import VehicleState

GRID = Grid(-1000.0, 1000.0, 10.0, 200, 200)
RAMP = Terrain(GRID, np.tile(np.linspace(200.0, 300.0, 200, dtype=np.float32), (200, 1)))  # 1 in 20 towards the east
HERE = Place(100.0, 0.0, 10.0)
STATE = VehicleState(0, 0.0, 0.0, 0.0, 120.0, 5.0, 400.0, 2.0)


def test_without_terrain_the_height_stands_as_told() -> None:
    for terrain, place in ((None, HERE), (RAMP, None), (None, None)):
        ground = ground_below(STATE, terrain, place)
        assert ground is not None
        assert (ground.agl_m, ground.sigma_m, ground.relief) == (120.0, 5.0, None)
        assert ground.height_sigma == pytest.approx(5.0 / 120.0)


@pytest.mark.parametrize("agl_m", [None, 0.0, -3.0, math.nan])
def test_no_height_at_all_is_no_ground(agl_m: float | None) -> None:
    assert ground_below(VehicleState(0, 0.0, 0.0, 0.0, agl_m), RAMP, HERE) is None
    assert ground_below(VehicleState(0, 0.0, 0.0, 0.0, agl_m, None, 400.0, 2.0), None, HERE) is None


def test_the_surer_height_wins() -> None:
    below_m = RAMP.at(100.0, 0.0)
    assert below_m == pytest.approx(255.0, abs=0.5)
    over_sea = ground_below(STATE, RAMP, HERE)
    assert over_sea is not None
    assert over_sea.agl_m == pytest.approx(400.0 - below_m)
    assert over_sea.sigma_m == pytest.approx(math.hypot(2.0, 10.0 / 20.0 / math.sqrt(3.0)), rel=0.2)
    ranged = ground_below(replace(STATE, agl_sigma_m=1.0), RAMP, HERE)
    assert ranged is not None
    assert (ranged.agl_m, ranged.sigma_m) == (120.0, 1.0)
    for ground in (over_sea, ranged):
        assert ground.relief is not None
        assert ground.relief.plane_m == below_m
        assert float(ground.relief.above_plane(np.array([0.0]), np.array([0.0]))[0]) == pytest.approx(0.0, abs=1e-9)
    unstated = ground_below(replace(STATE, agl_sigma_m=None), RAMP, HERE)
    assert unstated is not None
    assert unstated.agl_m == over_sea.agl_m  # a twentieth of 120 m is more than 2 m


def test_a_height_above_sea_level_is_not_sure_for_having_no_error_stated() -> None:
    ground = ground_below(replace(STATE, agl_sigma_m=2.0, amsl_sigma_m=None), RAMP, HERE)
    assert ground is not None
    assert (ground.agl_m, ground.sigma_m) == (120.0, 2.0)
    alone = ground_below(replace(STATE, agl_m=None, amsl_sigma_m=None), RAMP, HERE)
    assert alone is not None
    assert alone.sigma_m is not None
    assert alone.sigma_m > 4.0


def test_of_two_heights_as_sure_the_one_told_stays() -> None:
    for told_m, expected_m in ((2.2, 120.0), (3.5, 400.0 - 255.0)):
        ground = ground_below(replace(STATE, agl_sigma_m=told_m), RAMP, HERE)
        assert ground is not None
        assert ground.agl_m == pytest.approx(expected_m, abs=0.5)


def test_where_the_place_is_wide_the_mean_stands_for_it() -> None:
    ground = ground_below(VehicleState(0, 0.0, 0.0, 0.0, None, None, 400.0, 2.0), RAMP, Place(0.0, 0.0, 1000.0))
    assert ground is not None
    assert ground.relief is None
    assert ground.agl_m == pytest.approx(150.0, abs=1.0)
    assert ground.sigma_m == pytest.approx(math.hypot(2.0, 100.0 / math.sqrt(12.0)), rel=0.1)
    told = ground_below(STATE, RAMP, Place(0.0, 0.0, 1000.0))
    assert told is not None
    assert (told.agl_m, told.relief) == (120.0, None)
    narrow, wide = (ground_below(STATE, RAMP, Place(0.0, 0.0, half_m)) for half_m in (NARROW_M, NARROW_M + 1.0))
    assert narrow is not None
    assert narrow.relief is not None
    assert wide is not None
    assert wide.relief is None


def test_over_unknown_ground_the_height_stands_as_told() -> None:
    heights = np.array(RAMP.height_m)
    heights[:, :150] = np.nan
    holes = Terrain(GRID, heights)
    ground = ground_below(STATE, holes, HERE)
    assert ground is not None
    assert (ground.agl_m, ground.relief) == (120.0, None)
    # A square that is half known, around a place that is not: the mean of the known half, and no relief.
    edge = ground_below(replace(STATE, agl_m=None), holes, Place(490.0, 0.0, 80.0))
    assert edge is not None
    assert edge.relief is None
    assert edge.agl_m == pytest.approx(400.0 - 277.0, abs=2.0)


def test_a_height_below_the_ground_is_none() -> None:
    assert ground_below(VehicleState(0, 0.0, 0.0, 0.0, None, None, 240.0, 2.0), RAMP, HERE) is None
