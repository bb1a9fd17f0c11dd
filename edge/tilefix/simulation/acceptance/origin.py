"""The origin of the autopilot's local frame: set once after each boot. Pure.

By SET_GPS_GLOBAL_ORIGIN (out of range, or null island: dropped without a word), or by the first receiver that passes
the checks. Source: ArduPilot GCS_MAVLINK::set_ekf_origin, NavEKF3_core::setOrigin.
"""

from __future__ import annotations

from tilefix.geodesy import LocalFrame


class EkfOrigin:
    """`place`: (lat_deg, lon_deg, amsl_m), `None` before it is set."""

    def __init__(self, place: tuple[float, float, float] | None = None) -> None:
        self.place: tuple[float, float, float] | None = None
        self._frame: LocalFrame | None = None
        if place is not None:
            self.set(*place)

    def set(self, lat_deg: float, lon_deg: float, amsl_m: float) -> bool:
        """True when it was taken."""
        in_range = abs(lat_deg) <= 90.0 and abs(lon_deg) <= 180.0 and (lat_deg, lon_deg) != (0.0, 0.0)
        if self.place is not None or not in_range:
            return False
        self.place = (lat_deg, lon_deg, amsl_m)
        self._frame = LocalFrame(lat_deg, lon_deg)
        return True

    def to_geodetic(self, north_m: float, east_m: float) -> tuple[float, float] | None:
        """(lat_deg, lon_deg) of metres from the origin; `None` before it is set."""
        return None if self._frame is None else self._frame.to_geodetic(east_m, north_m)
