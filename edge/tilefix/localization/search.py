"""One frame's evidence over the whole map: the tile index says where to look, dense correlation what is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilefix.localization.belief import Belief
from tilefix.localization.register import BLOCK_PX, Block, MapCorrelator, Surface, Template, background_spread
from tilefix.types import Float32Array, IntArray

MAX_TILES_ACROSS = 4096  # a lattice finer than this, of a map from outside, is taken coarser: memory stays bounded

# Log likelihood ratio of a correlation peak, from its z-score: right places against the best of a cell elsewhere.
RATIO_SLOPE = 1.5
RATIO_ZERO_Z = 4.5
RATIO_RANGE = (-2.0, 20.0)
# Log likelihood ratio of a descriptor similarity, from its spreads above the map's median.
TILE_RATIO_SLOPE = 0.5
TILE_RATIO_ZERO = 1.0
TILE_RATIO_RANGE = (-0.5, 2.0)


def peak_log_ratio(z_score: Float32Array) -> Float32Array:
    """Evidence of a correlation score for 'here'; NaN stays NaN (nobody looked)."""
    return np.asarray(np.clip(RATIO_SLOPE * (z_score - RATIO_ZERO_Z), *RATIO_RANGE), dtype=np.float32)


def tile_log_ratio(similarities: Float32Array) -> Float32Array:
    """Evidence of each tile's descriptor similarity, from its standing among those given: the map's, or those near."""
    median = float(np.median(similarities))
    spread = 1.4826 * float(np.median(np.abs(similarities - median))) or 1.0
    standing = (similarities - median) / spread
    ratio = np.clip(TILE_RATIO_SLOPE * (standing - TILE_RATIO_ZERO), *TILE_RATIO_RANGE)
    return np.asarray(ratio, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one frame says of every cell. `log_ratio`: float32 (rows, columns), NaN where nobody looked.

    `spread`: of the scores that do not match. `surfaces`: what was correlated.
    """

    log_ratio: Float32Array
    spread: float
    surfaces: tuple[Surface, ...]


class Searcher:
    """Looks for one template over the map, block by block, the likeliest blocks first, within a pixel budget."""

    def __init__(self, tile_centres_m: Float32Array, budget_px: int) -> None:
        self._centres = tile_centres_m
        self._budget_px = budget_px

    def everywhere(
        self,
        correlator: MapCorrelator,
        template: Template,
        patch_offset_m: tuple[float, float],
        belief: Belief,
        tile_evidence: Float32Array,
    ) -> Evidence:
        """Evidence for the vehicle's place from descriptors everywhere and correlation in the likeliest blocks.

        `patch_offset_m`: patch centre from the vehicle. `tile_evidence`: float32 (N,), log ratio of each tile.
        """
        tiles = self._tiles_on_cells(belief, patch_offset_m, tile_evidence)
        surfaces = [
            correlator.search_block(template, block)
            for block in likely_blocks(correlator, patch_offset_m, belief, tiles, self._budget_px)
        ]
        return gather(surfaces, patch_offset_m, belief, tiles)

    def _tiles_on_cells(
        self, belief: Belief, patch_offset_m: tuple[float, float], tile_evidence: Float32Array
    ) -> Float32Array:
        """The best tile evidence of each cell's surroundings; NaN where no tile is near."""
        out = np.full((belief.rows, belief.columns), np.nan, np.float32)
        if not len(self._centres):
            return out
        easts, norths = belief.centres()
        low, high = self._centres.min(axis=0), self._centres.max(axis=0)
        step_m = max(_spacing(self._centres), float((high - low).max()) / MAX_TILES_ACROSS)
        size = np.ceil((high - low) / step_m).astype(int) + 1
        coarse = np.full((size[1], size[0]), -np.inf, np.float32)
        index = np.rint((self._centres - low) / step_m).astype(int)
        np.maximum.at(coarse, (index[:, 1], index[:, 0]), tile_evidence)
        columns = np.rint((easts + patch_offset_m[0] - low[0]) / step_m).astype(int)
        rows = np.rint((norths + patch_offset_m[1] - low[1]) / step_m).astype(int)
        on_columns, on_rows = (columns >= 0) & (columns < size[0]), (rows >= 0) & (rows < size[1])
        found = coarse[np.ix_(rows[on_rows], columns[on_columns])]
        out[np.ix_(on_rows, on_columns)] = np.where(np.isfinite(found), found, np.nan)
        return out


