"""Flight folders: `flight.toml`, `log.csv` and frames, as images or as one video.

`flight.toml` names the frames (a glob or one video file), the log, the camera and its mount. The log has one row per
frame: `frame` (file name, or index in the video), `time_s`, `agl_m`, `roll_deg`, `pitch_deg`, `yaw_deg` and, where
known, `lat_deg`, `lon_deg` as truth, and `agl_sigma_m`, `amsl_m`, `amsl_sigma_m`. Empty cells mean unknown; columns
beyond these are left alone. A picture taken before the time of its row (`latency_ms` in `[camera]`) gets the log's
state and truth of the time when it was taken.
"""

from __future__ import annotations

import csv
import math
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.videofile import VideoFile
from tilefix.geodesy import between
from tilefix.pictures import PICTURE_SUFFIXES, picture_size, read_picture
from tilefix.toml.file import TomlFile
from tilefix.types import Frame, UInt8Array, VehicleState

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
_MAX_PICTURES = 1_000_000
_ASPECT_TOLERANCE = 0.01
_MAX_BETWEEN_S = 2.5  # of two rows that a state is interpolated between: an attitude says nothing of one much later


@dataclass(frozen=True, slots=True)
class FlightRow:
    """One row of the log. `frame`: file name, or index in the video. `truth`: (lat_deg, lon_deg) where known."""

    frame: str
    time_s: float
    state: VehicleState
    truth: tuple[float, float] | None = None


@dataclass(frozen=True)
class Flight:
    """A flight that has been checked: every row is sound and every picture named is there.

    `camera` fits the pictures as they are stored (scaled when `[camera]` gives the size of larger originals).
    `latency_ms`: how much earlier than their rows say the pictures were taken; states and truths of `rows` are already
    those of that time.
    """

    folder: Path
    camera: CameraModel
    mount: Mount
    rows: tuple[FlightRow, ...]
    video: Path | None
    pictures: dict[str, Path]
    latency_ms: float = field(default=0.0, kw_only=True)

    def frames(self, limit: int | None = None) -> Iterator[tuple[FlightRow, Frame]]:
        """Each row with its picture, in the log's order; `limit`: that many rows only.

        Raises `FlightError` where a picture cannot be decoded, or a video ends before the log does.
        """
        rows = self.rows[:limit]
        pictures = self._from_files(rows) if self.video is None else self._from_video(rows, self.video)
        for sequence, (row, image) in enumerate(zip(rows, pictures, strict=True)):
            if image.shape[:2] != (self.camera.height, self.camera.width):
                raise FlightError(
                    f"picture of {image.shape[1]} x {image.shape[0]} px in a flight of "
                    f"{self.camera.width} x {self.camera.height} px",
                    where=f"{self.folder}, frame {row.frame}",
                    mend="keep pictures of one size in a flight",
                )
            yield row, Frame(image, row.state.at_ns, sequence)

    def _from_files(self, rows: Sequence[FlightRow]) -> Iterator[UInt8Array]:
        return (read_picture(self.pictures[row.frame]) for row in rows)

    def _from_video(self, rows: Sequence[FlightRow], path: Path) -> Iterator[UInt8Array]:
        """Decodes in order without seeking, which is exact for every codec; frames without a row are skipped."""
        with VideoFile(path) as video:
            for number, row in enumerate(rows):
                image = video.read(int(row.frame))
                if image is None:
                    raise FlightError(
                        f"video ends after {video.decoded} frames, frame {row.frame} of the log does not exist",
                        where=path,
                        mend=f"copy the video again, or use only the first {number} rows of the log",
                    )
                yield image


def open_flight(path: Path) -> Flight:
    """Reads and checks a flight folder (or its `flight.toml`); raises `FlightError` with file, line and mend."""
    toml = TomlFile(path / "flight.toml" if path.is_dir() else path, FlightError)
    toml.section("", ("frames", "log", "camera", "mount"))
    folder = toml.path.parent
    camera, latency_ms = _camera(toml), toml.number("camera", "latency_ms", -2000.0, 2000.0, 0.0)
    toml.section("mount", ("roll_deg", "pitch_deg", "yaw_deg"), required=False)
    mount = Mount(*(toml.number("mount", f"{axis}_deg", -360.0, 360.0, 0.0) for axis in ("roll", "pitch", "yaw")))
    log = folder / toml.text("", "log")
    rows, lines = _read_log(log)

    frames = toml.text("", "frames")
    video: Path | None = None
    pictures: dict[str, Path] = {}
    if (folder / frames).is_file() and Path(frames).suffix.lower() not in PICTURE_SUFFIXES:
        video = folder / frames
        _check_indices(rows, lines, log)
        with VideoFile(video) as opened:
            size = opened.width, opened.height
            last = int(rows[-1].frame)
            # Some containers only estimate their length; what is near is settled by decoding.
            if opened.claimed > 0 and last > 1.05 * opened.claimed + 10:
                raise FlightError(
                    f"frame {last} does not exist: the video has about {opened.claimed} frames",
                    where=f"{log}:{lines[-1]}",
                    mend="give the video that belongs to this log",
                )
    else:
        pictures = _find_pictures(toml, folder, frames)
        _check_names(rows, lines, log, pictures, frames)
        size = picture_size(pictures[rows[0].frame])
    rows = _earlier(rows, latency_ms / 1000.0)
    return Flight(folder, _fitted(toml, camera, size), mount, rows, video, pictures, latency_ms=latency_ms)


