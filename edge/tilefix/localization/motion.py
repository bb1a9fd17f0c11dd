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
SUMMIT_PX = 3  # around the highest element, whose centre of mass is the movement
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
    surface = _moved(before, after, reach_m)
    if surface is None:
        return None
    values = surface.values
    places = values.shape[0]
    row, column = divmod(int(np.nanargmax(values)), places)
    if row in (0, places - 1) or column in (0, places - 1):
        return None
    peak = refine_peak(surface, row, column, background_spread(values))
    if peak.correlation < MIN_CORRELATION or peak.z_score < MIN_Z_SCORE:
        return None
    east_m, north_m = _summit(surface, row, column) or (peak.east_m, peak.north_m)
    return Motion(
        before.east_m + east_m - after.east_m, before.north_m + north_m - after.north_m, SIGMA_PX * after.gsd_m
    )


def _summit(surface: Surface, row: int, column: int) -> tuple[float, float] | None:
    """The peak's east and north metres: the centre of mass of the cubed correlation around it; `None` at the rim.

    Two pictures of one sensor correlate in a cusp. A parabola draws that to whole pixels by up to 0.12 px, at a steady
    speed each time the same way; the centre of mass by up to 0.03 (measured over directions and speeds).
    """
    top, left = max(row - SUMMIT_PX, 0), max(column - SUMMIT_PX, 0)
    around = surface.values[top : row + SUMMIT_PX + 1, left : column + SUMMIT_PX + 1]
    if around.shape != (2 * SUMMIT_PX + 1, 2 * SUMMIT_PX + 1) or not np.isfinite(around).all():
        return None
    weight = np.clip(around.astype(np.float64), 0.0, None) ** 3
    steps = np.arange(-SUMMIT_PX, SUMMIT_PX + 1)
    total = weight.sum()
    aside, down = float(weight.sum(axis=0) @ steps / total), float(weight.sum(axis=1) @ steps / total)
    return surface.level.to_local(column + aside, row + down)


def likeness(before: Placed, after: Placed, reach_m: float) -> float:
    """The best correlation of two patches within a movement of `reach_m`; -1 where there is none."""
    surface = _moved(before, after, reach_m)
    return -1.0 if surface is None else float(np.nanmax(surface.values))


def _moved(before: Placed, after: Placed, reach_m: float) -> Surface | None:
    """Correlation over movements of the later patch; `None` when they differ in sampling or overlap nowhere."""
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
    # Element (reach, reach) is no movement.
    level = Grid(-(reach + 0.5) * gsd_m, (reach + 0.5) * gsd_m, gsd_m, places, places)
    return Surface(values, 0, 0, level)
