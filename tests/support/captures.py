"""A stand-in for OpenCV's VideoCapture, and pictures to feed it with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tilefix.types import UInt8Array

WIDTH, HEIGHT = 64, 48


def picture(shade: int = 0) -> UInt8Array:
    """RGB: the left half red, the right half blue, with a grey bar of `shade` below."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2, 0] = 255
    image[:, WIDTH // 2 :, 2] = 255
    image[HEIGHT * 3 // 4 :] = shade
    return image


class FakeVideoCapture:
    """Gives `pictures` (RGB, turned to BGR as OpenCV does), then fails; `stamp_ms` is its CAP_PROP_POS_MSEC."""

    def __init__(self, pictures: Sequence[UInt8Array], *, opened: bool = True, stamp_ms: float = 0.0) -> None:
        self._pictures = list(pictures)
        self._opened = opened
        self._stamp_ms = stamp_ms
        self._current: UInt8Array | None = None
        self.released = False

    def isOpened(self) -> bool:
        return self._opened

    def grab(self) -> bool:
        time.sleep(0.002)
        self._current = self._pictures.pop(0) if self._pictures else None
        return self._current is not None

    def retrieve(self) -> tuple[bool, Any]:
        return (False, None) if self._current is None else (True, self._current[:, :, ::-1].copy())

    def get(self, prop: int) -> float:
        return self._stamp_ms

    def release(self) -> None:
        self.released = True
