"""Sheets of ground from what a user has: footage laid flat and north up, plain video, map packages.

Positions in a flight's log are never read: footage and map stay two unrelated sets of pictures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from tilefix.errors import ConfigError, FlightError
from tilefix.flights.flight import Flight, FlightRow, open_flight
from tilefix.flights.videofile import VideoFile
from tilefix.localization.rectify import PreparedFrame, Rectifier
from tilefix.maps.package import MapPackage
from tilefix.pictures import read_picture
from tilefix.types import UInt8Array, VehicleState
from tilefix_training.data.sheet import Report, Sheet
from tilefix_training.sources import FlightSource, MapSource, PhotosSource

MAX_TILT_DEG = 40.0  # of the optical axis: beyond it ground is smeared more than patches of a map ever are
_ROOM = 4 / 3  # of the footprint's square, so that patches at its edge have their margin
_MAX_SIDE_PX = 4096
_BLIND_STEP = 10  # frames, in a video that does not tell its length


def flight_sheets(source: FlightSource, report: Report, frames: int, finest_m: float) -> Iterator[Sheet]:
    """Up to `frames` frames of a flight, evenly spread, as north-up sheets of `finest_m` metres a pixel or coarser.

    Coverage is the camera's footprint; beyond it the sheet goes on mirrored. `first`, `last` count frames of the video,
    or rows of the log for pictures. Rows without attitude, heading or height, frames that look too far to the side and
    pictures that cannot be read are skipped and told. Raises `ConfigError` when the log leaves nothing, `FlightError`
    for a folder that is no flight.
    """
    flight = open_flight(Path(source.folder))
    last = math.inf if source.last < 0 else source.last
    numbered = [(int(row.frame) if flight.video else i, row) for i, row in enumerate(flight.rows)]
    rows = [row for number, row in numbered if source.first <= number <= last]
    rectifier = Rectifier(flight.camera, flight.mount)
    usable = [row for row in rows if _usable(row.state, rectifier)]
    if len(usable) < len(rows):
        lost = len(rows) - len(usable)
        report.skipped.append(
            f"{flight.folder}: {lost} of {len(rows)} frames without attitude, heading and height, or tilted"
        )
    if not usable:
        raise ConfigError(
            f"none of {len(rows)} frames from {source.first} to {source.last} can be laid flat",
            where=source.folder,
            mend="the log needs roll_deg, pitch_deg, yaw_deg and agl_m; plain footage is a source of the kind photos",
        )
    chosen = [usable[i] for i in _spread(len(usable), frames)]
    for row, image in _pictures(flight, chosen, report):
        sheet = _flat(f"{flight.folder.name} {row.frame}", image, row.state, rectifier, finest_m)
        yield dataclasses.replace(sheet, share=1.0 / len(chosen))


def video_sheets(source: PhotosSource, report: Report, frames: int, finest_m: float) -> Iterator[Sheet]:
    """Up to `frames` frames of a plain video, evenly spread, each `width_m` across; what cannot be read is told."""
    with VideoFile(Path(source.folder)) as video:
        chosen = _spread(video.claimed, frames) if video.claimed else range(0, frames * _BLIND_STEP, _BLIND_STEP)
        for number in chosen:
            image = video.read(number)
            if image is None:
                report.skipped.append(f"{source.folder}: the video ends after {video.decoded} frames")
                return
            report.pictures += 1
            gsd_m = source.width_m / image.shape[1]
            if finest_m >= 2.0 * gsd_m:
                width, height = (max(1, round(side * gsd_m / finest_m)) for side in (image.shape[1], image.shape[0]))
                image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            yield Sheet(f"frame {number}", image, source.width_m / image.shape[1], share=1.0 / len(chosen))


def map_sheet(source: MapSource, report: Report) -> Sheet:
    """A map package's imagery where it has any; raises `MapError` for what is none."""
    package = MapPackage.open(source.folder)
    report.pictures += 1
    return Sheet(package.path.name, package.imagery, package.grid.gsd_m, np.asarray(package.coverage) == 255)


def _usable(state: VehicleState, rectifier: Rectifier) -> bool:
    roll_deg, pitch_deg, yaw_deg, agl_m = state.roll_deg, state.pitch_deg, state.yaw_deg, state.agl_m
    if roll_deg is None or pitch_deg is None or yaw_deg is None or agl_m is None or agl_m <= 1.0:
        return False
    if rectifier.tilt_deg(roll_deg, pitch_deg) > MAX_TILT_DEG:
        return False
    return rectifier.view(roll_deg, pitch_deg, yaw_deg, agl_m) is not None


