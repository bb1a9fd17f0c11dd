"""Patches to network input: the one preprocessing for training, map building and flight."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest
from tilefix.types import BoolArray, Float32Array, UInt8Array


def to_input(
    patches: UInt8Array, masks: BoolArray | None, manifest: ModelManifest, *, out: Float32Array | None = None
) -> Float32Array:
    """Network input float32 (n, 3, p, p), C-contiguous: `(pixel / 255 - mean) / std` per RGB channel, p = patch_px.

    `patches`: uint8 (n, p, p, 3) RGB, north up. `masks`: bool (n, p, p), True where the patch shows ground; `None`
    means everywhere. Masked-out pixels become the mean colour, exactly 0: with a mean that is no multiple of 1/255
    no picture has a pixel of exactly 0 in all channels, so the network can tell them from ground. `out`: float32
    (n, 3, p, p) to write into and to return, so that a frame needs no array of its own.
    Raises `ModelError` on a wrong shape or type.
    """
    check_patches(patches, masks, manifest.patch_px)
    scale, offset = scale_and_offset(manifest.mean, manifest.std)
    if out is None:
        out = np.empty((len(patches), 3, manifest.patch_px, manifest.patch_px), dtype=np.float32)
    elif out.shape != (len(patches), 3, *patches.shape[1:3]) or out.dtype != np.float32:
        raise ModelError(f"out is {out.dtype} {out.shape}, not float32 of the patches' shape, channels first")
    np.multiply(patches.transpose(0, 3, 1, 2), scale, out=out)
    np.subtract(out, offset, out=out)
    if masks is not None and not masks.all():  # times one changes no bit
        np.multiply(out, masks[:, None, :, :], out=out)
    return out


@lru_cache(maxsize=8)
def scale_and_offset(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Float32Array, Float32Array]:
    """`scale` and `offset`, float32 (1, 3, 1, 1), of the same preprocessing as `pixel * scale - offset`."""
    means = np.asarray(mean, dtype=np.float32).reshape(1, 3, 1, 1)
    stds = np.asarray(std, dtype=np.float32).reshape(1, 3, 1, 1)
    scale, offset = 1.0 / (255.0 * stds), means / stds
    scale.setflags(write=False)
    offset.setflags(write=False)
    return scale, offset


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
