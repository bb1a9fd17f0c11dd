"""The belief over the map: what it may conclude, and what it must not."""

from __future__ import annotations

import numpy as np
import pytest

from tilefix.geodesy import Grid
from tilefix.localization.belief import Belief

GRID = Grid(-100.0, 100.0, 0.5, 400, 400)


def looked(belief: Belief, places: dict[tuple[float, float], float], elsewhere: float = -1.0) -> np.ndarray:
    ratio = np.full((belief.rows, belief.columns), elsewhere, np.float32)
    for (east_m, north_m), value in places.items():
        ratio[belief.cell_of(east_m, north_m)] = value
    return ratio


def test_uniform_start_is_undecided() -> None:
    belief = Belief(GRID, 4.0)
    mode = belief.mode()
    assert mode.nowhere == pytest.approx(0.1)
    assert mode.probability < 0.02
    assert belief.probability_near(0.0, 0.0, 500.0) == pytest.approx(0.9)


def test_cells_lie_where_they_say() -> None:
    belief = Belief(GRID, 4.0)
    easts, norths = belief.centres()
    assert (easts[0], norths[0]) == (-98.0, 98.0)
    assert belief.cell_of(-98.0, 98.0) == (0, 0)
    assert belief.cell_of(99.0, -99.0) == (49, 49)


def test_the_spread_is_where_the_belief_is() -> None:
    belief = Belief(GRID, 4.0)
    east_m, north_m, half_m = belief.spread_m()
    assert (east_m, north_m) == pytest.approx((0.0, 0.0), abs=4.0)
    assert half_m == pytest.approx(94.0, abs=4.0)
    belief.start_near(30.0, -20.0, 8.0)
    east_m, north_m, half_m = belief.spread_m()
    assert (east_m, north_m) == pytest.approx((30.0, -20.0), abs=4.0)
    # Nine tenths of a Gaussian lie within 1.64 sigma; a cell is added.
    assert half_m == pytest.approx(1.64 * 8.0 + 4.0, abs=4.0)


def test_what_was_not_looked_at_only_forgets() -> None:
    """The same by arrays of the whole map: what is touched is a window."""
    belief = Belief(GRID, 4.0)
    rng = np.random.default_rng(3)
    for k in range(4):
        top = 10 + 4 * k
        ratio = np.full((belief.rows, belief.columns), np.nan, np.float32)
        ratio[top : top + 10, 30:35] = rng.normal(2.0, 1.0, (10, 5))
        ratio[top + 2, 31] = np.nan
        recent, gathered, log = belief._recent.copy(), belief._gathered.copy(), belief._log.copy()
        belief.update(ratio, 0.25)
        seen = np.isfinite(ratio)
        evidence = np.where(seen, ratio, 0.0)
        assert np.allclose(belief._recent, np.where(seen, 0.5 * recent + 0.5 * evidence, 0.8 * recent), atol=1e-6)
        assert np.allclose(belief._gathered, np.clip(gathered + evidence, -20.0, 60.0), atol=1e-6)
        moved = belief._log - log - evidence
        assert np.ptp(moved[belief._log > belief._log.min()]) < 1e-4


def test_one_strong_look_is_not_enough_but_new_ground_is() -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(20):
        belief.update(looked(belief, {(10.0, 10.0): 7.0}), 0.0)
    assert belief.mode().probability < 0.9  # the same picture twenty times is one picture
    for _ in range(4):
        belief.update(looked(belief, {(10.0, 10.0): 7.0}), 0.1)
    mode = belief.mode()
    assert mode.probability > 0.999
    assert (mode.east_m, mode.north_m) == pytest.approx((10.0, 10.0))


def test_two_equal_places_stay_two() -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(10):
        belief.update(looked(belief, {(-50.0, 0.0): 9.0, (50.0, 0.0): 9.0}), 0.2)
    mode = belief.mode()
    assert mode.probability == pytest.approx(0.5, abs=0.01)
    assert mode.runner_up == pytest.approx(0.5, abs=0.01)


