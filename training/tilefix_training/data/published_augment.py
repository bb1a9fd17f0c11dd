"""The augmentation of the published recipe: colour jitter, padding, random crop, mirroring; no rotation, no scale.

The recipe jitters pictures of 512 px and then resizes them to 384; here the picture is resized first, which changes the
result by rounding only and costs a fraction. Definitions of the four changes of colour: torchvision's ColorJitter.
"""

from __future__ import annotations

import cv2
import numpy as np

from tilefix.types import BoolArray, Float32Array, UInt8Array
from tilefix_training.data.images import fitted
from tilefix_training.data.loader import Augment

JITTER = 0.5  # of brightness, contrast, saturation (factors 0.5 to 1.5) and hue (half a turn either way)
PAD = 10 / 384  # of the side, black
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def published_augmenter(patch_px: int) -> Augment:
    """`published_augment` for pictures of `patch_px`, as the loader takes it."""

    def drawn(stored: UInt8Array, rng: np.random.Generator) -> tuple[UInt8Array, BoolArray]:
        return published_augment(stored, patch_px, rng)

    return drawn


def published_augment(stored: UInt8Array, patch_px: int, rng: np.random.Generator) -> tuple[UInt8Array, BoolArray]:
    """A picture uint8 (p, p, 3) of a whole stored one (s, s, 3), and a mask that is True everywhere."""
    values = jittered(fitted(stored, patch_px), rng)
    pad = max(1, round(PAD * patch_px))
    top, left = (int(v) for v in rng.integers(0, 2 * pad + 1, 2))
    picture = np.zeros((patch_px, patch_px, 3), np.uint8)
    into = [slice(max(0, pad - v), min(patch_px, patch_px + pad - v)) for v in (top, left)]
    of = [slice(max(0, v - pad), min(patch_px, patch_px + v - pad)) for v in (top, left)]
    picture[into[0], into[1]] = values[of[0], of[1]]
    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
    return picture, np.ones((patch_px, patch_px), np.bool_)


def jittered(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Brightness, contrast, saturation and hue changed in a random order, each by its own draw."""
    factors = rng.uniform(1.0 - JITTER, 1.0 + JITTER, 3)
    turn = rng.uniform(-JITTER, JITTER)
    for change in rng.permutation(4):
        if change == 0:
            image = _blended(image, np.zeros(1, np.float32), factors[0])
        elif change == 1:
            image = _blended(image, np.rint((image @ _GREY).mean(keepdims=True)), factors[1])
        elif change == 2:
            image = _blended(image, (image @ _GREY)[..., None], factors[2])
        else:
            image = hue_turned(image, turn)
    return image


def hue_turned(image: UInt8Array, turn: float) -> UInt8Array:
    """The picture with its hues moved by `turn` of the colour circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turn * 255.0) % 256)  # hues wrap round in 8 bits
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def _blended(image: UInt8Array, other: Float32Array, factor: float) -> UInt8Array:
    """factor * image + (1 - factor) * other, to whole grey values."""
    values = image * np.float32(factor) + np.float32(1.0 - factor) * other.astype(np.float32)
    return np.asarray(np.clip(values, 0.0, 255.0), np.uint8)
