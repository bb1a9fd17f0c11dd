"""How the ground moved between two frames: the velocity that owes nothing to the autopilot's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tilefix.geodesy import Grid
from tilefix.localization.correlation import Template, correlate, fft_length
from tilefix.localization.register import Surface, background_spread, refine_peak

MIN_CORRELATION = 0.4  # of two pictures of one sensor taken moments apart; they usually reach 0.8
MIN_Z_SCORE = 6.0
MIN_REACH_PX = 32  # so that the window also tells what a wrong place scores
SIGMA_PX = 0.12  # of a motion, beside what the attitude does: 0.06 to 0.11 on validation worlds
MIN_OVERLAP = 0.3  # of the later patch on the earlier one


@dataclass(frozen=True, slots=True)
class Motion:
    """Movement of the camera over ground between two frames, metres east and north. `sigma_m`: of the match alone."""

    east_m: float
    north_m: float
    sigma_m: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A template with its patch centre's offset from the point below the camera, and its ground sampling."""

    template: Template
    east_m: float
    north_m: float
    gsd_m: float


def motion_between(before: Placed, after: Placed, reach_m: float) -> Motion | None:
    """Camera movement between two patches; `None` when they do not agree, overlap too little or differ in sampling.

    `reach_m`: the longest movement looked for.
    """
    if not math.isclose(before.gsd_m, after.gsd_m, rel_tol=1e-6):
        return None
    gsd_m, size, size_before = after.gsd_m, after.template.size_px, before.template.size_px
    reach = min(max(MIN_REACH_PX, math.ceil(reach_m / gsd_m)), size // 2)
    places = 2 * reach + 1
    # Of the later patch's corner from the earlier one's, when they lie centre on centre.
    corner = (size_before - size) // 2
    # In a circular correlation no place falls on another as soon as the transform holds half of either patch and the
    # reach. Without zeros all around, the earlier patch's spectra are those that it had as the later one.
    side = fft_length(max((size_before + size) // 2 + reach, size_before, size))
    shape, lead = (side, side), (corner - reach, corner - reach)
    values = correlate(before.template.as_ground(shape), after.template, shape, (places, places), MIN_OVERLAP, lead)
    if not np.isfinite(values).any():
        return None
    row, column = divmod(int(np.nanargmax(values)), places)
    if row in (0, places - 1) or column in (0, places - 1):
        return None
    # Element (reach, reach) is no movement.
    level = Grid(-(reach + 0.5) * gsd_m, (reach + 0.5) * gsd_m, gsd_m, places, places)
    peak = refine_peak(Surface(values, 0, 0, level), row, column, background_spread(values))
    if peak.correlation < MIN_CORRELATION or peak.z_score < MIN_Z_SCORE:
        return None
    return Motion(
        before.east_m + peak.east_m - after.east_m, before.north_m + peak.north_m - after.north_m, SIGMA_PX * gsd_m
    )
