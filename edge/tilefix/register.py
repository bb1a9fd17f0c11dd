"""Where a patch lies on the map, to a fraction of a pixel, by dense correlation of edge orientations.

The feature of a pixel is z = sqrt(|g|) exp(2 i angle(g)) with g the grey gradient: the double-angle representation of
Granlund and Knutsson (*Signal Processing for Computer Vision*, 1995), which makes an edge and its contrast-reversed
twin equal, as seasons and sensors ask. Its zero mean gives far sharper peaks than the gradient's magnitude. Dividing by
the local energy keeps one bright roof from outvoting a field. The score is the real part of the normalised complex
cross-correlation over the patch's valid pixels, computed by FFT (Lewis, *Fast Normalized Cross-Correlation*, 1995),
in units of its own spread over the places that do not match: `z_score`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tilefix.geodesy import Grid
from tilefix.rectify import Patch
from tilefix.types import BoolArray, Covariance, Float32Array, UInt8Array

Complex64Array = npt.NDArray[np.complex64]

SMOOTHING_PX = 1.0  # of the grey picture, before its gradient
ENERGY_RADIUS_PX = 12.0  # of the neighbourhood whose energy an edge is measured against
ENERGY_FLOOR = 1.0  # grey levels per pixel: below it, edges are noise
MARGIN_PX = 40  # of map around a window, so that its features do not depend on where it is cut
MIN_VALID_SHARE = 0.6  # of the patch that must lie on covered map
MAX_TEMPLATE_PX = 289
BLOCK_PX = 512  # side of the windows that a search over the map is cut into
CACHE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Features:
    """Edge field `z` complex64 (h, w) and `valid` float32 (h, w), 1 where it is defined."""

    z: Complex64Array
    valid: Float32Array


def _gradient(image: UInt8Array) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Gradient east, south and its length, grey levels per pixel, of the smoothed grey picture.

    Written out in single roundings: OpenCV's magnitude differs in the last bit by where an array happens to lie in
    memory, and a replay must come out the same to that bit.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), SMOOTHING_PX)
    gx = np.asarray(cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=0.125), np.float32)
    gy = np.asarray(cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=0.125), np.float32)
    return gx, gy, np.sqrt(gx * gx + gy * gy)


def edge_features(image: UInt8Array, mask: BoolArray | UInt8Array) -> Features:
    """Features of a picture, uint8 (h, w, 3) RGB, where `mask` is true (the rim of the mask is left out)."""
    gx, gy, steepness = _gradient(image)
    inner = cv2.erode(
        np.asarray(mask, dtype=bool).astype(np.uint8),
        np.ones((7, 7), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    valid = inner.astype(np.float32)
    magnitude = steepness * valid
    energy = cv2.GaussianBlur(magnitude, (0, 0), ENERGY_RADIUS_PX)
    share = cv2.GaussianBlur(valid, (0, 0), ENERGY_RADIUS_PX)
    weight = valid / np.sqrt(energy / np.maximum(share, 0.05) + ENERGY_FLOOR)
    # In single roundings, as in `_gradient`: NumPy's powers depend on memory, too.
    floored = np.maximum(magnitude, np.float32(1e-6))
    weight /= floored * np.sqrt(floored)
    z = np.empty(magnitude.shape, np.complex64)
    z.real = (gx * gx - gy * gy) * weight
    z.imag = np.float32(2.0) * gx * gy * weight
    return Features(z, valid)


def mean_edge(image: UInt8Array) -> float:
    """Mean gradient magnitude in grey levels per pixel: what blur takes away."""
    return float(_gradient(image)[2].mean())


def fft_length(at_least: int) -> int:
    """The next length of the form 2^a 3^b 5^c."""
    length = at_least
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


@dataclass(frozen=True, slots=True)
class Spectra:
    field: Complex64Array
    energy: Complex64Array
    valid: Complex64Array

    @property
    def nbytes(self) -> int:
        return self.field.nbytes + self.energy.nbytes + self.valid.nbytes


def spectra_of(features: Features, shape: tuple[int, int]) -> Spectra:
    z, valid = features.z, features.valid
    power = z.real * z.real + z.imag * z.imag
    return Spectra(
        np.fft.fft2(z, shape).astype(np.complex64, copy=False),
        np.fft.rfft2(power, shape).astype(np.complex64, copy=False),
        np.fft.rfft2(valid, shape).astype(np.complex64, copy=False),
    )


class Template:
    """A patch made ready for correlation: features of an odd-sided square, with its spectra by FFT shape."""

    def __init__(self, patch: Patch) -> None:
        self.features = edge_features(patch.image, patch.mask)
        self.size_px = patch.image.shape[0]
        if self.size_px % 2 == 0:
            raise ValueError(f"template side {self.size_px} px must be odd")
        self.count = float(self.features.valid.sum())
        z = self.features.z
        self.energy = float((z.real * z.real + z.imag * z.imag).sum())
        self._by_shape: dict[tuple[int, int], tuple[Complex64Array, Complex64Array]] = {}

    def spectra(self, shape: tuple[int, int]) -> tuple[Complex64Array, Complex64Array]:
        """Conjugate spectra of the field and of the valid mask."""
        if shape not in self._by_shape:
            field = np.conj(np.fft.fft2(self.features.z, shape)).astype(np.complex64, copy=False)
            valid = np.conj(np.fft.rfft2(self.features.valid, shape)).astype(np.complex64, copy=False)
            self._by_shape[shape] = (field, valid)
        return self._by_shape[shape]


def correlate(
    map_spectra: Spectra,
    template: Template,
    shape: tuple[int, int],
    out: tuple[int, int],
    min_valid_share: float = MIN_VALID_SHARE,
    lead: int = 0,
) -> Float32Array:
    """Normalised correlation for `out` placements from (`lead`, `lead`) on; NaN where too little map is covered."""
    field, valid = template.spectra(shape)
    there = (slice(lead, lead + out[0]), slice(lead, lead + out[1]))
    score = np.fft.ifft2(map_spectra.field * field)[there].real
    energy = np.fft.irfft2(map_spectra.energy * valid, shape)[there]
    count = np.fft.irfft2(map_spectra.valid * valid, shape)[there]
    if template.energy <= 0.0 or template.count <= 0.0:
        return np.full(out, np.nan, np.float32)
    # Featureless map (water) must not divide by nearly nothing.
    least = 0.05 * template.energy
    normalised = score / np.sqrt(np.maximum(energy, least) * template.energy)
    return np.where(count >= min_valid_share * template.count, normalised, np.nan).astype(np.float32)


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
    median = np.median(finite)
    return float(1.4826 * np.median(np.abs(finite - median))) or math.inf


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

    def search(self, template: Template, column: int, row: int, columns: int, rows: int) -> Surface:
        """Scores of the template centred on each pixel of a window (cut to the map)."""
        column, row, columns, rows = self._cut(column, row, columns, rows)
        if columns <= 0 or rows <= 0:
            return Surface(np.empty((0, 0), np.float32), column, row, self.level)
        half = template.size_px // 2
        shape = (fft_length(rows + 2 * half), fft_length(columns + 2 * half))
        spectra = spectra_of(self.features(column - half, row - half, columns + 2 * half, rows + 2 * half), shape)
        return Surface(correlate(spectra, template, shape, (rows, columns)), column, row, self.level)

    def search_block(self, template: Template, block: Block) -> Surface:
        """The same for one of `blocks`, whose spectra are kept: they serve templates of any size."""
        column, row, columns, rows = self._cut(*block, BLOCK_PX, BLOCK_PX)
        spectra, shape = self._kept(block)
        lead = MAX_TEMPLATE_PX // 2 - template.size_px // 2
        if lead < 0:
            raise ValueError(f"template side {template.size_px} px must be at most {MAX_TEMPLATE_PX}")
        return Surface(correlate(spectra, template, shape, (rows, columns), lead=lead), column, row, self.level)

    @property
    def blocks(self) -> list[Block]:
        """The (column, row) corners of the blocks that cover the map, from the north-west, row by row."""
        level = self.level
        return [(x, y) for y in range(0, level.height_px, BLOCK_PX) for x in range(0, level.width_px, BLOCK_PX)]

    def warm(self) -> None:
        """Makes one more block ready for a search, while the cache has room: work for a frame that has time."""
        waiting = next((block for block in self.blocks if block not in self._cache), None)
        largest = max((spectra.nbytes for spectra, _ in self._cache.values()), default=0)
        if waiting is not None and self._cached_bytes + largest <= CACHE_BYTES:
            self._kept(waiting)

    def _cut(self, column: int, row: int, columns: int, rows: int) -> tuple[int, int, int, int]:
        right, bottom = min(column + columns, self.level.width_px), min(row + rows, self.level.height_px)
        column, row = max(column, 0), max(row, 0)
        return column, row, right - column, bottom - row

    def _kept(self, block: Block) -> tuple[Spectra, tuple[int, int]]:
        """A block's spectra, wide enough for the largest template, and their shape."""
        if block in self._cache:
            self._cache.move_to_end(block)
            return self._cache[block]
        column, row, columns, rows = self._cut(*block, BLOCK_PX, BLOCK_PX)
        half = MAX_TEMPLATE_PX // 2
        shape = (fft_length(rows + 2 * half), fft_length(columns + 2 * half))
        spectra = spectra_of(self.features(column - half, row - half, columns + 2 * half, rows + 2 * half), shape)
        self._cache[block] = spectra, shape
        self._cached_bytes += spectra.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1][0].nbytes
        return spectra, shape

    def features(self, column: int, row: int, columns: int, rows: int) -> Features:
        """Map features of a window of the level; not valid beyond the map."""
        left, top = max(column - MARGIN_PX, 0), max(row - MARGIN_PX, 0)
        right = min(column + columns + MARGIN_PX, self.level.width_px)
        bottom = min(row + rows + MARGIN_PX, self.level.height_px)
        z = np.zeros((rows, columns), np.complex64)
        valid = np.zeros((rows, columns), np.float32)
        if left >= right or top >= bottom:
            return Features(z, valid)
        f = self.factor
        image = np.asarray(self._imagery[top * f : bottom * f, left * f : right * f])
        cover = np.asarray(self._coverage[top * f : bottom * f, left * f : right * f])
        if f > 1:
            image = np.asarray(cv2.resize(image, (right - left, bottom - top), interpolation=cv2.INTER_AREA), np.uint8)
            cover = np.asarray(cv2.resize(cover, (right - left, bottom - top), interpolation=cv2.INTER_AREA), np.uint8)
        found = edge_features(np.ascontiguousarray(image), cover == 255)
        from_x, from_y = max(column, 0), max(row, 0)
        to_x, to_y = min(column + columns, self.level.width_px), min(row + rows, self.level.height_px)
        if from_x < to_x and from_y < to_y:
            inside = (slice(from_y - row, to_y - row), slice(from_x - column, to_x - column))
            cut = (slice(from_y - top, to_y - top), slice(from_x - left, to_x - left))
            z[inside], valid[inside] = found.z[cut], found.valid[cut]
        return Features(z, valid)


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
    ys, xs = np.mgrid[top : top + around.shape[0], left : left + around.shape[1]].astype(np.float64)
    ys, xs = ys - row, xs - column
    total = weight.sum()
    floor = 0.25  # a quarter square pixel: interpolation and sampling
    ee = (float((weight * xs * xs).sum() / total) + floor) * gsd * gsd
    nn = (float((weight * ys * ys).sum() / total) + floor) * gsd * gsd
    en = -float((weight * xs * ys).sum() / total) * gsd * gsd
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
    product = (m.z.real * t.z.real + m.z.imag * t.z.imag) * both
    map_power = (m.z.real**2 + m.z.imag**2) * both
    own_power = (t.z.real**2 + t.z.imag**2) * both

    def block_sum(array: Float32Array) -> Float32Array:
        cut = array[: side * blocks, : side * blocks].reshape(blocks, side, blocks, side)
        return np.asarray(cut.sum(axis=(1, 3)), dtype=np.float32)

    seen = block_sum(t.valid) > 0.5 * side * side
    if not seen.any():
        return 0.0
    norm = np.sqrt(np.maximum(block_sum(map_power) * block_sum(own_power), 1e-12))
    return float((block_sum(product)[seen] / norm[seen] > 0.1).mean())