def test_nothing_fits_means_nowhere() -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(40):
        belief.update(looked(belief, {}, elsewhere=-2.0), 0.1)
    assert belief.mode().nowhere > 0.9


def test_nobody_looked_changes_nothing() -> None:
    belief = Belief(GRID, 4.0)
    before = belief.log_posterior().copy()
    belief.update(np.full_like(before, np.nan), 0.5)
    assert belief.log_posterior() == pytest.approx(before, abs=1e-4)


def test_the_belief_moves_with_the_camera() -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(5):
        belief.update(looked(belief, {(0.0, 0.0): 9.0}), 0.3)
    belief.move(13.0, -7.0, 0.1)
    mode = belief.mode()
    assert (mode.east_m, mode.north_m) == pytest.approx((13.0, -7.0), abs=4.0)
    assert mode.probability > 0.99
    # Many small moves add up as one, without smearing.
    for _ in range(100):
        belief.move(0.3, 0.2, 0.0)
    mode = belief.mode()
    assert (mode.east_m, mode.north_m) == pytest.approx((43.0, 13.0), abs=4.0)
    assert mode.probability > 0.99


def test_unknown_motion_widens() -> None:
    belief = Belief(GRID, 4.0)
    belief.start_near(0.0, 0.0, 4.0)
    near = belief.probability_near(0.0, 0.0, 12.0)
    belief.move_unknown(60.0)
    assert belief.probability_near(0.0, 0.0, 12.0) < 0.5 * near


def test_a_wrong_hint_is_overcome() -> None:
    belief = Belief(GRID, 4.0)
    belief.start_near(-60.0, -60.0, 10.0)
    assert belief.probability_near(-60.0, -60.0, 30.0) > 0.85
    for _ in range(12):
        belief.update(looked(belief, {(60.0, 60.0): 9.0}), 0.1)
    assert belief.probability_near(60.0, 60.0, 10.0) > 0.99


def test_a_hint_off_the_map_leaves_it_open() -> None:
    belief = Belief(GRID, 4.0)
    belief.start_near(5000.0, 0.0, 20.0)
    assert np.isfinite(belief.log_posterior()).all()
    assert belief.probability_near(0.0, 0.0, 500.0) == pytest.approx(0.9, abs=0.01)


def test_being_carried_away_is_noticed() -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(50):
        belief.update(looked(belief, {(0.0, 0.0): 12.0}), 0.1)
    belief.commit()
    assert belief.probability_near(0.0, 0.0, 10.0) > 0.96
    for _ in range(15):
        belief.update(looked(belief, {(72.0, -72.0): 10.0}, elsewhere=-2.0), 0.1)
    assert belief.probability_near(72.0, -72.0, 10.0) > 0.9


def test_commit_outlives_a_weaker_look() -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(6):
        belief.update(looked(belief, {(0.0, 0.0): 14.0}), 0.05)
    belief.commit()
    for _ in range(3):
        belief.update(looked(belief, {(0.0, 0.0): 0.0}, elsewhere=0.0), 0.0)
    assert belief.mode().probability > 0.96


def test_a_hint_is_no_evidence() -> None:
    hinted, open_minded = Belief(GRID, 4.0), Belief(GRID, 4.0)
    hinted.start_near(10.0, 10.0, 8.0)
    for belief in (hinted, open_minded):
        assert belief.evidence_near(10.0, 10.0) == 0.0
        for _ in range(3):
            belief.update(looked(belief, {(10.0, 10.0): 6.0}), 0.05)
        belief.move(8.0, 0.0, 0.1)
    assert hinted.mode().probability > 0.99 > open_minded.mode().probability
    # 6 x (1/2 + 1/4 + 1/8) recent, 3 x 4 x 0.05 x 6 lasting.
    assert hinted.evidence_near(18.0, 10.0) == pytest.approx(5.25 + 3.6, abs=0.01)
    assert open_minded.evidence_near(18.0, 10.0) == hinted.evidence_near(18.0, 10.0)
    assert hinted.evidence_near(900.0, 0.0) == 0.0


