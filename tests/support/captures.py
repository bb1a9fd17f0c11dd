"""A stand-in for OpenCV's VideoCapture, and pictures to feed it with."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilefix.cameras.unixsocket import RGB, Header, pack_header
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


class FrameSender:
    """The other process of a `unix:` camera: sends `pictures` over and over to whoever connects, stamped now."""

    def __init__(self, path: Path, pictures: Sequence[UInt8Array]) -> None:
        self._pictures = pictures
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(0.05)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def __enter__(self) -> FrameSender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5.0)
        self._listener.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):  # nobody came, or the reader left
                reader, _ = self._listener.accept()
                with reader:
                    self._serve(reader)

    def _serve(self, reader: socket.socket) -> None:
        reader.settimeout(1.0)
        for image in itertools.cycle(self._pictures):
            if self._stop.is_set():
                return
            body = image.tobytes()
            header = Header(RGB, image.shape[1], image.shape[0], len(body), time.monotonic_ns())
            reader.sendall(pack_header(header) + body)
            time.sleep(0.005)
