"""Cameras. The table is the only place that names a back-end; each is imported when it is opened.

folder:photos/                          a folder of JPEG or PNG files, in the order of their names
video:flight.mp4                        a video file
v4l2:/dev/video0                        a USB or CSI camera
rtsp://192.168.1.20/stream              an RTSP camera
gstreamer:nvarguscamerasrc ! ... ! appsink   a pipeline, for an OpenCV that was built with GStreamer
unix:/run/camera.sock                   another process of this machine, such as tools/sitl_camera.py
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tilefix.errors import CameraError
from tilefix.ports import Clock, FrameSource

# Scheme -> (module, function). Each function takes (what follows the scheme, CameraRequest, Clock).
BACKENDS = {
    "folder": ("tilefix.cameras.files", "open_folder"),
    "video": ("tilefix.cameras.files", "open_video"),
    "v4l2": ("tilefix.cameras.capture", "open_v4l2"),
    "rtsp": ("tilefix.cameras.capture", "open_rtsp"),
    "gstreamer": ("tilefix.cameras.capture", "open_gstreamer"),
    "unix": ("tilefix.cameras.unixsocket", "open_unix"),
}


@dataclass(frozen=True, slots=True)
class CameraRequest:
    """What frames must be like: `width` x `height` pixels (another size of the same shape is scaled), from a file
    at most `rate_hz` a second, exposed `latency_ns` before they can be read. `base`: where relative paths start."""

    width: int
    height: int
    rate_hz: float = 10.0
    latency_ns: int = 0
    base: Path = Path()


def open_camera(source: str, request: CameraRequest, clock: Clock) -> FrameSource:
    """The camera that `source` names. Raises `CameraError` when it can never work; one that is only absent now is
    opened again and again."""
    scheme, colon, rest = source.partition(":")
    if scheme not in BACKENDS or not colon or not rest:
        raise CameraError(
            "is no camera", where=source, mend=f"start it with one of {', '.join(f'{name}:' for name in BACKENDS)}"
        )
    module, function = BACKENDS[scheme]
    return cast(FrameSource, getattr(importlib.import_module(module), function)(rest, request, clock))