def _camera(toml: TomlFile) -> CameraModel:
    focal = ("fx", "fy", "cx", "cy")
    table = toml.section("camera", ("width", "height", "hfov_deg", "distortion", "latency_ms", *focal))
    width, height = (toml.number("camera", key, 16, 32768) for key in ("width", "height"))
    if not (width.is_integer() and height.is_integer()):
        raise toml.refuse("width and height must be whole pixels", "camera", "width")
    raw = table.get("distortion", [0.0] * 5)
    numbers = isinstance(raw, list) and all(type(k) in (int, float) and math.isfinite(k) for k in raw)
    if not numbers or len(raw) != 5:
        raise toml.refuse("distortion must be five numbers", "camera", "distortion", "OpenCV's k1, k2, p1, p2, k3")
    k1, k2, p1, p2, k3 = (float(k) for k in raw)
    distortion = (k1, k2, p1, p2, k3)
    if ("hfov_deg" in table) == any(key in table for key in focal):
        raise toml.refuse("give either hfov_deg or fx, fy, cx, cy", "camera", mend="see [camera] in docs")
    if "hfov_deg" in table:
        hfov_deg = toml.number("camera", "hfov_deg", 1, 170)
        return CameraModel.from_hfov(int(width), int(height), hfov_deg, distortion)
    fx, fy = (toml.number("camera", key, 1.0, 1e6) for key in ("fx", "fy"))
    cx, cy = (toml.number("camera", key, -32768, 65536) for key in ("cx", "cy"))
    return CameraModel(int(width), int(height), fx, fy, cx, cy, distortion)


def _fitted(toml: TomlFile, camera: CameraModel, size: tuple[int, int]) -> CameraModel:
    width, height = size
    if (width, height) == (camera.width, camera.height):
        return camera
    if abs(width * camera.height / (height * camera.width) - 1.0) > _ASPECT_TOLERANCE:
        raise toml.refuse(
            f"the pictures are {width} x {height} px, [camera] says {camera.width} x {camera.height} px",
            "camera",
            "width",
            "give the size that the focal length belongs to; a cropped picture needs its own intrinsics",
        )
    return camera.scaled_to(width, height)


def _find_pictures(toml: TomlFile, folder: Path, pattern: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    relative = Path(pattern).relative_to(Path(pattern).anchor)
    start = folder / Path(pattern).anchor
    for picture in islice(start.glob(str(relative)), _MAX_PICTURES):
        if picture.suffix.lower() in PICTURE_SUFFIXES and found.setdefault(picture.name, picture) != picture:
            raise toml.refuse(
                f"two pictures are named {picture.name}", "", "frames", "give every picture a name of its own"
            )
    if not found:
        raise toml.refuse(
            f'frames = "{pattern}" finds nothing', "", "frames", "give a glob of JPEG or PNG files, or one video file"
        )
    return found


def _check_names(
    rows: Sequence[FlightRow], lines: Sequence[int], log: Path, pictures: dict[str, Path], pattern: str
) -> None:
    seen: dict[str, int] = {}
    for row, line in zip(rows, lines, strict=True):
        if row.frame not in pictures:
            raise FlightError(
                f"frame {row.frame!r} does not exist: no picture of that name in {pattern}",
                where=f"{log}:{line}",
                mend="take the row out, or bring the picture back",
            )
        if seen.setdefault(row.frame, line) != line:
            raise FlightError(f"frame {row.frame!r} stands in line {seen[row.frame]} too", where=f"{log}:{line}")


def _check_indices(rows: Sequence[FlightRow], lines: Sequence[int], log: Path) -> None:
    before = -1
    for row, line in zip(rows, lines, strict=True):
        if not (row.frame.isascii() and row.frame.isdigit() and len(row.frame) <= 9):
            raise FlightError(f"frame {row.frame!r} is no index in a video", where=f"{log}:{line}", mend="count from 0")
        if int(row.frame) <= before:
            raise FlightError(
                f"frame {row.frame} comes after frame {before}", where=f"{log}:{line}", mend="sort the rows by frame"
            )
        before = int(row.frame)


def _read_log(path: Path) -> tuple[tuple[FlightRow, ...], tuple[int, ...]]:
    """The rows and the line of each."""
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


def _earlier(rows: tuple[FlightRow, ...], late_s: float) -> tuple[FlightRow, ...]:
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
