"""A particle filter over the map, as good a one as was found: the grid's rival in `compare_beliefs.py`.

Monte Carlo localization (Thrun, Burgard and Fox, *Probabilistic Robotics*, 2005, chapters 4 and 8): particles move with
the camera and its noise and are weighed by the evidence of their cells. Three things make it good at starting without
a hint, where the plain filter of 1,000 particles would have one for every 500 cells:

* The doubt that the vehicle is anywhere (`ANYWHERE_SHARE`) is not scattered over the map: its particles are drawn where
  the frame's evidence is, and weighed by prior over proposal, so that nothing is counted twice (Thrun, Fox, Burgard and
  Dellaert, *Robust Monte Carlo localization for mobile robots*, 2001, the dual sampler). With `augmented`, that share
  grows while the particles explain the pictures worse than they used to (*Probabilistic Robotics*, table 8.3).
* Particles are chosen by their weight with the recent evidence, which is not lasting yet, and keep the quotient (the
  auxiliary particle filter: Pitt and Shephard, *Filtering via simulation*, 1999), by systematic resampling (Douc and
  Cappe, *Comparison of resampling schemes for particle filtering*, 2005). `power` below 1 leaves rivals more of them.
* Copies of one particle are moved apart by a part of a cell (regularised: Musso, Oudjane and Le Gland, 2001).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from point_belief import ANYWHERE_LOG, PointBelief, lasting_share, log_sum, middle_share
from tilefix.geodesy import Grid
from tilefix.localization.belief import (
    ANYWHERE_SHARE,
    GATHERED_RANGE,
    MODE_REACH_CELLS,
    NOWHERE_PRIOR,
    RECENT_SHARE,
    Mode,
)
from tilefix.types import Float32Array, Float64Array, IntArray

SLOW, FAST = 0.05, 0.3  # weights of the newest frame in the two running means of how well particles explain it
MOST_ANYWHERE = 0.5  # of the belief, however badly


@dataclass(frozen=True, slots=True)
class ParticleSettings:
    """What was chosen on development worlds. `drawn`: share of the particles that the evidence places; `sharpness`:
    of the evidence, when they are drawn; `jitter_cells`: by which copies are moved apart; `reach_cells`, `sigma_cells`:
    how far from its place a particle finds its evidence, at most and as a standard deviation; `cloud_cells`: how much
    further than a mode of the grid a cloud of them reaches."""

    count: int = 10_000
    drawn: float = 0.1
    sharpness: float = 1.0
    power: float = 1.0
    jitter_cells: float = 0.3
    reach_cells: int = 1
    sigma_cells: float = 1.0
    cloud_cells: float = 1.0
    augmented: bool = True
    seed: int = 0


class ParticleBelief(PointBelief):
    """`settings.count` weighted particles. Equal calls give equal answers: all chance follows from the seed."""

    def __init__(self, grid: Grid, cell_m: float, settings: ParticleSettings | None = None) -> None:
        self._settings = settings or ParticleSettings()
        self._rng = np.random.default_rng([self._settings.seed, 71])
        super().__init__(grid, cell_m)

    def start_uniform(self) -> None:
        """Forgets everything: equally likely anywhere on the map."""
        count = self._settings.count
        side = self.cell_m * np.array([self.columns, -self.rows])
        self._start(np.array([self._west_m, self._north_m]) + side * self._rng.random((count, 2)))
        self._scattered = True

    def start_near(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Begins at a hint: a Gaussian around it. In case it is wrong, particles are drawn elsewhere every frame."""
        sigma_m = max(sigma_m, self.cell_m)
        places = np.array([east_m, north_m]) + sigma_m * self._rng.standard_normal((self._settings.count, 2))
        if not self._cells(places)[2].any():
            self.start_uniform()
            return
        self._start(places)

    def _start(self, places: Float64Array) -> None:
        self._begin_at(places, np.full(len(places), math.log((1.0 - NOWHERE_PRIOR) / len(places))))
        self._slow = self._fast = 0.0
        self._scattered = False

    def move(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Moves every particle by the camera's motion, each with an error of its own."""
        noise = sigma_m * self._rng.standard_normal(self._places.shape)
        self._places = self._places + np.array([east_m, north_m]) + noise

    def move_unknown(self, reach_m: float) -> None:
        """Scatters the particles by a motion of unknown direction, at most `reach_m` long."""
        self.move(0.0, 0.0, 0.5 * reach_m)

    def update(self, log_ratio: Float32Array, new_ground: float) -> None:
        """Weighs in one frame. `log_ratio`: NaN where nobody looked. `new_ground`: 0 to 1, share not seen before."""
        share = lasting_share(new_ground)
        if self._scattered and np.isfinite(log_ratio).any():
            # Of scattered particles chance alone would tell which peaks have one: all are drawn where the evidence is.
            self._take(np.zeros(0, dtype=np.int64))
            self._draw(log_ratio, share, 1.0, self._settings.count)
            self._scattered = False
        else:
            evidence = self._fitting(log_ratio)
            self._weigh(share * evidence, evidence)
            drawn = round(self._settings.drawn * self._settings.count)
            self._draw(log_ratio, share, self._anywhere(evidence), drawn)
        self._normalise()
        self._resample()

    def _fitting(self, log_ratio: Float32Array) -> Float64Array:
        """The best evidence in each particle's reach, less what its distance speaks against it; NaN where nobody
        looked. A peak lies a cell beside the place when the attitude is a little off."""
        s = self._settings
        if not s.reach_cells:
            return self._evidence_at(log_ratio, self._places)
        spacing_m = np.full(len(self._places), self.cell_m)
        evidence, away2 = self._around(log_ratio, spacing_m, s.reach_cells)
        fitting = np.where(np.isnan(evidence), -np.inf, evidence - 0.5 * away2 / (s.sigma_cells * self.cell_m) ** 2)
        best = fitting.max(axis=1, initial=-np.inf)
        return np.where(np.isinf(best), np.nan, best)

    def _anywhere(self, evidence: Float64Array) -> float:
        """Share of the belief that may be anywhere: it grows while the particles fit worse than they did."""
        if not self._settings.augmented or not np.isfinite(evidence).any():
            return ANYWHERE_SHARE
        # Ratios go over orders of magnitude, so that a mean of them is that of a few: the chance of a match is meant.
        fits = 1.0 / (1.0 + np.exp(-np.nan_to_num(evidence, nan=0.0)))
        weight = np.exp(self._log - self._log.max())
        mean = float(np.average(fits, weights=weight))
        self._slow += SLOW * (mean - self._slow) if self._slow else mean
        self._fast += FAST * (mean - self._fast) if self._fast else mean
        return min(max(ANYWHERE_SHARE, 1.0 - self._fast / self._slow), MOST_ANYWHERE)

    def _draw(self, log_ratio: Float32Array, share: float, anywhere: float, count: int) -> None:
        """Adds particles for the doubt that the vehicle is anywhere, drawn where the evidence is."""
        flat = log_ratio.ravel()
        cells = np.flatnonzero(np.isfinite(flat))
        if not cells.size or not count:
            return
        evidence = flat[cells]
        chance = np.exp(np.float32(self._settings.sharpness) * (evidence - evidence.max()))
        summed = np.cumsum(chance, dtype=np.float64)
        drawn = np.searchsorted(summed, summed[-1] * self._combs(count)).clip(max=len(cells) - 1)
        proposed = np.log(chance[drawn] / summed[-1]) + math.log(count)
        found = evidence[drawn].astype(np.float64)
        log = math.log(anywhere * (1.0 - NOWHERE_PRIOR) / flat.size) + share * found - proposed
        row, column = np.divmod(cells[drawn], self.columns)
        corner = np.stack([column, row], axis=1) + self._rng.random((count, 2))
        places = np.array([self._west_m, self._north_m]) + self.cell_m * np.array([1.0, -1.0]) * corner
        self._places = np.concatenate([self._places, places])
        kept = self._log + math.log1p(-anywhere) if self._log.size else self._log
        self._log = np.concatenate([kept, log])
        self._recent = np.concatenate([self._recent, RECENT_SHARE * found])
        self._gathered = np.concatenate([self._gathered, np.clip(share * found, *GATHERED_RANGE)])

    def _combs(self, count: int) -> Float64Array:
        """Rising shares, one in each of `count` equal parts of the whole, at one random place in all of them."""
        return np.asarray((np.arange(count) + self._rng.random()) / count, dtype=np.float64)

    def _resample(self) -> None:
        """Chooses as many particles as there should be, by what their weights are with the recent evidence."""
        logits = self._settings.power * (self._log + self._recent)
        logits = np.where(self._cells(self._places)[2], logits, -np.inf)
        top = float(logits.max())
        if math.isinf(top):
            self.start_uniform()  # all have left the map
            return
        summed = np.cumsum(np.exp(logits - top))
        count = self._settings.count
        chosen = np.searchsorted(summed, summed[-1] * self._combs(count)).clip(max=len(logits) - 1)
        self._take(chosen)
        self._log = self._log - (logits[chosen] - top - math.log(float(summed[-1]))) - math.log(count)
        copies = np.flatnonzero(np.diff(chosen, prepend=-1) == 0)
        jitter = self._settings.jitter_cells * self.cell_m * self._rng.standard_normal((len(copies), 2))
        self._places[copies] += jitter

    # What is believed

    def _masses(self) -> tuple[Float64Array, float]:
        """Weights of the particles with the recent evidence, and of being nowhere; together 1."""
        logits = np.where(self._cells(self._places)[2], self._log + self._recent, -np.inf)
        total = log_sum(np.append(logits, self._nowhere))
        return np.exp(logits - total), math.exp(self._nowhere - total)

    def _on_cells(self, mass: Float64Array) -> tuple[IntArray, Float64Array]:
        """The cells that hold particles, as row * columns + column, and what they hold."""
        rows, columns, _ = self._cells(self._places)
        cells, which = np.unique(rows * self.columns + columns, return_inverse=True)
        return np.asarray(cells, dtype=np.int64), np.bincount(which, weights=mass).astype(np.float64)

    def log_posterior(self) -> Float32Array:
        """Log probability of each cell; where no particle is, that of being anywhere."""
        floor = ANYWHERE_LOG - math.log(self.rows * self.columns)
        out = np.full(self.rows * self.columns, floor, np.float32)
        cells, held = self._on_cells(self._masses()[0])
        out[cells] = np.log(held + math.exp(floor))
        return out.reshape(self.rows, self.columns)

    def mode(self, reach: int = MODE_REACH_CELLS) -> Mode:
        """The most probable cell's surroundings within `reach` cells, with the mean of what lies there, and rivals."""
        mass, nowhere = self._masses()
        cells, held = self._on_cells(mass)
        rows, columns = np.divmod(cells, self.columns)
        best = int(held.argmax())
        # A cloud's densest cell need not be its middle: from there to the mean around it, then once more.
        corner = np.array([self._west_m, self._north_m])
        place = corner + self.cell_m * (np.array([columns[best], -rows[best]]) + np.array([0.5, -0.5]))
        half_m = (reach + 0.5 + self._settings.cloud_cells) * self.cell_m
        for _ in range(2):
            here = np.abs(self._places - place).max(axis=1) <= half_m
            place = np.average(self._places[here], axis=0, weights=mass[here] + 1e-300)
        here = np.abs(self._places - place).max(axis=1) <= half_m
        own = float(mass[here].sum())
        middles = corner + self.cell_m * np.stack([columns + 0.5, -rows - 0.5], axis=1)
        others = held[np.abs(middles - place).max(axis=1) > half_m]
        rival = float(others.max()) if others.size else 0.0
        return Mode(float(place[0]), float(place[1]), own, rival, nowhere)

    def spread_m(self, share: float = 0.9) -> tuple[float, float, float]:
        """East, north and half side of a square that holds about that share of what is on the map."""
        mass = self._masses()[0]
        bounds = []
        for axis in (0, 1):
            order = np.argsort(self._places[:, axis])
            bounds.append(middle_share(self._places[order, axis], mass[order], share))
        (west, east), (south, north) = bounds
        return 0.5 * (west + east), 0.5 * (south + north), 0.5 * max(east - west, north - south) + self.cell_m

    def probability_near(self, east_m: float, north_m: float, radius_m: float) -> float:
        """Probability of lying within a square of half side `radius_m` around a place."""
        away = np.abs(self._places - np.array([east_m, north_m])).max(axis=1)
        return float(self._masses()[0][away <= radius_m + 0.5 * self.cell_m].sum())
