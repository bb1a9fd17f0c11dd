"""Metres from the autopilot's origin, by the autopilot's own arithmetic: what it turns back must be the same place.

A projection of our own would be truer to the ground and wrong for the autopilot: at 45 degrees of latitude ArduPilot's
metre of latitude is 0.17 % off, 1.7 m at a kilometre. Sources: ArduPilot `Location::get_distance_NE` (a flat earth,
east scaled at the mean latitude), PX4 `MapProjection` (azimuthal equidistant on a sphere). Pure.
"""

from __future__ import annotations

import math

from tilefix.links.messages import AutopilotKind, Origin

_ARDUPILOT_M_PER_DEG = 111_318.84502145034
_PX4_RADIUS_M = 6_371_000.0


def north_east_m(kind: AutopilotKind, origin: Origin, lat_deg: float, lon_deg: float) -> tuple[float, float]:
    """(north, east) of a place from the origin."""
    turn_deg = (lon_deg - origin.lon_deg + 180.0) % 360.0 - 180.0
    if kind is AutopilotKind.PX4:
        return _azimuthal_m(math.radians(origin.lat_deg), math.radians(lat_deg), math.radians(turn_deg))
    across = max(math.cos(math.radians(0.5 * (lat_deg + origin.lat_deg))), 0.01)
    return (lat_deg - origin.lat_deg) * _ARDUPILOT_M_PER_DEG, turn_deg * _ARDUPILOT_M_PER_DEG * across


def _azimuthal_m(from_lat: float, lat: float, turn: float) -> tuple[float, float]:
    cosine = math.sin(from_lat) * math.sin(lat) + math.cos(from_lat) * math.cos(lat) * math.cos(turn)
    angle = math.acos(min(max(cosine, -1.0), 1.0))
    stretch = angle / math.sin(angle) if angle > 1e-12 else 1.0
    north = math.cos(from_lat) * math.sin(lat) - math.sin(from_lat) * math.cos(lat) * math.cos(turn)
    return stretch * north * _PX4_RADIUS_M, stretch * math.cos(lat) * math.sin(turn) * _PX4_RADIUS_M