def likely_blocks(
    correlator: MapCorrelator,
    patch_offset_m: tuple[float, float],
    belief: Belief,
    tiles: Float32Array | None,
    budget_px: int,
) -> list[Block]:
    """The blocks of the map to search within a budget: all when it suffices, else the likeliest, best first.

    `tiles`: evidence on the belief's cells beside the belief itself. At least one block.
    """
    level = correlator.level
    corners = correlator.blocks
    if level.width_px * level.height_px <= budget_px:
        return corners
    promise = belief.log_posterior()
    if tiles is not None:
        promise = promise + np.nan_to_num(tiles, nan=0.0)

    def best(corner: Block) -> float:
        west, north = level.to_local(corner[0] - 0.5, corner[1] - 0.5)
        side_m = BLOCK_PX * level.gsd_m
        top, left = belief.cell_of(west - patch_offset_m[0], north - patch_offset_m[1])
        bottom, right = belief.cell_of(west - patch_offset_m[0] + side_m, north - patch_offset_m[1] - side_m)
        cells = promise[max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)]
        return float(cells.max()) if cells.size else -np.inf

    taken: list[Block] = []
    for column, row in sorted(corners, key=best, reverse=True):
        budget_px -= min(BLOCK_PX, level.width_px - column) * min(BLOCK_PX, level.height_px - row)
        if taken and budget_px < 0:
            break
        taken.append((column, row))
    return taken


def _spacing(centres: Float32Array) -> float:
    """The grid step of tile centres: the smallest difference of their norths or easts."""
    for axis in (1, 0):
        values = np.unique(np.round(centres[:, axis], 2))
        if len(values) > 1:
            return float(np.diff(values).min())
    return 1.0


def gather(
    surfaces: list[Surface], patch_offset_m: tuple[float, float], belief: Belief, tiles: Float32Array | None
) -> Evidence:
    """Scores of several windows as evidence on the belief's cells (the best score of each cell)."""
    looked = [s for s in surfaces if s.values.size and np.isfinite(s.values).any()]
    score = np.full((belief.rows, belief.columns), np.nan, np.float32)
    spread = background_spread(np.concatenate([s.values[::3, ::3].ravel() for s in looked])) if looked else np.inf
    for surface in looked:
        _pool(surface, patch_offset_m, belief, score)
    here = np.flatnonzero(np.isfinite(score))  # few cells of a large map, while the vehicle is tracked
    z_score = score.ravel()[here] / np.float32(spread)
    ratio = score if tiles is None else tiles.copy()
    found = peak_log_ratio(z_score)
    ratio.ravel()[here] = found if tiles is None else found + np.nan_to_num(tiles.ravel()[here], nan=0.0)
    return Evidence(ratio, spread, tuple(looked))


def _pool(surface: Surface, patch_offset_m: tuple[float, float], belief: Belief, best: Float32Array) -> None:
    """Raises each cell of `best` to the largest score that falls into it; NaN where none did."""
    rows, columns = surface.values.shape
    level = surface.level
    easts = level.west_m + (surface.column + np.arange(columns) + 0.5) * level.gsd_m - patch_offset_m[0]
    norths = level.north_m - (surface.row + np.arange(rows) + 0.5) * level.gsd_m - patch_offset_m[1]
    zero_e, zero_n = belief.centres()
    cell_columns = np.floor((easts - zero_e[0]) / belief.cell_m + 0.5).astype(int)
    cell_rows = np.floor((zero_n[0] - norths) / belief.cell_m + 0.5).astype(int)
    keep_c, keep_r = _inside(cell_columns, belief.columns), _inside(cell_rows, belief.rows)
    values = surface.values[keep_r, keep_c]
    if not values.size:
        return
    columns_at, first_c = np.unique(cell_columns[keep_c], return_index=True)
    rows_at, first_r = np.unique(cell_rows[keep_r], return_index=True)
    pooled = _greatest(_greatest(values, first_r).T, first_c).T
    there = np.ix_(rows_at, columns_at)
    best[there] = np.fmax(best[there], pooled)


def _greatest(values: Float32Array, firsts: IntArray) -> Float32Array:
    """The greatest of each run of rows that begins at one of `firsts`, NaN aside. Runs are a few rows long: a pass for
    each place in them takes a fifth of what `reduceat` does."""
    lasts = np.append(firsts[1:], len(values)) - 1
    out = values[firsts]
    for step in range(1, int((lasts - firsts).max()) + 1):
        np.fmax(out, values[np.minimum(firsts + step, lasts)], out=out)
    return out


def _inside(index: IntArray, size: int) -> slice:
    """Where an index that never falls lies within 0 and `size`."""
    low, high = np.searchsorted(index, (0, size))
    return slice(int(low), int(high))
