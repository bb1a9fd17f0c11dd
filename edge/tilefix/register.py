"""Where a patch lies on the map, to a fraction of a pixel, by dense correlation of edge orientations.

The score is the real part of the normalised complex cross-correlation of edge features (`tilefix.edges`) over the
patch's valid pixels, computed by FFT (Lewis, *Fast Normalized Cross-Correlation*, 1995), in units of its spread over
the places that do not match: `z_score`. The real part of a complex correlation is the sum of two real ones, that of the
real parts and that of the imaginary parts, so that all transforms are of real planes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.edges import Features, edge_features
from tilefix.geodesy import Grid
from tilefix.rectify import Patch
from tilefix.types import Covariance, Float32Array, UInt8Array

MARGIN_PX = 40  # of map around a window, so that its features do not depend on where it is cut
MIN_VALID_SHARE = 0.6  # of the patch that must lie on covered map
MAX_TEMPLATE_PX = 289
BLOCK_PX = 512  # side of the windows that a search over the map is cut into
CACHE_BYTES = 256 << 20
WINDOW_STEP_PX = 16
WINDOWS = 2  # whose spectra are kept: of the last search in tracking, and of the trials that follow it
FEATURE_BLOCK_PX = 256  # side of the windows in which the map's features are kept
FEATURE_BLOCKS = 64  # 48 MiB


def fft_length(at_least: int) -> int:
    """The next length of the form 8 x 2^a 3^b 5^c: others, though shorter, take longer."""
    length = 8 * math.ceil(at_least / 8)
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 8


@dataclass(frozen=True, slots=True)
class Spectra:
    """Spectra of real planes as OpenCV packs them, float32 of the transform's shape. `valid`: `None` where all is.

    `halved`: that of `power` is of half the size. The power under a patch hardly changes from one pixel to the next.
    """

    across: Float32Array
    along: Float32Array
    power: Float32Array
    valid: Float32Array | None
    halved: bool = False

    @property
    def nbytes(self) -> int:
        return sum(plane.nbytes for plane in (self.across, self.along, self.power, self.valid) if plane is not None)


def spectra_of(features: Features, shape: tuple[int, int], *, halved: bool = False) -> Spectra:
    """Spectra of a map's features, in a transform of that shape; `halved`: see `Spectra`."""
    return Spectra(
        _transformed(features.across, shape),
        _transformed(features.along, shape),
        _halved(features.power, shape) if halved else _transformed(features.power, shape),
        None if features.valid.min() == 1.0 else _transformed(features.valid, shape),
        halved,
    )


