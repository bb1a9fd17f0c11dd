"""How blocks of a picture lie on the map, each by itself: what a single match of the whole cannot tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tilefix.geodesy import Grid
from tilefix.localization.correlation import Template, correlate, fft_length, spectra_of
from tilefix.localization.look import Look
from tilefix.localization.register import Peak, Surface, background_spread, refine_peak
from tilefix.types import Float64Array

BLOCKS = 7  # a side, as far as their least and most pixels allow
BLOCK_PX = (32, 64)
REACH_SHARE = 0.025  # of the view's side: where an error of 1 degree and 2 % puts its corners
MIN_REACH_PX = 8  # so that the window also tells what a wrong place scores
MIN_SHOWN = 0.7  # of a block that must show ground
MIN_Z_SCORE = 4.0


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks that stand out on the map. `ground_m`: (n, 2), east and north of their middles from the point below the
    camera, as the picture was laid on the ground; `off_m`: (n, 2), how far from there the map shows them."""

    ground_m: Float64Array
    off_m: Float64Array


def blocks_on_map(seen: Look, peak: Peak) -> Blocks:
    """The blocks of a frame whose match, of the whole, is `peak`."""
    correlator = seen.finest
    gsd_m = correlator.level.gsd_m
    size_px = math.ceil(seen.view.extent_m / gsd_m) // 2 * 2 + 1
    shown = Template(seen.cut_finest(size_px)).features
    column, row = (round(v) for v in correlator.level.to_pixel(peak.east_m, peak.north_m))
    half, reach = size_px // 2, max(MIN_REACH_PX, math.ceil(REACH_SHARE * size_px))
    ground = correlator.features(column - half - reach, row - half - reach, size_px + 2 * reach, size_px + 2 * reach)
    at_m = correlator.level.to_local(column, row)
    rounded_m = np.array([at_m[0] - peak.east_m, at_m[1] - peak.north_m])
    side = min(max(size_px // BLOCKS, BLOCK_PX[0]), BLOCK_PX[1]) // 2 * 2 + 1
    wide = side + 2 * reach
    shape = (fft_length(wide), fft_length(wide))
    places = 2 * reach + 1
    middle = Grid(-(reach + 0.5) * gsd_m, (reach + 0.5) * gsd_m, gsd_m, places, places)
    found = []
    corners = np.linspace(0, size_px - side, max(2, size_px // side)).round().astype(int).tolist()
    for top in corners if size_px >= side else ():
        for left in corners:
            block = shown.cut(slice(top, top + side), slice(left, left + side))
            if block.valid.mean() < MIN_SHOWN:
                continue
            window = ground.cut(slice(top, top + wide), slice(left, left + wide))
            values = correlate(spectra_of(window, shape), Template(block), shape, (places, places))
            if not np.isfinite(values).any():
                continue
            at = divmod(int(np.nanargmax(values)), places)
            if not (0 < at[0] < places - 1 and 0 < at[1] < places - 1):
                continue
            best = refine_peak(Surface(values, 0, 0, middle), *at, background_spread(values))
            if best.z_score < MIN_Z_SCORE:
                continue
            east_m = (left + side // 2 - half) * gsd_m + seen.offset_m[0]
            north_m = (half - top - side // 2) * gsd_m + seen.offset_m[1]
            found.append((east_m, north_m, best.east_m + rounded_m[0], best.north_m + rounded_m[1]))
    cells = np.array(found, np.float64).reshape(-1, 4)
    return Blocks(cells[:, :2], cells[:, 2:])
