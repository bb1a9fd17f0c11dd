"""One frame's evidence: on the cells it belongs to, bounded whatever the map says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from support.scenes import noise_ground
from tilefix.geodesy import Grid
from tilefix.localization.belief import Belief
from tilefix.localization.rectify import Patch
from tilefix.localization.register import MapCorrelator, Surface, Template
from tilefix.localization.search import Searcher, gather, peak_log_ratio, tile_log_ratio

GRID = Grid(-100.0, 100.0, 0.5, 400, 400)
GROUND = noise_ground(4, 400)
COVER = np.full((400, 400), 255, np.uint8)


def correlator(ground=GROUND, cover=COVER) -> MapCorrelator:
    return MapCorrelator(ground, cover, GRID, 1)


def template(row: int, column: int, size_px: int = 97) -> Template:
    """The map itself, cut with its centre at a pixel."""
    half = size_px // 2
    cut = GROUND[row - half : row + half + 1, column - half : column + half + 1]
    return Template(Patch(cut, np.ones(cut.shape[:2], bool), 0.5, 0.0, 0.0))


def everywhere(centres, tiles, where: MapCorrelator, patch_offset_m=(0.0, 0.0)):
    belief = Belief(GRID, 3.0)
    searcher = Searcher(np.asarray(centres, np.float32), 4_000_000)
    evidence = searcher.everywhere(where, template(152, 260), patch_offset_m, belief, np.asarray(tiles, np.float32))
    return belief, evidence


def test_the_best_cell_is_the_vehicles_not_the_patchs() -> None:
    offset_m = (9.0, -6.0)
    belief, evidence = everywhere([[0.0, 0.0]], [0.0], correlator(), offset_m)
    east_m, north_m = GRID.to_local(260, 152)
    best = np.unravel_index(int(np.nanargmax(evidence.log_ratio)), evidence.log_ratio.shape)
    assert best == belief.cell_of(east_m - offset_m[0], north_m - offset_m[1])


@pytest.mark.parametrize(
    ("cell_m", "offset_m"), [(3.0, (0.0, 0.0)), (1.3, (7.7, -80.0)), (17.0, (95.0, 95.0)), (0.3, (0.0, 0.0))]
)
def test_each_cell_holds_the_best_score_that_falls_into_it(cell_m, offset_m) -> None:
    belief = Belief(GRID, cell_m)
    belief.move(3.1, -2.2, 0.0)
    rng = np.random.default_rng(5)
    values = rng.normal(0.0, 0.1, (60, 90)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    values[:, :30] = np.nan
    surface = Surface(values, 150, 170, GRID)
    evidence = gather([surface], offset_m, belief, None)
    expected = np.full((belief.rows, belief.columns), np.nan, np.float32)
    for row, column in np.argwhere(np.isfinite(values)):
        east_m, north_m = GRID.to_local(150 + int(column), 170 + int(row))
        cell = belief.cell_of(east_m - offset_m[0], north_m - offset_m[1])
        if 0 <= cell[0] < belief.rows and 0 <= cell[1] < belief.columns:
            ratio = peak_log_ratio(values[row, column] / np.float32(evidence.spread))
            expected[cell] = np.fmax(expected[cell], ratio)
    assert np.allclose(evidence.log_ratio, expected, equal_nan=True)


def test_tiles_speak_for_the_ground_around_them() -> None:
    dark = correlator(cover=np.zeros_like(COVER))
    belief, evidence = everywhere([[-50.0, 50.0], [0.0, 50.0], [50.0, 0.0]], [0.0, 1.5, 0.5], dark)
    assert not evidence.surfaces
    assert evidence.log_ratio[belief.cell_of(4.0, 46.0)] == 1.5
    assert evidence.log_ratio[belief.cell_of(46.0, 4.0)] == 0.5
    assert np.isnan(evidence.log_ratio[belief.cell_of(-50.0, 0.0)])


def test_a_map_without_imagery_or_detail_is_no_evidence() -> None:
    for where in (correlator(cover=np.zeros_like(COVER)), correlator(ground=np.full_like(GROUND, 90))):
        belief, _ = everywhere([[0.0, 0.0]], [0.0], where)
        surface = where.search(template(150, 260), 0, 0, 400, 400)
        evidence = gather([surface], (0.0, 0.0), belief, None)
        assert not (evidence.log_ratio > 0.0).any()


def test_two_tiles_a_hair_apart_on_a_wide_map_cost_no_more_memory() -> None:
    wide = [[0.0, 0.0], [0.01, 0.01], [4e5, 4e5]]
    belief, evidence = everywhere(wide, [1.0, 0.0, 0.0], correlator(cover=np.zeros_like(COVER)))
    assert evidence.log_ratio[belief.cell_of(1.0, 1.0)] == 1.0


def test_similarities_without_spread_tell_nothing_apart() -> None:
    assert len(set(tile_log_ratio(np.full(5, 0.3, np.float32)).tolist())) == 1
    assert math.isfinite(float(tile_log_ratio(np.zeros(1, np.float32))[0]))
