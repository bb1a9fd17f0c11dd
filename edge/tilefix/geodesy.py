"""Where things are: WGS84 degrees, local metres, map pixels, Web-Mercator tiles.

A `LocalFrame` is a transverse Mercator projection centred on the map with scale 1 at its centre, so that metres
are metres (under 1 mm/m within 50 km) and north is true north at the centre (meridian convergence reaches 0.05
degrees 7 km east of it at 45 degrees of latitude).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pyproj

_WEB_MERCATOR_MAX_LAT_DEG = 85.0511287798066
_M_PER_DEG = math.pi * 6_371_000.0 / 180.0
_LEAST_COSINE = 1e-3  # a place at a pole is still one


@dataclass(frozen=True)
class LocalFrame:
    """East and north metres around a centre. Source: PROJ `tmerc` on the WGS84 ellipsoid."""

    lat_deg: float
    lon_deg: float
    _to_local: pyproj.Transformer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (-85.0 <= self.lat_deg <= 85.0 and -180.0 <= self.lon_deg <= 180.0):
            raise ValueError(f"no local frame at latitude {self.lat_deg}, longitude {self.lon_deg}")
        object.__setattr__(self, "_to_local", pyproj.Transformer.from_crs("EPSG:4326", self.proj4, always_xy=True))

    @property
    def proj4(self) -> str:
        """The projection as a PROJ string."""
        return f"+proj=tmerc +lat_0={self.lat_deg!r} +lon_0={self.lon_deg!r} +k=1 +ellps=WGS84 +units=m +no_defs"

    def to_local(self, lat_deg: float, lon_deg: float) -> tuple[float, float]:
        """(east_m, north_m) of a WGS84 position."""
        east_m, north_m = self._to_local.transform(lon_deg, lat_deg)
        return float(east_m), float(north_m)

    def to_geodetic(self, east_m: float, north_m: float) -> tuple[float, float]:
        """(lat_deg, lon_deg) of a local position."""
        lon_deg, lat_deg = self._to_local.transform(east_m, north_m, direction="INVERSE")
        return float(lat_deg), float(lon_deg)


@dataclass(frozen=True, slots=True)
class Grid:
    """A north-up pixel grid in local metres. `west_m`, `north_m`: outer corner of pixel (0, 0).

    Pixel coordinates are OpenCV's: integers are pixel centres, columns grow east, rows grow south.
    """

    west_m: float
    north_m: float
    gsd_m: float
    width_px: int
    height_px: int

    def to_pixel(self, east_m: float, north_m: float) -> tuple[float, float]:
        """(column, row) of a local position."""
        return (east_m - self.west_m) / self.gsd_m - 0.5, (self.north_m - north_m) / self.gsd_m - 0.5

    def to_local(self, column: float, row: float) -> tuple[float, float]:
        """(east_m, north_m) of a pixel position."""
        return self.west_m + (column + 0.5) * self.gsd_m, self.north_m - (row + 0.5) * self.gsd_m

    @property
    def east_m(self) -> float:
        """The eastern edge."""
        return self.west_m + self.width_px * self.gsd_m

    @property
    def south_m(self) -> float:
        """The southern edge."""
        return self.north_m - self.height_px * self.gsd_m

    def contains(self, east_m: float, north_m: float, margin_m: float = 0.0) -> bool:
        """True inside the grid, `margin_m` away from its edge (negative: beyond it)."""
        return (
            self.west_m + margin_m <= east_m <= self.east_m - margin_m
            and self.south_m + margin_m <= north_m <= self.north_m - margin_m
        )


def offset_m(lat_deg: float, lon_deg: float, from_lat_deg: float, from_lon_deg: float) -> tuple[float, float]:
    """(east, north) from one place to another near it, on a sphere of 6371 km (within 0.6 %), also over 180 degrees."""
    turn_deg = _wrapped_deg(lon_deg - from_lon_deg)
    return turn_deg * _east_m_per_deg(from_lat_deg), (lat_deg - from_lat_deg) * _M_PER_DEG


def apart_m(lat_deg: float, lon_deg: float, other_lat_deg: float, other_lon_deg: float) -> float:
    """The distance of two places near each other."""
    return math.hypot(*offset_m(lat_deg, lon_deg, other_lat_deg, other_lon_deg))


def moved(lat_deg: float, lon_deg: float, east_m: float, north_m: float) -> tuple[float, float]:
    """(lat_deg, lon_deg) so far from a place near it: what `offset_m` gives back."""
    return lat_deg + north_m / _M_PER_DEG, _wrapped_deg(lon_deg + east_m / _east_m_per_deg(lat_deg))


def between(lat_deg: float, lon_deg: float, to_lat_deg: float, to_lon_deg: float, share: float) -> tuple[float, float]:
    """(lat_deg, lon_deg) at a share of the way from one place to another near it."""
    turn_deg = _wrapped_deg(to_lon_deg - lon_deg)
    return lat_deg + share * (to_lat_deg - lat_deg), _wrapped_deg(lon_deg + share * turn_deg)


def _east_m_per_deg(lat_deg: float) -> float:
    return max(math.cos(math.radians(lat_deg)), _LEAST_COSINE) * _M_PER_DEG


def _wrapped_deg(lon_deg: float) -> float:
    """From -180 up to 180; what lies there already is kept to the digit."""
    return lon_deg if -180.0 <= lon_deg < 180.0 else (lon_deg + 180.0) % 360.0 - 180.0


def tile_of(lat_deg: float, lon_deg: float, zoom: int) -> tuple[float, float]:
    """Fractional XYZ tile (x, y) of a WGS84 position; y grows south. Source: OGC TMS WebMercatorQuad."""
    lat = math.radians(max(-_WEB_MERCATOR_MAX_LAT_DEG, min(_WEB_MERCATOR_MAX_LAT_DEG, lat_deg)))
    n = 2.0**zoom
    return (lon_deg + 180.0) / 360.0 * n, (1.0 - math.asinh(math.tan(lat)) / math.pi) / 2.0 * n


def tile_corner(x: float, y: float, zoom: int) -> tuple[float, float]:
    """(lat_deg, lon_deg) of the north-west corner of XYZ tile (x, y)."""
    n = 2.0**zoom
    return math.degrees(math.atan(math.sinh(math.pi * (1.0 - 2.0 * y / n)))), x / n * 360.0 - 180.0
