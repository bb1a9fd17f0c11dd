"""A flight folder written while flying: bounded, and readable whatever ends the flight.

A frame exists under its name before its row is written, and each row leaves the process at once, so that even a
killed process leaves a folder that replays.
"""

from __future__ import annotations

import logging
import queue
import shutil
import threading
from pathlib import Path

import cv2

from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.flight import FlightRow
from tilefix.flights.writer import FlightWriter
from tilefix.types import Fix, Frame, NoFix, VehicleState

_logger = logging.getLogger(__name__)
_JPEG_QUALITY = 93
# A row of the log is shorter than this; it counts towards the bound before it is written.
_ROW_BYTES = 200
# The disk is shared with the system that flies: this much of it stays free.
_KEEP_FREE_BYTES = 200_000_000
# Frames waiting to be written; a slow disk loses frames of the recording, never time of the flight.
_WAITING = 4
_MAX_FOLDERS = 1000


class Recorder:
    """Records frames with the vehicle's state and, where known, the GNSS receiver's position as truth.

    It watches a daemon (`tilefix.service.daemon.Watches`). A thread of its own writes; `saw` never waits. `ended`: why
    nothing more is recorded, `None` while it is. Raises `FlightError` when the folder cannot be written.
    """

    def __init__(self, folder: Path, camera: CameraModel, mount: Mount, *, max_bytes: int) -> None:
        self.folder = _free(folder)
        self.ended: str | None = None
        self.dropped = 0
        self._left_bytes = max_bytes
        self._begun_ns: int | None = None
        self._last_ns: int | None = None
        try:
            (self.folder / "frames").mkdir(parents=True)
            self._writer = FlightWriter(self.folder, frames="frames/*.jpg", camera=camera, mount=mount, live=True)
        except OSError as error:
            raise FlightError(
                f"cannot record: {error.strerror}", where=self.folder, mend="give a folder that can be written"
            ) from error
        self._waiting: queue.Queue[_Seen | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def saw(
        self,
        frame: Frame,
        state: VehicleState,
        estimate: Fix | NoFix,  # noqa: ARG002 - a flight folder holds what was seen, not what was concluded
        truth: tuple[float, float] | None,
    ) -> None:
        """Hands a frame over; dropped when the recording has ended or its disk is behind."""
        if self.ended is not None:
            return
        try:
            self._waiting.put_nowait((frame, state, truth))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Writes what waits and finishes the folder; may be called twice."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        while (seen := self._waiting.get()) is not None:
            if self.ended is not None:
                continue
            try:
                self._write(*seen)
            except (OSError, cv2.error) as error:
                self._end(f"recording ended: {error}")

    def _end(self, why: str) -> None:
        self.ended = why
        _logger.warning("%s", why)

    def _write(self, frame: Frame, state: VehicleState, truth: tuple[float, float] | None) -> None:
        if self._last_ns is not None and frame.captured_ns <= self._last_ns:
            return
        ok, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
        )
        if not ok:
            return
        needed = jpeg.nbytes + _ROW_BYTES
        if needed > self._left_bytes:
            self._end("recording ended: its size limit is reached")
            return
        if shutil.disk_usage(self.folder).free - needed < _KEEP_FREE_BYTES:
            self._end("recording ended: the disk is nearly full")
            return
        self._left_bytes -= needed
        name = f"{frame.sequence:08d}.jpg"
        partial = self.folder / "frames" / f"{name}.partial"
        partial.write_bytes(jpeg.tobytes())
        partial.replace(self.folder / "frames" / name)
        if self._begun_ns is None:
            self._begun_ns = frame.captured_ns
        self._last_ns = frame.captured_ns
        self._writer.add(FlightRow(name, (frame.captured_ns - self._begun_ns) / 1e9, state, truth))


_Seen = tuple[Frame, VehicleState, tuple[float, float] | None]


def _free(folder: Path) -> Path:
    """The folder itself, or with a number behind when it is in use: a restart in the air must not overwrite what was
    recorded, nor fail for it."""
    for number in range(1, _MAX_FOLDERS + 1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not candidate.exists() or (candidate.is_dir() and not any(candidate.iterdir())):
            return candidate
    raise FlightError("cannot record: too many recordings", where=folder, mend="move old ones away")
