"""A camera behind a Unix socket: another process of this machine hands over pictures with the stamp of their exposure.

Each picture is a header and its bytes. The header, 24 bytes little-endian: `TFF1`, the coding (uint8; 0: RGB, rows
from the top, 1: JPEG), three zero bytes, width and height (uint16), the number of bytes that follow (uint32), the
exposure in nanoseconds of the machine's monotonic clock (int64; negative: unknown). A Unix socket never leaves the
machine, so both ends read the same clock.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tilefix.cameras import CameraRequest
from tilefix.cameras.live import Capture, LiveCamera, LiveSettings
from tilefix.errors import CameraError
from tilefix.ports import Clock
from tilefix.types import UInt8Array

RGB, JPEG = 0, 1
HEADER = struct.Struct("<4sB3xHHIq")
_MAGIC = b"TFF1"
_MAX_SIDE_PX, _MAX_BYTES = 8192, 1 << 28
# Without a picture for this long the camera counts as gone and is opened again.
_SILENCE_S = 2.0
# An exposure longer ago, or one yet to come, is no credible stamp: the picture is then dated when it arrived.
_STAMP_MAX_AGE_NS = 5_000_000_000
# Of a path, by the system (sun_path of unix(7), less the closing zero).
MAX_PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before a picture. `exposed_ns`: monotonic, `None` when the sender does not know."""

    coding: int
    width: int
    height: int
    size_bytes: int
    exposed_ns: int | None


def pack_header(header: Header) -> bytes:
    """The header as it is sent."""
    exposed_ns = -1 if header.exposed_ns is None else header.exposed_ns
    return HEADER.pack(_MAGIC, header.coding, header.width, header.height, header.size_bytes, exposed_ns)


def parse_header(data: bytes) -> Header:
    """The header of 24 bytes. Raises `CameraError` for what no sender of pictures sends."""
    magic, coding, width, height, size_bytes, exposed_ns = HEADER.unpack(data)
    sides = 16 <= width <= _MAX_SIDE_PX and 16 <= height <= _MAX_SIDE_PX
    whole = size_bytes == 3 * width * height if coding == RGB else 0 < size_bytes <= min(_MAX_BYTES, 3 * width * height)
    if magic != _MAGIC or coding not in (RGB, JPEG) or not sides or not whole:
        raise CameraError("sends no pictures of this kind", mend="docs/sitl.md has the header")
    return Header(coding, width, height, size_bytes, exposed_ns if exposed_ns >= 0 else None)


class SocketCapture:
    """`tilefix.cameras.live.Capture` over a connected socket."""

    def __init__(self, connection: socket.socket, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        connection.settimeout(_SILENCE_S)

    def grab(self) -> tuple[UInt8Array, int | None] | None:
        """The next picture and its exposure. Raises `CameraError` for what is no picture: the stream is then lost."""
        head = self._exactly(HEADER.size)
        if head is None:
            return None
        header = parse_header(head.tobytes())
        body = self._exactly(header.size_bytes)
        if body is None:
            return None
        image = body.reshape(header.height, header.width, 3) if header.coding == RGB else _decoded(body, header)
        now_ns = self._clock.now_ns()
        stamp_ns = header.exposed_ns
        return image, stamp_ns if stamp_ns is not None and 0 <= now_ns - stamp_ns <= _STAMP_MAX_AGE_NS else now_ns

    def _exactly(self, count: int) -> UInt8Array | None:
        """So many bytes; `None` when the other end went away or fell silent."""
        data = np.empty(count, np.uint8)
        view, filled = memoryview(data), 0  # type: ignore[arg-type]  # an array is a buffer
        while filled < count:
            try:
                got = self._connection.recv_into(view[filled:])
            except OSError:
                return None
            if got == 0:
                return None
            filled += got
        return data

    def release(self) -> None:
        """Closes the connection."""
        self._connection.close()


def _decoded(body: UInt8Array, header: Header) -> UInt8Array:
    try:
        image = cv2.imdecode(body, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None or image.shape[:2] != (header.height, header.width):
        raise CameraError("sends a JPEG that is none, or not of the size it states", mend="mend the sender")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def socket_path(place: str, base: Path) -> Path:
    """Where the socket is; raises `CameraError` for a path that the system cannot take."""
    path = base / place
    if len(str(path).encode()) > MAX_PATH_BYTES:
        raise CameraError(
            f"path is longer than {MAX_PATH_BYTES} bytes", where=f"unix:{path}", mend="put the socket elsewhere"
        )
    return path


def open_unix(place: str, request: CameraRequest, clock: Clock) -> LiveCamera:
    """Pictures of the process that listens on the Unix socket `place`; one that is not there is tried again."""
    path = socket_path(place, request.base)

    def opener() -> Capture | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_SILENCE_S)
            connection.connect(str(path))
        except OSError:
            connection.close()
            return None
        return SocketCapture(connection, clock)

    return LiveCamera(opener, LiveSettings(f"unix:{path}", request.width, request.height, request.latency_ns), clock)
