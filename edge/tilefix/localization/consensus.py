"""Which parts of two patches moved alike: what passes over the ground must not carry the motion of the camera.

One correlation over a whole patch is drawn to whatever moves in it, for its peak is the sum of all parts' peaks: a
river over half of the picture shifts it by half of the way that the water goes. So the patch is cut into blocks, each
is correlated within a few pixels of that peak, and the displacement that most of the evidence agrees on is taken, with
the peak of the agreeing blocks alone (a vote, then a mean reweighted by the residuals: Holland and Welsch, *Robust
regression using iteratively reweighted least squares*, 1977).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.localization.edges import Features
from tilefix.types import Float32Array, Float64Array

REACH_PX = 3  # around the peak
WINDOW_PX = 2 * REACH_PX + 1
BLOCKS = 11  # to a side of the patch
MIN_BLOCK_PX = 12
EVERY_PIXEL_PX = 100  # up to this side; of larger patches every second pixel both ways tells as much
MIN_VALID_SHARE = 0.4  # of a block
MIN_BLOCKS = 6  # fewer have no majority
VOTE_PX = 0.3  # that votes count for one another within, nearly
# What differs by more than this from the consensus counts for less: `SPREADS` times the residual of the best
# `NEAR_SHARE` of the evidence, within bounds.
SPREADS, NEAR_SHARE, LEAST_PX, MOST_PX = 2.5, 0.35, 0.15, 0.5
ROUNDS = 4
TURNED_VOTES = 0.3  # share of all evidence: turned frames reach 0.7 at best, parts that move on their own 0.2
MOST_TURN = 0.02  # radians, or share of the size, that a patch is turned or stretched by from frame to frame
WORSE = 0.05  # correlation that a block loses where it does not belong
USUAL_RIVALRY = 0.2  # votes for the second best displacement, of those for the best, that ground at rest gives, too
_BEST = 0.99  # correlation: a block that fits better is taken to fit so well

_STEPS = np.arange(-REACH_PX, REACH_PX + 1, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Consensus:
    """A displacement that blocks agree on, pixels right and down from the place that they were correlated around.

    `strength`: evidence of the blocks that agree; `share`: that over all blocks' evidence. `sigma_px`: standard
    deviation of the displacement, by how the agreeing blocks scatter and by what speaks for another one.
    `shift_px`: how far the peak of the agreeing blocks lies from that of all blocks, right and down.
    """

    right_px: float
    down_px: float
    strength: float
    share: float
    sigma_px: float
    shift_px: tuple[float, float]


def consensus(before: Features, after: Features, top: int, left: int) -> Consensus | None:
    """What the blocks of `after` agree on, its corner lying about on that row and column of `before`; `None` where too
    few of them lie on it."""
    laid = _scores(before, after, top, left)
    if laid is None:
        return None
    numerators, energy, middles = laid
    scores = numerators / energy
    places, peak, inside = _peaks(scores)
    evidence = energy * peak**2 / (1.02 - peak**2)  # as the variance of a displacement goes
    heard = evidence * inside
    if heard.sum() <= 0.0:
        return None
    field = np.zeros_like(places)
    place, weight, votes = _agreed(places, heard)
    # A heading or height that is off otherwise than in the frame before turns and stretches the patch about its middle:
    # with that taken out, most blocks agree, as they do not where parts move on their own.
    turned = _turned(places, middles, heard)
    with_turn = _agreed(places - turned, heard)
    if with_turn[2] >= max(votes, TURNED_VOTES * float(heard.sum())):
        field, places = turned, places - turned
        place, weight, votes = with_turn
    # Along an edge a block fits anywhere: it disagrees only as far as it fits worse where the others are.
    lost = np.maximum(peak - _at(scores, place[:, None] + field), 0.0)
    weight = 1.0 - (1.0 - weight) * lost**4 / (lost**4 + WORSE**4)
    carried = heard * weight
    strength = float(carried.sum())
    residual2 = ((places - place[:, None]) ** 2).sum(axis=0)
    scatter_px = math.sqrt(0.5 * float((carried**2) @ residual2)) / strength
    # Others that agree among themselves may be the ground.
    other = _votes(places, heard * (1.0 - weight))
    rival = int(other.argmax())
    rivalry = (float(other[rival]) / max(votes, 1e-9) - USUAL_RIVALRY) / (1.0 - USUAL_RIVALRY)
    doubt_px = math.sqrt(float(residual2[rival])) * min(max(rivalry, 0.0), 1.0)
    robust, whole = _summit(numerators @ weight), _summit(numerators.sum(axis=1, dtype=np.float64))
    return Consensus(
        float(robust[0]),
        float(robust[1]),
        strength,
        strength / float(evidence.sum()),
        math.hypot(scatter_px, doubt_px),
        (float(robust[0] - whole[0]), float(robust[1] - whole[1])),
    )


def _scores(
    before: Features, after: Features, top: int, left: int
) -> tuple[Float32Array, Float64Array, Float64Array] | None:
    """Products of the fields, summed over each block, by displacement, (WINDOW_PX^2, n); what normalises them; and the
    blocks' middles, (2, n) pixels right and down of the patch's."""
    size = after.shape[0]
    step = 1 if size <= EVERY_PIXEL_PX else 2
    block = max(MIN_BLOCK_PX, size // BLOCKS) // step
    count = size // (block * step)
    if count < 2:
        return None
    side = count * block
    first = (size - side * step) // 2
    taken = slice(first, first + side * step, step)
    across, along, valid = (plane[taken, taken] for plane in (after.across, after.along, after.valid))
    across, along = np.ascontiguousarray(across), np.ascontiguousarray(along)
    ground = _window(before, top + first - REACH_PX, left + first - REACH_PX, side * step + 2 * REACH_PX)
    # Every displacement is a contiguous part of one of these.
    parts = [
        [tuple(np.ascontiguousarray(p[y::step, x::step]) for p in (ground.across, ground.along)) for x in range(step)]
        for y in range(step)
    ]
    numerators = np.empty((WINDOW_PX, WINDOW_PX, count, count), np.float32)
    product, second = np.empty((side, side), np.float32), np.empty((side, side), np.float32)
    for y in range(WINDOW_PX):
        rows = slice(y // step, y // step + side)
        for x in range(WINDOW_PX):
            columns = slice(x // step, x // step + side)
            first_plane, second_plane = parts[y % step][x % step]
            np.multiply(across, first_plane[rows, columns], out=product)
            product += np.multiply(along, second_plane[rows, columns], out=second)
            numerators[y, x] = cv2.resize(product, (count, count), interpolation=cv2.INTER_AREA)
    here = ground.cut(*(slice(REACH_PX, REACH_PX + side * step, step),) * 2)
    own, theirs, seen = (
        np.asarray(cv2.resize(plane, (count, count), interpolation=cv2.INTER_AREA), np.float64).ravel()
        for plane in ((across * across + along * along) * here.valid, here.power * valid, valid * here.valid)
    )
    used = seen > MIN_VALID_SHARE
    if int(used.sum()) < MIN_BLOCKS:
        return None
    energy = np.sqrt(np.maximum(own * theirs, 1e-12))
    steps = (np.arange(count) + 0.5 - 0.5 * count) * block * step
    middles = np.stack([axis.ravel()[used] for axis in np.meshgrid(steps, steps)])
    return numerators.reshape(WINDOW_PX**2, -1)[:, used], energy[used], middles


def _window(features: Features, top: int, left: int, side: int) -> Features:
    """A square of the features, not valid beyond them."""
    found = Features.empty(side, side)
    rows, columns = features.shape
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + side, rows), min(left + side, columns)
    if y0 < y1 and x0 < x1:
        found.put(slice(y0 - top, y1 - top), slice(x0 - left, x1 - left), features.cut(slice(y0, y1), slice(x0, x1)))
    return found


def _peaks(scores: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Each block's best displacement, (2, n) pixels right and down, its correlation, and 1 where that is a peak."""
    planes = scores.reshape(WINDOW_PX, WINDOW_PX, -1)
    each = np.arange(planes.shape[2])
    best = scores.argmax(axis=0)
    row, column = best // WINDOW_PX, best % WINDOW_PX
    inside = (row > 0) & (row < WINDOW_PX - 1) & (column > 0) & (column < WINDOW_PX - 1)
    row, column = np.clip(row, 1, WINDOW_PX - 2), np.clip(column, 1, WINDOW_PX - 2)
    middle = planes[row, column, each]

    def offset(lower: Float64Array, upper: Float64Array) -> Float64Array:
        bend = np.minimum(lower - 2.0 * middle + upper, -1e-9)
        return np.asarray(np.clip(0.5 * (lower - upper) / bend, -0.5, 0.5))

    right = column - REACH_PX + offset(planes[row, column - 1, each], planes[row, column + 1, each])
    down = row - REACH_PX + offset(planes[row - 1, column, each], planes[row + 1, column, each])
    peak = np.clip(scores.max(axis=0), 0.0, _BEST)
    return np.stack([right, down]), peak, inside.astype(np.float64)


