"""An embedder that needs no model file: a small picture of the patch is its descriptor."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest
from tilefix.types import BoolArray, Float32Array, UInt8Array


class ThumbnailEmbedder:
    """Descriptor: the patch as `side` x `side` grey pixels, mean taken out, length 1. Fits the `Embedder` port."""

    def __init__(
        self, *, patch_px: int = 64, side: int = 12, patch_m_min: float = 10.0, patch_m_max: float = 4000.0
    ) -> None:
        self._side = side
        self._closed = False
        name = f"thumbnail-{patch_px}-{side}"
        self._manifest = ModelManifest(
            name=name,
            file=f"{name}.onnx",
            sha256=hashlib.sha256(name.encode()).hexdigest(),
            patch_px=patch_px,
            patch_m_min=patch_m_min,
            patch_m_max=patch_m_max,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            descriptor_dim=side * side,
            metric="cosine",
            trained_on=(),
        )

    @property
    def manifest(self) -> ModelManifest:
        """The identity of this embedder."""
        return self._manifest

    def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
        """Descriptors float32 (n, side * side), L2-normalised; a patch without contrast gets a fixed direction."""
        if self._closed:
            raise ModelError("the embedder is closed")
        size = self._manifest.patch_px
        if patches.dtype != np.uint8 or patches.ndim != 4 or patches.shape[1:] != (size, size, 3):
            raise ModelError(f"patches are {patches.dtype} {patches.shape}, not uint8 (n, {size}, {size}, 3)")
        if masks is not None and (masks.dtype != np.bool_ or masks.shape != patches.shape[:3]):
            raise ModelError(f"masks are {masks.dtype} {masks.shape}, not bool {patches.shape[:3]}")
        descriptors = np.zeros((len(patches), self._side * self._side), dtype=np.float32)
        for i, patch in enumerate(patches):
            grey = patch.mean(axis=2, dtype=np.float32)
            seen = np.ones_like(grey, dtype=np.bool_) if masks is None else masks[i]
            if seen.any():
                grey = np.where(seen, grey - grey[seen].mean(), 0.0).astype(np.float32)
            small = cv2.resize(grey, (self._side, self._side), interpolation=cv2.INTER_AREA).ravel()
            length = float(np.linalg.norm(small))
            descriptors[i] = small / length if length > 1e-3 else np.eye(1, small.size, dtype=np.float32)[0]
        return descriptors

    def close(self) -> None:
        """Refuses to embed from now on."""
        self._closed = True
