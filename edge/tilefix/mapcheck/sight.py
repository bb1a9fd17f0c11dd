"""What a level camera sees of a map from a height: the footprint, its imagery, and how a frame of it would match."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.errors import MapError
from tilefix.localization.rectify import Rectifier, View
from tilefix.mapcheck.score import Chances, chances
from tilefix.mapcheck.traits import MapSelf, footprint_in_scale
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex

MIN_COVERED = 0.6  # of the footprint: what the localizer asks for
RASTER = 12  # samples each way of a footprint's quadrangle
HEIGHT_STEP = 1.06  # heights nearer to each other than this are measured as one
KEPT_HEIGHTS = 2


@dataclass(frozen=True, slots=True)
class Glance:
    """A frame taken at a place. `covered`: share of its footprint that has imagery; `in_scale`: the height suits map
    and localizer; `chances`: `None` where one of the two rules a match out."""

    covered: float
    in_scale: bool
    chances: Chances | None


class Sight:
    """Looks at a map as a level camera would."""

    def __init__(self, package: MapPackage, index: TileIndex, camera: CameraModel, mount: Mount) -> None:
        self.package, self._index = package, index
        self._rectifier = Rectifier(camera, mount)
        self._selves: OrderedDict[int, MapSelf] = OrderedDict()
        if self._rectifier.view(0.0, 0.0, 0.0, 100.0) is None:
            raise MapError("the camera looks at the horizon", where="mount", mend="check [mount] and the field of view")

    def view(self, agl_m: float, yaw_deg: float = 0.0) -> View:
        """The level camera's view of flat ground."""
        view = self._rectifier.view(0.0, 0.0, yaw_deg, agl_m)
        assert view is not None
        return view

    def footprint_m(self, agl_m: float) -> float:
        """Side of the square with the footprint's area."""
        return math.sqrt(self.view(agl_m).area_m2)

    def in_scale(self, agl_m: float) -> bool:
        """Whether the localizer takes frames from that height."""
        return agl_m > 0.0 and footprint_in_scale(self.footprint_m(agl_m), self.package.grid.gsd_m)

    def glance(self, east_m: float, north_m: float, agl_m: float, yaw_deg: float = 0.0) -> Glance:
        """What a frame from above that place is worth."""
        if not self.in_scale(agl_m):
            return Glance(self.covered(east_m, north_m, agl_m, yaw_deg) if agl_m > 0.0 else 1.0, False, None)
        covered = self.covered(east_m, north_m, agl_m, yaw_deg)
        east, north = self.view(agl_m, yaw_deg).centre_m
        traits = self._self_at(agl_m).traits(east_m + east, north_m + north)
        return Glance(covered, True, None if traits is None else chances(traits))

    def covered(self, east_m: float, north_m: float, agl_m: float, yaw_deg: float = 0.0) -> float:
        """Share of the footprint that lies on imagery."""
        a, b, c, d = self.view(agl_m, yaw_deg).corners_m
        u = (np.arange(RASTER) + 0.5) / RASTER
        across, down = (axis[..., None] for axis in np.meshgrid(u, u))
        points = (1 - down) * ((1 - across) * a + across * b) + down * ((1 - across) * d + across * c)
        grid = self.package.grid
        columns = np.floor((points[..., 0] + east_m - grid.west_m) / grid.gsd_m).astype(int).ravel()
        rows = np.floor((grid.north_m - points[..., 1] - north_m) / grid.gsd_m).astype(int).ravel()
        on = (columns >= 0) & (columns < grid.width_px) & (rows >= 0) & (rows < grid.height_px)
        return float((self.package.coverage[rows[on], columns[on]] > 0).sum()) / len(on)

    def _self_at(self, agl_m: float) -> MapSelf:
        step = round(math.log(agl_m) / math.log(HEIGHT_STEP))
        if step not in self._selves:
            self._selves[step] = MapSelf(self.package, self._index, self.footprint_m(HEIGHT_STEP**step))
            if len(self._selves) > KEPT_HEIGHTS:
                self._selves.popitem(last=False)
        self._selves.move_to_end(step)
        return self._selves[step]
