"""GPS_INPUT: the position as a second receiver's. Pure.

Complete or not at all: ArduPilot fuses a velocity that is missing as standing still and a height that is missing as
zero. While there is no position nothing is sent, rather than a fix_type of 1: for four seconds ArduPilot then keeps the
receiver and coasts, so that a single doubtful picture does not make it change receivers (each change takes the new
position without a gate); after four seconds it says "no fix" by itself, after seven it gives the position up.
"""

from __future__ import annotations

from tilefix.links.reports import PositionReport
from tilefix.links.vehicle import Vehicle
from tilefix.publishing.position import Position
from tilefix.publishing.settings import PublishSettings


def report(position: Position, vehicle: Vehicle, settings: PublishSettings) -> PositionReport:
    """The position as a receiver gives it."""
    week, week_ms = vehicle.gps_time(position.at_ns)
    return PositionReport(
        at_ns=position.at_ns,
        gps_id=settings.gps_id,
        lat_deg=position.lat_deg,
        lon_deg=position.lon_deg,
        amsl_m=position.amsl_m,
        velocity_north_mps=position.velocity_north_mps,
        velocity_east_mps=position.velocity_east_mps,
        velocity_down_mps=position.velocity_down_mps,
        horizontal_sigma_m=position.sigma_m,
        vertical_sigma_m=position.vertical_sigma_m,
        speed_sigma_mps=position.speed_sigma_mps,
        satellites=settings.satellites,
        gps_week=week,
        gps_week_ms=week_ms,
    )
