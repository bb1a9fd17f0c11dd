"""The ground below the vehicle: how far down it is, how sure that is, and its shape where the map knows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilefix.maps.terrain import Relief, Terrain
from tilefix.types import VehicleState

# Within this of where it is believed to be, the vehicle sees the terrain of that place, about: hills are wider.
NARROW_M = 100.0
# A height above ground without a stated error, relative: of a log that knows no better.
USUAL_AGL_ERROR = 0.05
# The same of one above sea level, metres.
USUAL_AMSL_ERROR_M = 5.0
# A height from terrain must be surer by so much than the one told: two that are as sure must not alternate.
SURER = 0.8


@dataclass(frozen=True, slots=True)
class Place:
    """Where the vehicle is believed to be: within a square of half side `half_m`, local metres."""

    east_m: float
    north_m: float
    half_m: float


@dataclass(frozen=True, slots=True)
class Ground:
    """Height above ground with its standard deviation (`None`: nobody stated one), and the relief around, if known."""

    agl_m: float
    sigma_m: float | None
    relief: Relief | None = None

    @property
    def height_sigma(self) -> float:
        """Standard deviation of the height, relative; 0 where nobody stated one."""
        return 0.0 if self.sigma_m is None else self.sigma_m / self.agl_m


def ground_below(state: VehicleState, terrain: Terrain | None, place: Place | None) -> Ground | None:
    """What is known of the ground below; `None` without any height.

    Of a height above ground and one above sea level with the terrain at the place taken off, the surer one. While the
    place is unknown, the mean of the terrain where it may be stands for it, its spread being part of the error; the
    relief is left out then.
    """
    told = None
    if state.agl_m is not None and state.agl_m > 0.0:
        told = Ground(state.agl_m, state.agl_sigma_m)
    if terrain is None or place is None:
        return told
    narrow = place.half_m <= NARROW_M
    around = terrain.around(place.east_m, place.north_m, place.half_m)
    below_m = terrain.at(place.east_m, place.north_m) if narrow else None
    if around is None:
        return told
    ground_m = around[0] if below_m is None else below_m
    if state.amsl_m is not None and state.amsl_m > ground_m:
        stated_m = USUAL_AMSL_ERROR_M if state.amsl_sigma_m is None else state.amsl_sigma_m
        sigma_m = math.hypot(stated_m, around[1])
        told_m = math.inf if told is None else told.sigma_m or USUAL_AGL_ERROR * told.agl_m
        if sigma_m < SURER * told_m:
            told = Ground(state.amsl_m - ground_m, sigma_m)
    if told is None or below_m is None:
        return told
    return Ground(told.agl_m, told.sigma_m, Relief(terrain, place.east_m, place.north_m, ground_m))
