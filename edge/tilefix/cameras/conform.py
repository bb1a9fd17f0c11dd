"""Frames in the size that the lens figures belong to."""

from __future__ import annotations

import cv2
import numpy as np

from tilefix.errors import CameraError
from tilefix.types import UInt8Array

_ASPECT_TOLERANCE = 0.01


def conform(image: UInt8Array, width: int, height: int, where: object) -> UInt8Array:
    """The picture at `width` x `height`; raises `CameraError` when its shape differs, for then the lens figures do
    not hold (a cropped or a squeezed picture)."""
    rows, columns = image.shape[:2]
    if (columns, rows) == (width, height):
        return image
    if abs(columns * height / (rows * width) - 1.0) > _ASPECT_TOLERANCE:
        raise CameraError(
            f"gives {columns} x {rows} px, [camera] says {width} x {height} px",
            where=where,
            mend="set width and height, and the lens figures that belong to them",
        )
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
