"""Frames and states that cannot carry a fix."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from support.scenes import noise_ground
from tilefix.gates import _percentile, picture_refusal, state_refusal
from tilefix.types import Reason, VehicleState

PICTURE = noise_ground(2, 300)


def test_a_usable_picture_and_state_pass() -> None:
    assert picture_refusal(PICTURE) is None
    assert state_refusal(VehicleState(0, 1.0, 2.0, 3.0, 100.0)) is None


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ((PICTURE * 0.05).astype(np.uint8), Reason.TOO_DARK),
        (np.clip(PICTURE.astype(int) + 220, 0, 255).astype(np.uint8), Reason.TOO_BRIGHT),
        (cv2.GaussianBlur(PICTURE, (0, 0), 40), Reason.BLURRED),
        (np.full((200, 200, 3), 120, np.uint8), Reason.BLURRED),
    ],
    ids=["dark", "bright", "blurred", "flat"],
)
def test_unusable_pictures_are_refused(image, reason) -> None:
    assert picture_refusal(image) is reason


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ({"roll_deg": None}, Reason.NO_ATTITUDE),
        ({"pitch_deg": None}, Reason.NO_ATTITUDE),
        ({"yaw_deg": None}, Reason.NO_HEADING),
        ({"agl_m": None}, Reason.NO_HEIGHT),
        ({"agl_m": 0.0}, Reason.NO_HEIGHT),
        ({"agl_m": float("nan")}, Reason.NO_HEIGHT),
        ({"agl_m": float("inf")}, Reason.NO_HEIGHT),
        ({"agl_m": 1e308}, Reason.NO_HEIGHT),
        ({"roll_deg": float("nan")}, Reason.NO_ATTITUDE),
        ({"pitch_deg": float("-inf")}, Reason.NO_ATTITUDE),
        ({"yaw_deg": float("nan")}, Reason.NO_HEADING),
    ],
)
def test_unknown_state_is_refused(missing, reason) -> None:
    known = {"at_ns": 0, "roll_deg": 0.0, "pitch_deg": 0.0, "yaw_deg": 0.0, "agl_m": 50.0}
    assert state_refusal(VehicleState(**(known | missing))) is reason


@pytest.mark.parametrize("size", [1, 2, 40, 41, 1000])
def test_percentiles_from_counts_are_those_of_the_levels(size) -> None:
    levels = np.random.default_rng(size).integers(0, 256, size)
    counts = np.bincount(levels, minlength=256)
    assert _percentile(counts, 95.0) == pytest.approx(np.percentile(levels, 95.0))
