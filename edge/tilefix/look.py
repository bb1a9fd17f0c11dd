"""One frame made ready for matching: geometry, pyramid level and template, or the reason why it cannot be used."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tilefix.camera import CameraModel, Mount
from tilefix.gates import MIN_SIDE_PX, picture_refusal, state_refusal
from tilefix.ground import Place, ground_below
from tilefix.mappackage import MapPackage
from tilefix.rectify import Patch, PreparedFrame, Rectifier, View
from tilefix.register import MAX_TEMPLATE_PX, MapCorrelator, Template
from tilefix.settings import LocalizerSettings
from tilefix.terrain import Terrain
from tilefix.types import Frame, Reason, VehicleState

TEMPLATE_PX = 176  # side of the square with the footprint's area at the registration level
MIN_TEMPLATE_PX = 48  # fewer pixels of ground than this say too little
MAX_FACTOR = 16


@dataclass(frozen=True, slots=True)
class Look:
    """One usable frame, rectified at the registration level.

    `prepared`: in grey, which is all that registration asks for. `template`: the ground in view, `size_px` a side,
    centred `offset_m`, east and north, from the point below the camera.
    `attitude_sigma_m`: how far the attitude's noise throws it on the ground; `bias_sigma_m`: constant errors of mount
    and map. `turn_deg`, `scale`: the heading and height errors already taken out. `height_sigma`: standard deviation of
    the height, relative; 0 where nobody stated one. `state`, `terrain`: what the view was made from.
    """

    frame: Frame
    rectifier: Rectifier
    prepared: PreparedFrame
    view: View
    offset_m: tuple[float, float]
    correlator: MapCorrelator
    size_px: int
    template: Template
    attitude_sigma_m: float
    bias_sigma_m: float
    turn_deg: float
    scale: float
    state: VehicleState
    terrain: Terrain | None = None
    height_sigma: float = 0.0

    def at(self, east_m: float, north_m: float) -> Look:
        """The same frame, had the vehicle been over that place: the terrain there, and the height above it."""
        ground = ground_below(self.state, self.terrain, Place(east_m, north_m, 0.0))
        if ground is None or ground.relief is None:
            return self
        view = self.view.over(ground.agl_m * self.scale, ground.relief)
        gsd_m = self.correlator.level.gsd_m
        patch = self.prepared.patch(view, gsd_m=gsd_m, size_px=self.size_px, centre_m=view.centre_m)
        return replace(
            self, view=view, offset_m=view.centre_m, template=Template(patch), height_sigma=ground.height_sigma
        )

    @property
    def at_ns(self) -> int:
        """When it was exposed."""
        return self.frame.captured_ns

    def coloured(self, gsd_m: float, size_px: int) -> Patch:
        """The ground in view in colour, for the network."""
        prepared = self.rectifier.prepare(self.frame.image, self.view.agl_m, self.correlator.level.gsd_m)
        return prepared.patch(self.view, gsd_m=gsd_m, size_px=size_px, centre_m=self.offset_m)

    def turned(self, turn_deg: float, scale: float) -> Template:
        """The template had the heading been `turn_deg` larger and the height `scale` times as large."""
        gsd_m = self.correlator.level.gsd_m
        return Template(
            self.prepared.patch(
                self.view, gsd_m=gsd_m, size_px=self.size_px, centre_m=self.offset_m, turn_deg=turn_deg, scale=scale
            )
        )


class Looker:
    """Makes frames of one camera ready for one map. Keeps undistortion tables and the level's spectra, no decision."""

    def __init__(self, package: MapPackage, camera: CameraModel, mount: Mount, settings: LocalizerSettings) -> None:
        self._package = package
        self._camera, self._mount = camera, mount
        self._settings = settings
        self._rectifier = Rectifier(camera, mount)
        self._correlator: MapCorrelator | None = None

    def look(
        self, frame: Frame, state: VehicleState, turn_deg: float, scale: float, place: Place | None = None
    ) -> Look | Reason:
        """The frame made ready for matching, or why it cannot be. `turn_deg`, `scale`: errors known of heading and
        height; `place`: where the vehicle is believed to be, for a map with terrain."""
        height, width = frame.image.shape[:2]
        if min(height, width) < MIN_SIDE_PX:
            return Reason.BLURRED
        if (width, height) != (self._rectifier.camera.width, self._rectifier.camera.height):
            self._rectifier = Rectifier(self._camera.scaled_to(width, height), self._mount)
        terrain = self._package.terrain
        ground = ground_below(state, terrain, place)
        agl_m = None if ground is None else ground.agl_m
        if refusal := state_refusal(replace(state, agl_m=agl_m)):
            return refusal
        roll_deg, pitch_deg, yaw_deg = state.roll_deg, state.pitch_deg, state.yaw_deg
        assert roll_deg is not None and pitch_deg is not None and yaw_deg is not None and agl_m is not None  # noqa: PT018
        assert ground is not None
        if self._rectifier.tilt_deg(roll_deg, pitch_deg) > self._settings.max_tilt_deg:
            return Reason.TILTED
        view = self._rectifier.view(roll_deg, pitch_deg, yaw_deg + turn_deg, agl_m * scale)
        if view is None:
            return Reason.HORIZON
        view = view.over(view.agl_m, ground.relief)
        level = self._level(view)
        if level is None:
            return Reason.OUT_OF_SCALE
        correlator, size_px = level
        gsd_m = correlator.level.gsd_m
        prepared = self._rectifier.prepare(frame.image, view.agl_m, gsd_m, grey=True)
        if refusal := picture_refusal(prepared.image):
            return refusal
        centre_m = view.centre_m
        patch = prepared.patch(view, gsd_m=gsd_m, size_px=size_px, centre_m=centre_m)
        s = self._settings
        return Look(
            frame,
            self._rectifier,
            prepared,
            view,
            centre_m,
            correlator,
            size_px,
            Template(patch),
            view.agl_m * math.tan(math.radians(s.attitude_sigma_deg)),
            math.hypot(view.agl_m * math.tan(math.radians(s.mount_sigma_deg)), s.map_sigma_m),
            turn_deg,
            scale,
            state,
            terrain,
            ground.height_sigma,
        )

    def _level(self, view: View) -> tuple[MapCorrelator, int] | None:
        """The pyramid level at which the footprint has about `TEMPLATE_PX` a side, and the patch's odd side."""
        gsd_m = self._package.grid.gsd_m
        side_px = math.sqrt(view.area_m2) / gsd_m
        if side_px < MIN_TEMPLATE_PX:
            return None
        factor = 1
        while side_px / factor > TEMPLATE_PX and factor < MAX_FACTOR:
            factor *= 2
        # Steps of 16 pixels: a patch that keeps its size lets spectra be reused from frame to frame.
        size_px = min(16 * math.ceil(view.extent_m / (gsd_m * factor) / 16) + 1, MAX_TEMPLATE_PX)
        if side_px / factor > MAX_TEMPLATE_PX:
            return None
        if self._correlator is None or self._correlator.factor != factor:
            # One at a time, so that what is kept of the map is bounded whatever heights are flown.
            package = self._package
            self._correlator = MapCorrelator(package.imagery, package.coverage, package.grid, factor)
        return self._correlator, size_px
