"""A fix beside what the GNSS receiver said of the same instant. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from tilefix.geodesy import between, moved, offset_m
from tilefix.links.messages import GnssReceiver
from tilefix.types import Covariance, Fix

_KEEP_NS = 5_000_000_000
# Beyond its last word a receiver's position is carried along its velocity this long.
_AHEAD_NS = 400_000_000
_GAP_NS = 1_000_000_000
UNKNOWN_SIGMA_M = 3.0
# A receiver states its noise; multipath and the datum, which last for minutes, come on top.
SLOW_SIGMA_M = 1.5
# How far the age of a position when it is heard wanders.
_TIMING_SIGMA_S = 0.08


@dataclass(frozen=True, slots=True)
class Comparison:
    """Vision minus receiver at `at_ns`, metres east and north. `vision`: covariance that the fix stated; `receiver`:
    covariance of the receiver with its slow error and the doubt of its age. `*_mps`: difference of velocities, `None`
    where one of them is not known; `speed_sigma_mps`: one sigma of vision's."""

    at_ns: int
    east_m: float
    north_m: float
    vision: Covariance
    receiver: Covariance
    east_mps: float | None = None
    north_mps: float | None = None
    speed_sigma_mps: float | None = None

    @property
    def distance_m(self) -> float:
        """How far apart they lie."""
        return math.hypot(self.east_m, self.north_m)

    def total(self, stretch: float = 1.0) -> Covariance:
        """Covariance of the difference, vision's multiplied by `stretch`."""
        a, b = self.vision, self.receiver
        return Covariance(stretch * a.ee + b.ee, stretch * a.en + b.en, stretch * a.nn + b.nn)

    def distance2(self, stretch: float = 1.0) -> float:
        """Squared Mahalanobis distance of the difference."""
        return self.total(stretch).mahalanobis2(self.east_m, self.north_m)


class Comparer:
    """Keeps the last seconds of the receiver, to lay fixes beside them."""

    def __init__(self, delay_ms: float = 0.0) -> None:
        """`delay_ms`: how old a position is when it is heard."""
        self._delay_ns = round(delay_ms * 1e6)
        self._receivers: deque[GnssReceiver] = deque()

    def take(self, receiver: GnssReceiver) -> None:
        """Takes in what the receiver said; without a fix it cuts what was said before off."""
        if not receiver.good:
            self._receivers.clear()
            return
        self._receivers.append(receiver)
        while receiver.at_ns - self._receivers[0].at_ns > _KEEP_NS:
            self._receivers.popleft()

    def compare(self, fix: Fix) -> Comparison | None:
        """The fix beside the receiver; `None` where that said nothing of the instant, or either is not finite."""
        place = self._at(fix.at_ns + self._delay_ns)
        if place is None:
            return None
        receiver, lat_deg, lon_deg = place
        east_m, north_m = offset_m(fix.lat_deg, fix.lon_deg, lat_deg, lon_deg)
        c = fix.covariance_m2
        velocity = (receiver.velocity_east_mps, receiver.velocity_north_mps)
        spread = _receiver_covariance(receiver, velocity)
        if not all(map(math.isfinite, (east_m, north_m, c.ee, c.en, c.nn, spread.ee, spread.nn))):
            return None
        if (c.ee + spread.ee) * (c.nn + spread.nn) - (c.en + spread.en) ** 2 <= 0.0:
            return None
        told = (fix.velocity_east_mps, velocity[0], fix.velocity_north_mps, velocity[1])
        numbers = [one for one in told if one is not None and math.isfinite(one)]
        if len(numbers) < 4 or fix.velocity_covariance is None:
            return Comparison(fix.at_ns, east_m, north_m, c, spread)
        east_mps, north_mps = numbers[0] - numbers[1], numbers[2] - numbers[3]
        sigma_mps = fix.velocity_covariance.sigma_major
        return Comparison(fix.at_ns, east_m, north_m, c, spread, east_mps, north_mps, sigma_mps)

    def _at(self, heard_ns: int) -> tuple[GnssReceiver, float, float] | None:
        """What the receiver was heard to say at an instant: itself, latitude and longitude."""
        earlier: GnssReceiver | None = None
        for later in self._receivers:
            if later.at_ns >= heard_ns:
                return None if earlier is None else _between(earlier, later, heard_ns)
            earlier = later
        if earlier is None or heard_ns - earlier.at_ns > _AHEAD_NS:
            return None
        east_mps, north_mps = earlier.velocity_east_mps, earlier.velocity_north_mps
        if east_mps is None or north_mps is None:
            return None
        return earlier, *carried(earlier, east_mps, north_mps, heard_ns)


def carried(receiver: GnssReceiver, east_mps: float, north_mps: float, at_ns: int) -> tuple[float, float]:
    """(lat_deg, lon_deg) of a good receiver carried along a velocity to an instant."""
    assert receiver.lat_deg is not None
    assert receiver.lon_deg is not None
    seconds = (at_ns - receiver.at_ns) / 1e9
    return moved(receiver.lat_deg, receiver.lon_deg, east_mps * seconds, north_mps * seconds)


def _receiver_covariance(receiver: GnssReceiver, velocity: tuple[float | None, float | None]) -> Covariance:
    """Stated noise on each axis, the slow error on each, and the doubt of the age along the velocity."""
    noise = (receiver.horizontal_sigma_m or UNKNOWN_SIGMA_M) ** 2 + SLOW_SIGMA_M**2
    east_m, north_m = ((one or 0.0) * _TIMING_SIGMA_S for one in velocity)
    return Covariance(noise + east_m**2, east_m * north_m, noise + north_m**2)


def _between(earlier: GnssReceiver, later: GnssReceiver, heard_ns: int) -> tuple[GnssReceiver, float, float] | None:
    if later.at_ns - earlier.at_ns > _GAP_NS:
        return None
    assert earlier.lat_deg is not None
    assert earlier.lon_deg is not None
    assert later.lat_deg is not None
    assert later.lon_deg is not None
    share = (heard_ns - earlier.at_ns) / (later.at_ns - earlier.at_ns)
    place = between(earlier.lat_deg, earlier.lon_deg, later.lat_deg, later.lon_deg, share)
    return (later if share > 0.5 else earlier), *place
