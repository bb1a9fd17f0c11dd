"""What can differ between two pictures of one place: geometry within the aircraft's errors, light, season, sensor.

By default north stays up: the heading is known in flight, so the network may use it, and only small errors of it are
drawn. Where it is unknown, `rotation_deg` = 180 draws every heading.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.types import BoolArray, Float32Array, UInt8Array
from tilefix_training.data.loader import Augment
from tilefix_training.data.patches import MARGIN


@dataclass(frozen=True)
class AugmentSettings:
    """Ranges are half-widths of uniform draws; `*_p` are probabilities.

    `margin`: side of a stored picture over that of what the network sees, 1 for pictures kept whole. `mirrored`: what
    lies outside the stored picture is its mirror image, instead of being masked. `colour`: strength of the changes of
    colour response, exposure and gamma, 0 for none.
    """

    rotation_deg: float = 14.0
    scale: float = 0.12
    shift: float = 0.14  # of the patch; tiles lie a quarter apart, so one is never further than an eighth
    mask_p: float = 0.5
    grey_p: float = 0.25
    field_p: float = 0.5
    shadow_p: float = 0.3
    cutout_p: float = 0.4
    blur_p: float = 0.5
    noise_p: float = 0.5
    flip_p: float = 0.0
    margin: float = MARGIN
    mirrored: bool = False
    colour: float = 1.0


def augmenter(patch_px: int, settings: AugmentSettings = AugmentSettings()) -> Augment:
    """`augment` for pictures of `patch_px`, as the loader takes it."""

    def drawn(stored: UInt8Array, rng: np.random.Generator) -> tuple[UInt8Array, BoolArray]:
        return augment(stored, patch_px, rng, settings)

    return drawn


def augment(
    stored: UInt8Array, patch_px: int, rng: np.random.Generator, settings: AugmentSettings = AugmentSettings()
) -> tuple[UInt8Array, BoolArray]:
    """A patch and its mask, uint8 (p, p, 3) and bool (p, p), of a stored patch uint8 (s, s, 3)."""
    image, mask = _warp(stored, patch_px, rng, settings)
    if settings.flip_p > 0.0 and rng.random() < settings.flip_p:
        image, mask = image[:, ::-1], mask[:, ::-1].copy()
    if rng.random() < settings.mask_p:
        mask &= _footprint(patch_px, rng)
    values = _colour(image, rng, settings)
    if rng.random() < settings.field_p:
        values *= _smooth_field(patch_px, 3, rng, 0.15)
    if rng.random() < settings.shadow_p:
        values[_polygon(patch_px, rng)] *= rng.uniform(0.35, 0.75)
    if rng.random() < settings.cutout_p:
        _cut_out(values, rng)
    if rng.random() < settings.blur_p:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.3, 1.0)).astype(np.float32, copy=False)
    if rng.random() < settings.noise_p:
        values += rng.standard_normal(values.shape, dtype=np.float32) * np.float32(rng.uniform(0.0, 0.05))
    values *= np.float32(255.0)
    values += np.float32(0.5)
    return np.clip(values, 0.0, 255.0, out=values).astype(np.uint8), mask


def _warp(
    stored: UInt8Array, patch_px: int, rng: np.random.Generator, settings: AugmentSettings
) -> tuple[UInt8Array, BoolArray]:
    """Turned, scaled and shifted; what lies outside the stored patch is masked or mirrored."""
    angle = np.radians(rng.uniform(-settings.rotation_deg, settings.rotation_deg))
    base = stored.shape[0] / (settings.margin * patch_px)
    scale = base * np.exp(rng.uniform(-settings.scale, settings.scale))
    shift = rng.uniform(-settings.shift, settings.shift, 2) * patch_px * base
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle_in, middle_out = (stored.shape[0] - 1) / 2, (patch_px - 1) / 2
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
    matrix[:, 2] = middle_in + shift - matrix[:, :2] @ np.array([middle_out, middle_out])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if settings.mirrored:
        image = cv2.warpAffine(stored, matrix, (patch_px, patch_px), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(image, np.uint8), np.ones((patch_px, patch_px), np.bool_)
    image = cv2.warpAffine(stored, matrix, (patch_px, patch_px), flags=flags)
    end = patch_px - 1
    corners = matrix @ np.array([[0, end, 0, end], [0, 0, end, end], [1, 1, 1, 1]])
    if corners.min() >= 0.0 and corners.max() <= stored.shape[0] - 1:
        return np.asarray(image, np.uint8), np.ones((patch_px, patch_px), np.bool_)
    inside = np.full(stored.shape[:2], 255, np.uint8)
    mask = cv2.warpAffine(inside, matrix, (patch_px, patch_px), flags=flags) > 254
    return np.asarray(image, np.uint8), mask


def _footprint(patch_px: int, rng: np.random.Generator) -> BoolArray:
    """A camera's rectangle of ground, turned at will: a third of the patch to more than all of it."""
    width = rng.uniform(0.7, 1.6) * patch_px
    size = (width, width * rng.uniform(0.5, 1.0))
    middle = (0.5 + rng.uniform(-0.1, 0.1, 2)) * patch_px
    corners = cv2.boxPoints(((float(middle[0]), float(middle[1])), size, float(rng.uniform(0.0, 180.0))))
    mask = np.zeros((patch_px, patch_px), np.uint8)
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 1)
    return mask > 0


