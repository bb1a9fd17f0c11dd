"""Makes flight folders out of the real imagery in ../shared/data, whose truth and limits its README gives."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.flight import FlightRow
from tilefix.flights.writer import FlightWriter
from tilefix.types import VehicleState

# nust_islamabad has no log: a constant heading and height stand for the autopilot's (README of the data).
NUST_CAMERA = CameraModel.from_hfov(852, 480, 73.7)
NUST_YAW_DEG = 112.9
NUST_AGL_M = 146.7
NUST_FRAMES = range(0, 1351, 15)
NUST_FRAMES_PER_S = 30000.0 / 1001.0
# The frames after the last matched one continue the straight line of this many matched frames.
NUST_EXTRAPOLATED_FROM = 6

BRIGHTON_CAMERA = CameraModel.from_hfov(4000, 2250, 84.0)  # focal length 20 mm on 36 mm
LEWIS_CAMERA = CameraModel.from_hfov(4000, 3000, 71.2)  # 5.2 mm on 7.44 mm


def prepare_nust(data: Path, folder: Path, turn_deg: float = 0.0, scale: float = 1.0) -> Path:
    """Every 15th frame of the flight over Islamabad, with its pseudo-truth; gives the folder. `turn_deg` is added to
    the heading that the log states, its height multiplied by `scale`."""
    source = data / "nust_islamabad"
    truth = list(_table(source / "pseudo_truth.csv"))
    known = np.array([float(row["frame"]) for row in truth])
    places = np.array([[float(row["lat"]), float(row["lon"])] for row in truth])
    line = np.polyfit(known[-NUST_EXTRAPOLATED_FROM:], places[-NUST_EXTRAPOLATED_FROM:], 1)
    with _writer(folder, "flight.mp4", NUST_CAMERA) as writer:
        shutil.copyfile(source / "flight.mp4", folder / "flight.mp4")
        for index in NUST_FRAMES:
            if index <= known[-1]:
                lat_deg, lon_deg = (float(np.interp(index, known, places[:, axis])) for axis in (0, 1))
            else:
                lat_deg, lon_deg = (float(value) for value in line[0] * index + line[1])
            time_s = index / NUST_FRAMES_PER_S
            state = VehicleState(round(time_s * 1e9), 0.0, 0.0, NUST_YAW_DEG + turn_deg, NUST_AGL_M * scale)
            writer.add(FlightRow(str(index), time_s, state, (lat_deg, lon_deg)))
    return folder


def prepare_elsewhere(data: Path, name: str, folder: Path, agl_m: float) -> Path:
    """The photos of `brighton_beach` or `lewis_oblique` as a level flight at `agl_m`, without truth: it lies nowhere
    on the map that it will be replayed on."""
    camera = {"brighton_beach": BRIGHTON_CAMERA, "lewis_oblique": LEWIS_CAMERA}[name]
    source = data / name
    pictures = {path.name.lower(): path for path in source.glob("*.jpg")}
    named = ((Path(row["file"]).name.lower(), row) for row in _table(source / "frames.csv"))
    table = sorted(((pictures[file], row) for file, row in named if file in pictures), key=lambda p: p[1]["datetime"])
    taken_s = [datetime.strptime(row["datetime"], "%Y:%m:%d %H:%M:%S").timestamp() for _, row in table]
    with _writer(folder, "*.jpg", camera) as writer:
        for (picture, row), at_s in zip(table, taken_s, strict=True):
            shutil.copyfile(picture, folder / picture.name)
            time_s = at_s - taken_s[0]
            yaw_deg = float(row["flight_yaw_deg"] or 0.0)
            state = VehicleState(round(time_s * 1e9), 0.0, 0.0, yaw_deg, agl_m)
            writer.add(FlightRow(picture.name, time_s, state))
    return folder


def _writer(folder: Path, frames: str, camera: CameraModel) -> FlightWriter:
    """A writer into a folder that is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    return FlightWriter(folder, frames=frames, camera=camera, mount=Mount())


def _table(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
    except OSError as error:
        raise FlightError(f"cannot be read: {error.strerror}", where=path, mend="give --data") from error
