"""How the ground moved between two frames: the velocity that owes nothing to the autopilot's own.

The whole patches are correlated; then what their parts agree on is taken (`consensus`), so that shadows, traffic and
water that move differently from the ground do not carry the motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.geodesy import Grid
from tilefix.localization.consensus import REACH_PX, Consensus, consensus
from tilefix.localization.correlation import Template, correlate, fft_length
from tilefix.localization.register import Surface, background_spread, refine_peak
from tilefix.types import Float32Array

MIN_CORRELATION = 0.4  # of two pictures of one sensor taken moments apart; they usually reach 0.8
MIN_Z_SCORE = 6.0
MIN_REACH_PX = 32  # so that the window also tells what a wrong place scores
SIGMA_PX = 0.12  # of a motion, beside what the attitude does: 0.06 to 0.11 on validation worlds
SUMMIT_PX = REACH_PX  # around the highest element, whose centre of mass is the movement
MIN_OVERLAP = 0.3  # of the later patch on the earlier one
# Shares of the evidence that agrees: below the first, other peaks are tried; below the second, there is no motion.
# Without anything that moves over the ground it was 0.6 and more on validation worlds.
DOUBTED_SHARE, MIN_SHARE = 0.4, 0.25
OTHERS, MIN_OTHER = 2, 0.3  # other peaks that are tried, and how high of the highest they are at least
USUAL_SHIFT_PX = 0.08  # of the blocks that agree from all of them; over ground alone 0.01 in the median, 0.06 at 95 %
OFF_PX = 1.0  # an agreement as far from the peak is looked at again around itself


@dataclass(frozen=True, slots=True)
class Motion:
    """Movement of the camera over ground between two frames, metres east and north. `sigma_m`: of the match alone, with
    how far its parts disagree."""

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
    """Camera movement between two patches; `None` when they or their parts do not agree, they overlap too little or
    differ in sampling.

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
    agreed = _agreement(before, after, surface, row, column)
    if agreed is None:
        whole = _summit(surface, row, column)
        east_m, north_m = (
            (peak.east_m, peak.north_m) if whole is None else surface.level.to_local(column + whole[0], row + whole[1])
        )
        sigma_px = SIGMA_PX
    else:
        found, at_row, at_column = agreed
        if found.share < MIN_SHARE:
            return None
        sigma_px = max(SIGMA_PX, found.sigma_px)
        right_px, down_px = found.right_px, found.down_px
        whole = _summit(surface, row, column) if (at_row, at_column) == (row, column) else None
        if whole is not None:
            # Of all pixels, every second of which the blocks leave out; where all blocks agree it is taken as it is.
            share = 1.0 / (1.0 + (USUAL_SHIFT_PX / max(math.hypot(*found.shift_px), 1e-6)) ** 4)
            right_px, down_px = whole[0] + share * found.shift_px[0], whole[1] + share * found.shift_px[1]
        east_m, north_m = surface.level.to_local(at_column + right_px, at_row + down_px)
    return Motion(
        before.east_m + east_m - after.east_m, before.north_m + north_m - after.north_m, sigma_px * after.gsd_m
    )


def _agreement(
    before: Placed, after: Placed, surface: Surface, row: int, column: int
) -> tuple[Consensus, int, int] | None:
    """What the patches' parts agree on near the surface's highest element, with the element that they were laid on;
    near another of its peaks where that has more evidence. `None` where the parts are too few to tell."""
    values = surface.values
    places = values.shape[0]
    # Of the later patch's corner on the earlier one, at the surface's first element.
    lead = (before.template.size_px - after.template.size_px) // 2 - places // 2

    def laid(at_row: int, at_column: int) -> tuple[Consensus, int, int] | None:
        found = consensus(before.template.features, after.template.features, lead + at_row, lead + at_column)
        return None if found is None else (found, at_row, at_column)

    best = laid(row, column)
    if best is None:
        return None
    if best[0].share < DOUBTED_SHARE:
        for other in _other_peaks(values, row, column):
            tried = laid(*other)
            if tried is not None and tried[0].strength > best[0].strength:
                best = tried
    found, at_row, at_column = best
    if max(abs(found.right_px), abs(found.down_px)) > OFF_PX:
        to_row, to_column = at_row + round(found.down_px), at_column + round(found.right_px)
        if 0 < to_row < places - 1 and 0 < to_column < places - 1:
            return laid(to_row, to_column) or best
    return best


def _other_peaks(values: Float32Array, row: int, column: int) -> list[tuple[int, int]]:
    """The next highest peaks, the highest first."""
    filled = np.where(np.isfinite(values), values, np.float32(-1.0))
    least = max(MIN_OTHER * float(filled[row, column]), MIN_Z_SCORE * background_spread(values))
    top = (filled >= cv2.dilate(filled, np.ones((3, 3), np.uint8))) & (filled > least)
    top[[0, -1]] = top[:, [0, -1]] = top[row, column] = False
    rows, columns = np.nonzero(top)
    order = np.argsort(-filled[rows, columns], kind="stable")[:OTHERS]
    return [(int(rows[k]), int(columns[k])) for k in order]


def _summit(surface: Surface, row: int, column: int) -> tuple[float, float] | None:
    """The peak from its highest element, pixels right and down: the centre of mass of the cubed correlation around it;
    `None` at the rim.

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
    return aside, down


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
