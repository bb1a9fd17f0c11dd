"""The estimate and its covariance: robust least squares that knows that errors of the log last.

Model: residual + J step + B (slow(t) + fast) = noise. `slow` are the log's errors that last (a filter's attitude error,
the receiver's): Ornstein-Uhlenbeck processes, so that a hundred frames within their correlation time count as one.
`fast` are errors of one frame's attitude and height, noise is that of single registrations; both are Student's t, for
in a turn the log's rows stand far apart, and some registrations are wrong. All variances
are learned from the flight by expectation maximisation (Dempster, Laird, Rubin, 1977; for t: Lange, Little, Taylor,
*Robust statistical modeling using the t distribution*, 1989), with weak prior expectations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilefix.calibration.model import EFFECTS, Parameters, Series, Sightings, residuals
from tilefix.types import Float64Array, IntArray

SLOW_TIME_S = 30.0  # how long errors of attitude, heading and position last
KNOT_S = 8.0
MAX_KNOTS = 120
FREEDOM = 4.0  # of Student's t
ITERATIONS = 6  # of the variances, for each step of the parameters
# What is expected of the errors before anything is seen, in the units of the model, and for how many samples that is.
SLOW_EXPECTED = (0.4, 0.4, 1.0, 0.005, 0.7, 0.7, 0.025, 0.025)
FAST_EXPECTED = (0.3, 0.3, 0.5, 0.005)
EXPECTED_WEIGHT = 4.0
FAST = len(FAST_EXPECTED)


@dataclass(frozen=True, eq=False)
class Solution:
    """`covariance`: (7, 7) of the parameters. `slow`, `fast`: standard deviations learned; `spread`: of registrations,
    in units of their stated covariance; `weights`: (k,) about 1 for what fits, towards 0 for what does not."""

    parameters: Parameters
    covariance: Float64Array
    slow: Float64Array
    fast: Float64Array
    spread: float
    weights: Float64Array
    residuals_m: Float64Array

    @property
    def sigma(self) -> Float64Array:
        """(7,)"""
        return np.sqrt(np.diag(self.covariance))


def solve(
    start: Parameters,
    series: Series,
    seen: Sightings,
    *,
    expected: Parameters,
    expected_sigma: Float64Array,
    steps: int = 5,
) -> Solution:
    """The most probable parameters. `expected`, `expected_sigma` (7,): what is known beforehand; 0 holds one fixed."""
    guess = start
    hyper = _Hyper(
        np.array(SLOW_EXPECTED), np.array(FAST_EXPECTED), 1.0, np.ones(len(seen.frame)), np.ones(len(seen.times_s))
    )
    problem = _Problem(seen)
    for _ in range(steps):
        away = guess.vector - expected.vector
        step, covariance, hyper = problem.fit(*residuals(guess, series, seen), away, expected_sigma, hyper)
        guess = guess.moved(step)
    error_m = residuals(guess, series, seen)[0]
    # A flight holds few errors that last, and a variance learned from few is uncertain itself.
    covariance *= 1.0 + 2.0 * SLOW_TIME_S / max(float(np.ptp(seen.times_s)), SLOW_TIME_S)
    return Solution(guess, covariance, hyper.slow, hyper.fast, float(np.sqrt(hyper.noise)), hyper.weights, error_m)


@dataclass(frozen=True, eq=False)
class _Hyper:
    """The variances, as standard deviations; `noise`: a variance; `weights` (k,) of sightings, `steadiness` (f,) of
    frames: about 1 for what is usual, towards 0 for what is not."""

    slow: Float64Array
    fast: Float64Array
    noise: float
    weights: Float64Array
    steadiness: Float64Array


class _Problem:
    """Which sighting belongs to which frame, and the knots of the slow errors.

    Arrays by frame have (frames, most, ...) with `most` the largest number of sightings in a frame, zeros behind.
    """

    def __init__(self, seen: Sightings) -> None:
        order = np.argsort(seen.frame, kind="stable")
        counts = np.bincount(seen.frame, minlength=len(seen.times_s))
        self.count, self.most = len(counts), int(counts.max())
        slot = np.empty(len(order), np.int64)
        slot[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.place = seen.frame * self.most + slot
        # Whitens: |root x|^2 = x' inverse x.
        self.root = np.swapaxes(np.linalg.cholesky(np.linalg.inv(seen.covariance_m2)), 1, 2)
        first, last = float(seen.times_s.min()), float(seen.times_s.max())
        spacing = max(KNOT_S, (last - first) / MAX_KNOTS)
        self.knots = int((last - first) / spacing) + 2
        at = (seen.times_s - first) / spacing
        self.knot = at.astype(np.int64)
        self.share = at - self.knot
        # Precision of an Ornstein-Uhlenbeck process of variance 1 at the knots: tridiagonal.
        keep = float(np.exp(-spacing / SLOW_TIME_S))
        n = self.knots
        q = np.diag(np.full(n, 1.0 + keep * keep))
        q[0, 0] = q[-1, -1] = 1.0
        q[np.arange(n - 1), np.arange(1, n)] = q[np.arange(1, n), np.arange(n - 1)] = -keep
        self.precision = q / (1.0 - keep * keep)

    def _by_frame(self, values: Float64Array) -> Float64Array:
        out = np.zeros((self.count * self.most, *values.shape[1:]))
        out[self.place] = values
        return out.reshape(self.count, self.most, *values.shape[1:])

    def fit(
        self,
        error_m: Float64Array,
        by_parameter: Float64Array,
        by_effect: Float64Array,
        away: Float64Array,
        expected_sigma: Float64Array,
        hyper: _Hyper,
    ) -> tuple[Float64Array, Float64Array, _Hyper]:
        """The linear problem: step (7,), its covariance, and the variances learned on the way."""
        free = np.flatnonzero(expected_sigma > 0.0)
        design = np.concatenate([by_parameter[..., free], by_effect], axis=2)
        shape = (self.count, 2 * self.most, -1)
        whole = self._by_frame(self.root @ design).reshape(shape)
        error = self._by_frame((self.root @ error_m[..., None])[..., 0]).reshape(shape[:2])
        known = (away[free], expected_sigma[free])
        for _ in range(ITERATIONS):
            solved, inverse, hyper = self._round(whole, error, known, hyper)
        step, covariance = np.zeros(len(away)), np.zeros((len(away), len(away)))
        step[free] = solved[: len(free)]
        covariance[np.ix_(free, free)] = inverse[: len(free), : len(free)]
        return step, covariance, hyper

    def _round(
        self, design: Float64Array, error: Float64Array, known: tuple[Float64Array, Float64Array], hyper: _Hyper
    ) -> tuple[Float64Array, Float64Array, _Hyper]:
        """Solves with the variances given; then learns them anew."""
        count, n = len(known[0]), self.knots
        root_weights = np.repeat(np.sqrt(self._by_frame(hyper.weights / hyper.noise)), 2, axis=1)[..., None]
        weighed, target = design * root_weights, error[..., None] * root_weights
        fast = weighed[..., count : count + FAST]
        turned, fast_turned = np.swapaxes(weighed, 1, 2), np.swapaxes(fast, 1, 2)
        # The fast errors taken out (Woodbury).
        prior = hyper.steadiness[:, None, None] * np.diag(hyper.fast**-2.0)
        fast_covariance = np.linalg.inv(prior + fast_turned @ fast)
        cross, fast_target = fast_turned @ weighed, fast_turned @ target
        gain = fast_covariance @ cross
        information = turned @ weighed - np.swapaxes(cross, 1, 2) @ gain
        vectors = np.swapaxes(gain, 1, 2) @ fast_target - turned @ target

        at, expand = self._columns(count)
        expand_turned = np.swapaxes(expand, 1, 2)
        size = count + EFFECTS * n
        matrix, vector = np.zeros((size, size)), np.zeros(size)
        matrix[np.arange(count), np.arange(count)] = known[1] ** -2.0
        vector[:count] = -known[0] * known[1] ** -2.0
        blocks = [slice(count + effect * n, count + (effect + 1) * n) for effect in range(EFFECTS)]
        for block, sigma in zip(blocks, hyper.slow, strict=True):
            matrix[block, block] += self.precision / sigma**2
        np.add.at(matrix, (at[:, :, None], at[:, None, :]), expand_turned @ information @ expand)
        np.add.at(vector, at, (expand_turned @ vectors)[..., 0])
        inverse: Float64Array = np.linalg.inv(matrix).astype(np.float64)
        solved = inverse @ vector

        slow2 = [float(solved[b] @ self.precision @ solved[b] + np.sum(self.precision * inverse[b, b])) for b in blocks]
        # What remains of each frame, everything known to within its covariance.
        moved = expand @ solved[at][..., None]
        doubt = expand @ inverse[at[:, :, None], at[:, None, :]] @ expand_turned
        mean = -fast_covariance @ fast_target - gain @ moved
        across = -doubt @ np.swapaxes(gain, 1, 2)
        own = fast_covariance - gain @ across
        plain_fast = design[..., count : count + FAST]
        rest = error + (design @ moved + plain_fast @ mean)[..., 0]
        spread = np.sum((design @ doubt) * design, axis=2) + 2.0 * np.sum((design @ across) * plain_fast, axis=2)
        spread += np.sum((plain_fast @ own) * plain_fast, axis=2)
        distances2 = (rest**2 + spread).reshape(self.count, self.most, 2).sum(axis=2).ravel()[self.place]
        each2 = mean[..., 0] ** 2 + np.diagonal(own, axis1=1, axis2=2)
        fast2 = (hyper.steadiness[:, None] * each2).sum(axis=0)
        noise = float(np.sum(hyper.weights * distances2))

        def expected(sums: Float64Array, samples: int, sigmas: tuple[float, ...]) -> Float64Array:
            return np.sqrt((sums + EXPECTED_WEIGHT * np.square(sigmas)) / (samples + EXPECTED_WEIGHT))

        learned = _Hyper(
            expected(np.array(slow2), n, SLOW_EXPECTED),
            expected(fast2, self.count, FAST_EXPECTED),
            max(noise / (2.0 * len(distances2)), 1e-6),
            (FREEDOM + 2.0) / (FREEDOM + distances2 / hyper.noise),
            (FREEDOM + FAST) / (FREEDOM + (each2 / hyper.fast**2).sum(axis=1)),
        )
        return solved, inverse, learned

    def _columns(self, count: int) -> tuple[IntArray, Float64Array]:
        """Where each frame's parameters and slow errors stand among the unknowns, (frames, m), and what takes those
        unknowns to the frame's parameters and errors: (frames, count + 8, m)."""
        m = count + 2 * EFFECTS
        at = np.empty((self.count, m), np.int64)
        expand = np.zeros((self.count, count + EFFECTS, m))
        at[:, :count] = np.arange(count)
        expand[:, np.arange(count), np.arange(count)] = 1.0
        for effect in range(EFFECTS):
            for side, share in ((0, 1.0 - self.share), (1, self.share)):
                column = count + 2 * effect + side
                at[:, column] = count + effect * self.knots + self.knot + side
                expand[:, count + effect, column] = share
        return at, expand
