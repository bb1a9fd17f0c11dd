"""Normalised correlation of edge features by FFT: a patch's score at every place of a window.

Lewis, *Fast Normalized Cross-Correlation*, 1995, of complex features: the real part of their correlation is the sum of
two real ones, that of the real parts and that of the imaginary parts, so that all transforms are of real planes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.localization.edges import Features, edge_features
from tilefix.localization.rectify import Patch
from tilefix.types import Float32Array

MIN_VALID_SHARE = 0.6  # of the patch that must lie on covered map


def fft_length(at_least: int) -> int:
    """The next length of the form 8 x 2^a 3^b 5^c: others, though shorter, take longer."""
    length = 8 * math.ceil(at_least / 8)
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 8


@dataclass(frozen=True, slots=True)
class Spectra:
    """Spectra of real planes as OpenCV packs them, float32 of the transform's shape. `valid`: `None` where all is.

    `halved`: that of `power` is of half the size. The power under a patch hardly changes from one pixel to the next.
    """

    across: Float32Array
    along: Float32Array
    power: Float32Array
    valid: Float32Array | None
    halved: bool = False

    @property
    def nbytes(self) -> int:
        return sum(plane.nbytes for plane in (self.across, self.along, self.power, self.valid) if plane is not None)


def spectra_of(features: Features, shape: tuple[int, int], *, halved: bool = False) -> Spectra:
    """Spectra of a map's features, in a transform of that shape; `halved`: see `Spectra`."""
    return Spectra(
        _transformed(features.across, shape),
        _transformed(features.along, shape),
        _halved(features.power, shape) if halved else _transformed(features.power, shape),
        None if features.valid.min() == 1.0 else _transformed(features.valid, shape),
        halved,
    )


def _halved(plane: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """The spectrum of a plane's every second pixel, smoothed, in a transform of half that shape."""
    return _transformed(np.asarray(cv2.pyrDown(plane), np.float32), (shape[0] // 2, shape[1] // 2))


def _transformed(plane: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """The spectrum of a real plane with zeros around it. OpenCV's transform of real planes takes a tenth of NumPy's of
    complex ones, and equals itself to the bit wherever the array lies in memory."""
    whole = np.zeros(shape, np.float32)
    whole[: plane.shape[0], : plane.shape[1]] = plane
    return np.asarray(cv2.dft(whole, dst=whole), np.float32)


class Template:
    """A patch made ready for correlation: features of an odd-sided square, with its spectra by transform shape."""

    def __init__(self, patch: Patch | Features) -> None:
        self.features = patch if isinstance(patch, Features) else edge_features(patch.image, patch.mask)
        self.size_px = self.features.shape[0]
        if self.size_px % 2 == 0:
            raise ValueError(f"template side {self.size_px} px must be odd")
        self.count = float(self.features.valid.sum())
        self.energy = float(self.features.power.sum())
        self._spectra: dict[tuple[str, tuple[int, int]], Float32Array] = {}

    def across(self, shape: tuple[int, int]) -> Float32Array:
        """Spectrum of the field's one plane."""
        return self._kept("across", self.features.across, shape)

    def along(self, shape: tuple[int, int]) -> Float32Array:
        """Spectrum of the other."""
        return self._kept("along", self.features.along, shape)

    def valid(self, shape: tuple[int, int]) -> Float32Array:
        """Spectrum of the valid mask."""
        return self._kept("valid", self.features.valid, shape)

    def halved_valid(self, shape: tuple[int, int]) -> Float32Array:
        """Spectrum of the valid mask for `Spectra.halved`."""
        if ("halved", shape) not in self._spectra:
            self._spectra["halved", shape] = _halved(self.features.valid, shape)
        return self._spectra["halved", shape]

    def _kept(self, name: str, plane: Float32Array, shape: tuple[int, int]) -> Float32Array:
        if (name, shape) not in self._spectra:
            self._spectra[name, shape] = _transformed(plane, shape)
        return self._spectra[name, shape]

    def as_ground(self, shape: tuple[int, int]) -> Spectra:
        """Its spectra in the place of a map's, for another patch to be correlated with it."""
        power = _transformed(self.features.power, shape)
        return Spectra(self.across(shape), self.along(shape), power, self.valid(shape))


def correlate(
    map_spectra: Spectra,
    template: Template,
    shape: tuple[int, int],
    out: tuple[int, int],
    min_valid_share: float = MIN_VALID_SHARE,
    lead: tuple[int, int] = (0, 0),
) -> Float32Array:
    """Normalised correlation for `out` placements from row and column `lead` on; NaN where too little map is covered.

    Placements before the map's first pixel (negative `lead`) are right as far as the transform is longer than both.
    """
    if template.energy <= 0.0 or template.count <= 0.0:
        return np.full(out, np.nan, np.float32)
    product = _product(map_spectra.across, template.across(shape))
    product += _product(map_spectra.along, template.along(shape))
    score = _cut(_restored(product), lead, out)
    if map_spectra.halved:
        at, size = (lead[0] // 2, lead[1] // 2), (out[0] // 2 + 2, out[1] // 2 + 2)
        energy = np.float32(4.0) * _cut(_restored(_product(map_spectra.power, template.halved_valid(shape))), at, size)
        fine = np.asarray(cv2.pyrUp(_per_energy(np.asarray(energy), template)), np.float32)
        score = score * _cut(fine, (lead[0] % 2, lead[1] % 2), out)
    else:
        energy = _cut(_restored(_product(map_spectra.power, template.valid(shape))), lead, out)
        score = score * _per_energy(energy, template)
    if map_spectra.valid is not None:
        count = _cut(_restored(_product(map_spectra.valid, template.valid(shape))), lead, out)
        score[count < min_valid_share * template.count] = np.nan
    return np.asarray(score, np.float32)


def _per_energy(energy: Float32Array, template: Template) -> Float32Array:
    """What a correlation is multiplied by to be normalised. `energy`: of the map under the patch."""
    # Featureless map (water) must not divide by nearly nothing.
    energy = np.maximum(energy, np.float32(0.05 * template.energy))
    energy *= np.float32(template.energy)
    per: Float32Array = np.divide(np.float32(1.0), np.sqrt(energy, out=energy), out=energy)
    return per


def _cut(plane: Float32Array, lead: tuple[int, int], out: tuple[int, int]) -> Float32Array:
    """A window of a circular plane: negative places count from the end."""
    if min(lead) < 0:
        return plane[np.ix_(*(np.arange(first, first + side) for first, side in zip(lead, out, strict=True)))]
    return plane[lead[0] : lead[0] + out[0], lead[1] : lead[1] + out[1]]


def _product(ground: Float32Array, patch: Float32Array) -> Float32Array:
    """The spectrum of their correlation."""
    return np.asarray(cv2.mulSpectrums(ground, patch, 0, conjB=True), np.float32)


def _restored(spectrum: Float32Array) -> Float32Array:
    """The real plane of a spectrum, in the same memory."""
    return np.asarray(cv2.idft(spectrum, dst=spectrum, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT), np.float32)
