"""Descriptors of many patches, without augmentation: what is clustered, and what the memories start from."""

from __future__ import annotations

import numpy as np
import torch

from tilefix.manifest import ModelManifest
from tilefix.preprocess import to_input
from tilefix.types import BoolArray, Float32Array, UInt8Array
from tilefix_training.backbone import Backbone

BATCH = 128


def centre(stored: UInt8Array, patch_px: int) -> UInt8Array:
    """The middle patch_px x patch_px of stored patches (n, s, s, 3)."""
    start = (stored.shape[1] - patch_px) // 2
    return stored[:, start : start + patch_px, start : start + patch_px]


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
    return np.concatenate(parts) if parts else np.empty((0, network.config.descriptor_dim), np.float32)


def extract(network: Backbone, stored: UInt8Array, preprocessing: ModelManifest) -> Float32Array:
    """Descriptors float32 (n, d) of the middles of stored patches."""
    return describe(network, centre(stored, preprocessing.patch_px), None, preprocessing)
