"""What a map shows of itself at one place: how much there is to match, how sharply, and what else looks like it.

Nothing of a flight is needed: the footprint of a level camera is cut from the map and correlated with the map itself,
by the localizer's own edge features (`tilefix.localization.register`), at the pyramid level that it would take.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import cv2
import numpy as np

from tilefix.localization.edges import SMOOTHING_PX, Features, edge_features
from tilefix.localization.look import MAX_FACTOR, MIN_TEMPLATE_PX, TEMPLATE_PX
from tilefix.localization.rectify import Patch
from tilefix.localization.register import MAX_TEMPLATE_PX, MIN_VALID_SHARE, MapCorrelator, Template
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.types import Float32Array, Float64Array

WINDOW_PX = 72  # half side of the window around the place: as the localizer tracks
PEAK_PX = 8  # half side of what belongs to the peak itself
RIM_PX = 5  # of imagery beside what has none, left out: as far as the smoothing of a gradient reaches
RIVALS = 4  # of the tiles that resemble the place's most
RIVAL_PX = 12  # half side of the window looked at around each of them, beyond half a tile's spacing
COHERENCE_PX = 3.0  # neighbourhood in which edges of one direction make a line
COARSE_PX = 2.5  # standard deviation of the lens through which the place's own picture is tried again


@dataclass(frozen=True, slots=True)
class Traits:
    """What one place offers to a match.

    `detail`: log2 of the 95th percentile of the gradient, grey levels per pixel. `structure`: share of the gradient
    that keeps its direction over a few pixels (lines and outlines, not grass). `coarse`: correlation of the place's
    edges with those of its own picture through a coarse lens: what is left when the fine texture is another one.
    `near_rival`, `far_rival`: best correlation around it, and at the tiles that resemble its own most. `pixels`: log2
    of the footprint's side in pixels.
    """

    detail: float
    structure: float
    coarse: float
    near_rival: float
    far_rival: float
    pixels: float

    def vector(self) -> Float64Array:
        """The figures in the order of the fields."""
        return np.array([getattr(self, one.name) for one in fields(self)], np.float64)


class MapSelf:
    """Measures places of one map for one size of footprint.

    `footprint_m`: side of the square with the footprint's area. Keeps features of the level lately looked at; reads
    imagery as it goes, so that memory stays bounded on any map.
    """

    def __init__(self, package: MapPackage, index: TileIndex, footprint_m: float) -> None:
        self._package, self._index = package, index
        self.footprint_m = footprint_m
        gsd_m = package.grid.gsd_m
        factor = 1
        while footprint_m / gsd_m / factor > TEMPLATE_PX and factor < MAX_FACTOR:
            factor *= 2
        self._correlator = MapCorrelator(package.imagery, package.coverage, package.grid, factor)
        self._side_px = footprint_m / (gsd_m * factor)
        self._centres = np.asarray(package.tile_centres_m, np.float64)

    @property
    def in_scale(self) -> bool:
        """False where the localizer would refuse the height."""
        return footprint_in_scale(self.footprint_m, self._package.grid.gsd_m)

    def traits(self, east_m: float, north_m: float) -> Traits | None:
        """The traits of a place; `None` where its footprint is not on the map's imagery."""
        level = self._correlator.level
        size = 2 * (min(round(self._side_px), MAX_TEMPLATE_PX) // 2) + 1
        column, row = (round(v) for v in level.to_pixel(east_m, north_m))
        patch = self._cut(column, row, size)
        if patch is None:
            return None
        template = Template(patch)
        if template.energy <= 0.0:
            return None
        reach = WINDOW_PX
        surface = self._correlator.search(template, column - reach, row - reach, 2 * reach + 1, 2 * reach + 1)
        values = surface.values.copy()
        y, x = row - surface.row, column - surface.column
        values[max(y - PEAK_PX, 0) : y + PEAK_PX + 1, max(x - PEAK_PX, 0) : x + PEAK_PX + 1] = np.nan
        if not np.isfinite(values).any():
            return None
        detail, structure = _lines(patch)
        blurred = np.asarray(cv2.GaussianBlur(patch.image, (0, 0), COARSE_PX), np.uint8)
        return Traits(
            detail=detail,
            structure=structure,
            coarse=_agreement(template.features, edge_features(blurred, patch.mask)),
            near_rival=float(np.nanmax(values)),
            far_rival=self._elsewhere(template, east_m, north_m),
            pixels=math.log2(size),
        )

    def _cut(self, column: int, row: int, size: int) -> Patch | None:
        """The map's own picture of the footprint, at the level; `None` when too little of it has imagery."""
        level, factor, half = self._correlator.level, self._correlator.factor, size // 2
        left, top = max(column - half, 0), max(row - half, 0)
        right, bottom = min(column + half + 1, level.width_px), min(row + half + 1, level.height_px)
        image, mask = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), bool)
        if right - left < 3 or bottom - top < 3 or not (left <= column < right and top <= row < bottom):
            return None
        window = (slice(top * factor, bottom * factor), slice(left * factor, right * factor))
        there = (slice(top - row + half, bottom - row + half), slice(left - column + half, right - column + half))
        shape = (right - left, bottom - top)
        image[there] = cv2.resize(np.asarray(self._package.imagery[window]), shape, interpolation=cv2.INTER_AREA)
        mask[there] = cv2.resize(np.asarray(self._package.coverage[window]), shape, interpolation=cv2.INTER_AREA) == 255
        if mask.mean() < MIN_VALID_SHARE:
            return None
        # Where imagery ends there is an edge that no frame shows.
        mask = cv2.erode(mask.astype(np.uint8), np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)) > 0
        return Patch(image, mask, level.gsd_m, *level.to_local(column, row))

    def _elsewhere(self, template: Template, east_m: float, north_m: float) -> float:
        """Best correlation at the tiles elsewhere that resemble the place's own; 0 on a map without any."""
        away = np.hypot(self._centres[:, 0] - east_m, self._centres[:, 1] - north_m)
        own = int(away.argmin())
        similarity = self._index.similarities(self._index.descriptors(own, 1)[0])
        far_m = max(self.footprint_m, self._package.manifest.patch_m)
        similarity[away < far_m] = -1.0
        best = 0.0
        level = self._correlator.level
        reach = RIVAL_PX + math.ceil(0.5 * self._package.manifest.stride_m / level.gsd_m)
        for tile in _apart(similarity, self._centres, far_m):
            column, row = (round(v) for v in level.to_pixel(*self._centres[tile]))
            found = self._correlator.search(template, column - reach, row - reach, 2 * reach + 1, 2 * reach + 1)
            if found.values.size and np.isfinite(found.values).any():
                best = max(best, float(np.nanmax(found.values)))
        return best


