"""Traffic: cars and lorries of real sizes on lanes along a way, scattered or as a motorway."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilefix.simulation.noise import rng_for
from tilefix.simulation.passing import Ground, fill_rectangle
from tilefix.simulation.passingway import Way
from tilefix.simulation.vehicle import Motion
from tilefix.types import Float64Array, IntArray

LANE_M = 3.75
CAR_M, LORRY_M = (4.5, 1.8), (16.5, 2.55)  # length and width
_PAINTS = np.array(
    [(228, 228, 226), (24, 25, 28), (118, 121, 124), (176, 179, 182), (52, 70, 108), (138, 34, 30), (196, 186, 160)],
    np.float32,
)
_SHADOW, _GLASS, _MARKING = (40.0, 42.0, 46.0), (38.0, 44.0, 50.0), (212.0, 212.0, 208.0)
_ASPHALT, _GRAIN = 92.0, 3.0  # grey levels, and their standard deviation
_DASH_M, _GAP_M = 6.0, 12.0
_LATEST_S = 600.0  # vehicles come from as far back as this takes them


@dataclass(frozen=True, eq=False)
class _Lane:
    aside_m: float
    speed_mps: float
    along_m: Float64Array  # of the middle of each vehicle at the start
    lorry: IntArray
    paint: IntArray


class Traffic:
    """Vehicles that follow one way at about one speed. `paved`: the lanes lie on asphalt with its markings."""

    def __init__(self, way: Way, lanes: list[_Lane], speed_mps: float, paved: tuple[float, float] | None) -> None:
        self._way, self._lanes, self._speed_mps, self._paved = way, lanes, speed_mps, paved
        self._grain = np.float32(_GRAIN) * rng_for(0, "passing", "asphalt").standard_normal((509, 509), np.float32)

    def paint(self, ground: Ground, motion: Motion) -> None:
        """Paints road and vehicles as they are at the instant."""
        if self._paved is not None:
            self._pave(ground)
        grid = ground.grid
        middle = np.array([0.5 * (grid.west_m + grid.east_m)]), np.array([0.5 * (grid.north_m + grid.south_m)])
        here_m = float(self._way.coordinates(*middle)[0][0])
        reach_m = 0.8 * max(grid.width_px, grid.height_px) * grid.gsd_m + 20.0
        for lane in self._lanes:
            along = lane.along_m + lane.speed_mps * motion.at_s
            near = np.flatnonzero(np.abs(along - here_m) < reach_m)
            east, north, heading = self._way.place(along[near], np.full(len(near), lane.aside_m))
            for k, e, n, h in zip(near, east.tolist(), north.tolist(), heading.tolist(), strict=True):
                if not grid.contains(e, n, -20.0):
                    continue
                length_m, width_m = LORRY_M if lane.lorry[k] else CAR_M
                colour = _PAINTS[lane.paint[k]]
                s, c = np.sin(h), np.cos(h)
                rectangle = ground.pixels, grid
                fill_rectangle(*rectangle, e + 0.5, n - 0.5, h, length_m, width_m, _SHADOW)
                fill_rectangle(*rectangle, e, n, h, length_m, width_m, tuple(colour.tolist()))
                # Windscreen of a car, cab of a lorry.
                ahead_m, deep_m = (0.12 * length_m, 0.16 * length_m) if not lane.lorry[k] else (0.40 * length_m, 0.8)
                fill_rectangle(*rectangle, e + ahead_m * s, n + ahead_m * c, h, deep_m, 0.85 * width_m, _GLASS)

    def _pave(self, ground: Ground) -> None:
        assert self._paved is not None
        along, aside = (ground.spread(field) for field in self._way.coordinates(*ground.places()))
        left, right = self._paved
        # The grain of asphalt keeps to the ground.
        rows = np.arange(ground.row, ground.row + aside.shape[0]) % len(self._grain)
        columns = np.arange(ground.column, ground.column + aside.shape[1]) % len(self._grain)
        grey = np.float32(_ASPHALT) + self._grain[np.ix_(rows, columns)]
        ground.lay(grey[..., None], (aside > left) & (aside < right))
        between = (aside - left) / LANE_M
        off_m = np.abs(between - np.round(between)) * LANE_M
        outer = (np.round(between) <= 0) | (np.round(between) >= round((right - left) / LANE_M))
        dashes = outer | (along % (_DASH_M + _GAP_M) < _DASH_M)
        line_m = max(0.15, 0.5 * ground.grid.gsd_m)
        ground.lay(np.array(_MARKING, np.float32), (off_m < line_m) & dashes & (aside > left) & (aside < right))

    def moves_mps(self, motion: Motion) -> tuple[float, float]:
        """The mean of the vehicles' motion, where the camera is."""
        here = np.array([motion.east_m]), np.array([motion.north_m])
        east, north = self._way.heading(float(self._way.coordinates(*here)[0][0]))
        return self._speed_mps * east, self._speed_mps * north


def _lane(
    rng: np.random.Generator, way: Way, aside_m: float, speed_mps: float, headway_m: float, lorries: float
) -> _Lane:
    """A lane with a vehicle about every `headway_m`, of which that share are lorries."""
    back_m = speed_mps * _LATEST_S
    mean_m = headway_m
    count = int((way.length_m + back_m + 4000.0) / mean_m) + 1
    lorry = (rng.random(count) < lorries).astype(np.int64)
    lengths = np.where(lorry > 0, LORRY_M[0], CAR_M[0])
    least = lengths + 1.5
    gaps = least + rng.exponential(max(mean_m - float(least.mean()), 0.5), count)
    along = np.cumsum(gaps) - 2000.0 - back_m
    return _Lane(aside_m, speed_mps, along, lorry, rng.integers(len(_PAINTS), size=count))


def scattered(way: Way, cover: float, speed_mps: float, width_m: float, seed: int) -> Traffic:
    """Vehicles all over a width of ground, on every third lane, which cover that share of it."""
    rng = rng_for(seed, "passing", "traffic")
    apart_m = 3.0 * LANE_M
    lorries = 0.15
    area_m2 = (1.0 - lorries) * CAR_M[0] * CAR_M[1] + lorries * LORRY_M[0] * LORRY_M[1]
    headway_m = area_m2 / (cover * apart_m)
    lanes = [
        _lane(rng, way, float(aside_m), speed_mps * float(rng.uniform(0.85, 1.15)), headway_m, lorries)
        for aside_m in np.arange(-0.5 * width_m, 0.5 * width_m, apart_m)
    ]
    return Traffic(way, lanes, speed_mps, None)


def motorway(way: Way, band_m: float, aside_m: float, speed_mps: float, seed: int, lorries: float = 0.35) -> Traffic:
    """Lanes side by side over a band of that width, bumper to bumper at one speed: a convoy as wide as that."""
    rng = rng_for(seed, "passing", "motorway")
    count = max(2, round(band_m / LANE_M))
    left_m = aside_m - 0.5 * count * LANE_M
    lanes = [_lane(rng, way, left_m + (k + 0.5) * LANE_M, speed_mps, 16.0, lorries) for k in range(count)]
    return Traffic(way, lanes, speed_mps, (left_m, left_m + count * LANE_M))
