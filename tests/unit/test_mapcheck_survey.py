"""What a map says of its own places, and a route over it."""

from __future__ import annotations

import itertools
import math
from dataclasses import astuple

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.patchwork import QUARTER_M, patchwork_map
from tilefix.camera import CameraModel, Mount
from tilefix.errors import MapError, MissionError
from tilefix.mapcheck.legs import MissionCheck, State, check_route
from tilefix.mapcheck.mission import Leg, Place, Route
from tilefix.mapcheck.score import Chances, chances
from tilefix.mapcheck.sight import Sight
from tilefix.mapcheck.survey import survey
from tilefix.mapcheck.traits import MapSelf, Traits
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex

CAMERA = CameraModel.from_hfov(320, 240, 60.0)
AGL_M = 70.0  # a footprint of 70 m
NOISE, ROWS, PLAIN, BLANK = (-1, 1), (1, 1), (-1, -1), (1, -1)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return patchwork_map(tmp_path_factory.mktemp("maps") / "map", ThumbnailEmbedder())


@pytest.fixture(scope="module")
def sight(package: MapPackage) -> Sight:
    return Sight(package, TileIndex.open(package), CAMERA, Mount())


def at(quarter: tuple[int, int]) -> tuple[float, float]:
    return QUARTER_M * quarter[0], QUARTER_M * quarter[1]


def test_traits_tell_detail_from_repetition(package: MapPackage) -> None:
    itself = MapSelf(package, TileIndex.open(package), 70.0)
    noise, rows = itself.traits(*at(NOISE)), itself.traits(*at(ROWS))
    assert noise is not None
    assert rows is not None
    assert np.isfinite(astuple(noise)).all()
    assert rows.near_rival > 0.9 > 0.5 > noise.near_rival
    assert rows.far_rival > noise.far_rival
    assert rows.structure > noise.structure
    assert itself.traits(*at(PLAIN)) is None
    assert itself.traits(*at(BLANK)) is None
    assert itself.traits(1e6, 0.0) is None


def test_traits_are_equal_whatever_was_looked_at_before(package: MapPackage) -> None:
    index = TileIndex.open(package)
    fresh, used = MapSelf(package, index, 70.0), MapSelf(package, index, 70.0)
    used.traits(*at(ROWS))
    assert used.traits(*at(NOISE)) == fresh.traits(*at(NOISE))


def test_chances_rise_with_what_helps_and_fall_with_rivals() -> None:
    usual = Traits(detail=4.0, structure=0.4, coarse=0.6, near_rival=0.15, far_rival=0.12, pixels=7.0)

    def of(**changed: float) -> Chances:
        return chances(Traits(**{**{n: getattr(usual, n) for n in usual.__slots__}, **changed}))

    for better in ({"detail": 5.0}, {"structure": 0.6}, {"coarse": 0.8}, {"near_rival": 0.05}, {"pixels": 7.4}):
        assert of(**better).match > chances(usual).match
        assert of(**better).found > chances(usual).found
    assert 0.0 <= of(pixels=5.0).found <= of(pixels=5.0).match <= 1.0


