"""What came of replayed flights: their answers on disk, and the figures that stand beside the score's."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilefix.evaluation.results import write_results
from tilefix.evaluation.scoring import COVERAGE_QUANTILES, Answer
from tilefix.geodesy import LocalFrame
from tilefix.types import Covariance, Fix, FixKind, Float64Array, NoFix, Reason

SLOW_MPS = 1.0  # below it a share of the speed says nothing


@dataclass(frozen=True)
class Record:
    """One replayed flight. `facts`: how it was flown. `truth_m`, `truth_mps`: (n, 2) east and north of each frame,
    the velocity by central differences of the true places."""

    name: str
    facts: dict[str, Any]
    state: dict[str, Any]
    answers: tuple[Answer, ...]
    truth_m: Float64Array
    truth_mps: Float64Array
    latency_p50_ms: float


def true_motion(answers: Sequence[Answer], local: LocalFrame) -> tuple[Float64Array, Float64Array]:
    """Places and velocities (n, 2), of answers that all have a truth."""
    places = np.array([local.to_local(*answer.truth) for answer in answers if answer.truth is not None])
    times = np.array([answer.time_s for answer in answers])
    if len(places) < 2:
        return places, np.zeros_like(places)
    return places, np.asarray(np.gradient(places, times, axis=0))


def write_record(path: Path, record: Record) -> None:
    """Writes it as JSON, whole or not at all."""
    content = asdict(record)
    content["truth_m"], content["truth_mps"] = record.truth_m.tolist(), record.truth_mps.tolist()
    write_results(path.parent, {path.name: json.dumps(content, default=_name) + "\n"})


def _name(value: object) -> str:
    if isinstance(value, enum.Enum):
        return value.name
    raise TypeError(f"{value!r} has no place in a record")


def read_record(path: Path) -> Record:
    """What `write_record` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["answers"] = tuple(_answer(cells) for cells in content["answers"])
    for key in ("truth_m", "truth_mps"):
        content[key] = np.array(content[key], dtype=np.float64)
    return Record(**content)


def _answer(cells: dict[str, Any]) -> Answer:
    position = dict(cells["position"])
    position["reason"] = None if position["reason"] is None else Reason[position["reason"]]
    for key in ("covariance_m2", "velocity_covariance"):
        if position.get(key) is not None:
            position[key] = Covariance(**position[key])
    if "kind" in position:
        position["kind"] = FixKind[position["kind"]]
    pairs = {key: None if cells[key] is None else tuple(cells[key]) for key in ("truth", "error_m")}
    return Answer(**{**cells, **pairs, "position": Fix(**position) if "kind" in position else NoFix(**position)})


@dataclass(frozen=True, slots=True)
class FirstFix:
    """Up to and with the first fix: frames seen, seconds and metres flown since the first of them."""

    frames: int
    seconds: float
    metres: float


def first_fix(record: Record) -> FirstFix | None:
    """How long the place stayed unknown; `None` when it never was found."""
    found = next((k for k, answer in enumerate(record.answers) if answer.kind == "fix"), None)
    if found is None:
        return None
    flown_m = float(np.linalg.norm(np.diff(record.truth_m[: found + 1], axis=0), axis=1).sum())
    return FirstFix(found + 1, record.answers[found].time_s - record.answers[0].time_s, flown_m)


def availability_after(records: Iterable[Record]) -> float | None:
    """Share of fixes among the frames from each flight's first fix on; `None` without any."""
    fixes = frames = 0
    for record in records:
        first = first_fix(record)
        if first is not None:
            later = record.answers[first.frames - 1 :]
            fixes += sum(answer.kind == "fix" for answer in later)
            frames += len(later)
    return fixes / frames if frames else None


@dataclass(frozen=True, slots=True)
class VelocityScore:
    """Velocities against the truth, of all positions that state one: error over speed, and the shares within the
    68.27, 95.45 and 99.73 % quantiles of the stated covariance."""

    count: int
    median_share: float
    p95_share: float
    median_mps: float
    coverage: tuple[float, float, float]


def velocity_score(records: Iterable[Record]) -> VelocityScore | None:
    """How good the stated velocities are; `None` without any."""
    shares: list[float] = []
    errors: list[float] = []
    distances: list[float] = []
    for record in records:
        for answer, (east_mps, north_mps) in zip(record.answers, record.truth_mps, strict=True):
            fix = answer.fix
            if fix is None or fix.velocity_east_mps is None or fix.velocity_north_mps is None:
                continue
            error = fix.velocity_east_mps - float(east_mps), fix.velocity_north_mps - float(north_mps)
            speed_mps = math.hypot(east_mps, north_mps)
            if speed_mps < SLOW_MPS:
                continue
            errors.append(math.hypot(*error))
            shares.append(errors[-1] / speed_mps)
            if fix.velocity_covariance is not None:
                distances.append(fix.velocity_covariance.mahalanobis2(*error))
    if not shares:
        return None
    one, two, three = (float(np.mean(np.array(distances) < quantile)) for quantile in COVERAGE_QUANTILES)
    median, p95 = np.percentile(shares, [50.0, 95.0])
    return VelocityScore(len(shares), float(median), float(p95), float(np.median(errors)), (one, two, three))


def coverage_curve(records: Iterable[Record], shares: Sequence[float]) -> list[float]:
    """The share of positions whose squared Mahalanobis distance lies below each chi-square quantile (2 degrees of
    freedom): on a diagonal when the stated covariances are right."""
    distances = np.array(
        [
            answer.fix.covariance_m2.mahalanobis2(*answer.error_m)
            for record in records
            for answer in record.answers
            if answer.fix is not None and answer.error_m is not None
        ]
    )
    return [float(np.mean(distances < -2.0 * math.log(1.0 - share))) if distances.size else 0.0 for share in shares]
