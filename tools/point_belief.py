"""What beliefs held by weighted points have in common: particles and Gaussian hypotheses, in place of the grid's cells.

Evidence still lies on the map's cells, so the lattice of `tilefix.localization.belief.Belief` is kept, fixed to the
map, and each point carries what a cell of the grid carries: its lasting log weight, the recent evidence as a running
mean, and what it gathered from pictures alone. Dependent looks, commitment, doubt and *nowhere* are treated alike, so
that a comparison is of how the belief is held.
"""

from __future__ import annotations

import math

import numpy as np

from tilefix.localization.belief import (
    ANYWHERE_SHARE,
    GATHERED_RANGE,
    INDEPENDENT_LOOKS,
    MODE_REACH_CELLS,
    NOWHERE_LOG_FLOOR,
    NOWHERE_PRIOR,
    RECENT_SHARE,
    Belief,
)
from tilefix.types import BoolArray, Float32Array, Float64Array, IntArray

FORGOTTEN_SHARE = 0.8  # of the recent evidence that stays where nobody looked, a frame
ANYWHERE_LOG = math.log(ANYWHERE_SHARE * (1.0 - NOWHERE_PRIOR))


class PointBelief(Belief):
    """Weighted points: `_places` float64 (n, 2) east and north metres; `_log`, `_recent`, `_gathered` float64 (n,)."""

    _places: Float64Array
    _log: Float64Array
    _recent: Float64Array
    _gathered: Float64Array

    def _begin_at(self, places: Float64Array, log: Float64Array) -> None:
        """Forgets everything but these points."""
        self._offset_east_m = self._offset_north_m = 0.0  # the lattice stays where the map is
        self._places, self._log = places, log
        self._recent, self._gathered = np.zeros(len(places)), np.zeros(len(places))
        self._nowhere = math.log(NOWHERE_PRIOR)

    def _take(self, index: IntArray | BoolArray) -> None:
        """Keeps these points, in this order."""
        self._places, self._log = self._places[index], self._log[index]
        self._recent, self._gathered = self._recent[index], self._gathered[index]

    def _cells(self, places: Float64Array) -> tuple[IntArray, IntArray, BoolArray]:
        """Row and column of each place, float64 (..., 2), and which of them lie on the map (others are set to 0)."""
        columns = np.floor((places[..., 0] - self._west_m) / self.cell_m).astype(np.int64)
        rows = np.floor((self._north_m - places[..., 1]) / self.cell_m).astype(np.int64)
        inside = (rows >= 0) & (rows < self.rows) & (columns >= 0) & (columns < self.columns)
        return np.where(inside, rows, 0), np.where(inside, columns, 0), inside

    def _evidence_at(self, log_ratio: Float32Array, places: Float64Array) -> Float64Array:
        """The cells' evidence at places, float64; NaN where nobody looked."""
        rows, columns, inside = self._cells(places)
        return np.where(inside, log_ratio[rows, columns], np.nan)

    def _around(
        self, log_ratio: Float32Array, spacing_m: Float64Array, reach: int
    ) -> tuple[Float64Array, Float64Array]:
        """Evidence at `(2 * reach + 1) ** 2` places around each point, float64 (n, places), NaN where nobody looked,
        and the squared distance of those from it, metres2. `spacing_m`: (n,) between them."""
        steps = around_steps(reach)
        places = self._places[:, None, :] + spacing_m[:, None, None] * steps
        return self._evidence_at(log_ratio, places), (steps**2).sum(axis=1) * spacing_m[:, None] ** 2

    def _weigh(self, lasting: Float64Array, evidence: Float64Array) -> None:
        """Weighs in a frame: `lasting`, what stays of it, and `evidence`, the whole; NaN where nobody looked."""
        looked = np.isfinite(evidence)
        fresh = (1.0 - RECENT_SHARE) * self._recent + RECENT_SHARE * np.where(looked, evidence, 0.0)
        self._recent = np.where(looked, fresh, FORGOTTEN_SHARE * self._recent)
        lasting = np.where(looked, lasting, 0.0)
        self._log = self._log + lasting
        self._gathered = np.clip(self._gathered + lasting, *GATHERED_RANGE)

    def commit(self) -> None:
        """Makes the recent evidence lasting: once a place is settled on, a weaker match does not unsettle it."""
        self._log, self._recent = self._log + self._recent, np.zeros_like(self._recent)
        self._normalise()

    def reconsider(self) -> None:
        """Forgets what spoke against places: it was looked at wrongly."""
        self._gathered, self._recent = np.maximum(self._gathered, 0.0), np.maximum(self._recent, 0.0)
        self._nowhere = math.log(NOWHERE_PRIOR)
        self._normalise()

    def _elsewhere_log(self) -> float:
        """Log weight of what is on the map and no point stands for; -inf when the points stand for all of it."""
        return -math.inf

    def _normalise(self) -> None:
        shift = log_sum(np.append(self._log, (self._nowhere, self._elsewhere_log())))
        self._log = self._log - shift
        self._nowhere = max(self._nowhere - shift, NOWHERE_LOG_FLOOR)

    def evidence_near(self, east_m: float, north_m: float) -> float:
        """Log likelihood ratio that pictures alone gave a place against "not here": what no hint can stand in for."""
        row, column = self.cell_of(east_m, north_m)
        rows, columns, inside = self._cells(self._places)
        near = inside & (np.maximum(np.abs(rows - row), np.abs(columns - column)) <= MODE_REACH_CELLS)
        return float((self._gathered[near] + self._recent[near]).max()) if near.any() else 0.0


def around_steps(reach: int) -> IntArray:
    """East and north steps to the places of a square around one, (n, 2)."""
    steps = np.arange(-reach, reach + 1)
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)


def lasting_share(new_ground: float) -> float:
    """How much of a frame's evidence stays, when it shows that share of ground not seen before."""
    return INDEPENDENT_LOOKS * new_ground


def log_sum(logs: Float64Array | Float32Array) -> float:
    """The logarithm of the sum of the exponentials; -inf of none."""
    top = float(logs.max()) if logs.size else -math.inf
    return top if math.isinf(top) else top + math.log(float(np.exp(logs - top).sum(dtype=np.float64)))


def middle_share(edges_m: Float64Array, mass: Float64Array, share: float) -> tuple[float, float]:
    """Where the middle `share` of a mass begins and ends, that lies at rising `edges_m`."""
    summed = np.cumsum(mass)
    ends = np.searchsorted(summed, np.array([0.5 - 0.5 * share, 0.5 + 0.5 * share]) * summed[-1])
    first, last = (float(edges_m[min(int(end), len(edges_m) - 1)]) for end in ends)
    return first, last