def _spread(count: int, wanted: int) -> Sequence[int]:
    """At most `wanted` of the numbers below `count`, evenly apart."""
    if wanted >= count:
        return range(count)
    return [int((i + 0.5) * count / wanted) for i in range(wanted)]


def _pictures(flight: Flight, rows: Sequence[FlightRow], report: Report) -> Iterator[tuple[FlightRow, UInt8Array]]:
    if flight.video is None:
        for row in rows:
            try:
                image = read_picture(flight.pictures[row.frame])
            except FlightError as error:
                report.skipped.append(str(error))
                continue
            yield from _fitting(flight, row, image, report)
        return
    with VideoFile(flight.video) as video:
        for row in rows:
            found = video.read(int(row.frame))
            if found is None:
                report.skipped.append(f"{flight.video}: the video ends after {video.decoded} frames")
                return
            yield from _fitting(flight, row, found, report)


def _fitting(
    flight: Flight, row: FlightRow, image: UInt8Array, report: Report
) -> Iterator[tuple[FlightRow, UInt8Array]]:
    if image.shape[:2] == (flight.camera.height, flight.camera.width):
        report.pictures += 1
        yield row, image
    else:
        report.skipped.append(f"{flight.folder}, frame {row.frame}: {image.shape[1]} x {image.shape[0]} px")


def _flat(name: str, image: UInt8Array, state: VehicleState, rectifier: Rectifier, finest_m: float) -> Sheet:
    roll_deg, pitch_deg, yaw_deg, agl_m = state.roll_deg, state.pitch_deg, state.yaw_deg, state.agl_m
    assert roll_deg is not None and pitch_deg is not None and yaw_deg is not None and agl_m is not None  # noqa: PT018
    view = rectifier.view(roll_deg, pitch_deg, yaw_deg, agl_m)
    assert view is not None
    side_m = view.extent_m * _ROOM
    gsd_m = max(agl_m / rectifier.camera.fx, finest_m, side_m / _MAX_SIDE_PX)
    prepared = _mirrored(_trimmed(rectifier.prepare(image, agl_m, gsd_m)))
    patch = prepared.patch(view, gsd_m=gsd_m, size_px=max(2, round(side_m / gsd_m)), centre_m=view.centre_m)
    return Sheet(name, patch.image, gsd_m, patch.mask, mirrored=True)


def _trimmed(prepared: PreparedFrame) -> PreparedFrame:
    """Without the rows and columns at the edges that undistortion left empty."""
    inside = prepared.inside > 127
    top, bottom, left, right = 0, inside.shape[0], 0, inside.shape[1]
    while bottom - top > 16 and right - left > 16:
        kept = inside[top:bottom, left:right]
        full = {
            "top": kept[0].mean(),
            "bottom": kept[-1].mean(),
            "left": kept[:, 0].mean(),
            "right": kept[:, -1].mean(),
        }
        worst = min(full, key=lambda side: full[side])
        if full[worst] == 1.0:
            break
        top, bottom = top + (worst == "top"), bottom - (worst == "bottom")
        left, right = left + (worst == "left"), right - (worst == "right")
    camera = prepared.camera
    camera = dataclasses.replace(
        camera, width=right - left, height=bottom - top, cx=camera.cx - left, cy=camera.cy - top
    )
    return PreparedFrame(prepared.image[top:bottom, left:right], prepared.inside[top:bottom, left:right], camera)


def _mirrored(prepared: PreparedFrame) -> PreparedFrame:
    """With its mirror image around it, half its longer side wide."""
    camera = prepared.camera
    pad = min(max(camera.width, camera.height) // 2, min(camera.width, camera.height) - 1)
    image = cv2.copyMakeBorder(prepared.image, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
    inside = cv2.copyMakeBorder(prepared.inside, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    wider = dataclasses.replace(
        camera, width=camera.width + 2 * pad, height=camera.height + 2 * pad, cx=camera.cx + pad, cy=camera.cy + pad
    )
    return PreparedFrame(np.asarray(image, np.uint8), np.asarray(inside, np.uint8), wider)
