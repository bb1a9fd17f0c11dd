"""The real receiver's own position, repeated while there is none of our own: never the autopilot's estimate. Pure.

ArduPilot arms only when every source that it knows has a position near the others.
"""

from __future__ import annotations

from tilefix.links.messages import GnssReceiver
from tilefix.links.vehicle import Vehicle
from tilefix.publishing.position import Position, apart_m
from tilefix.types import Covariance, Fix, FixKind, NoFix

# A receiver that states no sigma: what a good one has.
_UNKNOWN_SIGMA_M = 3.0
_SPEED_SIGMA_MPS = 0.5
_MAX_AGE_NS = 500_000_000
# A receiver that moves faster than this, or lies further from a map fix than its error explains, may be spoofed: it is
# not repeated for a while.
_JUMP_M = 50.0
_JUMP_MPS = 60.0
_CONTRADICTION_SIGMAS = 5.0
_DISTRUST_NS = 30_000_000_000


def mirrored(at_ns: int, vehicle: Vehicle) -> Position | None:
    """The real receiver's own position carried to `at_ns` by its own velocity; `None` when it is incomplete."""
    receiver = vehicle.last_gnss
    if receiver is None or abs(at_ns - receiver.at_ns) > _MAX_AGE_NS:
        return None
    position = _position(receiver, vehicle.climb_mps(at_ns) or 0.0)
    return None if position is None else position.carried(at_ns)


def _position(receiver: GnssReceiver, climb_mps: float) -> Position | None:
    lat_deg, lon_deg, amsl_m = receiver.lat_deg, receiver.lon_deg, receiver.amsl_m
    north_mps, east_mps = receiver.velocity_north_mps, receiver.velocity_east_mps
    if lat_deg is None or lon_deg is None or amsl_m is None or north_mps is None or east_mps is None:
        return None
    variance = (receiver.horizontal_sigma_m or _UNKNOWN_SIGMA_M) ** 2
    return Position(
        at_ns=receiver.at_ns,
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        amsl_m=amsl_m,
        velocity_north_mps=north_mps,
        velocity_east_mps=east_mps,
        velocity_down_mps=-climb_mps,
        covariance_m2=Covariance(variance, 0.0, variance),
        vertical_sigma_m=receiver.vertical_sigma_m or 2.0 * _UNKNOWN_SIGMA_M,
        speed_sigma_mps=_SPEED_SIGMA_MPS,
        confirmed=True,
        mirrored=True,
    )


class Distrust:
    """Whether the receiver may be repeated: not for a while after it jumped or contradicted a fix on the map."""

    def __init__(self) -> None:
        self._before: tuple[int, float, float] | None = None
        self._until_ns: int | None = None

    def holds(self, estimate: Fix | NoFix, vehicle: Vehicle) -> bool:
        """True while the receiver is not to be believed."""
        receiver, before = vehicle.last_gnss, self._before
        if receiver is None or receiver.lat_deg is None or receiver.lon_deg is None:
            self._before = None
            return False
        at = (receiver.lat_deg, receiver.lon_deg)
        self._before = (receiver.at_ns, *at)
        wrong = before is not None and (
            apart_m(*at, *before[1:]) > _JUMP_M + _JUMP_MPS * (receiver.at_ns - before[0]) / 1e9
        )
        if isinstance(estimate, Fix) and estimate.kind is FixKind.FIX:
            seconds = abs(estimate.at_ns - receiver.at_ns) / 1e9
            allowed_m = _JUMP_M + _CONTRADICTION_SIGMAS * estimate.sigma_m + _JUMP_MPS * seconds
            wrong = wrong or apart_m(*at, estimate.lat_deg, estimate.lon_deg) > allowed_m
        if wrong:
            self._until_ns = estimate.at_ns + _DISTRUST_NS
        return self._until_ns is not None and estimate.at_ns < self._until_ns
