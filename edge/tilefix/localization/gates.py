"""Is this frame worth matching? Refusals by the picture itself and by what is known of the vehicle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.localization.edges import mean_edge
from tilefix.types import BoolArray, Float32Array, IntArray, Reason, UInt8Array, VehicleState

DARK_LEVEL = 18  # grey level that the brightest twentieth of a usable picture exceeds
BRIGHT_LEVEL = 250
MAX_BRIGHT_SHARE = 0.6
MIN_MEAN_EDGE = 0.35  # grey levels per pixel at the map's sampling; open water has about 0.5, fog 0.1
MAX_GATE_SIDE_PX = 512
MIN_SIDE_PX = 16  # of a frame: fewer pixels show nothing, and no camera model is made for them
MAX_AGL_M = 1e6  # above it a height is a broken number, whatever the map

GRAVITY_MPS2 = 9.81

# A veil is cloud, a lens flare or the sun's mirror image: a large bright part with a soft edge.
MAX_VEILED_SHARE = 0.75
VEIL_SIDE_PX = 128  # of the picture in which it is looked for
VEIL_LEVEL = 185
VEIL_SHARE = 0.24  # of the picture's side: the disc that its bright part holds at least
VEIL_STEP = 70  # grey levels within three of those pixels: half of a roof's edge is steeper, a veil's is not
VEIL_EDGE_SHARE = 0.1  # of the side, that its edge is wide

STILL_SIDE_PX = 320  # of the pictures that are compared for a camera that hangs
STILL_SMOOTH_PX, STILL_COARSE_PX = 1.0, 6.0  # the detail that is compared lies between these
STILL_CORRELATION = 0.97
TURNED_PX = 2.5  # of attitude since a picture: then a live camera shows another one
STILL_FRAMES = 2  # in a row: for one, a turn can undo in the picture what the vehicle flies


def state_refusal(state: VehicleState) -> Reason | None:
    """Why this vehicle state cannot carry a fix, or `None`. What is not finite is unknown."""
    if not has_attitude(state):
        return Reason.NO_ATTITUDE
    if not _is_known(state.yaw_deg):
        return Reason.NO_HEADING
    if state.agl_m is None or not 0.0 < state.agl_m < MAX_AGL_M:
        return Reason.NO_HEIGHT
    return None


def has_attitude(state: VehicleState, *, heading: bool = False) -> bool:
    """True when roll and pitch are known, and with `heading` the yaw, too."""
    angles = (state.roll_deg, state.pitch_deg, *((state.yaw_deg,) if heading else ()))
    return all(map(_is_known, angles))


def _is_known(angle_deg: float | None) -> bool:
    return angle_deg is not None and math.isfinite(angle_deg)


def picture_refusal(image: UInt8Array) -> Reason | None:
    """Why this picture, uint8 (h, w, 3) RGB or (h, w) grey, cannot be matched, or `None`."""
    step = max(1, max(image.shape[:2]) // MAX_GATE_SIDE_PX)
    grey = np.ascontiguousarray(image[::step, ::step])
    if grey.ndim == 3:
        grey = np.asarray(cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY), np.uint8)
    counts = np.bincount(grey.ravel(), minlength=256)
    if _percentile(counts, 95.0) < DARK_LEVEL:
        return Reason.TOO_DARK
    if float(counts[BRIGHT_LEVEL:].sum()) / grey.size > MAX_BRIGHT_SHARE:
        return Reason.TOO_BRIGHT
    if mean_edge(image) < MIN_MEAN_EDGE:
        return Reason.BLURRED
    return None


def _percentile(counts: IntArray, percent: float) -> float:
    """NumPy's percentile of grey levels that occur so often each."""
    at = percent / 100.0 * (int(counts.sum()) - 1)
    below, above = np.searchsorted(np.cumsum(counts), (math.floor(at), math.ceil(at)), side="right")
    return float(below + (at - math.floor(at)) * (above - below))


def leaning_mps2(state: VehicleState) -> float:
    """Horizontal acceleration of a vehicle that leans so far and keeps its height: g tan(lean). 0 when unknown."""
    if state.lean_deg is not None and math.isfinite(state.lean_deg):
        return GRAVITY_MPS2 * math.tan(math.radians(min(abs(state.lean_deg), 84.0)))
    if not has_attitude(state):
        return 0.0
    assert state.roll_deg is not None and state.pitch_deg is not None  # noqa: PT018
    upright = math.cos(math.radians(state.roll_deg)) * math.cos(math.radians(state.pitch_deg))
    return GRAVITY_MPS2 * math.sqrt(max(0.0, 1.0 - upright * upright)) / max(upright, 0.1)


