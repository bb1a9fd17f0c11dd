"""Frames and states that cannot carry a fix."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from support.scenes import noise_ground
from tilefix.localization.gates import (
    FrozenGate,
    _percentile,
    lean_mps2,
    leaning_mps2,
    picture_refusal,
    state_refusal,
    veiled,
)
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


LEVEL = VehicleState(0, 0.0, 0.0, 90.0, 100.0)
FOCAL_PX = 300.0


def _noisy(seed: int) -> np.ndarray:
    noise = 1.5 * np.random.default_rng(seed).standard_normal(PICTURE.shape)
    return np.clip(PICTURE + noise, 0, 255).astype(np.uint8)


def _turned(**degrees: float) -> VehicleState:
    return replace(LEVEL, **degrees)


def test_a_picture_that_comes_again_is_frozen_until_another_comes() -> None:
    gate = FrozenGate()
    other = noise_ground(3, 300)
    pictures = (PICTURE, PICTURE.copy(), PICTURE.copy(), other, PICTURE)
    answers = [gate.refusal(picture, LEVEL, FOCAL_PX) for picture in pictures]
    assert answers == [None, Reason.FROZEN_CAMERA, Reason.FROZEN_CAMERA, None, None]


@pytest.mark.parametrize("turn", [{"roll_deg": 1.0}, {"pitch_deg": -1.0}, {"yaw_deg": 94.0}], ids=str)
def test_a_still_with_fresh_noise_is_frozen_once_the_vehicle_has_turned(turn) -> None:
    gate = FrozenGate()
    states = (LEVEL, LEVEL, _turned(**turn), LEVEL)
    answers = [gate.refusal(_noisy(k), state, FOCAL_PX) for k, state in enumerate(states)]
    assert answers == [None, None, Reason.FROZEN_CAMERA, Reason.FROZEN_CAMERA]


def test_one_picture_alike_may_be_a_turn_that_undoes_the_flight() -> None:
    gate = FrozenGate()
    other = np.clip(noise_ground(3, 300), 0, 255).astype(np.uint8)
    pictures, states = (_noisy(0), _noisy(1), other, other + 1), (LEVEL, *[_turned(roll_deg=1.0)] * 3)
    answers = [gate.refusal(picture, state, FOCAL_PX) for picture, state in zip(pictures, states, strict=True)]
    assert answers == [None] * 4


def test_slow_turns_add_up_over_a_still() -> None:
    gate = FrozenGate()
    states = [_turned(roll_deg=0.1 * k) for k in range(8)]
    answers = [gate.refusal(_noisy(k), state, FOCAL_PX) for k, state in enumerate(states)]
    assert answers[1:4] == [None] * 3
    assert answers[6:] == [Reason.FROZEN_CAMERA] * 2


def test_a_vehicle_at_rest_is_not_frozen() -> None:
    gate = FrozenGate()
    assert not any(gate.refusal(_noisy(k), LEVEL, FOCAL_PX) for k in range(10))


def test_a_picture_that_moves_as_the_vehicle_turns_is_not_frozen() -> None:
    gate = FrozenGate()
    shift_px = round(FOCAL_PX * np.radians(1.0))
    assert gate.refusal(_noisy(0), LEVEL, FOCAL_PX) is None
    assert gate.refusal(np.roll(_noisy(1), shift_px, axis=1), _turned(roll_deg=1.0), FOCAL_PX) is None


@pytest.mark.parametrize("unknown", ["roll_deg", "pitch_deg", "yaw_deg"])
def test_an_unknown_attitude_says_nothing_of_a_still(unknown) -> None:
    gate = FrozenGate()
    turned = replace(_turned(roll_deg=20.0), **{unknown: None})
    assert [gate.refusal(_noisy(k), state, FOCAL_PX) for k, state in enumerate((LEVEL, turned, turned))] == [None] * 3


def test_a_picture_of_another_size_begins_anew() -> None:
    gate = FrozenGate()
    assert gate.refusal(PICTURE, LEVEL, FOCAL_PX) is None
    assert gate.refusal(PICTURE[:200], LEVEL, FOCAL_PX) is None


def test_a_picture_of_hardly_any_pixels_is_left_to_others() -> None:
    gate = FrozenGate()
    for shape in ((0, 0, 3), (1, 1, 3), (1, 1, 3)):
        assert gate.refusal(np.zeros(shape, np.uint8), LEVEL, FOCAL_PX) is None


GREY = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY) // 2 + 30  # ground of 30 to 157


def _covered(soft_px: float, radius_px: int = 70) -> np.ndarray:
    """Ground with a white disc at (150, 150)."""
    disc = np.zeros(GREY.shape, np.float32)
    cv2.circle(disc, (150, 150), radius_px, 1.0, cv2.FILLED)
    if soft_px:
        disc = cv2.GaussianBlur(disc, (0, 0), soft_px)
    return (GREY * (1.0 - disc) + 240.0 * disc).astype(np.uint8)


def test_a_veil_is_found_with_its_edge() -> None:
    veil = veiled(_covered(soft_px=12.0))
    away = np.hypot(*(axis - 150.0 for axis in np.mgrid[:300, :300]))
    assert veil is not None
    assert veil[away < 80.0].all()
    assert not veil[away > 115.0].any()


def test_bright_ground_with_sharp_edges_or_of_small_size_is_no_veil() -> None:
    assert veiled(GREY) is None
    assert veiled(_covered(soft_px=0.0)) is None
    assert veiled(_covered(soft_px=8.0, radius_px=20)) is None


def test_a_picture_that_is_bright_all_over_is_all_veil() -> None:
    veil = veiled(np.full((120, 160), 230, np.uint8))
    assert veil is not None
    assert veil.all()


def test_a_body_leans_though_its_gimbal_does_not() -> None:
    level = VehicleState(0, 0.0, 0.0, 0.0, 100.0)
    assert leaning_mps2(level) == 0.0
    assert leaning_mps2(replace(level, lean_deg=20.0)) == pytest.approx(9.81 * math.tan(math.radians(20.0)))
    assert leaning_mps2(replace(level, roll_deg=20.0)) == pytest.approx(leaning_mps2(replace(level, lean_deg=20.0)))
    assert math.isfinite(leaning_mps2(replace(level, lean_deg=90.0)))
    assert math.hypot(*lean_mps2(replace(level, lean_deg=20.0))) == leaning_mps2(replace(level, lean_deg=20.0))
    assert lean_mps2(replace(level, lean_deg=math.nan)) == (0.0, 0.0)
