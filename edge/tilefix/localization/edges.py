"""Edge features of a picture: what survives seasons, sensors and light.

The feature of a pixel is z = sqrt(|g|) exp(2 i angle(g)) with g the grey gradient: the double-angle representation of
Granlund and Knutsson (*Signal Processing for Computer Vision*, 1995), which makes an edge and its contrast-reversed
twin equal, as seasons and sensors ask. Its zero mean gives far sharper peaks than the gradient's magnitude. Dividing by
the local energy keeps one bright roof from outvoting a field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.types import BoolArray, Float32Array, UInt8Array

SMOOTHING_PX = 1.0  # of the grey picture, before its gradient
ENERGY_RADIUS_PX = 12.0  # of the neighbourhood whose energy an edge is measured against
ENERGY_FLOOR = 1.0  # grey levels per pixel: below it, edges are noise
_RIM = np.ones((7, 7), np.uint8)


@dataclass(frozen=True, slots=True)
class Features:
    """Edge field `across` + i `along` and `valid`, 1 where it is defined: float32 (h, w) each.

    The field is a double-angle one: two planes rather than one complex array, for real transforms cost half.
    """

    across: Float32Array
    along: Float32Array
    valid: Float32Array

    @classmethod
    def empty(cls, rows: int, columns: int) -> Features:
        """Features of nothing, valid nowhere."""
        return cls(*(np.zeros((rows, columns), np.float32) for _ in range(3)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.valid.shape
        return rows, columns

    @property
    def power(self) -> Float32Array:
        """Squared length of the field."""
        return self.across * self.across + self.along * self.along

    def cut(self, rows: slice, columns: slice) -> Features:
        """A window of it, without copying."""
        return Features(self.across[rows, columns], self.along[rows, columns], self.valid[rows, columns])

    def put(self, rows: slice, columns: slice, part: Features) -> None:
        """Writes a window of it."""
        self.across[rows, columns] = part.across
        self.along[rows, columns] = part.along
        self.valid[rows, columns] = part.valid


def _gradient(image: UInt8Array) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Gradient east, south and its length, grey levels per pixel, of the smoothed grey picture.

    Written out in single roundings: OpenCV's magnitude differs in the last bit by where an array happens to lie in
    memory, and a replay must come out the same to that bit.
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), SMOOTHING_PX)
    gx = np.asarray(cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=0.125), np.float32)
    gy = np.asarray(cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=0.125), np.float32)
    length = gx * gx
    length += gy * gy
    return gx, gy, np.sqrt(length, out=length)


def edge_features(image: UInt8Array, mask: BoolArray | UInt8Array) -> Features:
    """Features of a picture, uint8 (h, w, 3) RGB or (h, w) grey, where `mask` is true, the rim of the mask left out."""
    gx, gy, magnitude = _gradient(image)
    inner = cv2.erode(np.asarray(mask, dtype=bool).view(np.uint8), _RIM, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    valid = inner.astype(np.float32)
    magnitude *= valid
    energy, share = _blurred(magnitude), _blurred(valid)
    # Written so that nothing is allocated twice: this runs over three patches a frame.
    energy /= np.maximum(share, np.float32(0.05), out=share)
    energy += np.float32(ENERGY_FLOOR)
    weight = np.divide(valid, np.sqrt(energy, out=energy), out=energy)
    # In single roundings, as in `_gradient`: NumPy's powers depend on memory, too.
    floored = np.maximum(magnitude, np.float32(1e-6), out=magnitude)
    weight /= np.multiply(floored, np.sqrt(floored, out=share), out=share)
    along = gx * gy
    along *= np.float32(2.0)
    along *= weight
    gx *= gx
    gy *= gy
    gx -= gy
    gx *= weight
    return Features(gx, along, valid)


def _blurred(plane: Float32Array) -> Float32Array:
    """The plane blurred by a Gaussian of `ENERGY_RADIUS_PX`, made at half scale in a tenth of the time.

    OpenCV's pyramid steps each blur with a variance of one pixel of the finer scale; away from the borders the result
    is the direct one to 1e-5.
    """
    small = cv2.pyrDown(plane)
    small = cv2.GaussianBlur(small, (0, 0), math.sqrt((ENERGY_RADIUS_PX**2 - 2.0) / 4.0))
    return np.asarray(cv2.pyrUp(small, dstsize=(plane.shape[1], plane.shape[0])), np.float32)


def mean_edge(image: UInt8Array) -> float:
    """Mean gradient magnitude in grey levels per pixel: what blur takes away."""
    return float(_gradient(image)[2].mean())
