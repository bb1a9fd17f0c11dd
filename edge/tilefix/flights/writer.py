"""Writes flight folders: for recordings, imported logs, simulated and evaluation flights."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from types import TracebackType

from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.log import HEIGHT_COLUMNS, LOG_COLUMNS, TRUTH_COLUMNS, FlightRow


def write_flight_toml(
    folder: Path, *, frames: str, camera: CameraModel, mount: Mount, log: str = "log.csv", latency_ms: float = 0.0
) -> Path:
    """Writes `flight.toml` atomically and gives its path. `frames`: a glob or a video file, relative to the folder.
    `latency_ms`: see `tilefix.flights.flight.Flight`."""
    lines = [
        f"frames = {json.dumps(frames, ensure_ascii=False)}",
        f"log = {json.dumps(log, ensure_ascii=False)}",
        "[camera]",
        f"width = {camera.width}",
        f"height = {camera.height}",
        *(f"{key} = {float(getattr(camera, key))!r}" for key in ("fx", "fy", "cx", "cy")),
        f"distortion = [{', '.join(repr(float(k)) for k in camera.distortion)}]",
        *([f"latency_ms = {float(latency_ms)!r}"] if latency_ms else []),
        "[mount]",
        *(f"{key} = {float(getattr(mount, key))!r}" for key in ("roll_deg", "pitch_deg", "yaw_deg")),
    ]
    path = folder / "flight.toml"
    partial = folder / "flight.toml.partial"
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


class FlightWriter:
    """Writes `flight.toml` and `log.csv`, the pictures being the caller's.

    By default the log appears under its name only when the writer is closed without an error, and `flight.toml` after
    it; with `live` (a recording) both exist from the start and every row is on its way to the disk when `add` returns,
    so that a crash costs the last row at most. Raises `FlightError` when the folder holds a flight already.
    """

    def __init__(self, folder: Path, *, frames: str, camera: CameraModel, mount: Mount, live: bool = False) -> None:
        for name in ("flight.toml", "log.csv"):
            if (folder / name).exists():
                raise FlightError("holds a flight already", where=folder, mend="give an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._frames, self._camera, self._mount = folder, frames, camera, mount
        self._live = live
        self._path = folder / ("log.csv" if live else "log.csv.partial")
        self._file = self._path.open("w", encoding="utf-8", newline="", buffering=1)
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow((*LOG_COLUMNS, *TRUTH_COLUMNS, *HEIGHT_COLUMNS))
        if live:
            self._write_toml()

    def add(self, row: FlightRow) -> None:
        """Adds a row; its picture must be complete by now."""
        state = row.state
        attitude = (state.roll_deg, state.pitch_deg, state.yaw_deg)
        heights = (state.agl_sigma_m, state.amsl_m, state.amsl_sigma_m)
        values = (row.time_s, state.agl_m, *attitude, *(row.truth or (None, None)), *heights)
        self._csv.writerow((row.frame, *("" if value is None else repr(float(value)) for value in values)))

    def close(self) -> None:
        """Finishes the folder; may be called twice."""
        if self._file.closed:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if not self._live:
            self._path.replace(self._folder / "log.csv")
            self._write_toml()

    def discard(self) -> None:
        """Leaves no log and no `flight.toml` behind; a live recording keeps what it has."""
        self._file.close()
        if not self._live:
            self._path.unlink(missing_ok=True)

    def _write_toml(self) -> None:
        write_flight_toml(self._folder, frames=self._frames, camera=self._camera, mount=self._mount)

    def __enter__(self) -> FlightWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or self._live:
            self.close()
        else:
            self.discard()
