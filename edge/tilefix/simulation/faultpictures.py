"""Faults of the picture: what stands between the ground and the localizer, from weather to a camera that hangs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.simulation.faults import Fault, Window
from tilefix.simulation.noise import fractal_noise, rng_for
from tilefix.types import Float32Array, UInt8Array

FROZEN_NOISE = 1.5  # grey levels
FLICKER = (0.3, 2.4)  # times as bright, at least and at most
HAZE_SHARE, HAZE_LEVEL = 0.65, 205.0
NIGHT_GAIN, NIGHT_NOISE = 0.05, 4.0  # of the light; grey levels
SNOW_LEVEL = 232.0
CLOUD_LEVEL = 236.0
GLINT_LEVELS = 420.0  # at its centre, above the picture's own
DIRT_SHARE, DIRT_LEVEL = 0.25, 58.0


@dataclass(frozen=True, slots=True)
class Moment:
    """When and what is edited: the fault's seed, the number of the frame, and the seconds since the fault began."""

    seed: int
    sequence: int
    since_s: float

    def rng(self, name: str) -> np.random.Generator:
        """Chance of this frame alone."""
        return rng_for(self.seed, "fault", name, self.sequence)


class PictureEdit:
    """Edits the pictures of one flight, in order: a camera that hangs repeats what it saw last."""

    def __init__(self, fault: Fault | None, seed: int, window: Window) -> None:
        self._fault, self._seed, self._window = fault, seed, window
        self._edit = None if fault is None else _EDITS.get(fault)
        self._last: UInt8Array | None = None

    def __call__(self, image: UInt8Array, sequence: int, at_s: float) -> UInt8Array:
        """The picture as it arrives, uint8 (h, w, 3) RGB; as it is outside the window and for faults of other kinds."""
        if not self._window.holds(at_s):
            self._last = image
            return image
        moment = Moment(self._seed, sequence, at_s - self._window.start_s)
        if self._fault in (Fault.FROZEN_CAMERA, Fault.FROZEN_STREAM):
            image = image if self._last is None else self._last
            self._last = image
            if self._fault is Fault.FROZEN_CAMERA:
                return image
            return _as_picture(image + FROZEN_NOISE * moment.rng("frozen").standard_normal(image.shape, np.float32))
        return image if self._edit is None else self._edit(image, moment)


def _flicker(image: UInt8Array, moment: Moment) -> UInt8Array:
    low, high = np.log(FLICKER)
    return _as_picture(image * np.float32(np.exp(moment.rng("flicker").uniform(low, high))))


def _blurred(image: UInt8Array, _: Moment) -> UInt8Array:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), image.shape[1] / 60.0), np.uint8)


def _hazy(image: UInt8Array, _: Moment) -> UInt8Array:
    scattered = cv2.GaussianBlur(image, (0, 0), image.shape[1] / 600.0)
    return _as_picture(scattered * np.float32(1.0 - HAZE_SHARE) + np.float32(HAZE_SHARE * HAZE_LEVEL))


def _clouded(image: UInt8Array, moment: Moment) -> UInt8Array:
    """One half is white, with a soft, ragged edge that drifts by a tenth of the picture."""
    height, width = image.shape[:2]
    rng = rng_for(moment.seed, "fault", "cloud")
    lumps = fractal_noise(rng, (height, width), [width / 2.0, width / 6.0, width / 20.0], [1.0, 0.5, 0.3])
    across = np.linspace(-1.0, 1.0, width, dtype=np.float32) + np.float32(0.1 * np.sin(0.3 * moment.since_s))
    cover = np.clip(4.0 * (across + 0.12 * lumps) + 0.5, 0.0, 1.0)[..., None]
    return _as_picture(image * (1.0 - cover) + (CLOUD_LEVEL + 8.0 * lumps[..., None]) * cover)


def _dark(image: UInt8Array, moment: Moment) -> UInt8Array:
    noise = np.float32(NIGHT_NOISE) * moment.rng("night").standard_normal(image.shape, np.float32)
    return _as_picture(image * np.float32(NIGHT_GAIN) + noise)


def _snowy(image: UInt8Array, _: Moment) -> UInt8Array:
    """What is neither dark (trees, shadow) nor grey (roads) turns white, a seventh of its own texture left."""
    grey = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    level = grey.mean(axis=2)
    colourful = grey.max(axis=2) - grey.min(axis=2)
    open_ground = _step(level, 60.0, 95.0) * np.maximum(_step(colourful, 8.0, 24.0), _step(level, 150.0, 180.0))
    cover = np.asarray(cv2.GaussianBlur(open_ground, (0, 0), 1.5), np.float32)[..., None]
    white = np.float32(SNOW_LEVEL) + (image.astype(np.float32) - grey.mean()) / np.float32(7.0)
    return _as_picture(image * (1.0 - cover) + white * cover)


def _step(values: Float32Array, low: float, high: float) -> Float32Array:
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0), np.float32)


def _glinting(image: UInt8Array, moment: Moment) -> UInt8Array:
    """The sun's image wavers around one place of the picture, and saturates."""
    height, width = image.shape[:2]
    rng = moment.rng("glint")
    x0, y0 = width * (0.6 + 0.02 * rng.standard_normal()), height * (0.4 + 0.02 * rng.standard_normal())
    x, y = np.arange(width, dtype=np.float32) - np.float32(x0), np.arange(height, dtype=np.float32) - np.float32(y0)
    away2 = (x * x + (y * y)[:, None]) / np.float32((0.13 * width) ** 2)
    return _as_picture(image + (GLINT_LEVELS * np.exp(-away2))[..., None])


def _dirty(image: UInt8Array, moment: Moment) -> UInt8Array:
    """Dark blots that stay where they are in the picture, out of focus at their edges."""
    height, width = image.shape[:2]
    lumps = fractal_noise(
        rng_for(moment.seed, "fault", "dirt"), (height, width), [width / 4.0, width / 9.0], [1.0, 0.6]
    )
    bound = float(np.quantile(lumps, 1.0 - DIRT_SHARE))
    blots = cv2.GaussianBlur((lumps > bound).astype(np.float32), (0, 0), width / 80.0)[..., None]
    return _as_picture(image * (1.0 - 0.95 * blots) + np.float32(0.95 * DIRT_LEVEL) * blots)


def _as_picture(levels: np.ndarray) -> UInt8Array:
    return np.asarray(np.clip(levels + 0.5, 0.0, 255.0), np.uint8)


_EDITS: dict[Fault, Callable[[UInt8Array, Moment], UInt8Array]] = {
    Fault.EXPOSURE_FLICKER: _flicker,
    Fault.BLUR: _blurred,
    Fault.HAZE: _hazy,
    Fault.HALF_CLOUD: _clouded,
    Fault.NIGHT: _dark,
    Fault.SNOW: _snowy,
    Fault.SUN_GLINT: _glinting,
    Fault.LENS_DIRT: _dirty,
}
