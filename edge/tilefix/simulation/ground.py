"""What covers the ground, and the table of regions: every parcel, roof, road and crown species is one region."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np

from tilefix.types import Float64Array


class Cover(enum.IntEnum):
    """Land cover of a region."""

    FIELD = 0
    MEADOW = 1
    LAWN = 2
    WOOD_FLOOR = 3
    ASPHALT = 4
    PAVING = 5
    GRAVEL = 6
    DIRT = 7
    WATER = 8
    BANK = 9
    ROOF_TILE = 10
    ROOF_FLAT = 11
    ROOF_METAL = 12
    FACADE = 13
    SOLAR = 14
    BROADLEAF = 15
    CONIFER = 16
    SHRUB = 17
    CAR = 18
    MARKING = 19
    PITCH = 20
    POOL = 21
    BALLAST = 22
    GARDEN_BED = 23
    GLASS = 24


@dataclass
class Regions:
    """A growing table of regions; the region's number is its row. Regions of one `group` look alike."""

    cover: list[int] = field(default_factory=list)
    angle_rad: list[float] = field(default_factory=list)
    group: list[int] = field(default_factory=list)

    def add(self, cover: Cover, angle_rad: float = 0.0, group: int | None = None) -> int:
        """The number of a new region."""
        number = len(self.cover)
        self.cover.append(int(cover))
        self.angle_rad.append(angle_rad)
        self.group.append(number if group is None else group)
        return number


@dataclass(frozen=True)
class Building:
    """A rectangular building in map metres (x east from the west edge, y south from the north edge)."""

    x_m: float
    y_m: float
    length_m: float
    width_m: float
    angle_rad: float
    eave_m: float
    ridge_m: float  # height of the ridge above the eaves; 0 = flat roof
    hipped: bool
    region: int
    facade: int
    solar: int  # region of solar panels on the roof, -1 = none
    place: int  # buildings of one place stand and fall together


@dataclass(frozen=True)
class Layout:
    """Everything drawn of a world, before season, sun and sensor.

    `strokes`: what is painted, in order: (kind, points (n, 2) map metres, region, width_m), where kind is "fill"
    or "line". `trees`: float32 (n, 5): x_m, y_m, radius_m, height_m, region. `slots`: float32 (n, 3) places where cars
    park: x_m, y_m, angle_rad. `lanes`: road centre lines that cars drive along, with the road's width. `cars`: regions
    of car paint; `glass`: the region of windows.
    """

    regions: Regions
    strokes: list[tuple[str, Float64Array, int, float]]
    buildings: list[Building]
    trees: Float64Array
    slots: Float64Array
    lanes: list[tuple[Float64Array, float]]
    cars: tuple[int, ...]
    glass: int


def rectangle(x_m: float, y_m: float, length_m: float, width_m: float, angle_rad: float) -> Float64Array:
    """The four corners, (4, 2), of a rectangle whose length lies along `angle_rad` (from x towards y)."""
    along = np.array([np.cos(angle_rad), np.sin(angle_rad)]) * (length_m / 2.0)
    across = np.array([-np.sin(angle_rad), np.cos(angle_rad)]) * (width_m / 2.0)
    centre = np.array([x_m, y_m])
    return np.array(
        [centre + along + across, centre + along - across, centre - along - across, centre - along + across]
    )
