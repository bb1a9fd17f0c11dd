"""A bounded set of Gaussian hypotheses, as good a one as was found: the grid's rival in `compare_beliefs.py`.

Multiple hypotheses after Reid (*An algorithm for tracking multiple targets*, 1979) as Jensfelt and Kristensen used them
to localize (*Active global localization for a mobile robot using multiple hypothesis tracking*, 2001): hypotheses are
born at the peaks of a frame's evidence out of the mass that lies there, moved by Kalman's prediction, drawn to the
peak in their reach by his update, merged where they meet, and dropped when weak. Beside them stand *elsewhere*, the map
that no hypothesis stands for, uniform over it, and *nowhere*. What is dropped goes back to elsewhere, so mass is kept.

A hypothesis is narrow once its deviation is about a cell: then it stands for one peak, and its likelihood is the best
in its reach. A wide one (a hint, a motion not seen) stands for an area: its likelihood is the mean over that, and peaks
in it are born out of it, as they are out of elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from point_belief import ANYWHERE_LOG, FORGOTTEN_SHARE, PointBelief, around_steps, lasting_share, log_sum, middle_share
from tilefix.geodesy import Grid
from tilefix.localization.belief import GATHERED_RANGE, MODE_REACH_CELLS, NOWHERE_PRIOR, RECENT_SHARE, Mode
from tilefix.types import BoolArray, Float32Array, Float64Array, IntArray

WIDE_CELLS = 1.5  # standard deviation from which a hypothesis is an area rather than a peak
PEAK_SIGMA_CELLS = 0.5  # of where a peak's place is, its cell being known
REACH = 2  # cells around a hypothesis' mean, or steps of its deviation for a wide one, that are looked at
WIDE_REACH = 3.0  # deviations of a wide hypothesis within which peaks are born out of it


@dataclass(frozen=True, slots=True)
class MixtureSettings:
    """What was chosen on development worlds. `most`: hypotheses that are kept; `born`: at most, a frame; `least`: the
    evidence of a peak that is worth one; `merge_cells`: two nearer than this are one; `cloud_cells`: how much further
    than a mode of the grid a place reaches."""

    most: int = 100
    born: int = 50
    least: float = 0.0
    merge_cells: float = 2.5
    cloud_cells: float = 1.0


class MixtureBelief(PointBelief):
    """Hypotheses with a place, a variance (the same in all directions, as the errors of motion and peaks are) and a
    weight."""

    def __init__(self, grid: Grid, cell_m: float, settings: MixtureSettings | None = None) -> None:
        self._settings = settings or MixtureSettings()
        super().__init__(grid, cell_m)

    def start_uniform(self) -> None:
        """Forgets everything: equally likely anywhere on the map."""
        self._begin_at(np.zeros((0, 2)), np.zeros(0))
        self._variance = np.zeros(0)
        self._elsewhere, self._elsewhere_recent = math.log(1.0 - NOWHERE_PRIOR), 0.0

    def start_near(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Begins at a hint: one hypothesis, with a thousandth spread over the map in case it is wrong."""
        self.start_uniform()
        place = np.array([[east_m, north_m]])
        if self._cells(place)[2].all():
            self._begin_at(place, np.array([math.log(0.999 * (1.0 - NOWHERE_PRIOR))]))
            self._variance = np.array([max(sigma_m, self.cell_m) ** 2])
            self._elsewhere += math.log(0.001)

    def _take(self, index: IntArray | BoolArray) -> None:
        super()._take(index)
        self._variance = self._variance[index]

    def move(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Kalman's prediction: places move, variances grow. What has left the map is dropped."""
        self._places = self._places + np.array([east_m, north_m])
        self._variance = self._variance + sigma_m * sigma_m
        self._take(self._cells(self._places)[2])

    def move_unknown(self, reach_m: float) -> None:
        """Widens every hypothesis by a motion of unknown direction, at most `reach_m` long."""
        self._variance = self._variance + (0.5 * reach_m) ** 2

    @property
    def _wide(self) -> BoolArray:
        return np.asarray(self._variance > (WIDE_CELLS * self.cell_m) ** 2)

    # One frame

    def update(self, log_ratio: Float32Array, new_ground: float) -> None:
        """Weighs in one frame. `log_ratio`: NaN where nobody looked. `new_ground`: 0 to 1, share not seen before."""
        share = lasting_share(new_ground)
        rest = np.nan_to_num(log_ratio, nan=0.0)  # what is left to elsewhere
        looked = np.isfinite(log_ratio)
        if looked.any():
            self._associate(log_ratio, share, rest)
            self._give_birth(rest, share)
            self._weigh_elsewhere(rest, share)
        else:
            self._weigh(np.full(len(self._log), np.nan), np.full(len(self._log), np.nan))
            self._elsewhere_recent *= FORGOTTEN_SHARE
        self._merge()
        self._prune()
        self._normalise()

    def _associate(self, log_ratio: Float32Array, share: float, rest: Float32Array) -> None:
        """Weighs the hypotheses; narrow ones are drawn to the peak in their reach, which is then theirs alone."""
        if not len(self._log):
            return
        wide = self._wide
        peak_m2 = (PEAK_SIGMA_CELLS * self.cell_m) ** 2
        step_m = np.where(wide, np.sqrt(self._variance), self.cell_m)
        evidence, away2 = self._around(log_ratio, step_m, REACH)
        # A narrow one: the best in reach, less what its distance speaks against it.
        fitting = evidence - 0.5 * away2 / (self._variance + peak_m2)[:, None]
        blind = np.asarray(np.isnan(fitting).all(axis=1))
        best = np.nanargmax(np.where(blind[:, None], 0.0, fitting), axis=1)
        each = np.arange(len(best))
        value = fitting[each, best]
        # A wide one: the mean over its area, each look as likely as the place is.
        density = np.where(np.isnan(evidence), 0.0, np.exp(-0.5 * away2 / self._variance[:, None]))
        density /= np.maximum(density.sum(axis=1), 1e-12)[:, None]
        seen = np.nan_to_num(evidence, nan=0.0)
        mean = np.where(blind, np.nan, (density * seen).sum(axis=1))
        lasting = np.log(np.maximum((density * np.exp(share * seen)).sum(axis=1), 1e-12))
        self._weigh(np.where(wide, lasting, share * value), np.where(wide, mean, value))
        drawn = ~wide & ~blind & (value > 0.0)
        gain = np.where(drawn, self._variance / (self._variance + peak_m2), 0.0)
        self._places = self._places + gain[:, None] * step_m[:, None] * around_steps(REACH)[best]
        self._variance = np.where(drawn, np.maximum((1.0 - gain) * self._variance, peak_m2), self._variance)
        for row, column in self._windows(drawn | ~(wide | blind)):
            rest[row, column] = np.minimum(rest[row, column], 0.0)

    def _windows(self, which: BoolArray) -> list[tuple[slice, slice]]:
        """The cells within reach of these hypotheses."""
        rows, columns, _ = self._cells(self._places[which])
        return [
            (slice(max(row - REACH, 0), row + REACH + 1), slice(max(column - REACH, 0), column + REACH + 1))
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ]

    def _give_birth(self, rest: Float32Array, share: float) -> None:
        """New hypotheses at the highest peaks that are nobody's, out of the mass that lies there."""
        highest = np.asarray(cv2.dilate(rest, np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)))
        cells = np.flatnonzero((rest == highest) & (rest > self._settings.least))
        found = rest.ravel()[cells]
        if len(cells) > self._settings.born:
            chosen = np.argpartition(found, -self._settings.born)[-self._settings.born :]
            cells, found = cells[chosen], found[chosen]
        if not cells.size:
            return
        rows, columns = np.divmod(cells, self.columns)
        easts = self._west_m + (columns + 0.5) * self.cell_m
        places = np.stack([easts, self._north_m - (rows + 0.5) * self.cell_m], axis=1)
        mass = np.full(len(cells), math.exp(self._elsewhere) / (self.rows * self.columns))
        wide = np.flatnonzero(self._wide)
        if wide.size:
            away2 = ((places[:, None, :] - self._places[wide]) ** 2).sum(axis=2) / self._variance[wide]
            density = np.exp(self._log[wide] - 0.5 * away2) / (2.0 * math.pi * self._variance[wide])
            mass += self.cell_m**2 * np.where(away2 < WIDE_REACH**2, density, 0.0).sum(axis=1)
        found = found.astype(np.float64)
        self._places = np.concatenate([self._places, places])
        self._variance = np.append(self._variance, np.full(len(cells), (PEAK_SIGMA_CELLS * self.cell_m) ** 2))
        self._log = np.append(self._log, np.log(mass) + share * found)
        self._recent = np.append(self._recent, RECENT_SHARE * found)
        self._gathered = np.append(self._gathered, np.clip(share * found, *GATHERED_RANGE))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            here = slice(max(row - REACH, 0), row + REACH + 1), slice(max(column - REACH, 0), column + REACH + 1)
            rest[here] = np.minimum(rest[here], 0.0)

    def _weigh_elsewhere(self, rest: Float32Array, share: float) -> None:
        """The mean likelihood of the rest of the map."""
        mean = [log_sum(np.float32(factor) * rest) - math.log(rest.size) for factor in (share, RECENT_SHARE)]
        self._elsewhere += mean[0]
        self._elsewhere_recent = (1.0 - RECENT_SHARE) * self._elsewhere_recent + mean[1]

    def _merge(self) -> None:
        """Makes one of narrow hypotheses that meet: the heavier one, with both weights."""
        if len(self._log) < 2:
            return
        self._take(np.argsort(-(self._log + self._recent), kind="stable"))
        narrow = ~self._wide
        apart2 = ((self._places[:, None, :] - self._places) ** 2).sum(axis=2)
        near = (apart2 < (self._settings.merge_cells * self.cell_m) ** 2) & narrow[:, None] & narrow
        kept = np.ones(len(narrow), dtype=bool)
        for heavy, light in np.argwhere(np.triu(near, k=1)).tolist():
            if kept[heavy] and kept[light]:
                kept[light] = False
                self._log[heavy] = np.logaddexp(self._log[heavy], self._log[light])
        self._take(kept)

    def _prune(self) -> None:
        """Drops the weakest; their mass goes back to the rest of the map."""
        if len(self._log) > self._settings.most:
            order = np.argsort(-(self._log + self._recent), kind="stable")
            dropped = order[self._settings.most :]
            self._elsewhere = log_sum(np.append(self._log[dropped], self._elsewhere))
            self._take(order[: self._settings.most])

    def _elsewhere_log(self) -> float:
        return self._elsewhere

    def _normalise(self) -> None:
        shift = log_sum(np.append(self._log, (self._nowhere, self._elsewhere)))
        super()._normalise()
        self._elsewhere = max(self._elsewhere - shift, ANYWHERE_LOG)

    def commit(self) -> None:
        """Makes the recent evidence lasting."""
        self._elsewhere, self._elsewhere_recent = self._elsewhere + self._elsewhere_recent, 0.0
        super().commit()

    def reconsider(self) -> None:
        """Forgets what spoke against places: it was looked at wrongly."""
        self._elsewhere_recent = max(self._elsewhere_recent, 0.0)
        super().reconsider()

    # What is believed

    def _masses(self) -> tuple[Float64Array, float, float]:
        """Weights with the recent evidence of the hypotheses, of elsewhere and of nowhere; together 1."""
        logits = np.append(self._log + self._recent, (self._elsewhere + self._elsewhere_recent, self._nowhere))
        mass = np.exp(logits - log_sum(logits))
        return mass[:-2], float(mass[-2]), float(mass[-1])

    def log_posterior(self) -> Float32Array:
        """Log probability of each cell."""
        mass, elsewhere, _ = self._masses()
        out = np.full((self.rows, self.columns), elsewhere / (self.rows * self.columns), np.float32)
        sigma_m = np.sqrt(self._variance)
        reach_m = np.maximum(WIDE_REACH * sigma_m, 0.6 * self.cell_m)
        easts, norths = self.centres()
        for (east_m, north_m), weight, sigma, reach in zip(self._places, mass, sigma_m, reach_m, strict=True):
            (top, left), (bottom, right) = (self.cell_of(east_m - side, north_m + side) for side in (reach, -reach))
            here = slice(max(top, 0), max(bottom + 1, 0)), slice(max(left, 0), max(right + 1, 0))
            across = np.exp(-0.5 * ((easts[here[1]] - east_m) / sigma) ** 2)
            down = np.exp(-0.5 * ((norths[here[0]] - north_m) / sigma) ** 2)
            out[here] += (weight / max(float(across.sum() * down.sum()), 1e-12)) * np.outer(down, across)
        return np.asarray(np.log(np.maximum(out, np.float32(1e-35))), dtype=np.float32)

    def _within(self, east_m: float, north_m: float, half_m: float) -> Float64Array:
        """The share of each hypothesis that lies in a square around a place."""
        scale = 1.0 / np.sqrt(2.0 * self._variance)
        out = np.ones(len(self._log))
        for axis, centre in enumerate((east_m, north_m)):
            from_m = centre - half_m - self._places[:, axis]
            ends = [np.array([math.erf(end) for end in (from_m + side) * scale]) for side in (0.0, 2.0 * half_m)]
            out *= 0.5 * (ends[1] - ends[0])
        return out

    def mode(self, reach: int = MODE_REACH_CELLS) -> Mode:
        """The place of the heaviest hypothesis for its size, what lies within `reach` cells of it, and its rivals."""
        mass, elsewhere, nowhere = self._masses()
        half_m = (reach + 0.5 + self._settings.cloud_cells) * self.cell_m
        cell = elsewhere / (self.rows * self.columns)
        if not mass.size:
            east_m, north_m = (
                self._west_m + 0.5 * self.columns * self.cell_m,
                self._north_m - 0.5 * self.rows * self.cell_m,
            )
            return Mode(east_m, north_m, cell * (2 * reach + 1) ** 2, cell, nowhere)
        density = mass / (self._variance + self.cell_m**2)
        east_m, north_m = (float(value) for value in self._places[int(density.argmax())])
        inside = self._within(east_m, north_m, half_m)
        others = mass * (1.0 - inside) * np.minimum(1.0, self.cell_m**2 / self._variance)
        own = float((mass * inside).sum()) + cell * (2 * reach + 1) ** 2
        return Mode(east_m, north_m, own, max(float(others.max()), cell), nowhere)

    def spread_m(self, share: float = 0.9) -> tuple[float, float, float]:
        """East, north and half side of a square that holds about that share of what is on the map."""
        mass, elsewhere, _ = self._masses()
        bounds = []
        for axis, centres in enumerate(self.centres()):
            on_axis = np.full(len(centres), elsewhere / len(centres))
            for place, weight, variance in zip(self._places[:, axis], mass, self._variance, strict=True):
                density = np.exp(-0.5 * (centres - place) ** 2 / max(variance, self.cell_m**2))
                on_axis += weight * density / max(float(density.sum()), 1e-12)
            order = np.argsort(centres)
            bounds.append(middle_share(centres[order], on_axis[order], share))
        (west, east), (south, north) = bounds
        return 0.5 * (west + east), 0.5 * (south + north), 0.5 * max(east - west, north - south) + self.cell_m

    def probability_near(self, east_m: float, north_m: float, radius_m: float) -> float:
        """Probability of lying within a square of half side `radius_m` around a place."""
        mass, elsewhere, _ = self._masses()
        half_m = radius_m + 0.5 * self.cell_m
        cells = min(1.0, (2.0 * half_m / self.cell_m) ** 2 / (self.rows * self.columns))
        return float((mass * self._within(east_m, north_m, half_m)).sum()) + elsewhere * cells
