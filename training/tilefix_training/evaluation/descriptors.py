"""Ways to describe a patch, to be compared with each other: networks, and a plain thumbnail as the floor."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from tilefix.types import BoolArray, Float32Array, UInt8Array
from tilefix_training.network.base import Network
from tilefix_training.network.export import preprocessing
from tilefix_training.network.features import describe

# Patches uint8 (n, p, p, 3) and masks bool (n, p, p) or None -> float32 (n, d), L2-normalised.
Describe = Callable[[UInt8Array, BoolArray | None], Float32Array]

THUMBNAIL_PX = 12


def thumbnail(patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
    """Grey values on 12 x 12 cells, (n, 144), mean 0 over the ground shown, L2 norm 1: correlation of thumbnails."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    found = np.empty((len(patches), THUMBNAIL_PX**2), np.float32)
    for i, patch in enumerate(patches):
        weight = np.ones(patch.shape[:2], np.float32) if masks is None else masks[i].astype(np.float32)
        grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32) * weight
        cells = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        values = cv2.resize(grey, size, interpolation=cv2.INTER_AREA) / np.maximum(cells, 1e-3)
        values = (values - np.average(values, weights=cells + 1e-6)) * (cells > 0.5)
        found[i] = (values / max(float(np.linalg.norm(values)), 1e-6)).ravel()
    return found


def describe_with(network: Network, patch_px: int) -> Describe:
    """The descriptors of a network, in evaluation mode and on its device; its mode is put back after."""
    manifest = preprocessing(patch_px, network.descriptor_dim)

    def described(patches: UInt8Array, masks: BoolArray | None) -> Float32Array:
        return describe(network, patches, masks, manifest)

    return described
