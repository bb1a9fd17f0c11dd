"""Open water beside a way: waves that travel and fall apart, glints, and what drifts with the current."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from tilefix.simulation.noise import rng_for
from tilefix.simulation.passing import Ground
from tilefix.simulation.passingway import Way
from tilefix.simulation.vehicle import GRAVITY_MPS2, Motion
from tilefix.types import Float32Array, Float64Array

Complex128Array = npt.NDArray[np.complex128]

SIDE_PX = 512
WATER_RGB = (52.0, 72.0, 74.0)
WAVE_LEVELS, DRIFT_LEVELS, GLINT_LEVELS = 9.0, 9.0, 70.0  # grey levels, a standard deviation each; glint: of its peak
GLINT_FROM = 2.2  # standard deviations of slope that mirror the sun
WAVES_M = (1.0, 14.0)  # lengths, shortest and longest
STREAKS_M = (2.5, 40.0)  # of what drifts
KEEPS_S = 3.0  # that what drifts keeps its pattern
RAGGED_M = 6.0  # of the shore


class Water:
    """Water to the right of a line `shore_m` to the right of the way.

    Waves are plane waves of all directions around the wind's, each with the speed that gravity gives its length
    (Tessendorf, *Simulating Ocean Water*, 2001), carried by the current; foam and streaks drift with the current alone
    and lose their pattern within `KEEPS_S`.
    """

    def __init__(self, way: Way, shore_m: float, current_mps: float, towards_deg: float, seed: int) -> None:
        """`towards_deg`: whither the current flows and the waves run."""
        self._way, self._shore_m, self._current_mps = way, shore_m, current_mps
        self._towards, self._seed = math.radians(towards_deg), seed
        rng = rng_for(seed, "passing", "shore")
        self._shore = [(float(rng.uniform(0.0, 2.0 * math.pi)), float(rng.uniform(15.0, 120.0))) for _ in range(6)]

    def paint(self, ground: Ground, motion: Motion) -> None:
        """Paints the water as it is at the instant."""
        along, aside = self._way.coordinates(*ground.places())
        ragged = sum(np.sin(phase + 2.0 * math.pi * along / length_m) for phase, length_m in self._shore)
        inside_m = ground.spread(aside - self._shore_m - RAGGED_M / 6.0 * ragged)
        cover = np.clip(inside_m / 1.5 + 0.5, 0.0, 1.0)
        if not cover.any():
            return
        waves, drift = self._surface(ground, motion)
        level = np.float32(WAVE_LEVELS) * waves + np.float32(DRIFT_LEVELS) * drift
        level += np.float32(GLINT_LEVELS) * np.clip(waves - np.float32(GLINT_FROM), 0.0, 1.0)
        ground.lay(np.array(WATER_RGB, np.float32) + level[..., None], cover)

    def moves_mps(self, motion: Motion) -> tuple[float, float]:  # noqa: ARG002
        """The current."""
        return self._current_mps * math.sin(self._towards), self._current_mps * math.cos(self._towards)

    def _surface(self, ground: Ground, motion: Motion) -> tuple[Float32Array, Float32Array]:
        """Slope of the waves and drifting pattern over the window, both of standard deviation 1."""
        grid, gsd_m = ground.grid, round(ground.grid.gsd_m, 6)
        wave, drift = _spectra(self._seed, gsd_m)
        k_east, k_north = _wave_numbers(gsd_m)
        k = np.hypot(k_east, k_north)
        run = k_east * math.sin(self._towards) + k_north * math.cos(self._towards)
        # Half of the plane stands for all of it: what runs against its wave number is one that runs back in time.
        speed = np.copysign(np.sqrt(GRAVITY_MPS2 * k), run)
        carried = self._current_mps * run
        turning = rng_for(self._seed, "passing", "turning", SIDE_PX).standard_normal(k.shape) / KEEPS_S
        rows = np.arange(ground.row, ground.row + grid.height_px) % SIDE_PX
        columns = np.arange(ground.column, ground.column + grid.width_px) % SIDE_PX
        both = []
        for spectrum, turned in (
            (wave * np.abs(run) / np.maximum(k, 1e-9), (speed + carried) * motion.at_s),
            (drift, (carried + turning) * motion.at_s),
        ):
            tile = np.fft.irfft2(spectrum * np.exp(-1j * turned), (SIDE_PX, SIDE_PX)).astype(np.float32)
            both.append((tile / np.float32(tile.std()))[np.ix_(rows, columns)])
        return both[0], both[1]


@functools.lru_cache(maxsize=4)
def _wave_numbers(gsd_m: float) -> tuple[Float64Array, Float64Array]:
    """East and north wave numbers of half of a tile's plane, radians a metre; rows grow south."""
    k_east = 2.0 * math.pi * np.fft.rfftfreq(SIDE_PX, gsd_m)
    k_north = -2.0 * math.pi * np.fft.fftfreq(SIDE_PX, gsd_m)[:, None]
    shape = (SIDE_PX, SIDE_PX // 2 + 1)
    return np.broadcast_to(k_east, shape), np.broadcast_to(k_north, shape)


@functools.lru_cache(maxsize=4)
def _spectra(seed: int, gsd_m: float) -> tuple[Complex128Array, Complex128Array]:
    """Complex amplitudes of waves and of streaks: as strong at every length, between the shortest and the longest."""
    k = np.hypot(*_wave_numbers(gsd_m))
    rng = rng_for(seed, "passing", "water", SIDE_PX)
    found = []
    for shortest_m, longest_m in (WAVES_M, STREAKS_M):
        inside = (k >= 2.0 * math.pi / longest_m) & (k <= 2.0 * math.pi / max(shortest_m, 2.5 * gsd_m))
        noise = rng.standard_normal(k.shape) + 1j * rng.standard_normal(k.shape)
        found.append(np.where(inside, noise / np.maximum(k, 1e-9), 0.0))
    return found[0], found[1]
