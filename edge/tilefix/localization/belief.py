"""The belief over the whole map: a probability for every cell, and one for being nowhere on it.

A histogram filter (Thrun, Burgard and Fox, *Probabilistic Robotics*, 2005, chapter 8) that moves with the camera: the
cells shift by the camera's own motion instead of being resampled, so nothing is blurred away. Evidence is a log
likelihood ratio against "not here", so a cell that nobody looked at gets 0 and *nowhere* competes fairly.

Consecutive frames show nearly the same ground, so their evidence is not independent: each cell keeps the recent
evidence as a running mean (`recent`), and adds to its lasting evidence (`log`) only in proportion to the new ground
travelled (`INDEPENDENT_LOOKS`). A place that resembles the true one for a few metres of flight is thereby never
believed outright.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tilefix.geodesy import Grid
from tilefix.types import BoolArray, Float32Array

GATHERED_RANGE = (-20.0, 60.0)  # of the evidence that one cell can hold
NOWHERE_PRIOR = 0.1  # that the vehicle is off the map or the map out of date, at a fresh start
NOWHERE_LOG_FLOOR = -9.0  # however good the history, this much doubt stays: being carried away is noticed
# Share of the belief that is spread over the map each frame: the doubt that the vehicle is where it was thought to be
# at all, so that a belief gone wrong is outvoted in seconds, not minutes.
ANYWHERE_SHARE = 0.03
# Looks a quarter of the picture apart count as independent: what resembles the place by one ring or crossing has left
# the picture by then, the place itself has not.
INDEPENDENT_LOOKS = 4.0
RECENT_SHARE = 0.5  # weight of the newest frame in the running mean
MODE_REACH_CELLS = 2  # a mode is its best cell and this many around


@dataclass(frozen=True, slots=True)
class Mode:
    """The most probable place: its probability, that of the best other place, and that of being nowhere."""

    east_m: float
    north_m: float
    probability: float
    runner_up: float
    nowhere: float


class Belief:
    """Probabilities over the cells of a map. All arrays are float32 (rows, columns), row 0 in the north."""

    def __init__(self, grid: Grid, cell_m: float) -> None:
        self.cell_m = cell_m
        self.columns = max(1, math.ceil((grid.east_m - grid.west_m) / cell_m))
        self.rows = max(1, math.ceil((grid.north_m - grid.south_m) / cell_m))
        self._west_m, self._north_m = grid.west_m, grid.north_m
        self.start_uniform()

    def start_uniform(self) -> None:
        """Forgets everything: equally likely anywhere on the map."""
        self._begin(np.full((self.rows, self.columns), math.log((1.0 - NOWHERE_PRIOR) / (self.rows * self.columns))))

    def start_near(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Begins at a hint: a Gaussian around it, with a thousandth spread over the map in case it is wrong."""
        self._offset_east_m = self._offset_north_m = 0.0
        easts, norths = self.centres()
        sigma_m = max(sigma_m, self.cell_m)
        away2 = ((easts - east_m)[None, :] ** 2 + (norths - north_m)[:, None] ** 2) / sigma_m**2
        weight = np.exp(-0.5 * away2)
        total = float(weight.sum())
        uniform = 1.0 / (self.rows * self.columns)
        prior = uniform if total <= 0.0 else 0.999 * weight / total + 0.001 * uniform
        self._begin(np.log((1.0 - NOWHERE_PRIOR) * prior * np.ones_like(away2)))

    def _begin(self, log: npt.NDArray[np.float64]) -> None:
        self._fresh = log.astype(np.float32)
        self._log = self._fresh.copy()
        self._recent = np.zeros_like(self._log)
        self._gathered = np.zeros_like(self._log)
        self._nowhere = math.log(NOWHERE_PRIOR)
        self._offset_east_m = self._offset_north_m = 0.0
        self._blur_m2 = 0.0

    def centres(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """East metres of the columns and north metres of the rows, where the cells lie now."""
        easts = self._west_m + self._offset_east_m + (np.arange(self.columns) + 0.5) * self.cell_m
        norths = self._north_m + self._offset_north_m - (np.arange(self.rows) + 0.5) * self.cell_m
        return np.asarray(easts, dtype=np.float64), np.asarray(norths, dtype=np.float64)

    def cell_of(self, east_m: float, north_m: float) -> tuple[int, int]:
        """(row, column) of a place; may lie outside the arrays."""
        return (
            math.floor((self._north_m + self._offset_north_m - north_m) / self.cell_m),
            math.floor((east_m - self._west_m - self._offset_east_m) / self.cell_m),
        )

    def move(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Shifts the belief by the camera's motion, and widens it by that motion's error."""
        self._offset_east_m += east_m
        self._offset_north_m += north_m
        columns = round(self._offset_east_m / self.cell_m)
        rows = -round(self._offset_north_m / self.cell_m)
        if columns or rows:
            self._offset_east_m -= columns * self.cell_m
            self._offset_north_m += rows * self.cell_m
            fill = float(self._fresh.min())
            self._log = _shifted(self._log, rows, columns, fill)
            self._recent = _shifted(self._recent, rows, columns, 0.0)
            self._gathered = _shifted(self._gathered, rows, columns, 0.0)
        self._widen(sigma_m * sigma_m)

    def move_unknown(self, reach_m: float) -> None:
        """Widens the belief by a motion of unknown direction, at most `reach_m` long."""
        self._widen((0.5 * reach_m) ** 2)

    def _widen(self, variance_m2: float) -> None:
        """Spreads to neighbouring cells once the error has grown to half a cell."""
        self._blur_m2 += variance_m2
        steps = int(math.sqrt(self._blur_m2) / (0.5 * self.cell_m))
        if steps:
            # A square: separable, so that a wide one after a long gap costs little.
            kernel = np.ones((2 * min(steps, self.rows) + 1, 2 * min(steps, self.columns) + 1), np.uint8)
            self._log = np.maximum(self._log, np.asarray(cv2.dilate(self._log, kernel), np.float32) - 1.0)
            self._recent = np.asarray(cv2.dilate(self._recent, kernel), np.float32)
            self._gathered = np.asarray(cv2.dilate(self._gathered, kernel), np.float32)
            self._blur_m2 = 0.0

    def update(self, log_ratio: Float32Array, new_ground: float) -> None:
        """Weighs in one frame. `log_ratio`: NaN where nobody looked. `new_ground`: 0 to 1, share not seen before."""
        rows, columns = _bounds(np.isfinite(log_ratio))
        # A tracked frame looks at a small part of a large map: the rest only forgets.
        here = (rows, columns)
        looked = np.isfinite(log_ratio[here])
        evidence = np.where(looked, log_ratio[here], np.float32(0.0))
        recent = self._recent[here]
        newest = np.float32(1.0 - RECENT_SHARE) * recent + np.float32(RECENT_SHARE) * evidence
        newest = np.where(looked, newest, np.float32(0.8) * recent)
        self._recent *= np.float32(0.8)
        self._recent[here] = newest
        lasting = np.float32(INDEPENDENT_LOOKS * new_ground) * evidence
        self._log[here] += lasting
        self._gathered[here] = np.clip(self._gathered[here] + lasting, *GATHERED_RANGE)
        self._normalise()

    def commit(self) -> None:
        """Makes the recent evidence lasting: once a place is settled on, a weaker match does not unsettle it."""
        self._log += self._recent
        self._recent = np.zeros_like(self._log)
        self._normalise()

    def reconsider(self) -> None:
        """Forgets what spoke against places: it was looked at wrongly."""
        self._gathered = np.maximum(self._gathered, 0.0)
        self._recent = np.maximum(self._recent, 0.0)
        self._nowhere = math.log(NOWHERE_PRIOR)
        self._normalise()

    def _normalise(self) -> None:
        top = max(float(self._log.max()), self._nowhere)
        mass = self._log - np.float32(top)
        total = float(np.exp(mass, out=mass).sum()) + math.exp(self._nowhere - top)
        shift = top + math.log(total)
        anywhere = math.log(ANYWHERE_SHARE * (1.0 - NOWHERE_PRIOR) / self._log.size)
        self._log -= np.float32(shift)
        np.maximum(self._log, np.float32(anywhere), out=self._log)
        self._nowhere = max(self._nowhere - shift, NOWHERE_LOG_FLOOR)

    def log_posterior(self) -> Float32Array:
        """Unnormalised log probability of each cell; `nowhere` stands at `mode()`."""
        return np.asarray(self._log + self._recent, dtype=np.float32)

    def mode(self, reach: int = MODE_REACH_CELLS) -> Mode:
        """The most probable place, with what lies within `reach` cells of it, and its rivals."""
        logits = self.log_posterior()
        row, column = np.unravel_index(int(logits.argmax()), logits.shape)
        top = max(float(logits[row, column]), self._nowhere)
        mass = np.exp(logits - top)
        nowhere = math.exp(self._nowhere - top)
        total = float(mass.sum(dtype=np.float64)) + nowhere
        here = (slice(max(row - reach, 0), row + reach + 1), slice(max(column - reach, 0), column + reach + 1))
        own = float(mass[here].sum(dtype=np.float64))
        mass[here] = 0.0
        easts, norths = self.centres()
        return Mode(float(easts[column]), float(norths[row]), own / total, float(mass.max()) / total, nowhere / total)

    def spread_m(self, share: float = 0.9) -> tuple[float, float, float]:
        """East, north and half side of a square that holds about that share of what is on the map: where to look when
        looking everywhere costs too much."""
        mass = self.log_posterior()
        mass -= mass.max()
        np.exp(mass, out=mass)
        bounds = []
        for axis, centres in zip((0, 1), self.centres(), strict=True):
            summed = np.cumsum(mass.sum(axis=axis, dtype=np.float64))
            first, last = np.searchsorted(summed, np.array([0.5 - 0.5 * share, 0.5 + 0.5 * share]) * summed[-1])
            bounds.append((float(centres[first]), float(centres[min(last, len(centres) - 1)])))
        (west, east), (north, south) = bounds
        half_m = 0.5 * max(east - west, north - south) + self.cell_m
        return 0.5 * (west + east), 0.5 * (south + north), half_m

    def evidence_near(self, east_m: float, north_m: float) -> float:
        """Log likelihood ratio that pictures alone gave a place against "not here": what no hint can stand in for."""
        row, column = self.cell_of(east_m, north_m)
        reach = MODE_REACH_CELLS
        here = (
            slice(max(row - reach, 0), max(row + reach + 1, 0)),
            slice(max(column - reach, 0), max(column + reach + 1, 0)),
        )
        gathered = self._gathered[here] + self._recent[here]
        return float(gathered.max()) if gathered.size else 0.0

    def probability_near(self, east_m: float, north_m: float, radius_m: float) -> float:
        """Probability of lying within a square of half side `radius_m` around a place."""
        mass = self.log_posterior()
        top = max(float(mass.max()), self._nowhere)
        mass -= np.float32(top)
        total = float(np.exp(mass, out=mass).sum()) + math.exp(self._nowhere - top)
        row, column = self.cell_of(east_m, north_m)
        reach = math.ceil(radius_m / self.cell_m)
        here = mass[max(row - reach, 0) : max(row + reach + 1, 0), max(column - reach, 0) : max(column + reach + 1, 0)]
        return float(here.sum(dtype=np.float64)) / total


def _bounds(where: BoolArray) -> tuple[slice, slice]:
    """The smallest rectangle that holds all that is true; empty without any."""
    sides = []
    for axis in (1, 0):
        held = np.flatnonzero(where.any(axis=axis))
        sides.append(slice(int(held[0]), int(held[-1]) + 1) if held.size else slice(0, 0))
    return sides[0], sides[1]


def _shifted(array: Float32Array, rows: int, columns: int, fill: float) -> Float32Array:
    """The array moved down by `rows` and right by `columns`, what comes in at the edge being `fill`."""
    out = np.full_like(array, fill)
    height, width = array.shape
    if abs(rows) < height and abs(columns) < width:
        out[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = array[
            max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
        ]
    return out