def _colour(image: UInt8Array, rng: np.random.Generator, settings: AugmentSettings) -> Float32Array:
    """Channel mixing, saturation, gain, gamma and offset: float32 in about 0..1."""
    strength = settings.colour
    mixing = np.eye(3) + strength * rng.normal(0.0, 0.15, (3, 3))
    mixing /= np.maximum(mixing.sum(axis=1, keepdims=True), 0.3)
    saturation = 0.0 if rng.random() < settings.grey_p else 1.0 + strength * (rng.uniform(0.3, 1.5) - 1.0)
    mixing = saturation * mixing + (1.0 - saturation) * np.outer(np.ones(3), rng.dirichlet((2.0, 3.0, 2.0)))
    values = cv2.transform(image.astype(np.float32), mixing / 255.0)
    np.maximum(values, np.float32(0.0), out=values)
    values **= np.exp(strength * (rng.uniform(-0.5, 0.5, 3) * 0.4 + rng.uniform(-0.5, 0.5))).astype(np.float32)
    gain = np.exp(strength * rng.uniform(-0.5, 0.4)) * np.exp(strength * rng.uniform(-0.15, 0.15, 3))
    values *= gain.astype(np.float32)
    values += np.float32(strength * rng.uniform(-0.08, 0.08))
    return np.asarray(values, np.float32)


def _smooth_field(patch_px: int, channels: int, rng: np.random.Generator, strength: float) -> Float32Array:
    """Slowly varying gains around 1, (p, p, channels): crops and woods change by the field, not by the picture."""
    cells = int(rng.integers(2, 7))
    coarse = np.exp(rng.normal(0.0, strength, (cells, cells, channels))).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (patch_px, patch_px), interpolation=cv2.INTER_CUBIC), np.float32)


def _polygon(patch_px: int, rng: np.random.Generator) -> BoolArray:
    corners = (rng.uniform(-0.2, 1.2, 2) + rng.uniform(-0.4, 0.4, (int(rng.integers(3, 6)), 2))) * patch_px
    mask = np.zeros((patch_px, patch_px), np.uint8)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    return mask > 0


def _cut_out(values: Float32Array, rng: np.random.Generator) -> None:
    """Cars, boats, new roofs: a few small blocks of some other colour, in place."""
    side = len(values)
    for _ in range(int(rng.integers(1, 5))):
        height, width = rng.integers(2, max(3, side // 6), 2)
        top, left = rng.integers(0, side - height), rng.integers(0, side - width)
        values[top : top + height, left : left + width] = rng.uniform(0.0, 1.0, 3)