def _halved(plane: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """The spectrum of a plane's every second pixel, smoothed, in a transform of half that shape."""
    return _transformed(np.asarray(cv2.pyrDown(plane), np.float32), (shape[0] // 2, shape[1] // 2))


def _transformed(plane: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """The spectrum of a real plane with zeros around it. OpenCV's transform of real planes takes a tenth of NumPy's of
    complex ones, and equals itself to the bit wherever the array lies in memory."""
    whole = np.zeros(shape, np.float32)
    whole[: plane.shape[0], : plane.shape[1]] = plane
    return np.asarray(cv2.dft(whole, dst=whole), np.float32)


class Template:
    """A patch made ready for correlation: features of an odd-sided square, with its spectra by transform shape."""

    def __init__(self, patch: Patch) -> None:
        self.features = edge_features(patch.image, patch.mask)
        self.size_px = patch.image.shape[0]
        if self.size_px % 2 == 0:
            raise ValueError(f"template side {self.size_px} px must be odd")
        self.count = float(self.features.valid.sum())
        self.energy = float(self.features.power.sum())
        self._spectra: dict[tuple[str, tuple[int, int]], Float32Array] = {}

    def across(self, shape: tuple[int, int]) -> Float32Array:
        """Spectrum of the field's one plane."""
        return self._kept("across", self.features.across, shape)

    def along(self, shape: tuple[int, int]) -> Float32Array:
        """Spectrum of the other."""
        return self._kept("along", self.features.along, shape)

    def valid(self, shape: tuple[int, int]) -> Float32Array:
        """Spectrum of the valid mask."""
        return self._kept("valid", self.features.valid, shape)

    def halved_valid(self, shape: tuple[int, int]) -> Float32Array:
        """Spectrum of the valid mask for `Spectra.halved`."""
        if ("halved", shape) not in self._spectra:
            self._spectra["halved", shape] = _halved(self.features.valid, shape)
        return self._spectra["halved", shape]

    def _kept(self, name: str, plane: Float32Array, shape: tuple[int, int]) -> Float32Array:
        if (name, shape) not in self._spectra:
            self._spectra[name, shape] = _transformed(plane, shape)
        return self._spectra[name, shape]

    def as_ground(self, shape: tuple[int, int]) -> Spectra:
        """Its spectra in the place of a map's, for another patch to be correlated with it."""
        power = _transformed(self.features.power, shape)
        return Spectra(self.across(shape), self.along(shape), power, self.valid(shape))


def correlate(
    map_spectra: Spectra,
    template: Template,
    shape: tuple[int, int],
    out: tuple[int, int],
    min_valid_share: float = MIN_VALID_SHARE,
    lead: tuple[int, int] = (0, 0),
) -> Float32Array:
    """Normalised correlation for `out` placements from row and column `lead` on; NaN where too little map is covered.

    Placements before the map's first pixel (negative `lead`) are right as far as the transform is longer than both.
    """
    if template.energy <= 0.0 or template.count <= 0.0:
        return np.full(out, np.nan, np.float32)
    product = _product(map_spectra.across, template.across(shape))
    product += _product(map_spectra.along, template.along(shape))
    score = _cut(_restored(product), lead, out)
    if map_spectra.halved:
        at, size = (lead[0] // 2, lead[1] // 2), (out[0] // 2 + 2, out[1] // 2 + 2)
        energy = np.float32(4.0) * _cut(_restored(_product(map_spectra.power, template.halved_valid(shape))), at, size)
        fine = np.asarray(cv2.pyrUp(_per_energy(np.asarray(energy), template)), np.float32)
        score = score * _cut(fine, (lead[0] % 2, lead[1] % 2), out)
    else:
        energy = _cut(_restored(_product(map_spectra.power, template.valid(shape))), lead, out)
        score = score * _per_energy(energy, template)
    if map_spectra.valid is not None:
        count = _cut(_restored(_product(map_spectra.valid, template.valid(shape))), lead, out)
        score[count < min_valid_share * template.count] = np.nan
    return np.asarray(score, np.float32)


def _per_energy(energy: Float32Array, template: Template) -> Float32Array:
    """What a correlation is multiplied by to be normalised. `energy`: of the map under the patch."""
    # Featureless map (water) must not divide by nearly nothing.
    energy = np.maximum(energy, np.float32(0.05 * template.energy))
    energy *= np.float32(template.energy)
    per: Float32Array = np.divide(np.float32(1.0), np.sqrt(energy, out=energy), out=energy)
    return per


def _cut(plane: Float32Array, lead: tuple[int, int], out: tuple[int, int]) -> Float32Array:
    """A window of a circular plane: negative places count from the end."""
    if min(lead) < 0:
        return plane[np.ix_(*(np.arange(first, first + side) for first, side in zip(lead, out, strict=True)))]
    return plane[lead[0] : lead[0] + out[0], lead[1] : lead[1] + out[1]]


def _product(ground: Float32Array, patch: Float32Array) -> Float32Array:
    """The spectrum of their correlation."""
    return np.asarray(cv2.mulSpectrums(ground, patch, 0, conjB=True), np.float32)


def _restored(spectrum: Float32Array) -> Float32Array:
    """The real plane of a spectrum, in the same memory."""
    return np.asarray(cv2.idft(spectrum, dst=spectrum, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT), np.float32)


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

    Spectra of whole blocks are kept, least recently used out first, within `CACHE_BYTES`.
    """

    def __init__(self, imagery: UInt8Array, coverage: UInt8Array, grid: Grid, factor: int) -> None:
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
        self._cache: OrderedDict[Block, tuple[Spectra, tuple[int, int]]] = OrderedDict()
        self._cached_bytes = 0
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
        waiting = next((block for block in self.blocks if block not in self._cache), None)
        largest = max((spectra.nbytes for spectra, _ in self._cache.values()), default=0)
        if waiting is not None and self._cached_bytes + largest <= CACHE_BYTES:
            self._kept(waiting)

    def _make_room_for(self, template: Template) -> None:
        """Has blocks kept with margins that hold the template."""
        half = template.size_px // 2
        if template.size_px > MAX_TEMPLATE_PX:
            raise ValueError(f"template side {template.size_px} px must be at most {MAX_TEMPLATE_PX}")
        if half > self._margin_px:
            # As wide as the transform holds anyway: templates of nearly the same size come next.
            self._margin_px = min((fft_length(BLOCK_PX + 2 * half) - BLOCK_PX) // 2, MAX_TEMPLATE_PX // 2)
            self._cache.clear()
            self._cached_bytes = 0

    def _cut(self, column: int, row: int, columns: int, rows: int) -> tuple[int, int, int, int]:
        right, bottom = min(column + columns, self.level.width_px), min(row + rows, self.level.height_px)
        column, row = max(column, 0), max(row, 0)
        return column, row, right - column, bottom - row

    def _kept(self, block: Block) -> tuple[Spectra, tuple[int, int]]:
        """A block's spectra, wide enough for the widest template so far, and their shape."""
        if block in self._cache:
            self._cache.move_to_end(block)
            return self._cache[block]
        column, row, columns, rows = self._cut(*block, BLOCK_PX, BLOCK_PX)
        half = self._margin_px
        shape = (fft_length(rows + 2 * half), fft_length(columns + 2 * half))
        features = self.features(column - half, row - half, columns + 2 * half, rows + 2 * half)
        spectra = spectra_of(features, shape, halved=True)
        self._cache[block] = spectra, shape
        self._cached_bytes += spectra.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1][0].nbytes
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
