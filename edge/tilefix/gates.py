"""Is this frame worth matching? Refusals by the picture itself and by what is known of the vehicle."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from tilefix.edges import mean_edge
from tilefix.types import IntArray, Reason, UInt8Array, VehicleState

DARK_LEVEL = 18  # grey level that the brightest twentieth of a usable picture exceeds
BRIGHT_LEVEL = 250
MAX_BRIGHT_SHARE = 0.6
MIN_MEAN_EDGE = 0.35  # grey levels per pixel at the map's sampling; open water has about 0.5, fog 0.1
MAX_GATE_SIDE_PX = 512
MIN_SIDE_PX = 16  # of a frame: fewer pixels show nothing, and no camera model is made for them
MAX_AGL_M = 1e6  # above it a height is a broken number, whatever the map

GRAVITY_MPS2 = 9.81


def state_refusal(state: VehicleState) -> Reason | None:
    """Why this vehicle state cannot carry a fix, or `None`. What is not finite is unknown."""
    if not (_is_known(state.roll_deg) and _is_known(state.pitch_deg)):
        return Reason.NO_ATTITUDE
    if not _is_known(state.yaw_deg):
        return Reason.NO_HEADING
    if state.agl_m is None or not 0.0 < state.agl_m < MAX_AGL_M:
        return Reason.NO_HEIGHT
    return None


def _is_known(angle_deg: float | None) -> bool:
    return angle_deg is not None and math.isfinite(angle_deg)


def picture_refusal(image: UInt8Array) -> Reason | None:
    """Why this picture, uint8 (h, w, 3) RGB, cannot be matched, or `None`."""
    step = max(1, max(image.shape[:2]) // MAX_GATE_SIDE_PX)
    grey = cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_RGB2GRAY)
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
    if state_refusal(replace(state, yaw_deg=0.0, agl_m=1.0)) is not None:
        return 0.0
    assert state.roll_deg is not None and state.pitch_deg is not None  # noqa: PT018
    upright = math.cos(math.radians(state.roll_deg)) * math.cos(math.radians(state.pitch_deg))
    return GRAVITY_MPS2 * math.sqrt(max(0.0, 1.0 - upright * upright)) / max(upright, 0.1)
