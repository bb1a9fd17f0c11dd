"""`tilefix flight import`: a flight folder from a video and an autopilot's log."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2

from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.flight import FlightRow
from tilefix.flights.videofile import VideoFile
from tilefix.flights.writer import FlightWriter

if TYPE_CHECKING:
    from tilefix.flightlogs.series import LogSeries

# Ending of a log -> (module, function from path to LogSeries).
READERS = {
    ".bin": ("tilefix.flightlogs.ardupilot", "read_dataflash"),
    ".tlog": ("tilefix.flightlogs.ardupilot", "read_telemetry"),
    ".ulg": ("tilefix.flightlogs.px4", "read_ulog"),
}
ASSUMED_HFOV_DEG = 70.0
_MAX_LOG_BYTES = 1 << 33
_MIN_COVERED = 0.5


@dataclass(frozen=True)
class ImportRequest:
    """`offset_s`: seconds from the log's first message to the video's first frame. `every`: each so many frames get
    a row. `start_agl_m`: height above ground where the log begins. `camera`: `None` assumes a lens."""

    video: Path
    log: Path
    out: Path
    offset_s: float = 0.0
    every: int = 1
    start_agl_m: float = 0.0
    camera: CameraModel | None = None
    mount: Mount = field(default_factory=Mount)


def read_log(path: Path) -> LogSeries:
    """The series of a log of any known kind; raises `FlightError`."""
    if path.suffix.lower() not in READERS:
        raise FlightError("is no kind of log that is known", where=path, mend=f"give one of {', '.join(READERS)}")
    if not path.is_file():
        raise FlightError("log does not exist", where=path, mend="check --log")
    if not 0 < path.stat().st_size <= _MAX_LOG_BYTES:
        raise FlightError("log is empty or larger than 8 GiB", where=path, mend="check --log")
    module, function = READERS[path.suffix.lower()]
    try:
        return cast("LogSeries", getattr(importlib.import_module(module), function)(path))
    except ModuleNotFoundError as error:
        raise FlightError(f"needs {error.name} to be read", where=path, mend="pip install tilefix[import]") from error
    except OSError as error:
        raise FlightError(f"log cannot be read: {error.strerror}", where=path, mend="check the file") from error


def import_flight(request: ImportRequest) -> tuple[int, int]:
    """Writes the flight folder, whole or not at all; gives (rows written, frames of the video).

    Frames that the log does not cover get no row. Raises `FlightError` for a bad log or video, and when the log
    covers less than half of the video.
    """
    series = read_log(request.log)
    with VideoFile(request.video) as video:
        size = video.width, video.height
    camera = request.camera or CameraModel.from_hfov(*size, ASSUMED_HFOV_DEG)
    times_s = list(_frame_times_s(request.video))
    rows = list(_rows(request, series, times_s))
    asked = math.ceil(len(times_s) / request.every)
    if len(rows) < max(_MIN_COVERED * asked, 1):
        raise FlightError(
            f"log covers {len(rows)} of {asked} frames: it ends {series.ends_s:.1f} s after its begin, the video was "
            f"taken to run from {request.offset_s:.1f} s to {request.offset_s + (times_s or [0.0])[-1]:.1f} s",
            where=request.log,
            mend="give --offset-s, the seconds from the log's begin to the video's, or the whole log",
        )
    with _folder(request.out) as folder:
        name = f"video{request.video.suffix.lower()}"
        _link_or_copy(request.video, folder / name)
        with FlightWriter(folder, frames=name, camera=camera, mount=request.mount) as writer:
            for row in rows:
                writer.add(row)
        if request.camera is None:
            with (folder / "flight.toml").open("a", encoding="utf-8") as file:
                file.write(f"# The lens was assumed to see {ASSUMED_HFOV_DEG:g} degrees across: mend fx and fy.\n")
    return len(rows), len(times_s)


def _rows(request: ImportRequest, series: LogSeries, times_s: list[float]) -> Iterator[FlightRow]:
    for index in range(0, len(times_s), request.every):
        log_s = times_s[index] + request.offset_s
        if 0.0 <= log_s <= series.ends_s:
            state = series.state_at(log_s, round(times_s[index] * 1e9), request.start_agl_m)
            yield FlightRow(str(index), times_s[index], state, series.truth_at(log_s))


def _frame_times_s(path: Path) -> Iterator[float]:
    """Seconds from the first frame to each frame that can be decoded, by the container's stamps; where these do not
    grow, by its frame rate."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
        step_s = 1.0 / rate_hz if 0.1 <= rate_hz <= 1000.0 else 1.0 / 30.0
        first_s: float | None = None
        before_s = -step_s
        while capture.grab():
            stamp_s = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1e3
            first_s = stamp_s if first_s is None else first_s
            since_s = stamp_s - first_s
            before_s = since_s if math.isfinite(since_s) and since_s > before_s else before_s + step_s
            yield before_s
    finally:
        capture.release()


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder that appears as `out` when the block ends well, and not at all otherwise."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FlightError("exists already", where=out, mend="give --out a new folder")
    partial = out.with_name(f"{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rmdir()
        partial.replace(out)
    except OSError as error:
        raise FlightError(f"cannot be written: {error.strerror}", where=out, mend="check --out") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    """A video may be as large as the disk has left: linked where that works."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tilefix flight`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("import", help="make a flight folder from a video and a log").add_argument
    add("--video", type=Path, required=True, metavar="FILE")
    add("--log", type=Path, required=True, metavar="FILE", help="ArduPilot .bin or .tlog, or PX4 .ulg")
    add("--out", type=Path, required=True, metavar="DIR", help="the flight folder, new")
    add("--offset-s", type=float, default=0.0, metavar="S", help="from the log's begin to the video's (default 0)")
    add("--every", type=int, default=1, metavar="N", help="a row for each Nth frame (default 1)")
    add("--start-agl-m", type=float, default=0.0, metavar="M", help="height above ground where the log begins")
    add("--hfov-deg", type=float, metavar="D", help="horizontal field of view of the lens")
    add("--config", type=Path, metavar="FILE", help="take [camera] and [mount] from a configuration instead")


def run(args: argparse.Namespace) -> int:
    """Imports a flight."""
    if args.every < 1 or not math.isfinite(args.offset_s) or not math.isfinite(args.start_agl_m):
        raise FlightError("--every must be at least 1, --offset-s and --start-agl-m finite", mend="see --help")
    camera, mount = _lens(args)
    request = ImportRequest(
        args.video, args.log, args.out, args.offset_s, args.every, args.start_agl_m, camera=camera, mount=mount
    )
    rows, frames = import_flight(request)
    sys.stdout.write(f"{args.out}: {rows} rows from a video of {frames} frames\n")
    if camera is None:
        sys.stderr.write(
            f"tilefix: no lens was given, {ASSUMED_HFOV_DEG:g} degrees across is assumed: give --hfov-deg or --config, "
            f"or mend [camera] in {args.out / 'flight.toml'}\n"
        )
    return 0


def _lens(args: argparse.Namespace) -> tuple[CameraModel | None, Mount]:
    if args.config is not None:
        from tilefix.service.config import load_config

        config = load_config(args.config)
        return config.camera.model, config.mount
    if args.hfov_deg is None:
        return None, Mount()
    with VideoFile(args.video) as video:
        try:
            return CameraModel.from_hfov(video.width, video.height, args.hfov_deg), Mount()
        except ValueError as error:
            raise FlightError(str(error), where="--hfov-deg", mend="give 1 to 170") from error