def _votes(places: Float64Array, heard: Float64Array) -> Float64Array:
    """Evidence near each place."""
    apart2 = (places[0][:, None] - places[0]) ** 2 + (places[1][:, None] - places[1]) ** 2
    return np.asarray((1.0 + apart2 / VOTE_PX**2) ** -2.0 @ heard)


def _turned(places: Float64Array, middles: Float64Array, heard: Float64Array) -> Float64Array:
    """The part of the displacements, (2, n), that turns and stretches the patch: a similarity about the evidence's
    middle, reweighted by the residuals as `_agreed` does, within what attitudes and heights change by."""
    weight = np.ones_like(heard)
    field = np.zeros_like(places)
    for _ in range(ROUNDS):
        carried = weight * heard
        total = float(carried.sum())
        x, y = middles - (middles @ carried / total)[:, None]
        right, down = places - (places @ carried / total)[:, None]
        spread = float(carried @ (x * x + y * y))
        if spread <= 0.0:
            return field
        turn = float(carried @ (x * down - y * right)) / spread
        stretch = float(carried @ (x * right + y * down)) / spread
        turn, stretch = (min(max(value, -MOST_TURN), MOST_TURN) for value in (turn, stretch))
        field = np.stack([stretch * x - turn * y, stretch * y + turn * x])
        left = np.hypot(*(places - field - np.median(places - field, axis=1)[:, None]))
        weight = 1.0 / (1.0 + (left / MOST_PX) ** 4)
    return field


