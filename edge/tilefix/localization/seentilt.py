"""The error of the attitude, told by the picture itself: a tilted camera sees one side of the ground larger.

With the true attitude turned against the stated one by a small angle, ground at g (east, north of the point below the
camera) appears at g + t + (g t) g / h2, t being how far the tilt throws the middle and h the height (the homography of
a plane, linear in the angle). The constant part looks like another place, the quadratic one does not: blocks of the
picture, each found on the map, tell it beside an error of heading and of height. A slope looks just the same, so this
asks for a map that knows the ground's heights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilefix.localization.blocks import Blocks, blocks_on_map
from tilefix.localization.look import Look
from tilefix.localization.register import Peak
from tilefix.types import Float64Array

MIN_BLOCKS = 8
REJECTED = 3.5  # scatters: what lies further off has no weight (Tukey's biweight)
ROUNDS = 12
LEAST_SCATTER_PX = 0.15
INFLATED = 1.5  # neighbouring blocks err alike: what scatters of the fit leave out, on validation worlds


@dataclass(frozen=True, slots=True)
class SeenTilt:
    """`rad`: (2,), how far the attitude's error turns the view to the east and north, with the covariance (2, 2)."""

    rad: Float64Array
    covariance: Float64Array


def seen_tilt(seen: Look, peak: Peak) -> SeenTilt | None:
    """What a frame tells of its own tilt, `peak` being its match; `None` where too little of it stands out."""
    least_m = LEAST_SCATTER_PX * seen.finest.level.gsd_m
    fitted = fitted_throw(blocks_on_map(seen, peak), seen.view.agl_m, least_m)
    if fitted is None:
        return None
    throw_m, covariance_m2 = fitted
    return SeenTilt(throw_m / seen.view.agl_m, covariance_m2 / seen.view.agl_m**2)


def fitted_throw(blocks: Blocks, height_m: float, least_m: float) -> tuple[Float64Array, Float64Array] | None:
    """(2,) metres that the tilt throws the middle to the east and north, and the covariance; `least_m`: scatter that
    blocks have at least.

    Weighted least squares over place, throw, scale and turn, reweighted by Tukey's biweight (Holland and Welsch,
    *Robust regression using iteratively reweighted least-squares*, 1977).
    """
    count = len(blocks.off_m)
    if count < MIN_BLOCKS:
        return None
    (e, n), zero, one = blocks.ground_m.T / height_m, np.zeros(count), np.ones(count)
    easts = np.stack([one, zero, e * e, e * n, e, n], axis=1)
    norths = np.stack([zero, one, e * n, n * n, n, -e], axis=1)
    weight, scatter_m = one, least_m
    inverse = solution = np.empty(0)
    for _ in range(ROUNDS):
        normal = easts.T @ (easts * weight[:, None]) + norths.T @ (norths * weight[:, None])
        if (weight > 0.1).sum() < MIN_BLOCKS or np.linalg.cond(normal) > 1e9:
            return None
        inverse = np.linalg.inv(normal)
        solution = inverse @ (easts.T @ (weight * blocks.off_m[:, 0]) + norths.T @ (weight * blocks.off_m[:, 1]))
        off = np.hypot(blocks.off_m[:, 0] - easts @ solution, blocks.off_m[:, 1] - norths @ solution)
        # The median length of a vector whose sides scatter by one is 1.18.
        scatter_m = max(float(np.median(off)) / 1.18, least_m)
        # 1.48: Tukey's constant is meant for the scatter that a normal distribution's median deviation stands for.
        bound_m = REJECTED * 1.48 * scatter_m
        weight = np.where(off < bound_m, (1.0 - (off / bound_m) ** 2) ** 2, 0.0)
    return solution[2:4], inverse[2:4, 2:4] * (INFLATED * scatter_m) ** 2
