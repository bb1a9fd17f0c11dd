"""Which flights are flown over which generated worlds: a table that follows from the seeds alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilefix.camera import CameraModel
from tilefix.simulation.camera import Exposure
from tilefix.simulation.flights import FlightPlan
from tilefix.simulation.vehicle import COPTER, PLANE, Weather
from tilefix.simulation.world import Look, Season, drone_look, satellite_look

AGL_M = (50.0, 500.0)
SPEED_MPS = (5.0, 25.0)
HFOV_DEG = (55.0, 75.0)
RATE_HZ = (2.0, 4.0)
WIND_MPS = (0.0, 8.0)
GUST_MPS = (0.3, 1.5)
PLANE_FROM_MPS = 12.0  # slower ones are copters, of the others every second


@dataclass(frozen=True, slots=True)
class WorldSet:
    """Worlds of one kind and what is flown over each. `patch_m`, `stride_m`: of the map's tiles."""

    worlds: Sequence[int]
    flights: int
    frames: int
    size_m: float = 2100.0
    gsd_m: float = 0.5
    patch_m: float = 120.0
    stride_m: float = 40.0
    width_px: int = 480
    height_px: int = 360


SETS = {
    "development": WorldSet(range(1700, 1708), flights=3, frames=200),
    "evaluation": WorldSet(range(9100, 9112), flights=4, frames=420),
    "development-large": WorldSet(range(1710, 1711), flights=2, frames=100, size_m=5000.0, gsd_m=0.6, stride_m=60.0),
    "large": WorldSet(range(9120, 9122), flights=3, frames=100, size_m=5000.0, gsd_m=0.6, stride_m=60.0),
    "development-vast": WorldSet(range(1720, 1721), flights=2, frames=100, size_m=10000.0, gsd_m=0.8, stride_m=60.0),
    "vast": WorldSet(range(9125, 9126), flights=3, frames=100, size_m=10000.0, gsd_m=0.8, stride_m=60.0),
}


@dataclass(frozen=True, slots=True)
class Sortie:
    """One flight of the table: over which world, in which look, and how. `agl_m`, `speed_mps` as planned."""

    world: int
    number: int
    look: Look
    plan: FlightPlan

    @property
    def name(self) -> str:
        """Of the flight's folder."""
        return f"{self.world}-{self.number}"


def sorties(flown: WorldSet) -> list[Sortie]:
    """The set's table, world by world.

    Height, speed, field of view and rate are each spread evenly over their range: a Latin hypercube (McKay, Beckman
    and Conover, *A comparison of three methods for selecting values of input variables*, 1979). The flights over one
    world are of seasons that follow on the map's, so that three of four show another one.
    """
    count = len(flown.worlds) * flown.flights
    rng = np.random.default_rng([flown.worlds[0], count])

    def spread(low: float, high: float) -> list[float]:
        shares = (rng.permutation(count) + rng.random(count)) / count
        return [float(low + (high - low) * share) for share in shares]

    columns = (spread(*AGL_M), spread(*SPEED_MPS), spread(*HFOV_DEG), spread(*RATE_HZ), spread(*WIND_MPS))
    flights = itertools.product(flown.worlds, range(flown.flights))
    table = []
    for (world, number), agl_m, speed_mps, hfov_deg, rate_hz, wind_mps in zip(flights, *columns, strict=True):
        wind_rad = float(rng.uniform(0.0, 2.0 * math.pi))
        weather = Weather(wind_mps * math.sin(wind_rad), wind_mps * math.cos(wind_rad), float(rng.uniform(*GUST_MPS)))
        exposure = Exposure(
            gain=float(rng.uniform(0.85, 1.05)),
            blur_px=float(rng.uniform(0.3, 0.8)),
            noise=float(rng.uniform(0.006, 0.02)),
            vignette=float(rng.uniform(0.1, 0.3)),
        )
        plan = FlightPlan(
            agl_m=agl_m,
            speed_mps=speed_mps,
            rate_hz=rate_hz,
            duration_s=(flown.frames + 0.5) / rate_hz,
            seed=100 * world + number,
            camera=CameraModel.from_hfov(flown.width_px, flown.height_px, hfov_deg),
            airframe=PLANE if speed_mps >= PLANE_FROM_MPS and rng.random() < 0.5 else COPTER,
            weather=weather,
            exposure=exposure,
            exposure_ms=float(rng.uniform(1.0, 6.0)),
        )
        table.append(Sortie(world, number, _look(world, number), plan))
    return table


def _look(world: int, number: int) -> Look:
    season = Season((satellite_look(world).season + 1 + number) % len(Season))
    looks = (drone_look(1000 * world + 100 * number + k) for k in itertools.count(1))
    return next(look for look in looks if look.season is season)
