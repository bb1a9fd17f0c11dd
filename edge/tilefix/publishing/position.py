"""A position that is complete enough to be sent: every route takes it, none adds to it. Pure."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from tilefix.geodesy import moved
from tilefix.links.vehicle import Vehicle
from tilefix.publishing.settings import PublishSettings
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason

# Without a rate of its own the vertical speed is taken as none; what that may be wrong by goes into the sigma.
_UNKNOWN_CLIMB_SIGMA_MPS = 1.0
_CLIMB_SIGMA_MPS = 0.3
# An estimate is carried along its velocity to the instant that is asked for at most this far.
_MAX_CARRY_NS = 500_000_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where the aircraft was at `at_ns`, and how surely. `covariance_m2` is over (east, north). `confirmed`: by a
    picture lately. `mirrored`: it is the real receiver's own."""

    at_ns: int
    lat_deg: float
    lon_deg: float
    amsl_m: float
    velocity_north_mps: float
    velocity_east_mps: float
    velocity_down_mps: float
    covariance_m2: Covariance
    vertical_sigma_m: float
    speed_sigma_mps: float
    confirmed: bool
    mirrored: bool = False

    @property
    def sigma_m(self) -> float:
        """One sigma along the major axis."""
        return self.covariance_m2.sigma_major

    def carried(self, at_ns: int) -> Position:
        """The same along its velocity to another instant; for a second or so."""
        seconds = (at_ns - self.at_ns) / 1e9
        east_m, north_m = self.velocity_east_mps * seconds, self.velocity_north_mps * seconds
        lat_deg, lon_deg = moved(self.lat_deg, self.lon_deg, east_m, north_m)
        return dataclasses.replace(self, at_ns=at_ns, lat_deg=lat_deg, lon_deg=lon_deg)


def position_of(estimate: Fix | NoFix, at_ns: int, vehicle: Vehicle, settings: PublishSettings) -> Position | str:
    """The estimate as a whole position at `at_ns`, or why it is none."""
    if isinstance(estimate, NoFix):
        return words(estimate.reason)
    east_mps, north_mps = estimate.velocity_east_mps, estimate.velocity_north_mps
    if east_mps is None or north_mps is None or estimate.velocity_covariance is None:
        return "no velocity from the camera yet"
    amsl_m, amsl_sigma_m = vehicle.amsl_m(at_ns), vehicle.amsl_sigma_m(at_ns)
    if amsl_m is None or amsl_sigma_m is None:
        return "no height above sea level"
    limit_m = settings.max_coast_sigma_m if estimate.kind is FixKind.COAST else settings.max_sigma_m
    speed_sigma_mps = estimate.velocity_covariance.sigma_major
    climb_mps = vehicle.climb_mps(at_ns)
    numbers = (estimate.lat_deg, estimate.lon_deg, amsl_m, amsl_sigma_m, east_mps, north_mps, speed_sigma_mps)
    if not all(map(math.isfinite, (*numbers, estimate.sigma_m))):
        return "position is not finite"
    if estimate.sigma_m > limit_m:
        return f"position uncertain, over {limit_m:g} m"
    if abs(at_ns - estimate.at_ns) > _MAX_CARRY_NS:
        return "position holds for another time"
    climb_sigma_mps = _UNKNOWN_CLIMB_SIGMA_MPS if climb_mps is None else _CLIMB_SIGMA_MPS
    return Position(
        at_ns=estimate.at_ns,
        lat_deg=estimate.lat_deg,
        lon_deg=estimate.lon_deg,
        amsl_m=amsl_m,
        velocity_north_mps=north_mps,
        velocity_east_mps=east_mps,
        velocity_down_mps=-(climb_mps or 0.0),
        covariance_m2=_at_least(estimate.covariance_m2, settings.min_sigma_m),
        vertical_sigma_m=amsl_sigma_m,
        speed_sigma_mps=max(speed_sigma_mps, climb_sigma_mps, settings.min_speed_sigma_mps),
        confirmed=estimate.kind is FixKind.FIX,
    ).carried(at_ns)


def words(reason: Reason, room: int = 41) -> str:
    """The reason's sentence, or its name where the sentence is too long for a STATUSTEXT."""
    return reason.value if len(reason.value) <= room else reason.name.replace("_", " ").lower()


def _at_least(covariance: Covariance, sigma_m: float) -> Covariance:
    """A covariance of a smaller error, made that of `sigma_m`."""
    if covariance.sigma_major >= sigma_m:
        return covariance
    return Covariance(sigma_m**2, 0.0, sigma_m**2)
