"""The camera's end of a `unix:` camera source: hands pictures to whoever is connected, and can die and come back."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from tilefix.cameras.unixsocket import MAX_PATH_BYTES, RGB, Header, pack_header
from tilefix.errors import CameraError
from tilefix.types import UInt8Array

# A reader that takes longer than this for one picture hangs, and is let go.
_SEND_TIMEOUT_S = 0.5
_MOST_READERS = 4


class FrameServer:
    """Listens on a Unix socket from `open` to `close`; both may be called again and again."""

    def __init__(self, path: Path) -> None:
        """Raises `CameraError` when nobody can listen there."""
        if len(str(path).encode()) > MAX_PATH_BYTES:
            raise CameraError(
                f"path is longer than {MAX_PATH_BYTES} bytes", where=path, mend="put the socket elsewhere"
            )
        self._path = path
        self._listener: socket.socket | None = None
        self._readers: list[socket.socket] = []
        self.open()

    @property
    def alive(self) -> bool:
        """True while it listens."""
        return self._listener is not None

    @property
    def readers(self) -> int:
        """How many are connected."""
        return len(self._readers)

    def open(self) -> None:
        """Begins to listen; a socket file that a dead process left is replaced."""
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._path.is_socket():
                self._path.unlink()
            listener.bind(str(self._path))
            listener.listen(_MOST_READERS)
        except OSError as error:
            listener.close()
            raise CameraError(
                f"cannot listen: {error.strerror}", where=self._path, mend="give another --serve"
            ) from error
        listener.setblocking(False)
        self._listener = listener

    def send(self, image: UInt8Array, exposed_ns: int | None) -> None:
        """Hands over one picture, uint8 (H, W, 3) RGB, with the monotonic time of its exposure."""
        self._accept()
        if not self._readers:
            return
        height, width = image.shape[:2]
        body = image.tobytes()
        head = pack_header(Header(RGB, width, height, len(body), exposed_ns))
        self._readers = [reader for reader in self._readers if _sent(reader, head + body)]

    def _accept(self) -> None:
        if self._listener is None:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                reader, _ = self._listener.accept()
                if len(self._readers) >= _MOST_READERS:
                    reader.close()
                    continue
                reader.settimeout(_SEND_TIMEOUT_S)
                self._readers.append(reader)

    def close(self) -> None:
        """Stops listening and lets everybody go, as a camera that dies does; may be called twice."""
        for reader in self._readers:
            reader.close()
        self._readers.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                self._path.unlink()


def _sent(reader: socket.socket, data: bytes) -> bool:
    """Sends it all; a reader that went away or hangs is closed."""
    try:
        reader.sendall(data)
    except OSError:
        reader.close()
        return False
    return True
