"""The pictures that a calibration looks at: spread over the flight, reduced, and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tilefix.calibration.model import RATE_REACH_S, Series
from tilefix.camera import CameraModel
from tilefix.errors import FlightError
from tilefix.flights.flight import Flight
from tilefix.geodesy import LocalFrame
from tilefix.localization.gates import picture_refusal, state_refusal
from tilefix.types import Float64Array, UInt8Array

TIME_REACH_S = 1.0  # how far pictures and log may be apart
LONGEST_GAP_S = 3.0  # in the log, across which it is read between rows
MAX_SIDE_PX = 800
FEWEST = 12
MOST = 160


@dataclass(frozen=True, eq=False)
class Pictures:
    """`images`: uint8 (h, w, 3) RGB, taken at `times_s` (by their stamps) with `camera` as configured. `rows`: of the
    log with everything in it; `series`: what those say."""

    images: tuple[UInt8Array, ...]
    times_s: Float64Array
    camera: CameraModel
    series: Series
    rows: int


def read_pictures(
    flight: Flight, frame: LocalFrame, *, most: int = MOST, progress: Callable[[float], None] | None = None
) -> Pictures:
    """Pictures evenly over the flight. Raises `FlightError` when the log has no positions, no attitudes, or too few."""
    if all(row.truth is None for row in flight.rows):
        raise FlightError(
            "no row of the log has a position",
            where=flight.folder,
            mend="fly with GNSS on and record with tilefix run --record; lat_deg and lon_deg are the receiver's",
        )
    usable = [row for row in flight.rows if row.truth is not None and state_refusal(row.state) is None]
    if len(usable) < FEWEST:
        raise FlightError(
            f"only {len(usable)} rows of {len(flight.rows)} have position, attitude, heading and height",
            where=flight.folder,
            mend=f"a calibration needs {FEWEST}, better 200",
        )
    series = Series.of(usable, frame)
    times_s = np.array([row.time_s for row in usable])
    usual_s = float(np.median(np.diff(times_s)))
    inside = series.surrounds(times_s, TIME_REACH_S + RATE_REACH_S, max(LONGEST_GAP_S, 2.5 * usual_s))
    chosen = [row for row, good in zip(usable, inside, strict=True) if good]
    if len(chosen) < FEWEST:
        raise FlightError(
            f"only {len(chosen)} frames stand {TIME_REACH_S + RATE_REACH_S:g} s inside an unbroken log",
            where=flight.folder,
            mend="record a minute or more without a break",
        )
    if len(chosen) > most:
        chosen = [chosen[round(k)] for k in np.linspace(0, len(chosen) - 1, most)]
    camera = flight.camera
    shrink = min(1.0, MAX_SIDE_PX / max(camera.width, camera.height))
    size = (round(camera.width * shrink), round(camera.height * shrink))
    images, taken_s = [], []
    for number, (row, picture) in enumerate(replace(flight, rows=tuple(chosen)).frames()):
        image = picture.image
        if size != (camera.width, camera.height):
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        if picture_refusal(image) is None:
            images.append(image)
            taken_s.append(row.time_s)
        if progress is not None:
            progress((number + 1) / len(chosen))
    if len(images) < FEWEST:
        raise FlightError(
            f"only {len(images)} of {len(chosen)} pictures are neither dark, white nor without detail",
            where=flight.folder,
            mend="calibrate by daylight over ground with detail",
        )
    return Pictures(tuple(images), np.array(taken_s), camera.scaled_to(*size), series, len(usable))
