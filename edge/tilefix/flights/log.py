"""The log of a flight folder: one row per frame, checked, and laid on the times when pictures were taken."""

from __future__ import annotations

import csv
import math
import os
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tilefix.errors import FlightError
from tilefix.geodesy import between
from tilefix.types import VehicleState

LOG_COLUMNS = ("frame", "time_s", "agl_m", "roll_deg", "pitch_deg", "yaw_deg")
TRUTH_COLUMNS = ("lat_deg", "lon_deg")
# What a log may say of height beside `agl_m`.
HEIGHT_COLUMNS = ("agl_sigma_m", "amsl_m", "amsl_sigma_m")
_RANGES = {
    "time_s": (0.0, 1e10),
    "agl_m": (-1000.0, 20000.0),
    "agl_sigma_m": (0.0, 20000.0),
    "amsl_m": (-1000.0, 20000.0),
    "amsl_sigma_m": (0.0, 20000.0),
    "roll_deg": (-180.0, 180.0),
    "pitch_deg": (-180.0, 180.0),
    "yaw_deg": (-360.0, 360.0),
    "lat_deg": (-90.0, 90.0),
    "lon_deg": (-180.0, 180.0),
}
_MAX_LOG_BYTES = 1 << 28
_MAX_BETWEEN_S = 2.5  # of two rows that a state is interpolated between: an attitude says nothing of one much later


@dataclass(frozen=True, slots=True)
class FlightRow:
    """One row of the log. `frame`: file name, or index in the video. `truth`: (lat_deg, lon_deg) where known."""

    frame: str
    time_s: float
    state: VehicleState
    truth: tuple[float, float] | None = None


def read_log(path: Path) -> tuple[tuple[FlightRow, ...], tuple[int, ...]]:
    """The rows of a `log.csv` and the line of each; raises `FlightError` with file, line and mend."""
    try:
        if path.stat().st_size > _MAX_LOG_BYTES:
            raise FlightError("log is larger than 256 MiB", where=path, mend="split the flight")
        with path.open("rb") as raw:
            raw.seek(-min(raw.seek(0, os.SEEK_END), 1), os.SEEK_END)
            torn = raw.read(1) not in (b"\n", b"\r")
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _rows(file, path, torn)
    except OSError as error:
        raise FlightError(
            f"log cannot be read: {error.strerror}", where=path, mend="check log in flight.toml"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FlightError(f"log is not CSV: {error}", where=path, mend="save it as comma-separated UTF-8") from error


def _rows(file: Iterable[str], path: Path, torn: bool) -> tuple[tuple[FlightRow, ...], tuple[int, ...]]:
    reader = csv.reader(file, strict=True)
    header = [name.strip() for name in next(reader, [])]
    if missing := [name for name in LOG_COLUMNS if name not in header]:
        raise FlightError(
            f"log lacks {', '.join(missing)}", where=f"{path}:1", mend=f"columns: {','.join(LOG_COLUMNS)}"
        )
    if len(set(header)) != len(header):
        raise FlightError("a column stands twice", where=f"{path}:1", mend="give every column once")
    if ("lat_deg" in header) != ("lon_deg" in header):
        raise FlightError("truth needs both lat_deg and lon_deg", where=f"{path}:1", mend="give both or neither")
    rows: list[FlightRow] = []
    lines: list[int] = []
    for cells in reader:
        if not cells:
            continue
        place = f"{path}:{reader.line_num}"
        if len(cells) != len(header):
            if torn and next(reader, None) is None:
                break  # the last line of a recording that was cut off while it was written
            raise FlightError(f"{len(cells)} cells for {len(header)} columns", where=place, mend="mend the row")
        row = _row(dict(zip(header, cells, strict=True)), place)
        if rows and row.state.at_ns <= rows[-1].state.at_ns:
            raise FlightError(
                f"time goes from {rows[-1].time_s:g} s to {row.time_s:g} s",
                where=place,
                mend="time_s must grow from row to row; sort the log",
            )
        rows.append(row)
        lines.append(reader.line_num)
    if not rows:
        raise FlightError("log has no row", where=path, mend="give one row per frame")
    return tuple(rows), tuple(lines)


def _row(cells: dict[str, str], place: str) -> FlightRow:
    values = {name: _number(name, cells[name], place) for name in _RANGES if name in cells}
    time_s, name = values["time_s"], cells["frame"].strip()
    if time_s is None or not name:
        raise FlightError("frame and time_s must not be empty", where=place, mend="fill them in, or take the row out")
    lat_deg, lon_deg = values.get("lat_deg"), values.get("lon_deg")
    if (lat_deg is None) != (lon_deg is None):
        raise FlightError("truth needs both lat_deg and lon_deg", where=place, mend="give both or neither")
    at_ns = round(time_s * 1e9)
    heights = (values["agl_m"], *(values.get(name) for name in HEIGHT_COLUMNS))
    state = VehicleState(at_ns, values["roll_deg"], values["pitch_deg"], values["yaw_deg"], *heights)
    return FlightRow(name, time_s, state, None if lat_deg is None or lon_deg is None else (lat_deg, lon_deg))


def earlier(rows: tuple[FlightRow, ...], late_s: float) -> tuple[FlightRow, ...]:
    """The rows with the states and truths of `late_s` before, linear between rows; unknown where either row's is, and
    in gaps of the log."""
    if late_s == 0.0:
        return rows
    times = [row.time_s for row in rows]
    return tuple(_at(rows, times, row, row.time_s - late_s) for row in rows)


def _at(rows: Sequence[FlightRow], times: Sequence[float], row: FlightRow, time_s: float) -> FlightRow:
    after = bisect_right(times, time_s)
    if not 0 < after < len(rows):
        return replace(row, state=VehicleState(row.state.at_ns, None, None, None, None), truth=None)
    earlier, later = rows[after - 1], rows[after]
    if later.time_s - earlier.time_s > _MAX_BETWEEN_S:
        return replace(row, state=VehicleState(row.state.at_ns, None, None, None, None), truth=None)
    share = (time_s - earlier.time_s) / (later.time_s - earlier.time_s)

    def line(a: float | None, b: float | None, turn: float = 0.0) -> float | None:
        if a is None or b is None:
            return None
        step = b - a if turn == 0.0 else (b - a + 0.5 * turn) % turn - 0.5 * turn
        return a + share * step

    a, b = earlier.state, later.state
    state = VehicleState(
        row.state.at_ns,
        line(a.roll_deg, b.roll_deg, 360.0),
        line(a.pitch_deg, b.pitch_deg, 360.0),
        line(a.yaw_deg, b.yaw_deg, 360.0),
        line(a.agl_m, b.agl_m),
        line(a.agl_sigma_m, b.agl_sigma_m),
        line(a.amsl_m, b.amsl_m),
        line(a.amsl_sigma_m, b.amsl_sigma_m),
    )
    if earlier.truth is None or later.truth is None:
        return replace(row, state=state, truth=None)
    return replace(row, state=state, truth=between(*earlier.truth, *later.truth, share))


def _number(name: str, cell: str, place: str) -> float | None:
    text = cell.strip()
    if not text:
        return None
    low, high = _RANGES[name]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FlightError(f"{name} is {text[:40]!r}", where=place, mend="give a number; empty means unknown")
    if not low <= value <= high:
        raise FlightError(f"{name} = {value:g} is out of range", where=place, mend=f"give {low:g} to {high:g}")
    return value