def test_a_survey_colours_the_quarters(sight: Sight) -> None:
    steps: list[float] = []
    found = survey(sight, AGL_M, max_places=100, progress=lambda _, done: steps.append(done))
    rows, columns = found.match.shape
    assert rows * columns <= 100
    assert steps[-1] == 1.0
    north, south = slice(0, rows // 2 - 1), slice(rows // 2 + 1, rows)
    west, east = slice(0, columns // 2 - 1), slice(columns // 2 + 1, columns)
    assert np.isnan(found.match[south, east]).all()
    assert (found.match[south, west] == 0.0).all()
    assert found.match[north, west].min() > found.match[north, east].max()
    assert found.found[north, west].mean() > found.found[north, east].mean()
    assert 0.25 <= found.hard_share <= found.ambiguous_share < 1.0


def test_a_larger_map_is_not_looked_at_more_often(sight: Sight) -> None:
    found = survey(sight, AGL_M, max_places=9)
    assert found.match.size <= 9
    assert found.step_m >= 200.0


def test_a_frame_out_of_scale_has_no_chance(sight: Sight) -> None:
    for agl_m in (1.0, 20.0, 1e5):
        glance = sight.glance(*at(NOISE), agl_m)
        assert not glance.in_scale
        assert glance.chances is None


def test_the_footprint_hangs_over_the_edge_by_what_is_not_covered(sight: Sight) -> None:
    assert sight.covered(*at(NOISE), AGL_M) == 1.0
    assert sight.covered(-300.0, 150.0, AGL_M) == pytest.approx(0.5)
    assert sight.covered(0.0, 0.0, AGL_M) == pytest.approx(0.75)
    assert sight.covered(1e6, 0.0, AGL_M) == 0.0


def test_a_camera_that_sees_the_horizon_is_refused(package: MapPackage) -> None:
    with pytest.raises(MapError, match="horizon"):
        Sight(package, TileIndex.open(package), CAMERA, Mount(pitch_deg=70.0))


def place(package: MapPackage, east_m: float, north_m: float, agl_m: float = AGL_M) -> Place:
    return Place(*package.frame.to_geodetic(east_m, north_m), agl_m)


def judged(
    sight: Sight,
    *places: tuple[float, ...],
    coast_s: float = 5.0,
    coast_m: float = math.inf,
    speed_mps: float = 10.0,
    low: bool = False,
) -> MissionCheck:
    stops = [place(sight.package, *one) for one in places]
    legs = [Leg(k, "waypoint", a, b, speed_mps, low) for k, (a, b) in enumerate(itertools.pairwise(stops))]
    return check_route(Route(tuple(legs), ("a note",)), sight, coast_s, max_coast_m=coast_m)


def test_a_leg_over_detail_is_fine(sight: Sight) -> None:
    check = judged(sight, (-220.0, 150.0), (-80.0, 150.0))
    (leg,) = check.judgements
    assert leg.lengths_m[State.CLEAR] == pytest.approx(leg.length_m) == pytest.approx(140.0, abs=0.5)
    assert not leg.hard
    assert not check.hard
    assert check.notes == ("a note",)


def test_what_coasting_bears_is_fine_and_more_is_hard(sight: Sight) -> None:
    there = ((-220.0, 200.0), (-150.0, 60.0), (-150.0, -220.0))
    short, long = judged(sight, *there, coast_s=60.0), judged(sight, *there, coast_s=5.0)
    assert not short.hard
    assert long.judgements[1].hard
    assert long.judgements[1].lengths_m[State.INDISTINCT] > 150.0
    for leg in long.judgements:
        assert sum(leg.lengths_m.values()) == pytest.approx(leg.length_m)


def test_a_fast_vehicle_coasts_no_farther_than_its_position_is_sent(sight: Sight) -> None:
    there = ((-220.0, 200.0), (-150.0, 60.0), (-150.0, -220.0))
    fast = {"coast_s": 10.0, "speed_mps": 60.0}
    far, near = judged(sight, *there, **fast, coast_m=400.0), judged(sight, *there, **fast, coast_m=150.0)
    assert not far.hard
    assert near.judgements[1].hard


def test_a_stretch_goes_on_over_a_waypoint(sight: Sight) -> None:
    whole = judged(sight, (-150.0, -60.0), (-150.0, -240.0), coast_s=12.0)
    cut = judged(sight, (-150.0, -60.0), (-150.0, -150.0), (-150.0, -240.0), coast_s=12.0)
    assert whole.hard
    assert all(leg.hard for leg in cut.judgements)
    assert cut.judgements[0].longest_m == pytest.approx(180.0, abs=1.0)


def test_blank_imagery_and_the_land_beyond_are_uncovered_and_the_edge_hangs_over(sight: Sight) -> None:
    check = judged(sight, (-150.0, 150.0), (-150.0, 400.0))
    (leg,) = check.judgements
    assert leg.lengths_m[State.UNCOVERED] == pytest.approx(105.0, abs=25.0)
    assert leg.lengths_m[State.OVERHANG] > 0.0
    assert judged(sight, (150.0, -60.0), (150.0, -200.0)).judgements[0].lengths_m[State.UNCOVERED] > 100.0
    assert judged(sight, (-150.0, 150.0), (-150.0, 400.0), coast_s=600.0).hard  # beyond the edge nothing is coasted


def test_landing_is_too_low_without_being_hard(sight: Sight) -> None:
    down = ((-220.0, 150.0, AGL_M), (-80.0, 150.0, 0.0))
    flown, landed = judged(sight, *down, coast_s=1.0), judged(sight, *down, coast_s=1.0, low=True)
    assert flown.judgements[0].lengths_m[State.OUT_OF_SCALE] > 30.0
    assert flown.hard
    assert not landed.hard


def test_going_straight_up_has_no_length(sight: Sight) -> None:
    check = judged(sight, (-150.0, 150.0, 0.0), (-150.0, 150.0, 60.0))
    assert check.samples == ()
    assert not check.hard


def test_a_route_that_no_aircraft_flies_is_refused(sight: Sight) -> None:
    route = Route((Leg(3, "waypoint", Place(-80.0, 8.0, 100.0), Place(80.0, 8.0, 100.0), 10.0, low=False),), ())
    with pytest.raises(MissionError, match="km long"):
        check_route(route, sight, 10.0)
