"""The grid's rivals: what holds for any belief over the map holds for them, so that a comparison is fair."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, small_map
from support.tools import load_tool
from tilefix.camera import Mount
from tilefix.geodesy import Grid
from tilefix.localization.belief import Belief
from tilefix.localization.localizer import Localizer
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import render_view
from tilefix.types import Fix, Float32Array, Frame, VehicleState

particle = load_tool("particle_belief")
mixture = load_tool("mixture_belief")
tolerant = load_tool("tolerant_grid")

GRID = Grid(-100.0, 100.0, 0.5, 400, 400)
CELL_M = 4.0
Made = Callable[[Grid, float], Belief]
RIVALS: dict[str, Made] = {
    "particles": partial(particle.ParticleBelief, settings=particle.ParticleSettings(4000)),
    "hypotheses": mixture.MixtureBelief,
    "tolerant grid": tolerant.TolerantGrid,
}


@pytest.fixture(params=sorted(RIVALS))
def make(request: pytest.FixtureRequest) -> Made:
    return RIVALS[request.param]


@pytest.fixture
def belief(make: Made) -> Belief:
    return make(GRID, CELL_M)


def looked(belief: Belief, places: dict[tuple[float, float], float], elsewhere: float = -1.0) -> Float32Array:
    ratio = np.full((belief.rows, belief.columns), elsewhere, np.float32)
    for (east_m, north_m), value in places.items():
        ratio[belief.cell_of(east_m, north_m)] = value
    return ratio


def test_a_fresh_start_is_undecided_and_all_over_the_map(belief: Belief) -> None:
    mode = belief.mode()
    assert mode.nowhere == pytest.approx(0.1, abs=0.01)
    assert mode.probability < 0.05
    assert belief.probability_near(0.0, 0.0, 500.0) == pytest.approx(0.9, abs=0.01)
    east_m, north_m, half_m = belief.spread_m()
    assert (east_m, north_m) == pytest.approx((0.0, 0.0), abs=8.0)
    assert half_m == pytest.approx(94.0, abs=8.0)
    assert np.exp(belief.log_posterior()).sum() == pytest.approx(0.9, abs=0.05)


def test_one_strong_look_is_not_enough_but_new_ground_is(belief: Belief) -> None:
    for _ in range(20):
        belief.update(looked(belief, {(10.0, 10.0): 7.0}), 0.0)
    assert belief.mode().probability < 0.9  # the same picture twenty times is one picture
    for _ in range(4):
        belief.update(looked(belief, {(10.0, 10.0): 7.0}), 0.1)
    mode = belief.mode()
    assert mode.probability > 0.99
    assert (mode.east_m, mode.north_m) == pytest.approx((10.0, 10.0), abs=2.0)


def test_two_equal_places_stay_two(belief: Belief) -> None:
    for _ in range(10):
        belief.update(looked(belief, {(-50.0, 0.0): 9.0, (50.0, 0.0): 9.0}), 0.2)
    for east_m in (-50.0, 50.0):
        assert belief.probability_near(east_m, 0.0, 12.0) == pytest.approx(0.5, abs=0.03)
    assert belief.mode().runner_up > 0.3


def test_nothing_fits_means_nowhere(belief: Belief) -> None:
    for _ in range(40):
        belief.update(looked(belief, {}, elsewhere=-2.0), 0.1)
    assert belief.mode().nowhere > 0.9


def test_nobody_looked_changes_little(belief: Belief) -> None:
    belief.start_near(20.0, 0.0, 12.0)
    before = belief.probability_near(20.0, 0.0, 12.0)
    belief.update(np.full((belief.rows, belief.columns), np.nan, np.float32), 0.5)
    assert belief.probability_near(20.0, 0.0, 12.0) == pytest.approx(before, abs=0.03)


def test_the_belief_moves_with_the_camera(belief: Belief) -> None:
    for _ in range(5):
        belief.update(looked(belief, {(0.0, 0.0): 9.0}), 0.3)
    belief.move(13.0, -7.0, 0.1)
    for _ in range(100):
        belief.move(0.3, 0.2, 0.01)
    mode = belief.mode()
    assert (mode.east_m, mode.north_m) == pytest.approx((43.0, 13.0), abs=3.0)
    assert mode.probability > 0.95


def test_what_leaves_the_map_is_gone(belief: Belief) -> None:
    for _ in range(5):
        belief.update(looked(belief, {(90.0, 0.0): 9.0}), 0.3)
    assert belief.mode().probability > 0.99
    belief.move(50.0, 0.0, 0.1)
    belief.update(looked(belief, {}, elsewhere=0.0), 0.1)
    assert belief.mode().probability < 0.2
    assert np.isfinite(belief.log_posterior()).all()


def test_unknown_motion_widens(belief: Belief) -> None:
    belief.start_near(0.0, 0.0, 4.0)
    near = belief.probability_near(0.0, 0.0, 12.0)
    belief.move_unknown(60.0)
    assert belief.probability_near(0.0, 0.0, 12.0) < 0.5 * near


def test_a_hint_leads_to_the_place_in_it_and_one_elsewhere_is_overcome(belief: Belief) -> None:
    both = {(-50.0, -40.0): 8.0, (60.0, 60.0): 8.0}
    belief.start_near(-60.0, -50.0, 15.0)
    assert belief.probability_near(-60.0, -50.0, 30.0) > 0.6
    for _ in range(3):
        belief.update(looked(belief, both), 0.05)
    mode = belief.mode()
    assert (mode.east_m, mode.north_m) == pytest.approx((-50.0, -40.0), abs=3.0)
    assert mode.probability > 0.8
    for _ in range(12):
        belief.update(looked(belief, {(60.0, 60.0): 9.0}), 0.1)
    assert belief.probability_near(60.0, 60.0, 10.0) > 0.99


def test_a_hint_is_no_evidence_and_one_off_the_map_leaves_it_open(belief: Belief) -> None:
    belief.start_near(10.0, 10.0, 8.0)
    assert belief.evidence_near(10.0, 10.0) == 0.0
    for _ in range(3):
        belief.update(looked(belief, {(10.0, 10.0): 6.0}), 0.05)
    # 6 x (1/2 + 1/4 + 1/8) recent, 3 x 4 x 0.05 x 6 lasting; a little less where the place was not hit at once.
    assert 6.0 < belief.evidence_near(10.0, 10.0) < 9.0
    belief.start_near(5000.0, 0.0, 20.0)
    assert belief.probability_near(0.0, 0.0, 500.0) == pytest.approx(0.9, abs=0.02)


def test_being_carried_away_is_noticed(belief: Belief) -> None:
    for _ in range(50):
        belief.update(looked(belief, {(0.0, 0.0): 12.0}), 0.1)
    belief.commit()
    assert belief.probability_near(0.0, 0.0, 10.0) > 0.9
    for _ in range(15):
        belief.update(looked(belief, {(72.0, -72.0): 10.0}, elsewhere=-2.0), 0.1)
    assert belief.probability_near(72.0, -72.0, 10.0) > 0.9


def test_what_spoke_against_places_is_forgotten_as_the_grid_does(belief: Belief) -> None:
    grid = Belief(GRID, CELL_M)
    for one in (grid, belief):
        for _ in range(10):
            one.update(looked(one, {}, elsewhere=-2.0), 0.1)
    assert belief.mode().nowhere > 0.99
    for one in (grid, belief):
        one.reconsider()
    assert belief.mode().nowhere == pytest.approx(grid.mode().nowhere, abs=0.03)


def test_equal_calls_give_equal_answers(make: Made) -> None:
    def run() -> tuple[object, Float32Array]:
        belief = make(GRID, CELL_M)
        for k in range(6):
            belief.update(looked(belief, {(10.0 + 4.0 * k, 10.0): 7.0, (-30.0, 0.0): 5.0}), 0.1)
            belief.move(4.0, 0.0, 0.5)
        return belief.mode(), belief.log_posterior()

    (mode, posterior), (again, same) = run(), run()
    assert mode == again
    assert np.array_equal(posterior, same)


def test_there_are_never_more_points_than_told() -> None:
    rng = np.random.default_rng(4)
    kept = {
        200: particle.ParticleBelief(GRID, CELL_M, particle.ParticleSettings(200)),
        20: mixture.MixtureBelief(GRID, CELL_M, mixture.MixtureSettings(most=20, born=30)),
    }
    for most, belief in kept.items():
        for _ in range(10):
            belief.update(rng.normal(0.0, 3.0, (belief.rows, belief.columns)).astype(np.float32), 0.1)
            belief.move(3.0, 1.0, 0.3)
            assert len(belief._log) <= most
            mode, whole = belief.mode(), belief.probability_near(0.0, 0.0, 500.0)
            assert whole + mode.nowhere == pytest.approx(1.0, abs=1e-6)


def test_of_more_equal_places_than_are_kept_none_is_believed_and_no_mass_is_lost() -> None:
    places = {(-90.0 + 20.0 * k, -90.0 + 20.0 * row): 9.0 for k in range(10) for row in range(10)}
    for born in (20, 100):  # the others are left to the rest of the map, or dropped again
        belief = mixture.MixtureBelief(GRID, CELL_M, mixture.MixtureSettings(most=20, born=born))
        for _ in range(6):
            belief.update(looked(belief, places), 0.1)
        assert belief.mode().probability < 0.06
        assert len(belief._log) == 20
    before = np.exp(belief._log).sum() + math.exp(belief._elsewhere)
    belief._settings = mixture.MixtureSettings(most=5)
    belief._prune()
    assert len(belief._log) == 5
    assert np.exp(belief._log).sum() + math.exp(belief._elsewhere) == pytest.approx(before)


def test_hypotheses_that_meet_are_one() -> None:
    belief = mixture.MixtureBelief(GRID, CELL_M)
    belief.update(looked(belief, {(0.0, 0.0): 8.0, (16.0, 0.0): 8.0}), 0.2)
    assert len(belief._log) == 2
    both = float(np.exp(belief._log).sum())
    belief._places[1] = belief._places[0] + 1.0
    belief._merge()
    assert len(belief._log) == 1
    assert float(np.exp(belief._log).sum()) == pytest.approx(both)


def test_a_peak_that_lies_a_cell_aside_now_and_then_is_one_place_to_all_but_the_plain_grid(belief: Belief) -> None:
    grid = Belief(GRID, CELL_M)
    for one in (grid, belief):
        for k in range(4):
            one.update(looked(one, {(10.0 + CELL_M * (k % 2), 10.0): 8.0}), 0.05)
    assert belief.mode().probability > 0.99 > grid.mode().probability
    assert belief.evidence_near(10.0, 10.0) > grid.evidence_near(10.0, 10.0) + 3.0


def test_evidence_spreads_to_the_cells_around_and_not_to_those_that_nobody_looked_at() -> None:
    ratio = np.full((4, 5), -2.0, np.float32)
    ratio[1, 1], ratio[1, 2], ratio[3] = 6.0, np.nan, np.nan
    expected = np.full((4, 5), -2.0, np.float32)
    expected[:3, :3] = np.array([[5.0, 5.5, 5.0], [5.5, 6.0, np.nan], [5.0, 5.5, 5.0]])
    expected[3] = np.nan
    assert np.array_equal(tolerant.spread_aside(ratio), expected, equal_nan=True)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), side_px=1000)


def test_the_localizer_finds_itself_with_them(package, make: Made) -> None:
    localizer = Localizer(package, TileIndex.open(package), ThumbnailEmbedder(), CAMERA, Mount(), belief=make)
    answers = []
    for k in range(14):
        at_ns, east_m = (k + 1) * 500_000_000, -120.0 + 8.0 * k
        image = render_view(package.imagery, package.grid, CAMERA, Mount(), east_m, 15.0, AGL_M, 0.0, 0.0, 90.0)
        answers.append(localizer.process(Frame(image, at_ns, k), VehicleState(at_ns, 0.0, 0.0, 90.0, AGL_M)))
        if isinstance(answers[-1], Fix):
            assert math.dist((answers[-1].east_m, answers[-1].north_m), (east_m, 15.0)) < 2.0
    assert not isinstance(answers[0], Fix)
    assert isinstance(answers[-1], Fix)
