"""What passes over generated ground: where it is, how it moves, how much it covers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from support.scenes import CAMERA, noise_ground
from tilefix.camera import Mount
from tilefix.geodesy import Grid
from tilefix.simulation.camera import OUTSIDE_RGB, Exposure
from tilefix.simulation.passing import SKY_LIGHT, CloudShadow, Ground, OwnShadow, passed_over
from tilefix.simulation.passingtraffic import motorway, scattered
from tilefix.simulation.passingwater import Water
from tilefix.simulation.passingway import Way
from tilefix.simulation.sight import Scenery, picture_of
from tilefix.simulation.vehicle import Motion

GRID = Grid(-200.0, 200.0, 0.5, 800, 800)
NORTH = Way([(0.0, float(y)) for y in range(-150, 151, 10)])
STILL = Motion(0.0, 0.0, 0.0, 100.0, 0.0, 12.0, 0.0, 0.0, 0.0, 0.0)


def painted(passing, motion: Motion = STILL, level: float = 128.0):
    """Even ground with what passes, in grey, (800, 800)."""
    ground = Ground(np.full((800, 800, 3), level, np.float32), GRID, 0, 0)
    passing.paint(ground, motion)
    return ground.pixels.mean(axis=2)


def later(seconds: float) -> Motion:
    return replace(STILL, at_s=seconds)


def test_the_own_shadow_lies_away_from_the_sun_and_moves_with_the_vehicle() -> None:
    shadow = OwnShadow(6.0, sun_azimuth_deg=90.0, sun_elevation_deg=70.0)
    for motion in (STILL, replace(STILL, east_m=20.0, north_m=-30.0, agl_m=60.0)):
        dark = 128.0 - painted(shadow, motion)
        rows, columns = np.mgrid[:800, :800]
        at = [float((dark * index).sum() / dark.sum()) for index in (columns, rows)]
        west_m = motion.agl_m / math.tan(math.radians(70.0))
        assert at == pytest.approx(GRID.to_pixel(motion.east_m - west_m, motion.north_m), abs=0.5)
        assert dark.max() == pytest.approx(128.0 * (1.0 - SKY_LIGHT), rel=0.35)
        assert 1.0 < np.count_nonzero(dark > 10.0) * 0.25 < 36.0  # square metres
    assert shadow.moves_mps(STILL) == (0.0, 12.0)


def test_cloud_shadows_cover_their_share_and_drift() -> None:
    clouds = CloudShadow(0.4, 10.0, 90.0, 240.0, seed=3)
    before, after = painted(clouds), painted(clouds, later(2.0))
    assert np.abs(after[:, 40:] - before[:, :-40]).max() < 3.0  # 20 m eastwards
    assert np.abs(after - before).max() > 30.0
    assert (before < 128.0 * 0.5 * (1.0 + SKY_LIGHT)).mean() == pytest.approx(0.4, abs=0.25)


def test_a_motorway_moves_as_one_along_its_way() -> None:
    road = motorway(NORTH, 60.0, 30.0, 20.0, seed=4)
    before, after = painted(road), painted(road, later(1.0))
    on_road = np.abs(GRID.west_m + 0.5 * (np.arange(800) + 0.5) - 30.0) < 28.0
    vehicles = np.ix_(np.arange(200, 600), on_road)
    # 20 m northwards are 40 rows up; road, markings and grain stay.
    moved, stayed = (float(np.corrcoef(a.ravel(), before[vehicles].ravel())[0, 1])
                     for a in (np.roll(after, 40, axis=0)[vehicles], after[vehicles]))  # fmt: skip
    assert moved > 0.9
    assert stayed < 0.3
    assert np.allclose(before[:, :300], 128.0)
    assert road.moves_mps(STILL) == pytest.approx((0.0, 20.0))


@pytest.mark.parametrize("cover", [0.01, 0.04])
def test_scattered_traffic_covers_its_share(cover) -> None:
    traffic = scattered(NORTH, cover, 15.0, 300.0, seed=5)
    inside = painted(traffic)[:, 110:690]
    assert (np.abs(inside - 128.0) > 4.0).mean() == pytest.approx(1.6 * cover, rel=0.25)  # with their shadows


def test_water_lies_beyond_its_shore_moves_and_falls_apart() -> None:
    water = Water(NORTH, shore_m=20.0, current_mps=2.0, towards_deg=0.0, seed=6)
    pictures = [painted(water, later(seconds)) for seconds in (0.0, 0.5, 20.0)]
    east_m = GRID.west_m + 0.5 * (np.arange(800) + 0.5)
    assert np.allclose(pictures[0][:, east_m < 10.0], 128.0)
    sea = [picture[:, east_m > 35.0] for picture in pictures]
    assert sea[0].std() > 5.0

    def alike(one, other) -> float:
        return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])

    by_rows = {rows: alike(np.roll(sea[1], rows, axis=0)[100:700], sea[0][100:700]) for rows in range(-8, 9)}
    best = max(by_rows, key=by_rows.__getitem__)
    assert 2 <= best <= 6  # 2 rows of current in half a second, and what the waves run beside
    assert 0.3 < by_rows[best] < 0.95
    assert abs(alike(sea[2], sea[0])) < 0.2


class _Nothing:
    def paint(self, ground: Ground, motion: Motion) -> None:
        pass

    def moves_mps(self, motion: Motion) -> tuple[float, float]:
        return 0.0, 0.0


@pytest.mark.parametrize(("agl_m", "roll_deg"), [(30.0, 0.0), (80.0, 25.0), (140.0, -20.0)])
def test_all_ground_in_view_is_there(agl_m, roll_deg) -> None:
    scenery = Scenery(noise_ground(7, 800), GRID)
    motion = replace(STILL, agl_m=agl_m, roll_deg=roll_deg, yaw_deg=30.0)
    window = passed_over(scenery, _Nothing(), CAMERA, Mount(), motion)
    whole, cut = (picture_of(one, CAMERA, Mount(), motion, Exposure(), 0, 0) for one in (scenery, window))
    assert not (cut == np.array(OUTSIDE_RGB, np.uint8)).all(axis=2).any()
    assert np.abs(whole.astype(int) - cut).mean() < 2.0


def test_the_same_seed_gives_the_same_ground() -> None:
    def all_of(seed: int):
        return [
            painted(one, later(3.0))
            for one in (
                CloudShadow(0.3, 8.0, 20.0, 80.0, seed),
                motorway(NORTH, 30.0, 0.0, 25.0, seed),
                Water(NORTH, 0.0, 1.0, 200.0, seed),
            )
        ]

    for same, again, other in zip(all_of(8), all_of(8), all_of(9), strict=True):
        assert np.array_equal(same, again)
        assert not np.array_equal(same, other)


def test_a_way_tells_where_places_lie_and_back() -> None:
    bend = Way([(300.0 * math.sin(a), 300.0 - 300.0 * math.cos(a)) for a in np.linspace(0.0, 1.2, 60)])
    along, aside = np.array([-500.0, 20.0, 150.0, 330.0, 900.0]), np.array([30.0, -40.0, 15.0, 60.0, -80.0])
    east, north, _ = bend.place(along, aside)
    found = bend.coordinates(east, north)
    assert np.abs(found[0] - along).max() < 3.0
    assert np.abs(found[1] - aside).max() < 1.0
    with pytest.raises(ValueError, match="two places"):
        Way([(1.0, 2.0), (1.0, 2.0)])
