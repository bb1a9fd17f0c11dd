"""Patches to network input: the one preprocessing for training, map building and flight."""

from __future__ import annotations

import numpy as np

from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest
from tilefix.types import BoolArray, Float32Array, UInt8Array


def to_input(patches: UInt8Array, masks: BoolArray | None, manifest: ModelManifest) -> Float32Array:
    """Network input float32 (n, 3, p, p), C-contiguous: `(pixel / 255 - mean) / std` per RGB channel, p = patch_px.

    `patches`: uint8 (n, p, p, 3) RGB, north up. `masks`: bool (n, p, p), True where the patch shows ground; `None`
    means everywhere. Masked-out pixels become the mean colour, exactly 0: with a mean that is no multiple of 1/255
    no picture has a pixel of exactly 0 in all channels, so the network can tell them from ground.
    Raises `ModelError` on a wrong shape or type.
    """
    check_patches(patches, masks, manifest.patch_px)
    mean = np.asarray(manifest.mean, dtype=np.float32)
    std = np.asarray(manifest.std, dtype=np.float32)
    values = np.moveaxis(patches, 3, 1).astype(np.float32, order="C")
    values *= (1.0 / (255.0 * std)).reshape(1, 3, 1, 1)
    values -= (mean / std).reshape(1, 3, 1, 1)
    if masks is not None:
        values *= masks[:, None, :, :]
    return values


def check_patches(patches: UInt8Array, masks: BoolArray | None, patch_px: int) -> None:
    """Raises `ModelError` unless patches and masks have the types and shapes that `to_input` takes."""
    if not isinstance(patches, np.ndarray) or patches.dtype != np.uint8:
        raise ModelError(f"patches must be a uint8 array, not {_kind(patches)}", mend="give RGB pixels 0 to 255")
    if patches.ndim != 4 or patches.shape[1:] != (patch_px, patch_px, 3):
        raise ModelError(
            f"patches have the shape {patches.shape}, the model takes (n, {patch_px}, {patch_px}, 3)",
            mend="cut the patches at the model's patch_px",
        )
    if masks is None:
        return
    if not isinstance(masks, np.ndarray) or masks.dtype != np.bool_:
        raise ModelError(f"masks must be a bool array, not {_kind(masks)}", mend="True where the patch shows ground")
    if masks.shape != patches.shape[:3]:
        raise ModelError(f"masks have the shape {masks.shape}, the patches need {patches.shape[:3]}")


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__