def veiled(grey: UInt8Array) -> BoolArray | None:
    """Where a veil hides the ground in a grey picture, uint8 (h, w), its soft edge included; `None` without one.

    Matching must leave it out: the edge of a cloud is steeper than the ground's detail and stays in the picture while
    the ground passes, so that the camera seems to stand still.
    """
    height, width = grey.shape
    shrink = max(1.0, max(height, width) / VEIL_SIDE_PX)
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    bright = (small > VEIL_LEVEL).astype(np.uint8)
    core = cv2.morphologyEx(bright, cv2.MORPH_OPEN, _disc(VEIL_SHARE * max(size)), borderType=cv2.BORDER_REPLICATE)
    if not core.any():
        return None
    step = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    count, labels = cv2.connectedComponents(bright)
    found = np.zeros_like(core)
    for number in range(1, count):
        part = (labels == number).astype(np.uint8)
        if not (part & core).any():
            continue
        # The edge of all that is bright, not of the disc in it: a white roof is told by its own.
        rim = step[cv2.dilate(part, np.ones((3, 3), np.uint8)) > part]
        if not rim.size or float((rim > VEIL_STEP).mean()) < 0.5:
            found = np.maximum(found, part & core)
    if not found.any():
        return None
    whole = cv2.dilate(found, _disc(2.0 * VEIL_EDGE_SHARE * max(size)))
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_NEAREST) > 0)


def _disc(diameter_px: float) -> UInt8Array:
    side = round(diameter_px) | 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def lean_mps2(state: VehicleState) -> tuple[float, float]:
    """Forward and right, the acceleration that a vehicle leaning so would have without drag; zero when unknown."""
    if not has_attitude(state):
        return 0.0, 0.0
    if state.lean_deg is not None:
        if not math.isfinite(state.lean_deg):
            return 0.0, 0.0
        # The attitude is a gimbal's: whither the body leans is not known.
        return GRAVITY_MPS2 * math.tan(math.radians(min(abs(state.lean_deg), 60.0))), 0.0
    assert state.roll_deg is not None and state.pitch_deg is not None  # noqa: PT018
    roll, pitch = (math.radians(min(max(angle, -60.0), 60.0)) for angle in (state.roll_deg, state.pitch_deg))
    return -GRAVITY_MPS2 * math.tan(pitch), GRAVITY_MPS2 * math.tan(roll)


@dataclass(frozen=True, slots=True)
class _Still:
    """A picture that later ones may repeat. `detail`: zero mean, length 1. `px_per_rad`: focal length, reduced."""

    pixels: UInt8Array
    detail: Float32Array
    state: VehicleState
    px_per_rad: float


class FrozenGate:
    """Notices a camera that hangs: pictures equal to the bit, or a still although the vehicle has turned meanwhile.

    A live camera never delivers the same bits twice, for its noise. A still that is encoded anew differs in its noise
    alone; that it is none of a vehicle at rest is told by the attitude, whose shake moves a live picture by pixels.
    """

    def __init__(self) -> None:
        self._seen: _Still | None = None
        self._frozen = False
        self._repeats = 0

    def refusal(self, image: UInt8Array, state: VehicleState, focal_px: float) -> Reason | None:
        """`FROZEN_CAMERA`, or `None`. `focal_px`: of the image, uint8 (h, w, 3) RGB; to be called for every frame."""
        if min(image.shape[:2]) < MIN_SIDE_PX:
            self._seen = None
            return None
        step = max(1, round(max(image.shape[:2]) / STILL_SIDE_PX))
        pixels = np.ascontiguousarray(image[::step, ::step])
        before = self._seen
        if before is None or before.pixels.shape != pixels.shape:
            self._begin(_Still(pixels, _detail(pixels), state, focal_px / step))
            return None
        if np.array_equal(before.pixels, pixels):
            self._frozen = True
            return Reason.FROZEN_CAMERA
        detail = _detail(pixels)
        if float(np.vdot(before.detail, detail)) < STILL_CORRELATION:
            self._begin(_Still(pixels, detail, state, focal_px / step))
            return None
        self._repeats += 1
        # The picture is kept for as long as it is repeated: slow turns add up.
        self._frozen = self._frozen or (self._repeats >= STILL_FRAMES and _turned_px(before, state) > TURNED_PX)
        return Reason.FROZEN_CAMERA if self._frozen else None

    def _begin(self, still: _Still) -> None:
        self._seen, self._frozen, self._repeats = still, False, 0


def _detail(pixels: UInt8Array) -> Float32Array:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = cv2.GaussianBlur(grey, (0, 0), STILL_SMOOTH_PX) - cv2.GaussianBlur(grey, (0, 0), STILL_COARSE_PX)
    fine -= fine.mean()
    return np.asarray(fine / max(float(np.linalg.norm(fine)), 1e-6), np.float32)


def _turned_px(before: _Still, state: VehicleState) -> float:
    """How far the attitude since then moves the picture; 0 when unknown."""
    then = before.state
    if not (has_attitude(then, heading=True) and has_attitude(state, heading=True)):
        return 0.0
    tilts = ((then.roll_deg, state.roll_deg), (then.pitch_deg, state.pitch_deg), (then.yaw_deg, state.yaw_deg))
    roll, pitch, yaw = (
        math.radians((new - old + 180.0) % 360.0 - 180.0) for old, new in tilts if new is not None and old is not None
    )
    # A turn about the optical axis moves what is a quarter of the picture from its middle.
    return math.hypot(before.px_per_rad * math.hypot(roll, pitch), 0.25 * before.pixels.shape[1] * yaw)
