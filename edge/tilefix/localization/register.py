"""Where a patch lies on the map, to a fraction of a pixel, by dense correlation of edge orientations.

The score is the real part of the normalised complex cross-correlation of edge features
(`tilefix.localization.edges`) over the patch's valid pixels (`tilefix.localization.correlation`), in units of its
spread over the places that do not match: `z_score`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.geodesy import Grid
from tilefix.localization.correlation import MIN_VALID_SHARE, Spectra, Template, correlate, fft_length, spectra_of
from tilefix.localization.edges import Features, edge_features
from tilefix.localization.spectracache import Key, SpectraCache
from tilefix.types import Covariance, Float32Array, UInt8Array

__all__ = [
    "BLOCK_PX",
    "MAX_TEMPLATE_PX",
    "MIN_VALID_SHARE",
    "Block",
    "MapCorrelator",
    "Peak",
    "Surface",
    "Template",
    "background_spread",
    "refine_peak",
    "support",
]

MARGIN_PX = 40  # of map around a window, so that its features do not depend on where it is cut
MAX_TEMPLATE_PX = 289
BLOCK_PX = 512  # side of the windows that a search over the map is cut into
WINDOW_STEP_PX = 16
WINDOWS = 2  # whose spectra are kept: of the last search in tracking, and of the trials that follow it
FEATURE_BLOCK_PX = 256  # side of the windows in which the map's features are kept
FEATURE_BLOCKS = 64  # 48 MiB


@dataclass(frozen=True, slots=True)
class Surface:
    """Correlation of a template centred on each pixel of a window. `values`: float32 (h, w), NaN off the map.

    `column`, `row`: the level's pixel of element (0, 0).
    """

    values: Float32Array
    column: int
    row: int
    level: Grid


@dataclass(frozen=True, slots=True)
class Peak:
    """A place where a patch fits: local metres of the patch's centre, with its score and shape.

    `correlation`: -1 to 1. `z_score`: in spreads of the background. `covariance_m2`: from the surface's shape.
    """

    east_m: float
    north_m: float
    correlation: float
    z_score: float
    covariance_m2: Covariance


def background_spread(values: Float32Array) -> float:
    """Robust standard deviation of the scores that do not match (median absolute deviation)."""
    finite = values[np.isfinite(values)]
    if finite.size < 16:
        return math.inf
    if finite.size > 20000:
        finite = finite[:: finite.size // 20000 + 1]
    finite -= np.float32(_median(finite))
    return float(1.4826 * _median(np.abs(finite, out=finite))) or math.inf


def _median(values: Float32Array) -> float:
    """What `numpy.median` gives for finite values, which it takes several times as long to check. Reorders them."""
    half = values.size // 2
    values.partition(half)
    return float(values[half] if values.size % 2 else np.float32(0.5) * (values[:half].max() + values[half]))


Block = tuple[int, int]


class MapCorrelator:
    """Correlates templates with the imagery of a map at one pyramid level (`factor` map pixels to one).

    Spectra of whole blocks are kept in `cache`, which several levels of one map may share.
    """

    def __init__(
        self,
        imagery: UInt8Array,
        coverage: UInt8Array,
        grid: Grid,
        factor: int,
        cache: SpectraCache | None = None,
    ) -> None:
        self._imagery = imagery
        self._coverage = coverage
        self.factor = factor
        self.level = Grid(
            grid.west_m,
            grid.north_m,
            grid.gsd_m * factor,
            grid.width_px // factor,
            grid.height_px // factor,
        )
        self._cache = SpectraCache() if cache is None else cache
        self._margin_px = 0
        self._features: OrderedDict[Block, Features] = OrderedDict()
        self._windows: OrderedDict[tuple[int, int, int, int], Spectra] = OrderedDict()

    def search(self, template: Template, column: int, row: int, columns: int, rows: int) -> Surface:
        """Scores of the template centred on each pixel of a window (cut to the map)."""
        column, row, columns, rows = self._cut(column, row, columns, rows)
        if columns <= 0 or rows <= 0:
            return Surface(np.empty((0, 0), np.float32), column, row, self.level)
        half = template.size_px // 2
        # The window lies in one whose corner keeps to a coarse grid: a vehicle that is tracked stays in it for a while.
        left, top = (corner - half - (corner - half) % WINDOW_STEP_PX for corner in (column, row))
        wide, high = (side + 2 * half + WINDOW_STEP_PX - 1 for side in (columns, rows))
        window, shape = (left, top, wide, high), (fft_length(high), fft_length(wide))
        if window not in self._windows:
            self._windows[window] = spectra_of(self.features(*window), shape)
            if len(self._windows) > WINDOWS:
                self._windows.popitem(last=False)
        self._windows.move_to_end(window)
        lead = row - half - top, column - half - left
        values = correlate(self._windows[window], template, shape, (rows, columns), lead=lead)
        return Surface(values, column, row, self.level)

    def search_block(self, template: Template, block: Block) -> Surface:
        """The same for one of `blocks`, whose spectra are kept: they serve templates of any size."""
        self._make_room_for(template)
        column, row, columns, rows = self._cut(*block, BLOCK_PX, BLOCK_PX)
        spectra, shape = self._kept(block)
        lead = self._margin_px - template.size_px // 2
        return Surface(correlate(spectra, template, shape, (rows, columns), lead=(lead, lead)), column, row, self.level)

    @property
    def blocks(self) -> list[Block]:
        """The (column, row) corners of the blocks that cover the map, from the north-west, row by row."""
        level = self.level
        return [(x, y) for y in range(0, level.height_px, BLOCK_PX) for x in range(0, level.width_px, BLOCK_PX)]

    def warm(self, template: Template) -> None:
        """Makes one more block ready for templates of that size, while the cache has room: work for a frame that has
        time."""
        self._make_room_for(template)
        waiting = next((block for block in self.blocks if self._key(block) not in self._cache), None)
        if waiting is not None and self._cache.has_room():
            self._kept(waiting)

    def _key(self, block: Block) -> Key:
        return self.factor, self._margin_px, *block

    def _make_room_for(self, template: Template) -> None:
        """Has blocks kept with margins that hold the template."""
        half = template.size_px // 2
        if template.size_px > MAX_TEMPLATE_PX:
            raise ValueError(f"template side {template.size_px} px must be at most {MAX_TEMPLATE_PX}")
        if half > self._margin_px:
            # As wide as the transform holds anyway: templates of nearly the same size come next.
            self._margin_px = min((fft_length(BLOCK_PX + 2 * half) - BLOCK_PX) // 2, MAX_TEMPLATE_PX // 2)
            self._cache.forget(self.factor)

    def _cut(self, column: int, row: int, columns: int, rows: int) -> tuple[int, int, int, int]:
        right, bottom = min(column + columns, self.level.width_px), min(row + rows, self.level.height_px)
        column, row = max(column, 0), max(row, 0)
        return column, row, right - column, bottom - row

    def _kept(self, block: Block) -> tuple[Spectra, tuple[int, int]]:
        """A block's spectra, wide enough for the widest template so far, and their shape."""
        if kept := self._cache.get(self._key(block)):
            return kept
        column, row, columns, rows = self._cut(*block, BLOCK_PX, BLOCK_PX)
        half = self._margin_px
        shape = (fft_length(rows + 2 * half), fft_length(columns + 2 * half))
        features = self.features(column - half, row - half, columns + 2 * half, rows + 2 * half)
        spectra = spectra_of(features, shape, halved=True)
        self._cache.put(self._key(block), (spectra, shape))
        return spectra, shape

    def features(self, column: int, row: int, columns: int, rows: int) -> Features:
        """Map features of a window of the level; not valid beyond the map.

        Put together from fixed blocks, which are kept: a vehicle that is tracked looks at the same ground again and
        again, and a place has the same features whatever window shows it.
        """
        whole = Features.empty(rows, columns)
        side = FEATURE_BLOCK_PX
        right, bottom = min(column + columns, self.level.width_px), min(row + rows, self.level.height_px)
        for top in range(max(row, 0) // side * side, bottom, side):
            for left in range(max(column, 0) // side * side, right, side):
                (from_x, to_x), (from_y, to_y) = (
                    (max(start, block, 0), min(end, block + side))
                    for start, end, block in ((column, right, left), (row, bottom, top))
                )
                part = self._feature_block(left, top).cut(
                    slice(from_y - top, to_y - top), slice(from_x - left, to_x - left)
                )
                whole.put(slice(from_y - row, to_y - row), slice(from_x - column, to_x - column), part)
        return whole

    def _feature_block(self, left: int, top: int) -> Features:
        """Features of the block with that corner, cut to the map."""
        if (left, top) in self._features:
            self._features.move_to_end((left, top))
            return self._features[left, top]
        right, bottom = (
            min(start + FEATURE_BLOCK_PX, most)
            for start, most in ((left, self.level.width_px), (top, self.level.height_px))
        )
        # With map around it, so that the features do not depend on where the blocks are cut.
        west, north = max(left - MARGIN_PX, 0), max(top - MARGIN_PX, 0)
        east, south = min(right + MARGIN_PX, self.level.width_px), min(bottom + MARGIN_PX, self.level.height_px)
        f = self.factor
        image = np.asarray(self._imagery[north * f : south * f, west * f : east * f])
        cover = np.asarray(self._coverage[north * f : south * f, west * f : east * f])
        if f > 1:
            image = np.asarray(cv2.resize(image, (east - west, south - north), interpolation=cv2.INTER_AREA), np.uint8)
            cover = np.asarray(cv2.resize(cover, (east - west, south - north), interpolation=cv2.INTER_AREA), np.uint8)
        found = edge_features(np.ascontiguousarray(image), cover == 255)
        made = Features.empty(bottom - top, right - left)
        made.put(
            slice(None), slice(None), found.cut(slice(top - north, bottom - north), slice(left - west, right - west))
        )
        self._features[left, top] = made
        if len(self._features) > FEATURE_BLOCKS:
            self._features.popitem(last=False)
        return made


def refine_peak(surface: Surface, row: int, column: int, spread: float) -> Peak:
    """The peak at an element of the surface, to a fraction of a pixel, with the covariance of its shape.

    Sub-pixel by a parabola each way. Covariance: second moments of exp(z - z_peak) around the peak. Matched-filter
    theory would give exp(z_peak (z - z_peak)), far narrower; the wide one covers what is not white noise.
    """
    values = surface.values
    gsd = surface.level.gsd_m
    peak = float(values[row, column])

    def offset(before: float, after: float) -> float:
        curvature = float(before) - 2.0 * peak + float(after)
        if not (math.isfinite(curvature) and curvature < 0.0):
            return 0.0
        return max(-0.5, min(0.5, 0.5 * (float(before) - float(after)) / curvature))

    rows, columns = values.shape
    dx = offset(values[row, column - 1], values[row, column + 1]) if 0 < column < columns - 1 else 0.0
    dy = offset(values[row - 1, column], values[row + 1, column]) if 0 < row < rows - 1 else 0.0
    reach = 6
    top, left = max(row - reach, 0), max(column - reach, 0)
    around = values[top : row + reach + 1, left : column + reach + 1]
    z = (around - peak) / spread
    weight = np.where(np.isfinite(z), np.exp(np.nan_to_num(z, nan=-50.0)), 0.0).astype(np.float64)
    ys, xs = np.arange(top, top + around.shape[0]) - row, np.arange(left, left + around.shape[1]) - column
    total = weight.sum()
    floor = 0.25  # a quarter square pixel: interpolation and sampling
    ee = (float(weight.sum(axis=0) @ (xs * xs) / total) + floor) * gsd * gsd
    nn = (float(weight.sum(axis=1) @ (ys * ys) / total) + floor) * gsd * gsd
    en = -float(ys @ weight @ xs / total) * gsd * gsd
    east_m, north_m = surface.level.to_local(surface.column + column + dx, surface.row + row + dy)
    return Peak(east_m, north_m, peak, peak / spread, Covariance(ee, en, nn))


def support(map_features: Features, template: Template, blocks: int = 10) -> float:
    """Share of the patch's blocks that agree with the map where it was placed, 0 to 1.

    `map_features` is the map cut at the template's place and size. One strong line or ring can lift the whole
    correlation; a true match is seen all over the patch. A block agrees when its own correlation exceeds 0.1.
    """
    side = template.size_px // blocks
    if side < 4:
        return 0.0
    t, m = template.features, map_features
    both = t.valid * m.valid
    product = (m.across * t.across + m.along * t.along) * both
    map_power = m.power * both
    own_power = t.power * both

    def block_sum(array: Float32Array) -> Float32Array:
        cut = array[: side * blocks, : side * blocks].reshape(blocks, side, blocks, side)
        return np.asarray(cut.sum(axis=(1, 3)), dtype=np.float32)

    seen = block_sum(t.valid) > 0.5 * side * side
    if not seen.any():
        return 0.0
    norm = np.sqrt(np.maximum(block_sum(map_power) * block_sum(own_power), 1e-12))
    return float((block_sum(product)[seen] / norm[seen] > 0.1).mean())
