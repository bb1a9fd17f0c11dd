"""One frame made ready for matching: geometry, pyramid level and template, or the reason why it cannot be used."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tilefix.camera import CameraModel, Mount
from tilefix.localization.gates import MAX_VEILED_SHARE, MIN_SIDE_PX, picture_refusal, state_refusal, veiled
from tilefix.localization.ground import Place, ground_below
from tilefix.localization.motion import Placed
from tilefix.localization.rectify import Patch, PreparedFrame, Rectifier, View
from tilefix.localization.register import MAX_TEMPLATE_PX, MapCorrelator, Template
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.spectracache import SpectraCache
from tilefix.maps.package import MapPackage
from tilefix.maps.terrain import Terrain
from tilefix.types import Frame, Reason, VehicleState

TEMPLATE_PX = 176  # side of the square with the footprint's area at the registration level
MIN_TEMPLATE_PX = 48  # fewer pixels of ground than this say too little
MAX_FACTOR = 16
FINE_GSD_M = 0.6  # finer than this, the pixels hold little that lasts


@dataclass(frozen=True, slots=True)
class Look:
    """One usable frame, rectified at the registration level.

    `prepared`: in grey, which is all that registration asks for. `template`: the ground in view, `size_px` a side,
    centred `offset_m`, east and north, from the point below the camera.
    `attitude_sigma_m`: how far the attitude's error throws it on the ground. `turn_deg`, `scale`: the heading and
    height errors already taken out; `turned_deg`, `scaled`: those that only the template has taken out beside them.
    `height_sigma`: standard deviation of the height, relative; 0 where nobody stated one. `state`, `terrain`: what the
    view was made from. `half`, `fine`: the map at half the sampling, and at the finest that the frame and the map both
    hold (`None` where this level is that).
    """

    frame: Frame
    rectifier: Rectifier
    prepared: PreparedFrame
    view: View
    offset_m: tuple[float, float]
    correlator: MapCorrelator
    half: MapCorrelator
    fine: MapCorrelator | None
    size_px: int
    template: Template
    attitude_sigma_m: float
    turn_deg: float
    scale: float
    state: VehicleState
    terrain: Terrain | None = None
    height_sigma: float = 0.0
    turned_deg: float = 0.0
    scaled: float = 1.0

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

    @property
    def finest(self) -> MapCorrelator:
        """The map at the finest level that the frame and the map both hold."""
        return self.correlator if self.fine is None else self.fine

    def cut_finest(self, size_px: int, turn_deg: float = 0.0, scale: float = 1.0) -> Patch:
        """The ground in view at that level's sampling, under an error of heading and height."""
        gsd_m = self.finest.level.gsd_m
        prepared = self.prepared if self.fine is None else self.rectifier.finer(self.prepared, self.view.agl_m, gsd_m)
        return prepared.patch(
            self.view, gsd_m=gsd_m, size_px=size_px, centre_m=self.offset_m, turn_deg=turn_deg, scale=scale
        )

    def coloured(self, gsd_m: float, size_px: int) -> Patch:
        """The ground in view in colour, for the network."""
        prepared = self.rectifier.prepare(self.frame.image, self.view.agl_m, self.correlator.level.gsd_m)
        return prepared.patch(self.view, gsd_m=gsd_m, size_px=size_px, centre_m=self.offset_m)

    def turned(self, turn_deg: float, scale: float) -> Template:
        """The template had the heading been `turn_deg` larger and the height `scale` times as large."""
        return Template(self.cut(self.correlator.level.gsd_m, self.size_px, turn_deg, scale))

    def cut(self, gsd_m: float, size_px: int, turn_deg: float, scale: float) -> Patch:
        """The ground in view at any sampling, under an error of heading and height."""
        return self.prepared.patch(
            self.view, gsd_m=gsd_m, size_px=size_px, centre_m=self.offset_m, turn_deg=turn_deg, scale=scale
        )

    def under(self, turn_deg: float, scale: float) -> Look:
        """The same with a template `turned` so."""
        return replace(self, template=self.turned(turn_deg, scale), turned_deg=turn_deg, scaled=scale)

    def placed(self, gsd_m: float) -> Placed:
        """The template for measuring motion, at that sampling."""
        own_m = self.correlator.level.gsd_m
        if math.isclose(own_m, gsd_m):
            return Placed(self.template, *self.offset_m, own_m)
        size_px = round(self.size_px * own_m / gsd_m) // 2 * 2 + 1
        return Placed(Template(self.cut(gsd_m, size_px, self.turned_deg, self.scaled)), *self.offset_m, gsd_m)

    def coarser(self, min_side_px: int) -> tuple[MapCorrelator, int]:
        """The next coarser level and the patch's side there; this level where it would have too few pixels."""
        size_px = self.size_px // 4 * 2 + 1
        if size_px < min_side_px:
            return self.correlator, self.size_px
        return self.half, size_px


class Looker:
    """Makes frames of one camera ready for one map. Keeps undistortion tables and the level's spectra, no decision."""

    def __init__(self, package: MapPackage, camera: CameraModel, mount: Mount, settings: LocalizerSettings) -> None:
        self._package = package
        self._camera, self._mount = camera, mount
        self._settings = settings
        self._rectifier = Rectifier(camera, mount)
        self._correlators: dict[int, MapCorrelator] = {}
        self._spectra = SpectraCache()

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
        veil = veiled(prepared.image)
        if veil is not None:
            if float(veil.mean()) > MAX_VEILED_SHARE:
                return Reason.VEILED
            prepared = prepared.without(veil)
        half, fine = self._correlator(2 * correlator.factor), self._fine(view, correlator.factor)
        # No others are kept, so that memory is bounded whatever heights are flown.
        self._correlators = {one.factor: one for one in (fine, correlator, half) if one is not None}
        centre_m = view.centre_m
        patch = prepared.patch(view, gsd_m=gsd_m, size_px=size_px, centre_m=centre_m)
        s = self._settings
        attitude_m = view.agl_m * math.tan(math.radians(s.attitude_sigma_deg))
        return Look(
            frame,
            self._rectifier,
            prepared,
            view,
            centre_m,
            correlator,
            half,
            fine,
            size_px,
            Template(patch),
            attitude_m,
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
        return self._correlator(factor), size_px

    def _fine(self, view: View, coarse: int) -> MapCorrelator | None:
        """The finest level that the frame's own pixels fill."""
        enough_m = max(FINE_GSD_M, view.agl_m / max(self._rectifier.camera.fx, self._rectifier.camera.fy))
        factor = coarse
        while factor > 1 and self._package.grid.gsd_m * factor / 2 >= 0.75 * enough_m:
            factor //= 2
        return None if factor == coarse else self._correlator(factor)

    def _correlator(self, factor: int) -> MapCorrelator:
        """The map at that level."""
        if factor not in self._correlators:
            package = self._package
            self._correlators[factor] = MapCorrelator(
                package.imagery, package.coverage, package.grid, factor, self._spectra
            )
        return self._correlators[factor]
