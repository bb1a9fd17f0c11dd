"""The report's map: imagery under the track, as one SVG with the imagery inside it."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.evaluation.scoring import Answer
from tilefix.geodesy import Grid, LocalFrame
from tilefix.types import Covariance, UInt8Array

WIDTH = 1080
_MIN_ASPECT, _MAX_ASPECT = 1.45, 2.4
_ELLIPSE_SIGMAS = 2.0
_JPEG_QUALITY = 82


@dataclass(frozen=True, slots=True)
class View:
    """A window of the map in local metres, drawn `WIDTH` units wide."""

    west_m: float
    north_m: float
    width_m: float
    height_m: float

    @property
    def per_m(self) -> float:
        """Drawing units per metre."""
        return WIDTH / self.width_m

    @property
    def height(self) -> int:
        """Height in drawing units."""
        return round(self.height_m * self.per_m)

    def place(self, east_m: float, north_m: float) -> tuple[float, float]:
        """(x, y) in the drawing."""
        return (east_m - self.west_m) * self.per_m, (self.north_m - north_m) * self.per_m


def view_of(points: Sequence[tuple[float, float]], grid: Grid) -> View:
    """The window around the points that lie on the map, with a margin; all of the map when there are none."""
    inside = [point for point in points if grid.contains(*point)]
    if inside:
        east, north = np.array(inside).T
        west_m, east_m = float(east.min()), float(east.max())
        south_m, north_m = float(north.min()), float(north.max())
        margin_m = max(0.12 * max(east_m - west_m, north_m - south_m), 60.0 * grid.gsd_m)
    else:
        west_m, east_m, south_m, north_m, margin_m = grid.west_m, grid.east_m, grid.south_m, grid.north_m, 0.0
    width_m, height_m = east_m - west_m + 2.0 * margin_m, north_m - south_m + 2.0 * margin_m
    centre_east_m, centre_north_m = 0.5 * (west_m + east_m), 0.5 * (south_m + north_m)
    width_m = max(width_m, _MIN_ASPECT * height_m)
    height_m = max(height_m, width_m / _MAX_ASPECT)
    return View(centre_east_m - 0.5 * width_m, centre_north_m + 0.5 * height_m, width_m, height_m)


def map_svg(answers: Sequence[Answer], imagery: UInt8Array, grid: Grid, local: LocalFrame) -> tuple[str, View]:
    """The drawing, and the window it shows. `imagery`: uint8 (H, W, 3) RGB on `grid`."""
    truths = [None if a.truth is None else local.to_local(*a.truth) for a in answers]
    found = [None if a.fix is None else local.to_local(a.fix.lat_deg, a.fix.lon_deg) for a in answers]
    view = view_of([point for point in (*truths, *found) if point is not None], grid)
    parts = [
        f'<svg class="map" viewBox="0 0 {WIDTH} {view.height}" role="img" aria-label="Map with the track">',
        picture(imagery, grid, view),
    ]
    for style in ('stroke="#000" stroke-opacity=".55" stroke-width="5"', 'stroke="#fff" stroke-width="2.2"'):
        parts += [f'<polyline class="track" {style} points="{run}"/>' for run in _runs(truths, view)]
    for answer, place, truth in zip(answers, found, truths, strict=True):
        if answer.fix is not None and place is not None:
            parts.append(_ellipse(answer.fix.covariance_m2, view.place(*place), view.per_m, answer.kind))
            if truth is not None:
                (x1, y1), (x2, y2) = view.place(*place), view.place(*truth)
                if math.hypot(x2 - x1, y2 - y1) > 4.0:
                    parts.append(f'<line class="miss" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    for answer, place in zip(answers, found, strict=True):
        if place is not None:
            x, y = view.place(*place)
            parts.append(f'<circle class="{answer.kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>')
            if answer.false_fix:
                parts.append(f'<circle class="wrong" cx="{x:.1f}" cy="{y:.1f}" r="8"/>')
    parts += [scale_bar(view), north_arrow(), '<circle class="here" r="9"/></svg>']
    return "\n".join(parts), view


def picture(imagery: UInt8Array, grid: Grid, view: View) -> str:
    """The part of the imagery that the window shows, as an embedded JPEG."""
    left, top = grid.to_pixel(view.west_m, view.north_m)
    right, bottom = grid.to_pixel(view.west_m + view.width_m, view.north_m - view.height_m)
    x0, x1 = max(0, math.floor(left)), min(grid.width_px, math.ceil(right) + 1)
    y0, y1 = max(0, math.floor(top)), min(grid.height_px, math.ceil(bottom) + 1)
    # Large maps stay on disk: whole pixels are skipped before the rest is averaged.
    step = max(1, (x1 - x0) // (3 * WIDTH))
    crop = np.ascontiguousarray(imagery[y0:y1:step, x0:x1:step])
    scale = min(1.0, view.per_m * grid.gsd_m * step)
    size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not ok:
        raise ValueError("map imagery cannot be encoded")
    x, y = view.place(grid.west_m + x0 * grid.gsd_m, grid.north_m - y0 * grid.gsd_m)
    unit = grid.gsd_m * view.per_m
    return (
        f'<image x="{x:.2f}" y="{y:.2f}" width="{(x1 - x0) * unit:.2f}" height="{(y1 - y0) * unit:.2f}" '
        f'preserveAspectRatio="none" href="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"/>'
    )


def _runs(points: Sequence[tuple[float, float] | None], view: View) -> list[str]:
    """The `points` attributes of lines through consecutive known places."""
    runs: list[list[str]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            x, y = view.place(*point)
            runs[-1].append(f"{x:.1f},{y:.1f}")
    return [" ".join(run) for run in runs if len(run) > 1]


def _ellipse(covariance: Covariance, centre: tuple[float, float], per_m: float, kind: str) -> str:
    values, vectors = np.linalg.eigh(np.array([[covariance.ee, covariance.en], [covariance.en, covariance.nn]]))
    minor, major = (_ELLIPSE_SIGMAS * math.sqrt(max(float(value), 0.0)) * per_m for value in values)
    # North grows upwards, the drawing's y downwards.
    turn_deg = -math.degrees(math.atan2(float(vectors[1, 1]), float(vectors[0, 1])))
    turn_deg = math.remainder(turn_deg, 180.0)
    x, y = centre
    return (
        f'<ellipse class="ellipse of-{kind}" cx="{x:.1f}" cy="{y:.1f}" rx="{major:.1f}" ry="{minor:.1f}" '
        f'transform="rotate({turn_deg:.1f} {x:.1f} {y:.1f})"/>'
    )


def scale_bar(view: View) -> str:
    most_m = 0.22 * view.width_m
    unit = 10.0 ** math.floor(math.log10(most_m))
    length_m = max(unit * step for step in (1.0, 2.0, 5.0) if unit * step <= most_m)
    x, y, units = 24, view.height - 24, length_m * view.per_m
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    return (
        f'<path d="M{x} {y - 6}V{y}H{x + units:.1f}V{y - 6}" fill="none" stroke="#000" stroke-opacity=".6" '
        f'stroke-width="5"/><path d="M{x} {y - 6}V{y}H{x + units:.1f}V{y - 6}" fill="none" stroke="#fff" '
        f'stroke-width="2"/><text x="{x}" y="{y - 12}">{label}</text>'
    )


def north_arrow() -> str:
    x = WIDTH - 34
    return (
        f'<path d="M{x} 18l8 24-8-5-8 5z" fill="#fff" stroke="#000" stroke-opacity=".6"/>'
        f'<text x="{x}" y="58" text-anchor="middle">N</text>'
    )
