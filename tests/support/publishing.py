"""Vehicles and positions for what publishing decides."""

from __future__ import annotations

from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import (
    Airframe,
    Attitude,
    AutopilotKind,
    GnssReceiver,
    Identity,
    Origin,
    Parameter,
    Pressure,
)
from tilefix.links.vehicle import Vehicle
from tilefix.publishing.position import Position
from tilefix.types import Covariance, Fix, FixKind

S = 1_000_000_000
ORIGIN = Origin(0, 47.0, 8.0, 500.0)
# What a set-up for external navigation has.
EXTERNAL_NAV = {
    "VISO_TYPE": 1.0,
    "VISO_DELAY_MS": 50.0,
    **{f"EK3_SRC{number}_POSXY": 6.0 if number == 2 else 3.0 for number in (1, 2, 3)},
    **{f"EK3_SRC{number}_YAW": 1.0 for number in (1, 2, 3)},
}


def identity(
    kind: AutopilotKind = AutopilotKind.ARDUPILOT,
    airframe: Airframe = Airframe.COPTER,
    version: tuple[int, int, int] | None = (4, 6, 0),
    *,
    development: bool = False,
) -> Identity:
    return Identity(0, kind, airframe, version, development)


def autopilot(one: Identity | None = None, parameters: dict[str, float] | None = None) -> KnownAutopilot:
    known = KnownAutopilot()
    known.take(one or identity())
    for name, value in (parameters or {}).items():
        known.take(Parameter(0, name, value))
    return known


def denied_vehicle(
    one: Identity | None = None,
    parameters: dict[str, float] | None = None,
    *,
    origin: Origin | None = ORIGIN,
    fix_type: int = 1,
) -> Vehicle:
    """Two seconds with GNSS at 540 m and 47 N 8 E, then `fix_type`; heading east, level."""
    vehicle = Vehicle()
    vehicle.take(one or identity())
    for name, value in (parameters or {}).items():
        vehicle.take(Parameter(0, name, value))
    if origin is not None:
        vehicle.take(origin)
    for tick in range(21):
        at_ns = tick * S // 10
        vehicle.take(Pressure(at_ns, 954.61))
        vehicle.take(Attitude(at_ns, 0.0, 0.0, 90.0))
        vehicle.take(GnssReceiver(at_ns, 3, 47.0, 8.0, 540.0, 0.9, 1.5, 3.0, 4.0))
    vehicle.take(GnssReceiver(2 * S, fix_type, 47.0, 8.0, 540.0, 0.9, 1.5, 3.0, 4.0))
    return vehicle


def fly_on(vehicle: Vehicle, to_ns: int, *, fix_type: int = 1) -> None:
    """One more sample of everything."""
    vehicle.take(Pressure(to_ns, 954.61))
    vehicle.take(Attitude(to_ns, 0.0, 0.0, 90.0))
    vehicle.take(GnssReceiver(to_ns, fix_type, 47.0, 8.0, 540.0, 0.9, 1.5, 3.0, 4.0))


def fix(at_ns: int = 2 * S, lat_deg: float = 47.001, lon_deg: float = 8.002, sigma_m: float = 3.0) -> Fix:
    circle = Covariance(sigma_m**2, 0.0, sigma_m**2)
    speed = Covariance(0.25, 0.0, 0.25)
    return Fix(at_ns, FixKind.FIX, lat_deg, lon_deg, 0.0, 0.0, circle, 0.1, 4.0, -3.0, speed)


def position(
    at_ns: int = 2 * S,
    lat_deg: float = 47.001,
    lon_deg: float = 8.002,
    sigma_m: float = 3.0,
    *,
    north_mps: float = 0.0,
    mirrored: bool = False,
    confirmed: bool = True,
    speed_sigma_mps: float = 0.3,
) -> Position:
    circle = Covariance(sigma_m**2, 0.0, sigma_m**2)
    return Position(
        at_ns, lat_deg, lon_deg, 540.0, north_mps, 0.0, 0.0, circle, 2.0, speed_sigma_mps, confirmed, mirrored
    )
