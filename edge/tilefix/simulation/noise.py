"""Named random streams and noise fields: the same seed and name give the same bytes, and no field repeats."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import cv2
import numpy as np

from tilefix.types import Float32Array, Float64Array


def rng_for(seed: int, *names: str | int) -> np.random.Generator:
    """A random stream of its own for each (seed, names): adding a stream never shifts another."""
    words = [name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names]
    return np.random.default_rng([seed, *words])


def value_noise(rng: np.random.Generator, shape: tuple[int, int], wavelength_px: float) -> Float32Array:
    """Smooth noise, float32 `shape`, mean 0 and standard deviation about 1, with features of that wavelength.

    White noise on a coarse lattice, cubic-interpolated; the lattice is shifted by a random fraction of a cell.
    """
    if wavelength_px <= 1.0:
        return rng.standard_normal(shape, dtype=np.float32)
    cell = wavelength_px / 2.0
    rows, columns = int(shape[0] / cell) + 4, int(shape[1] / cell) + 4
    lattice = rng.standard_normal((rows, columns), dtype=np.float32)
    # resize, not warpAffine: OpenCV's warps round the position to 1/32 of a lattice cell.
    field = cv2.resize(lattice, (round(columns * cell), round(rows * cell)), interpolation=cv2.INTER_CUBIC)
    top, left = (int(rng.uniform(1.0, 2.0) * cell) for _ in range(2))
    return np.asarray(field[top : top + shape[0], left : left + shape[1]] * np.float32(1.3), dtype=np.float32)


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], wavelengths_px: Sequence[float], weights: Sequence[float]
) -> Float32Array:
    """A weighted sum of noise octaves, scaled to a standard deviation of about 1."""
    total = np.zeros(shape, np.float32)
    for wavelength, weight in zip(wavelengths_px, weights, strict=True):
        total += np.float32(weight) * value_noise(rng, shape, wavelength)
    return np.asarray(total / np.float32(np.sqrt(np.square(weights).sum())), dtype=np.float32)


class Warp:
    """A smooth displacement of the plane: what turns straight cuts into bending roads."""

    def __init__(self, rng: np.random.Generator, size_m: float, margin_m: float) -> None:
        self._origin_m = -margin_m
        self._octaves = []
        for wavelength_m, amplitude_m in ((900.0, 130.0), (260.0, 16.0)):
            cell_m = wavelength_m / 2.0
            count = int((size_m + 2.0 * margin_m) / cell_m) + 6
            lattice = amplitude_m * rng.standard_normal((count, count, 2))
            self._octaves.append((cell_m, lattice))

    def __call__(self, points_m: Float64Array) -> Float64Array:
        """The displaced points, (n, 2) metres."""
        moved = points_m.copy()
        for cell_m, lattice in self._octaves:
            at = np.clip((points_m - self._origin_m) / cell_m + 2.0, 1.0, lattice.shape[0] - 3.001)
            whole = np.floor(at).astype(int)
            weights = [_cubic_spline(at[:, axis] - whole[:, axis]) for axis in (0, 1)]
            for i in range(4):
                for j in range(4):
                    node = lattice[whole[:, 1] + i - 1, whole[:, 0] + j - 1]
                    moved += (weights[1][:, i] * weights[0][:, j])[:, None] * node
        return np.asarray(moved)


def _cubic_spline(t: Float64Array) -> Float64Array:
    """Weights (n, 4) of the uniform cubic B-spline at fraction `t` of a cell."""
    return np.asarray(
        np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6.0
    )