def _agreed(places: Float64Array, heard: Float64Array) -> tuple[Float64Array, Float64Array, float]:
    """The place agreed on, (2,), each block's weight in that, 0 to 1, and the votes for it."""
    votes = _votes(places, heard)
    place = places[:, int(votes.argmax())]
    weight = np.ones_like(heard)
    for _ in range(ROUNDS):
        residual = np.hypot(*(places - place[:, None]))
        order = np.argsort(residual, kind="stable")
        gathered = np.cumsum(heard[order])
        near = float(residual[order[int(np.searchsorted(gathered, NEAR_SHARE * gathered[-1]))]])
        bound = min(max(SPREADS * near, LEAST_PX), MOST_PX)
        weight = 1.0 / (1.0 + (residual / bound) ** 4)
        place = places @ (weight * heard) / float(weight @ heard)
    return place, weight, float(votes.max())


def _at(scores: Float64Array, places: Float64Array) -> Float64Array:
    """Each block's correlation at a displacement of its own, (2, n) pixels right and down, linear between pixels."""
    planes = scores.reshape(WINDOW_PX, WINDOW_PX, -1)
    right, down = np.clip(places + REACH_PX, 0.0, WINDOW_PX - 1.001)
    x, y, each = right.astype(int), down.astype(int), np.arange(planes.shape[2])
    upper, lower = (
        planes[row, x, each] + (right - x) * (planes[row, x + 1, each] - planes[row, x, each]) for row in (y, y + 1)
    )
    return np.asarray(upper + (down - y) * (lower - upper))


def _summit(surface: Float64Array) -> tuple[float, float]:
    """Right and down: the centre of mass of the cubed correlation, as for the whole patch (`motion`)."""
    mass = np.clip(surface.reshape(WINDOW_PX, WINDOW_PX), 0.0, None) ** 3
    total = max(float(mass.sum()), 1e-12)
    return float(mass.sum(axis=0) @ _STEPS) / total, float(mass.sum(axis=1) @ _STEPS) / total
