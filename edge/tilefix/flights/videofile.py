"""A video file read from its start, frame by frame, without seeking."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from tilefix.errors import FlightError
from tilefix.pictures import MAX_PIXELS, MAX_SIDE_PX
from tilefix.types import UInt8Array

# How the containers that are read begin: a playlist, which could make the decoder open other files, is none of them.
_MAGIC = (
    (4, b"ftyp"),  # MP4, MOV
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"free"),
    (4, b"wide"),
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (0, b"RIFF"),  # AVI
    (0, b"G"),  # MPEG transport stream
    (0, b"\x00\x00\x01"),  # elementary streams
    (0, b"\x00\x00\x00\x01"),
)


class VideoFile:
    """An open video. `width`, `height`: of its frames; `claimed`: the container's own count, 0 when it has none;
    `decoded`: frames taken so far. Raises `FlightError` for what cannot be opened."""

    def __init__(self, path: Path) -> None:
        mend = "give an MP4, MOV, Matroska, AVI or MPEG-TS file"
        if not path.is_file():
            raise FlightError("video does not exist", where=path, mend="check the path")
        with path.open("rb") as file:
            head = file.read(16)
        if not any(head[at : at + len(magic)] == magic for at, magic in _MAGIC):
            raise FlightError("is no video file", where=path, mend=mend)
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise FlightError("video cannot be opened", where=path, mend=f"{mend}; a cut MP4 may lack its index")
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0.0)
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.claimed = max(0, int(min(self._capture.get(cv2.CAP_PROP_FRAME_COUNT), 1e9)))
        self.decoded = 0
        sides = 16 <= self.width <= MAX_SIDE_PX and 16 <= self.height <= MAX_SIDE_PX
        if not sides or self.width * self.height > MAX_PIXELS:
            self.close()
            raise FlightError(f"video claims frames of {self.width} x {self.height} px", where=path, mend=mend)

    def read(self, index: int) -> UInt8Array | None:
        """Frame `index` (from 0, growing from call to call), uint8 (height, width, 3) RGB; `None` past the end."""
        if index < self.decoded:
            raise ValueError(f"frame {index} has been passed")
        while self.decoded <= index:
            if not self._capture.grab():
                return None
            self.decoded += 1
        ok, image = self._capture.retrieve()
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8) if ok else None

    def close(self) -> None:
        """Releases the decoder; may be called twice."""
        self._capture.release()

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
