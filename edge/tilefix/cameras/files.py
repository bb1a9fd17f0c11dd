"""A folder of pictures or a video file in the place of a camera: each frame once, in order, at the asked pace.

A frame counts as taken when it is handed out. For a recorded flight with its own times there is the replay.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tilefix.cameras import CameraRequest
from tilefix.cameras.conform import conform
from tilefix.errors import CameraError, FlightError
from tilefix.flights.videofile import VideoFile
from tilefix.pictures import PICTURE_SUFFIXES, read_picture
from tilefix.ports import Clock
from tilefix.types import Frame, UInt8Array


class PacedFrames:
    """`tilefix.ports.FrameSource` over an iterator of pictures."""

    def __init__(
        self, pictures: Iterator[UInt8Array], close: Callable[[], None], request: CameraRequest, clock: Clock
    ) -> None:
        self._pictures = pictures
        self._close = close
        self._clock = clock
        self._latency_ns = request.latency_ns
        self._period_ns = round(1e9 / request.rate_hz)
        self._due_ns: int | None = None
        self._sequence = 0
        self._closed = threading.Event()
        self._exhausted = False

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame when it is due, or `None` when that lies beyond `timeout_s` or nothing is left."""
        if self.exhausted:
            return None
        now_ns = self._clock.now_ns()
        wait_s = 0.0 if self._due_ns is None else (self._due_ns - now_ns) / 1e9
        if wait_s > timeout_s:
            self._closed.wait(timeout_s)
            return None
        if wait_s > 0.0 and self._closed.wait(wait_s):
            return None
        image = next(self._pictures, None)
        if image is None:
            self._exhausted = True
            return None
        now_ns = self._clock.now_ns()
        self._due_ns = max((self._due_ns or now_ns) + self._period_ns, now_ns)
        frame = Frame(image, now_ns - self._latency_ns, self._sequence)
        self._sequence += 1
        return frame

    @property
    def exhausted(self) -> bool:
        """True once the last frame was given, or after `close`."""
        return self._exhausted or self._closed.is_set()

    def close(self) -> None:
        """Releases the files."""
        self._closed.set()
        self._close()


def open_folder(place: str, request: CameraRequest, clock: Clock) -> PacedFrames:
    """The JPEG and PNG files of a folder, in the order of their names."""
    folder = request.base / place
    if not folder.is_dir():
        raise CameraError("folder does not exist", where=folder, mend="check source in [camera]")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise CameraError("folder holds no JPEG or PNG file", where=folder, mend="check source in [camera]")
    pictures = _checked(map(_picture, paths), request, folder)
    return PacedFrames(pictures, lambda: None, request, clock)


def open_video(place: str, request: CameraRequest, clock: Clock) -> PacedFrames:
    """The frames of a video file; one that is cut ends where it is cut."""
    path = request.base / place
    try:
        video = VideoFile(path)
    except FlightError as error:
        raise CameraError(error.what, where=error.where, mend=error.mend) from error
    try:
        pictures = _checked(_decoded(video), request, path)
    except CameraError:
        video.close()
        raise
    return PacedFrames(pictures, video.close, request, clock)


def _picture(path: Path) -> UInt8Array:
    try:
        return read_picture(path)
    except FlightError as error:
        raise CameraError(error.what, where=error.where, mend=error.mend) from error


def _decoded(video: VideoFile) -> Iterator[UInt8Array]:
    while (image := video.read(video.decoded)) is not None:
        yield image


def _checked(pictures: Iterator[UInt8Array], request: CameraRequest, where: Path) -> Iterator[UInt8Array]:
    """The pictures in the asked size. The first one is looked at before the flight; a broken one later is skipped
    over, for nothing may stop a flight."""
    first = next(pictures, None)
    if first is None:
        raise CameraError("holds no frame", where=where, mend="check source in [camera]")
    return _rest(conform(first, request.width, request.height, where), pictures, request, where)


def _rest(
    first: UInt8Array, pictures: Iterator[UInt8Array], request: CameraRequest, where: Path
) -> Iterator[UInt8Array]:
    yield first
    while True:
        try:
            image = next(pictures, None)
            if image is None:
                return
            fitting = conform(image, request.width, request.height, where)
        except CameraError:
            continue
        yield fitting
