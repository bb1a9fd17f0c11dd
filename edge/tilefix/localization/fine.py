"""A match refined on the map's finer pixels: where it lies is found coarsely, how exactly is found here.

The level that a match is looked for at has pixels of up to several metres at height; shadows and leaning roofs, which
differ between map and flight, then move the peak by about a pixel. Fine pixels hold far more edges that did not move.
"""

from __future__ import annotations

import math

import numpy as np

from tilefix.localization.look import Look
from tilefix.localization.register import Peak, Template, background_spread, refine_peak

FINE_PX = 225  # side of the middle of the view that is looked at
BACKGROUND_PX = 18  # least half side of the window, so that it tells what a wrong place scores
REACH_LEVEL_PX = 2.0  # of the coarse level: how far the fine peak may lie from the coarse one
MIN_REACH_M = 8.0  # shadows move a coarse peak by up to 5 m
MIN_Z_SCORE = 4.0


def refined(seen: Look, coarse: Peak, turn_deg: float = 0.0, scale: float = 1.0) -> Peak:
    """The peak at the fine level near `coarse`, or `coarse` where none stands out. `turn_deg`, `scale`: of the match.

    Correlation and z-score stay those of the coarse peak.
    """
    fine = seen.fine
    if fine is None:
        return coarse
    gsd_m, level_m = fine.level.gsd_m, seen.correlator.level.gsd_m
    size_px = min(FINE_PX, math.ceil(seen.view.extent_m / gsd_m)) // 2 * 2 + 1
    template = Template(seen.cut_finest(size_px, turn_deg, scale))
    reach = math.ceil(max(REACH_LEVEL_PX * level_m, MIN_REACH_M) / gsd_m)
    half = max(reach, BACKGROUND_PX)
    column, row = (round(v) for v in fine.level.to_pixel(coarse.east_m, coarse.north_m))
    surface = fine.search(template, column - half, row - half, 2 * half + 1, 2 * half + 1)
    left, top = max(column - reach - surface.column, 0), max(row - reach - surface.row, 0)
    inner = surface.values[top : row + reach + 1 - surface.row, left : column + reach + 1 - surface.column]
    if not inner.size or not np.isfinite(inner).any():
        return coarse
    at_row, at_column = divmod(int(np.nanargmax(inner)), inner.shape[1])
    if at_row in (0, inner.shape[0] - 1) or at_column in (0, inner.shape[1] - 1):
        return coarse
    found = refine_peak(surface, top + at_row, left + at_column, background_spread(surface.values))
    if found.z_score < MIN_Z_SCORE:
        return coarse
    return Peak(found.east_m, found.north_m, coarse.correlation, coarse.z_score, found.covariance_m2)
