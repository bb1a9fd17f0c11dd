"""What every kind of imagery offers to the resampler, and what a person may say about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tilefix.errors import MapError
from tilefix.types import Float64Array, UInt8Array


@dataclass(frozen=True, slots=True)
class BBox:
    """A box in WGS84 degrees: west, south, east, north."""

    west_deg: float
    south_deg: float
    east_deg: float
    north_deg: float


def parse_bbox(text: str) -> BBox:
    """A `BBox` of the text W,S,E,N; raises `MapError`."""
    mend = "give --bbox W,S,E,N in degrees, for example 72.98,33.63,73.01,33.66"
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise MapError(f"{text!r} is not four numbers", where="--bbox", mend=mend) from error
    if not (-180.0 <= west < east <= 180.0 and -85.0 <= south < north <= 85.0):
        raise MapError(f"{text!r} is not a box in degrees, west < east and south < north", where="--bbox", mend=mend)
    return BBox(west, south, east, north)


class ImagerySource(Protocol):
    """Georeferenced pixels. Pixel positions are (column, row); integers are pixel centres, as in OpenCV."""

    where: object
    width_px: int
    height_px: int
    source: str
    date: str
    licence: str

    def to_pixel(self, lon_deg: Float64Array, lat_deg: Float64Array) -> tuple[Float64Array, Float64Array]:
        """(columns, rows) of WGS84 positions; not finite where the projection ends."""
        ...

    def to_geodetic(self, columns: Float64Array, rows: Float64Array) -> tuple[Float64Array, Float64Array]:
        """(lon_deg, lat_deg) of pixel positions; not finite where the projection ends."""
        ...

    def read(self, left: int, top: int, right: int, bottom: int) -> tuple[UInt8Array, UInt8Array]:
        """RGB uint8 (h, w, 3) and coverage uint8 (h, w), 0 or 255, of a window; raises `MapError`."""
        ...

    def close(self) -> None:
        """Releases files; may be called twice."""
        ...
