"""GLOBAL_POSITION_SENSOR: PX4's input for positions from a map, from 1.18. Pure."""

from __future__ import annotations

from tilefix.links.reports import GlobalReport
from tilefix.publishing.parameters import SENSOR_ID
from tilefix.publishing.position import Position


def report(position: Position, *, delay_ns: int) -> GlobalReport:
    """The position of one of PX4's auxiliary sources."""
    return GlobalReport(
        at_ns=position.at_ns,
        stamp_ns=position.at_ns + delay_ns,
        sensor_id=SENSOR_ID,
        lat_deg=position.lat_deg,
        lon_deg=position.lon_deg,
        amsl_m=position.amsl_m,
        horizontal_sigma_m=position.sigma_m,
        vertical_sigma_m=position.vertical_sigma_m,
    )
