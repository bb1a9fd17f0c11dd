"""Flight folders: `flight.toml`, `log.csv` and frames, as images or as one video.

`flight.toml` names the frames (a glob or one video file), the log, the camera and its mount. The log has one row per
frame: `frame` (file name, or index in the video), `time_s`, `agl_m`, `roll_deg`, `pitch_deg`, `yaw_deg` and, where
known, `lat_deg`, `lon_deg` as truth, and `agl_sigma_m`, `amsl_m`, `amsl_sigma_m`. Empty cells mean unknown; columns
beyond these are left alone. A picture taken before the time of its row (`latency_ms` in `[camera]`) gets the log's
state and truth of the time when it was taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.log import FlightRow, earlier, read_log
from tilefix.flights.videofile import VideoFile
from tilefix.pictures import PICTURE_SUFFIXES, picture_size, read_picture
from tilefix.toml.file import TomlFile
from tilefix.types import Frame, UInt8Array

__all__ = ["Flight", "FlightRow", "open_flight"]

_MAX_PICTURES = 1_000_000
_ASPECT_TOLERANCE = 0.01


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
    rows, lines = read_log(log)

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
    rows = earlier(rows, latency_ms / 1000.0)
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