def test_a_hint_is_taken_for_nearly_sure() -> None:
    """One in a thousand is wrong; that the map is, is as likely as before."""
    belief = Belief(GRID, 4.0)
    belief.start_near(-60.0, -60.0, 6.0)
    assert belief.probability_near(-60.0, -60.0, 36.0) == pytest.approx(0.999 * 0.9, abs=0.0005)
    assert belief.mode().nowhere == pytest.approx(0.1, abs=0.0005)


@pytest.mark.parametrize("frames", [20, 400])
def test_however_long_the_history_a_map_that_fits_no_more_is_noticed(frames: int) -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(frames):
        belief.update(looked(belief, {(0.0, 0.0): 12.0}), 0.1)
    belief.commit()
    for _ in range(10):
        belief.update(looked(belief, {}, elsewhere=-2.0), 0.1)
    assert belief.mode().nowhere > 0.5


def test_evidence_for_and_against_a_place_has_an_end() -> None:
    """Else a place looked at wrongly for a while would take as long again to be believed."""
    believed, disbelieved = Belief(GRID, 4.0), Belief(GRID, 4.0)
    for _ in range(200):
        believed.update(looked(believed, {(2.0, 2.0): 9.0}), 0.3)
        disbelieved.update(looked(disbelieved, {}, elsewhere=-3.0), 0.3)
    assert believed.evidence_near(2.0, 2.0) == pytest.approx(60.0 + 9.0, abs=0.1)
    assert disbelieved.evidence_near(2.0, 2.0) == pytest.approx(-20.0 - 3.0, abs=0.1)


def test_what_was_looked_at_wrongly_is_forgotten_but_not_what_spoke_for_a_place() -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(40):
        belief.update(looked(belief, {(50.0, 50.0): 2.0}, elsewhere=-2.0), 0.1)
    assert belief.evidence_near(0.0, 0.0) == pytest.approx(-20.0 - 2.0, abs=0.1)
    before, recent_there = belief.evidence_near(50.0, 50.0), belief._recent[belief.cell_of(50.0, 50.0)]
    belief.reconsider()
    assert belief.evidence_near(0.0, 0.0) == 0.0
    assert belief._recent.min() == 0.0
    assert belief._recent[belief.cell_of(50.0, 50.0)] == recent_there > 0.0
    assert belief.evidence_near(50.0, 50.0) == before
    lost = Belief(GRID, 4.0)
    for _ in range(40):
        lost.update(looked(lost, {}, elsewhere=-2.0), 0.1)
    assert lost.mode().nowhere > 0.99
    lost.reconsider()
    assert lost.mode().nowhere < 0.9


def test_commit_says_no_more_than_was_seen() -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(3):
        belief.update(looked(belief, {(0.0, 0.0): 4.0}), 0.05)
    before = belief.mode()
    belief.commit()
    after = belief.mode()
    assert (after.probability, after.nowhere) == pytest.approx((before.probability, before.nowhere), abs=1e-4)


def test_an_unsure_motion_spreads_probability_and_evidence_over_the_cells_around() -> None:
    belief = Belief(GRID, 4.0)
    for _ in range(6):
        belief.update(looked(belief, {(2.0, 2.0): 9.0}), 0.3)
    row, column = belief.cell_of(2.0, 2.0)
    belief.move(0.0, 0.0, 4.1)  # two cells each way
    around = belief.log_posterior()[row - 3 : row + 4, column - 3 : column + 4]
    assert around[3, 3] - around[1:6, 1:6][0, 0] == pytest.approx(1.0, abs=1e-3)  # where it was is still likeliest
    assert np.ptp(np.delete(around[1:6, 1:6].ravel(), 12)) < 1e-3
    assert around[0].max() < around[3, 3] - 10.0
    assert belief.evidence_near(2.0 + 4.0 * 4.0, 2.0) == belief.evidence_near(2.0, 2.0)
