"""Cameras behind OpenCV's VideoCapture: V4L2, RTSP (through FFmpeg) and GStreamer pipelines."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from tilefix.cameras import CameraRequest
from tilefix.cameras.live import Capture, LiveCamera, LiveSettings
from tilefix.errors import CameraError
from tilefix.ports import Clock
from tilefix.types import UInt8Array

# What OpenCV's VideoCapture is made with; a test puts its own in this place.
Maker = Callable[[Any, int, Sequence[int]], Any]
_OPEN_TIMEOUT_MS = 5000
_READ_TIMEOUT_MS = 2000
# V4L2 stamps frames with the monotonic clock; a stamp outside this age is another clock's.
_STAMP_MAX_AGE_NS = 1_000_000_000
# Read by OpenCV when it opens a stream: TCP, for a lost packet spoils a picture that still decodes; no buffering.
_FFMPEG_OPTIONS_NAME = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_FFMPEG_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay|protocol_whitelist;rtsp,rtp,tcp,udp"


class OpencvCapture:
    """`tilefix.cameras.live.Capture` over an open VideoCapture. `clock`: given where the driver's stamps are
    monotonic; then they date the frames."""

    def __init__(self, capture: Any, clock: Clock | None = None) -> None:
        self._capture = capture
        self._clock = clock

    def grab(self) -> tuple[UInt8Array, int | None] | None:
        """The next picture in RGB and its stamp."""
        if not self._capture.grab():
            return None
        exposed_ns = self._stamp_ns()
        ok, image = self._capture.retrieve()
        if not ok or image is None or image.ndim != 3 or image.shape[2] != 3:
            return None
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8), exposed_ns

    def _stamp_ns(self) -> int | None:
        if self._clock is None:
            return None
        now_ns = self._clock.now_ns()
        stamp_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        stamp_ns = round(stamp_ms * 1e6) if 0.0 < stamp_ms < 1e15 else 0
        # Without a credible stamp the frame is dated when it could be read.
        return stamp_ns if 0 <= now_ns - stamp_ns <= _STAMP_MAX_AGE_NS else now_ns

    def release(self) -> None:
        """Gives the camera back."""
        self._capture.release()


def _make(source: Any, api: int, parameters: Sequence[int]) -> Any:
    return cv2.VideoCapture(source, api, list(parameters))


def _live(
    source: Any,
    api: int,
    parameters: Sequence[int],
    name: str,
    request: CameraRequest,
    clock: Clock,
    make: Maker,
    *,
    stamped: bool = False,
) -> LiveCamera:
    def opener() -> Capture | None:
        capture = make(source, api, parameters)
        if not capture.isOpened():
            capture.release()
            return None
        return OpencvCapture(capture, clock if stamped else None)

    return LiveCamera(opener, LiveSettings(name, request.width, request.height, request.latency_ns), clock)


def open_v4l2(place: str, request: CameraRequest, clock: Clock, make: Maker = _make) -> LiveCamera:
    """A V4L2 device, by path or number. It is asked for the size and rate; what it gives instead is scaled."""
    source = int(place) if place.isdecimal() else place
    parameters = [
        cv2.CAP_PROP_FRAME_WIDTH, request.width,
        cv2.CAP_PROP_FRAME_HEIGHT, request.height,
        cv2.CAP_PROP_FPS, round(request.rate_hz),
        cv2.CAP_PROP_BUFFERSIZE, 1,
    ]  # fmt: skip
    return _live(source, cv2.CAP_V4L2, parameters, f"v4l2:{place}", request, clock, make, stamped=True)


def open_rtsp(place: str, request: CameraRequest, clock: Clock, make: Maker = _make) -> LiveCamera:
    """An RTSP stream over TCP; opening and reading give up after some seconds."""
    if not place.startswith("//") or len(place) < 3:
        raise CameraError("is no RTSP address", where=f"rtsp:{place}", mend="write rtsp://HOST:PORT/PATH")
    parameters = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS,
    ]  # fmt: skip

    def with_options(source: Any, api: int, wanted: Sequence[int]) -> Any:
        """The options stand in the environment for as long as the opening takes: they would spoil reading a file."""
        before = os.environ.get(_FFMPEG_OPTIONS_NAME)
        os.environ[_FFMPEG_OPTIONS_NAME] = before or _FFMPEG_OPTIONS
        try:
            return make(source, api, wanted)
        finally:
            if before is None:
                del os.environ[_FFMPEG_OPTIONS_NAME]

    name = f"rtsp:{place.rpartition('@')[2]}"  # a password in the address stays out of the log
    return _live(f"rtsp:{place}", cv2.CAP_FFMPEG, parameters, name, request, clock, with_options)


def open_gstreamer(place: str, request: CameraRequest, clock: Clock, make: Maker = _make) -> LiveCamera:
    """A GStreamer pipeline that ends in `appsink`. Raises `CameraError` when this OpenCV was built without."""
    if "appsink" not in place:
        raise CameraError("pipeline has no appsink", where=place, mend="end it with ! appsink drop=true max-buffers=1")
    if make is _make and not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise CameraError(
            "this OpenCV was built without GStreamer",
            where=place,
            mend="use the OpenCV of JetPack, or a source of v4l2: or rtsp:",
        )
    return _live(place, cv2.CAP_GSTREAMER, [], "gstreamer", request, clock, make)
