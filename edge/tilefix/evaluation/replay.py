"""Replays a flight through the localizer and writes what came of it: the pure loop, and its results.

Two replays of one flight give equal answers, and equal bytes of `fixes.csv` and `report.html`; only the fields of
`summary.json` that begin with `latency` differ.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from tilefix.errors import FlightError
from tilefix.evaluation.scoring import Answer, Score, judge, score
from tilefix.flights.flight import Flight
from tilefix.geodesy import Grid, LocalFrame
from tilefix.ports import Clock
from tilefix.timing import StageTimer
from tilefix.types import Fix, Frame, NoFix, VehicleState

FIX_COLUMNS = (
    "frame",
    "time_s",
    "kind",
    "reason",
    "lat_deg",
    "lon_deg",
    "sigma_m",
    "cov_ee_m2",
    "cov_en_m2",
    "cov_nn_m2",
    "match_age_s",
    "velocity_east_mps",
    "velocity_north_mps",
    "turn_deg",
    "turn_sigma_deg",
    "scale",
    "scale_sigma",
    "truth_lat_deg",
    "truth_lon_deg",
    "error_east_m",
    "error_north_m",
    "error_m",
    "false_fix",
)


class Localizes(Protocol):
    """What a replay asks of a localizer."""

    def hint(self, lat_deg: float, lon_deg: float, sigma_m: float) -> None:
        """Starts the belief around a place."""
        ...

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
        """The answer to one frame."""
        ...


@dataclass(frozen=True, slots=True)
class Hint:
    """Where the flight starts, as far as it is told: from row number `row` on, within `sigma_m`."""

    lat_deg: float
    lon_deg: float
    sigma_m: float
    row: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the frames took, milliseconds; `stages`: median and 99th percentile of each stage."""

    p50_ms: float
    p99_ms: float
    stages: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Replay:
    """All answers of a replay, their score and the latency."""

    answers: tuple[Answer, ...]
    score: Score
    latency: Latency


def first_truth(flight: Flight, sigma_m: float, limit: int | None = None) -> Hint:
    """The hint that the first row with a truth gives; raises `FlightError` when there is none."""
    for number, row in enumerate(flight.rows[:limit]):
        if row.truth is not None:
            return Hint(*row.truth, sigma_m, number)
    raise FlightError(
        "no row has a truth to take the first hint from", where=flight.folder, mend="replay with --hint none"
    )


def replay(
    flight: Flight,
    localizer: Localizes,
    local: LocalFrame,
    grid: Grid,
    clock: Clock,
    *,
    hint: Hint | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Gives every frame of the flight to the localizer, in order; it never sees the truth beyond the hint.

    `local`, `grid`: the map's. Raises `FlightError` for a hint outside the map and for frames that cannot be read.
    """
    if hint is not None and not grid.contains(*local.to_local(hint.lat_deg, hint.lon_deg)):
        raise FlightError(
            f"the hint {hint.lat_deg:.6f}, {hint.lon_deg:.6f} lies outside the map",
            where=flight.folder,
            mend="replay on a map of the place of the flight, or with --hint none",
        )
    timer = StageTimer(clock, keep=max(1, len(flight.rows)))
    answers: list[Answer] = []
    took_ms: list[float] = []
    frames = flight.frames(limit)
    total = len(flight.rows[:limit])
    while True:
        with timer.stage("decode"):
            item = next(frames, None)
        if item is None:
            break
        row, frame = item
        if hint is not None and len(answers) == hint.row:
            localizer.hint(hint.lat_deg, hint.lon_deg, hint.sigma_m)
        begun_ns = clock.now_ns()
        position = localizer.process(frame, row.state, timer)
        took_ms.append((clock.now_ns() - begun_ns) / 1e6)
        answers.append(judge(row.frame, row.time_s, position, row.truth, local, grid.gsd_m))
        if progress is not None:
            progress(len(answers), total)
    p50, p99 = (float(np.percentile(took_ms, percent)) if took_ms else 0.0 for percent in (50.0, 99.0))
    stages = {name: (summary.p50_ms, summary.p99_ms) for name, summary in timer.percentiles_ms().items()}
    return Replay(tuple(answers), score(answers), Latency(p50, p99, stages))


def fixes_csv(answers: Sequence[Answer]) -> str:
    """The answers as CSV text with the columns `FIX_COLUMNS`; empty cells mean unknown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIX_COLUMNS)
    for answer in answers:
        writer.writerow(_cells(answer))
    return text.getvalue()


def _cells(answer: Answer) -> Iterator[str]:
    reason = answer.position.reason
    yield answer.frame
    yield f"{answer.time_s:.6f}"
    yield answer.kind
    yield "" if reason is None else reason.name
    fix = answer.fix
    if fix is None:
        yield from [""] * 13
    else:
        yield f"{fix.lat_deg:.9f}"
        yield f"{fix.lon_deg:.9f}"
        yield f"{fix.sigma_m:.4f}"
        for value in (fix.covariance_m2.ee, fix.covariance_m2.en, fix.covariance_m2.nn):
            yield f"{value:.6g}"
        yield f"{fix.match_age_s:.3f}" if math.isfinite(fix.match_age_s) else "inf"
        for speed in (fix.velocity_east_mps, fix.velocity_north_mps):
            yield "" if speed is None else f"{speed:.4f}"
        for error in (fix.turn_deg, fix.turn_sigma_deg, fix.scale, fix.scale_sigma):
            yield "" if error is None else f"{error:.4f}"
    yield from ("", "") if answer.truth is None else (f"{value:.9f}" for value in answer.truth)
    if answer.error_m is None:
        yield from [""] * 4
    else:
        for value in (*answer.error_m, math.hypot(*answer.error_m)):
            yield f"{value:.4f}"
        yield "1" if answer.false_fix else "0"


def summary_json(result: Score, latency: Latency | None = None, **more: Any) -> str:
    """The score as JSON text, with `latency_*` fields last and whatever else the caller states before them."""
    fields: dict[str, Any] = {
        key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(result).items()
    }
    fields.update(more)
    if latency is not None:
        fields["latency_p50_ms"] = round(latency.p50_ms, 3)
        fields["latency_p99_ms"] = round(latency.p99_ms, 3)
        fields["latency_stages_ms"] = {
            name: {"p50": round(p50, 3), "p99": round(p99, 3)} for name, (p50, p99) in latency.stages.items()
        }
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
