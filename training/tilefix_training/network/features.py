"""Descriptors of many patches, without augmentation: what is clustered, and what the memories start from."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from tilefix.manifest import ModelManifest
from tilefix.preprocess import to_input
from tilefix.types import BoolArray, Float32Array, UInt8Array
from tilefix_training.data.patches import MARGIN
from tilefix_training.network.backbone import Backbone

BATCH = 128


def centre(stored: UInt8Array, patch_px: int) -> UInt8Array:
    """What the network sees of stored patches (n, s, s, 3) when nothing is shifted: (n, patch_px, patch_px, 3)."""
    side = round(stored.shape[1] / MARGIN)
    start = (stored.shape[1] - side) // 2
    middles = stored[:, start : start + side, start : start + side]
    size = (patch_px, patch_px)
    return np.stack([cv2.resize(middle, size, interpolation=cv2.INTER_AREA) for middle in middles]).astype(np.uint8)


def describe(
    network: Backbone, patches: UInt8Array, masks: BoolArray | None, preprocessing: ModelManifest
) -> Float32Array:
    """Descriptors float32 (n, d) of patches uint8 (n, p, p, 3), in evaluation mode; the mode is put back after."""
    training = network.training
    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(patches), BATCH):
            part = slice(start, start + BATCH)
            values = to_input(np.asarray(patches[part]), None if masks is None else masks[part], preprocessing)
            parts.append(network(torch.from_numpy(values)).numpy())
    network.train(training)
    return np.concatenate(parts) if parts else np.empty((0, network.descriptor_dim), np.float32)


def extract(network: Backbone, stored: UInt8Array, preprocessing: ModelManifest) -> Float32Array:
    """Descriptors float32 (n, d) of the middles of stored patches."""
    pieces = range(0, len(stored), BATCH)
    middles = (centre(stored[start : start + BATCH], preprocessing.patch_px) for start in pieces)
    return np.concatenate([describe(network, middle, None, preprocessing) for middle in middles])
