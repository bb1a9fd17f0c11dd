"""The real receiver's own position, repeated before denial: never the autopilot's estimate. Pure.

ArduPilot arms only when every source that it knows has a position near the others. Whether the receiver is to be
believed is `tilefix.handover`'s to say.
"""

from __future__ import annotations

from tilefix.links.messages import GnssReceiver
from tilefix.links.vehicle import Vehicle
from tilefix.publishing.position import Position
from tilefix.types import Covariance

# A receiver that states no sigma: what a good one has.
_UNKNOWN_SIGMA_M = 3.0
_SPEED_SIGMA_MPS = 0.5
_MAX_AGE_NS = 500_000_000


def mirrored(at_ns: int, vehicle: Vehicle, delay_ns: int = 0) -> Position | None:
    """The real receiver's own position carried to `at_ns` by its own velocity; `None` when it is incomplete.
    `delay_ns`: how old it was when it was heard."""
    receiver = vehicle.gnss_now
    if receiver is None or abs(at_ns - receiver.at_ns) > _MAX_AGE_NS:
        return None
    position = _position(receiver, receiver.at_ns - delay_ns, vehicle.climb_mps(at_ns) or 0.0)
    return None if position is None else position.carried(at_ns)


def _position(receiver: GnssReceiver, at_ns: int, climb_mps: float) -> Position | None:
    lat_deg, lon_deg, amsl_m = receiver.lat_deg, receiver.lon_deg, receiver.amsl_m
    north_mps, east_mps = receiver.velocity_north_mps, receiver.velocity_east_mps
    if lat_deg is None or lon_deg is None or amsl_m is None or north_mps is None or east_mps is None:
        return None
    variance = (receiver.horizontal_sigma_m or _UNKNOWN_SIGMA_M) ** 2
    return Position(
        at_ns=at_ns,
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
