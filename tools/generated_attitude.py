"""How much of the error of generated flights lies in what their logs say: attitude, heading and height."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from generated_figures import Record
from generated_plans import Sortie
from generated_report import HEIGHT_BANDS_M
from tilefix.camera import Mount, camera_to_ned
from tilefix.errors import TilefixError
from tilefix.flights.flight import Flight
from tilefix.geodesy import Grid, LocalFrame
from tilefix.simulation.flights import flown
from tilefix.types import Float64Array

# Errors of attitude and height are drawn from the seed and do not depend on the way; the way itself depends a little
# on how the autopilot estimates its place, which may have changed since the flight was recorded.
SAME_M = 2.0


def thrown_m(sortie: Sortie, record: Record, grid: Grid, frame: LocalFrame) -> Float64Array:
    """(n, 2), east and north: how far each frame's place is thrown off when the middle of the picture is laid exactly
    where it belongs, but its way from the point below follows from the log instead of the true attitude and height.

    Raises `TilefixError` when the flight that was replayed is another one.
    """
    rows = list(flown(grid, frame, sortie.plan))[: len(record.answers)]
    places = np.array([(motion.east_m, motion.north_m) for _, motion in rows])
    if len(rows) != len(record.answers) or np.abs(places - record.truth_m).max() > SAME_M:
        raise TilefixError("this is another flight now", where=record.name, mend="generate and run it anew")
    mount = sortie.plan.mount
    thrown = np.empty((len(rows), 2))
    for k, (row, true) in enumerate(rows):
        told = row.state
        thrown[k] = _middle_m(true.roll_deg, true.pitch_deg, true.yaw_deg, true.agl_m, mount)
        thrown[k] -= _middle_m(told.roll_deg, told.pitch_deg, told.yaw_deg, told.agl_m, mount)
    return thrown


def _middle_m(
    roll_deg: float | None, pitch_deg: float | None, yaw_deg: float | None, agl_m: float | None, mount: Mount
) -> Float64Array:
    """East and north of the middle of the picture from the point below the camera, on level ground."""
    if roll_deg is None or pitch_deg is None or yaw_deg is None or agl_m is None:
        raise TilefixError("the log lacks attitude, heading or height")
    north, east, down = camera_to_ned(roll_deg, pitch_deg, yaw_deg, mount)[:, 2]
    return np.array([float(east), float(north)]) * agl_m / float(down)


def attitude_table(flights: Iterable[tuple[Record, Float64Array]]) -> str:
    """Markdown, by height: errors of the log's making, those of the fixes, and what is left without the former."""
    lines = [
        "| flights | fixes | by the log alone, median / p95 | error of fixes | without the log's part |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    known = list(flights)
    bands = [("all", 0.0, np.inf), *((f"{low} to {high} m", low, high) for low, high in HEIGHT_BANDS_M)]
    for name, low_m, high_m in bands:
        inside = [_fixes(record, thrown) for record, thrown in known if low_m <= record.facts["agl_m"] < high_m]
        if not inside:
            continue
        error_m, log_m = (np.concatenate([pair[k] for pair in inside]) for k in (0, 1))
        cells = [_spread(log_m), _spread(error_m), _spread(error_m - log_m)]
        lines.append(f"| {name}: {len(inside)} | {len(error_m)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def headings_off_deg(flights: Iterable[tuple[Record, Flight]]) -> list[float]:
    """How far the headings found lie from those that the logs would have stated, of every fix."""
    return [
        abs((answer.fix.heading_deg - row.state.yaw_deg + 180.0) % 360.0 - 180.0)
        for record, flight in flights
        for row, answer in zip(flight.rows, record.answers, strict=False)  # the first frames, where only these were run
        if answer.kind == "fix" and answer.fix is not None
        if answer.fix.heading_deg is not None and row.state.yaw_deg is not None
    ]


def heading_line(errors_deg: Sequence[float]) -> str:
    """The headings' errors in a line; "" without any."""
    if not errors_deg:
        return ""
    median, p95, most = np.percentile(errors_deg, [50.0, 95.0, 100.0])
    return f"\nHeading found against the log's, median / p95 / max: {median:.1f} / {p95:.1f} / {most:.1f} degrees.\n"


def _fixes(record: Record, thrown: Float64Array) -> tuple[Float64Array, Float64Array]:
    """(n, 2) each: errors of the fixes, and of the log at these frames."""
    rows = [k for k, answer in enumerate(record.answers) if answer.kind == "fix" and answer.error_m is not None]
    return np.array([record.answers[k].error_m for k in rows]).reshape(-1, 2), thrown[rows]


def _spread(offsets_m: Float64Array) -> str:
    lengths: Sequence[float] = np.hypot(offsets_m[:, 0], offsets_m[:, 1]).tolist()
    return " / ".join(f"{np.percentile(lengths, q):.2f} m" for q in (50.0, 95.0)) if lengths else "–"