def footprint_in_scale(footprint_m: float, gsd_m: float) -> bool:
    """Whether the localizer takes a footprint of that side on a map of that sampling."""
    return MIN_TEMPLATE_PX <= footprint_m / gsd_m <= MAX_TEMPLATE_PX * MAX_FACTOR


def _apart(similarity: Float32Array, centres: Float64Array, far_m: float) -> Iterator[int]:
    """The most similar tiles, none of them within `far_m` of another."""
    left = similarity.copy()
    for _ in range(RIVALS):
        tile = int(left.argmax())
        if left[tile] <= -1.0:
            return
        yield tile
        left[np.hypot(*(centres - centres[tile]).T) < far_m] = -1.0


def _lines(patch: Patch) -> tuple[float, float]:
    """`Traits.detail` and `Traits.structure` of a picture (structure tensor: Bigun and Granlund, 1987)."""
    grey = cv2.GaussianBlur(cv2.cvtColor(patch.image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), SMOOTHING_PX)
    gx, gy = (cv2.Sobel(grey, cv2.CV_32F, *order, scale=0.125)[patch.mask] for order in ((1, 0), (0, 1)))
    squared = gx * gx + gy * gy
    planes = []
    for values in (gx * gx - gy * gy, 2.0 * gx * gy, squared):
        plane = np.zeros(patch.mask.shape, np.float32)
        plane[patch.mask] = values
        planes.append(cv2.GaussianBlur(plane, (0, 0), COHERENCE_PX))
    across, along, total = planes
    detail = math.log2(max(float(np.sqrt(np.percentile(squared, 95.0))), 0.01))
    return detail, float(np.hypot(across, along).sum() / max(float(total.sum()), 1e-6))


def _agreement(one: Features, other: Features) -> float:
    """Normalised correlation of two edge fields as they lie."""
    valid = one.valid * other.valid
    product = (one.across * other.across + one.along * other.along) * valid
    power = float((one.power * valid).sum()) * float((other.power * valid).sum())
    return float(product.sum()) / math.sqrt(max(power, 1e-12))
