"""What came of a flight of the latency benchmark, summed up: percentiles, ratios, memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from latency_flight import BenchFrames
from latency_floor import Floor
from latency_rig import COLUMNS, Bench, Lane, exposure_to_link_ms
from sensors import EnergyMeter
from tilefix.timing import StageSummary, StageTimer


class Flown(Protocol):
    """What is asked of a flight that was flown."""

    bench: Bench
    frames: BenchFrames
    floor: Floor
    decoding: StageTimer
    published: StageSummary | None
    positions: npt.NDArray[np.int64]
    memory: list[tuple[float, float, float]]
    sensed: list[dict[str, Any]]
    energy: EnergyMeter
    stolen: float
    took_s: float
    realtime: bool
    soak_minutes: float | None


def result_of(run: Flown) -> dict[str, Any]:
    """What came of it."""
    floor = run.floor.result()
    reference = floor["reference"]
    lanes = {lane.name: _lane(lane, reference) for lane in run.bench.lanes}
    marks = np.concatenate([lane.marks[: lane.count] for lane in run.bench.lanes])
    link_ms = exposure_to_link_ms(marks, run.positions) if run.realtime else np.array([])
    arrivals = np.diff(np.sort(run.positions[:, 0]).astype(np.float64)) / 1e6
    result = {
        "lanes": lanes,
        "floor": floor,
        "decode": _summary(run.decoding),
        "publish": None if run.published is None else _spread_of_summary(run.published),
        "exposure_to_hand": spread((marks[:, 1] - marks[:, 0]) / 1e6),
        "exposure_to_forecast": spread((marks[:, 2] - marks[:, 0]) / 1e6),
        "exposure_to_mavlink": spread(link_ms[np.isfinite(link_ms)]),
        "frames_in_no_position": int(np.isnan(link_ms).sum()) if link_ms.size else None,
        "positions": len(run.positions),
        "position_interval": spread(arrivals),
        "frames_dropped": run.frames.dropped,
        "frames_given": run.frames.given,
        "memory": _memory(run),
        "energy_j": run.energy.joules(),
        "sensors": run.sensed[-1] if run.sensed else {},
        "stolen_share": _round(run.stolen),
        "seconds": _round(run.took_s),
    }
    if run.soak_minutes is not None:
        result["soak"] = _soak(run)
    result["ratios"] = {
        f"{lane}: {kind}: {name}": value
        for lane, kinds in lanes.items()
        for kind, facts in kinds.items()
        for name, value in facts["ratios"].items()
    }
    return result


def _lane(lane: Lane, reference: Mapping[str, float]) -> dict[str, Any]:
    rows = lane.table[: lane.count]
    searched = np.isfinite(rows[:, 2 + COLUMNS.index("embed")])
    kinds = {"searched": searched, "tracked": ~searched}
    return {
        kind: _kind(rows[which], reference) | {"fixes_of_lane": lane.fixes, "reasons_of_lane": lane.reasons}
        for kind, which in kinds.items()
        if which.any()
    }


def _kind(rows: npt.NDArray[np.float64], reference: Mapping[str, float]) -> dict[str, Any]:
    half = len(COLUMNS)
    wall, cpu = rows[:, 2 : 2 + half], rows[:, 2 + half :]
    stages = {
        name: {"wall": spread(wall[:, at]), "cpu": spread(cpu[:, at])}
        for at, name in enumerate(COLUMNS)
        if np.isfinite(wall[:, at]).any()
    }
    engine = COLUMNS.index("engine" if "engine" in stages else "embed")
    own = [np.nan_to_num(part[:, engine]) for part in (wall, cpu)]
    overhead = (rows[:, 0] - own[0]) / reference["p50_ms"], (rows[:, 1] - own[1]) / reference["p50_cpu_ms"]
    ratios = {
        "overhead_over_reference": float(np.median(overhead[0])),
        "overhead_over_reference_cpu": float(np.median(overhead[1])),
    }
    if "embed" in stages:
        ratios["end_to_end_over_engine"] = float(np.median(rows[:, 0]) / np.median(own[0]))
        ratios["end_to_end_over_engine_cpu"] = float(np.median(rows[:, 1]) / np.median(own[1]))
        ratios["engine_over_reference_cpu"] = float(np.median(own[1]) / reference["p50_cpu_ms"])
    for name, one in stages.items():
        cpu_time = one["cpu"]
        if name in ("rectify", "search", "register", "track") and cpu_time is not None:
            ratios[f"{name}_over_reference_cpu"] = cpu_time["p50_ms"] / reference["p50_cpu_ms"]
    mean_ms = float(rows[:, 0].mean())
    return {
        "frames": len(rows),
        "end_to_end": spread(rows[:, 0]),
        "end_to_end_cpu": spread(rows[:, 1]),
        "stages": stages,
        "throughput_hz": _round(1e3 / mean_ms),
        "jitter_ms": _round(float(rows[:, 0].std())),
        "ratios": {name: _round(value) for name, value in ratios.items()},
    }


def _memory(run: Flown) -> dict[str, Any]:
    at_s, rss, peak = np.asarray(run.memory or [(0.0, np.nan, np.nan)]).T
    return {
        "first_mib": _round(rss[0]),
        "last_mib": _round(rss[-1]),
        "peak_mib": _round(peak[-1]),
        "slope_mib_per_min": _slope(at_s, rss),
        "slope_of_second_half_mib_per_min": _slope(at_s[len(at_s) // 2 :], rss[len(rss) // 2 :]),
    }


def _soak(run: Flown) -> dict[str, Any]:
    """The last minute beside the first one, of flight time."""
    lane = run.bench.lanes[0]
    at_s = lane.marks[: lane.count, 0] / 1e9
    first, last = at_s <= at_s[0] + 60.0, at_s >= at_s[-1] - 60.0
    took = lane.table[: lane.count, :2]
    ends = [np.percentile(took[which], 99, axis=0) for which in (first, last)]
    return {
        "lane": lane.name,
        "minutes": run.soak_minutes,
        "frames_of_first_minute": int(first.sum()),
        "frames_of_last_minute": int(last.sum()),
        "p99_first_minute": {"wall_ms": _round(ends[0][0]), "cpu_ms": _round(ends[0][1])},
        "p99_last_minute": {"wall_ms": _round(ends[1][0]), "cpu_ms": _round(ends[1][1])},
        "p99_last_over_first": _round(float(ends[1][0] / ends[0][0])),
        "p99_last_over_first_cpu": _round(float(ends[1][1] / ends[0][1])),
    }


def _slope(at_s: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> float | None:
    """Least-squares slope per minute."""
    if len(at_s) < 3 or not np.isfinite(values).all():
        return None
    return _round(60.0 * float(np.polyfit(at_s - at_s[0], values, 1)[0]))


def spread(values_ms: npt.NDArray[np.float64]) -> dict[str, float] | None:
    """Count and percentiles of the finite values; `None` without any."""
    finite = values_ms[np.isfinite(values_ms)]
    if not finite.size:
        return None
    names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
    percents = np.percentile(finite, [50, 90, 95, 99, 100])
    return {"count": int(finite.size), **{name: _round(value) for name, value in zip(names, percents, strict=True)}}


def _summary(timer: StageTimer) -> dict[str, float] | None:
    found = timer.percentiles_ms().get("decode")
    return None if found is None else _spread_of_summary(found)


def _spread_of_summary(found: Any) -> dict[str, float]:
    names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
    return {"count": found.count, **{name: _round(getattr(found, name)) for name in names}}


def _round(value: float) -> float:
    return round(float(value), 4)
