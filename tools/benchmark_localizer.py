"""Measures what the localizer costs on this machine: a search of the whole map beside a tracked frame, in one run.

A generated world is mapped from its satellite look with the shipped model, and flown over in its drone look. Two
localizers get each frame in turn, so that both see the same machine: one tracks, the other is made to forget its place
before every frame. What warms up is run before and not counted.

    python tools/benchmark_localizer.py
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from machine import facts_of_this_machine, report
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.flight import Flight, FlightRow, open_flight
from tilefix.localizer import Localizer, LocalizerSettings
from tilefix.mappackage import MapPackage
from tilefix.ports import Embedder
from tilefix.rectify import Rectifier
from tilefix.register import BLOCK_PX, CACHE_BYTES, MapCorrelator, Template
from tilefix.simulation.demoflight import AGL_M, CAMERA, EXPOSURE, GSD_M, PATCH_M, SPEED_MPS, DemoOptions, build_map_of
from tilefix.simulation.flights import FlightPlan, fly_over
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import drone_look, generate_world
from tilefix.tileindex import TileIndex
from tilefix.timing import STAGES, MonotonicClock, StageTimer
from tilefix.types import Frame, UInt8Array

SEED = 1500  # of validation: no figure that is published comes from it
RATE_HZ = 2.0
HINT_SIGMA_M = 25.0
WARM_UP = 3  # frames or runs, before what is counted
BATCH = 32
DENSE_FACTOR = 2  # map pixels to one of the level at which the demo's frames are registered

CLOCK = MonotonicClock()


@dataclass(frozen=True)
class Options:
    """What to measure. `repeats`: of whole-map correlations and of embeddings."""

    world_m: float
    frames: int
    stride_m: float
    repeats: int


def prepare(options: Options, embedder: Embedder, folder: Path) -> tuple[MapPackage, Flight]:
    """The map of the world's satellite look, and a flight over its drone look."""
    _say(f"generating world {SEED}")
    world = generate_world(SEED, size_m=options.world_m, gsd_m=GSD_M)
    _say("building the map")
    demo = DemoOptions(folder, seed=SEED, world_m=options.world_m, stride_m=options.stride_m)
    package = build_map_of(world, demo, embedder)
    _say("flying")
    plan = FlightPlan(
        agl_m=AGL_M,
        speed_mps=SPEED_MPS,
        rate_hz=RATE_HZ,
        duration_s=options.frames / RATE_HZ,
        seed=SEED,
        camera=CAMERA,
        exposure=EXPOSURE,
    )
    fly_over(Scenery(world.render(drone_look(SEED)), world.grid), world.frame, plan, folder / "flight")
    return package, open_flight(folder / "flight")


class Counted:
    """The frames of one way to localize: their stages, and how long each took as a whole."""

    def __init__(self, frames: int) -> None:
        self.timer = StageTimer(CLOCK, keep=frames)
        self.frames_ms: list[float] = []

    def process(self, localizer: Localizer, row: FlightRow, frame: Frame) -> None:
        """Localizes one frame and counts it."""
        self.frames_ms.append(took_ms(lambda: localizer.process(frame, row.state, self.timer)))

    def summary(self) -> dict[str, Any]:
        """Percentiles in milliseconds of each stage and of the whole frame."""
        stages = {name: asdict(one) for name, one in self.timer.percentiles_ms().items()}
        return {"stages": stages, "frame": spread_of(self.frames_ms)}


def measure_frames(flight: Flight, package: MapPackage, embedder: Embedder) -> dict[str, Any]:
    """Searched and tracked frames side by side. Raises `TilefixError` when the flight is never tracked."""
    decoding = StageTimer(CLOCK, keep=len(flight.rows))
    frames: list[tuple[FlightRow, Frame]] = []
    source = flight.frames()
    for _ in flight.rows:
        with decoding.stage("decode"):
            frames.append(next(source))
    index = TileIndex.open(package)
    searcher, scout, tracker = (Localizer(package, index, embedder, flight.camera, flight.mount) for _ in range(3))
    for one in (scout, tracker):
        assert flight.rows[0].truth is not None
        one.hint(*flight.rows[0].truth, HINT_SIGMA_M)
    _say(f"localizing {len(frames)} frames, searched and tracked")
    # Equal frames give equal answers: the scout tells which of them will be tracked.
    follows = [_is_tracked(scout, row, frame) for row, frame in frames]
    searching, tracking = Counted(len(frames)), Counted(len(frames))
    aside = Counted(len(frames))
    for number, ((row, frame), tracked) in enumerate(zip(frames, follows, strict=True)):
        counts = number >= WARM_UP
        searcher.reset()
        (searching if counts else aside).process(searcher, row, frame)
        (tracking if counts and tracked else aside).process(tracker, row, frame)
    if not tracking.frames_ms:
        raise TilefixError("the flight was never tracked", mend="give a larger --world-m or more --frames")
    search, track = searching.summary(), tracking.summary()
    return {
        "decode": asdict(decoding.percentiles_ms()["decode"]),
        "search": search,
        "search_first_ms": round(aside.frames_ms[0], 3),
        "track": track,
        "search_to_track": round(search["frame"]["p50_ms"] / track["frame"]["p50_ms"], 3),
    }


def _is_tracked(localizer: Localizer, row: FlightRow, frame: Frame) -> bool:
    timer = StageTimer(CLOCK, keep=1)
    localizer.process(frame, row.state, timer)
    return "register" in timer.percentiles_ms()


def measure_correlation(flight: Flight, package: MapPackage, repeats: int) -> dict[str, Any]:
    """One patch correlated with all of the map, block by block, with and without the kept spectra of the blocks."""
    row, frame = next(flight.frames())
    rectifier = Rectifier(flight.camera, flight.mount)
    state = row.state
    assert state.roll_deg is not None
    assert state.pitch_deg is not None
    assert state.yaw_deg is not None
    assert state.agl_m is not None
    view = rectifier.view(state.roll_deg, state.pitch_deg, state.yaw_deg, state.agl_m)
    if view is None:
        raise TilefixError("the first frame shows the horizon", where=flight.folder)
    correlator = MapCorrelator(package.imagery, package.coverage, package.grid, DENSE_FACTOR)
    level = correlator.level
    size_px = 16 * math.ceil(view.extent_m / level.gsd_m / 16) + 1
    prepared = rectifier.prepare(frame.image, view.agl_m, level.gsd_m)
    patch = prepared.patch(view, gsd_m=level.gsd_m, size_px=size_px, centre_m=view.centre_m)
    blocks = correlator.blocks

    def kept() -> None:
        template = Template(patch)
        for block in blocks:
            correlator.search_block(template, block)

    def anew() -> None:
        template = Template(patch)
        for column, row in blocks:
            correlator.search(template, column, row, BLOCK_PX, BLOCK_PX)

    _say(f"correlating the whole map {repeats} times each way")
    cached, uncached = alternately(repeats, kept, anew)
    return {
        "blocks": len(blocks),
        "blocks_of_a_searched_frame": min(len(blocks), LocalizerSettings().search_budget_px // BLOCK_PX**2),
        "block_px": BLOCK_PX,
        "patch_px": size_px,
        "cache_limit_bytes": CACHE_BYTES,
        "cached": cached,
        "uncached": uncached,
        "uncached_to_cached": round(uncached["p50_ms"] / cached["p50_ms"], 3),
    }


def measure_embedding(package: MapPackage, embedder: Embedder, repeats: int) -> dict[str, Any]:
    """Milliseconds of a patch embedded alone, and of one in a batch."""
    side = embedder.manifest.patch_px
    height, width = package.imagery.shape[:2]
    rng = np.random.default_rng(SEED)
    rows, columns = rng.integers(0, height - side, BATCH), rng.integers(0, width - side, BATCH)
    patches: UInt8Array = np.stack(
        [package.imagery[r : r + side, c : c + side] for r, c in zip(rows, columns, strict=True)]
    )
    _say(f"embedding {repeats} times alone and in batches")
    alone, batch = alternately(repeats, lambda: embedder.embed(patches[:1]), lambda: embedder.embed(patches))
    each = {name: value if name == "count" else round(value / BATCH, 3) for name, value in batch.items()}
    return {
        "patch_px": side,
        "batch": BATCH,
        "alone": alone,
        "in_batch_each": each,
        "alone_to_batch": round(alone["p50_ms"] / each["p50_ms"], 3),
    }


def alternately(
    repeats: int, first: Callable[[], object], second: Callable[[], object]
) -> tuple[dict[str, float], dict[str, float]]:
    """How long each of two works takes, run in turn, after a run of each that is not counted."""
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(repeats + 1):
        for work, durations in zip((first, second), took, strict=True):
            duration = took_ms(work)
            if number > 0:
                durations.append(duration)
    return spread_of(took[0]), spread_of(took[1])


def took_ms(work: Callable[[], object]) -> float:
    """Runs it and says how long that took."""
    begun_ns = CLOCK.now_ns()
    work()
    return (CLOCK.now_ns() - begun_ns) / 1e6


def spread_of(durations_ms: Sequence[float]) -> dict[str, float]:
    """Count and percentiles, as of a stage."""
    p50, p95, p99, most = np.percentile(durations_ms, [50, 95, 99, 100])
    spread = {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": most}
    return {"count": len(durations_ms), **{name: round(float(value), 3) for name, value in spread.items()}}


def table(result: Mapping[str, Any]) -> str:
    """What a person reads: milliseconds, and the ratios that carry to other machines."""
    frames, dense, embedding = result["frames"], result["correlation"], result["embedding"]
    lines = [f"{'ms':<12}{'searching the whole map':>40}{'tracking':>40}"]
    lines.append(f"{'':<12}" + 2 * "".join(f"{name:>10}" for name in ("frames", "p50", "p95", "p99")))
    sides = [{**frames[side]["stages"], "whole frame": frames[side]["frame"]} for side in ("search", "track")]
    facts = result["machine"]
    lines += [
        *(
            f"{name:<12}" + "".join(_cells(side.get(name)) for side in sides)
            for name in (*STAGES, "whole frame")
            if any(name in side for side in sides)
        ),
        f"searched : tracked frame    {frames['search_to_track']:.1f} : 1",
        f"whole-map correlation, {dense['blocks']} blocks: {dense['cached']['p50_ms']:.0f} ms with kept spectra, "
        f"{dense['uncached']['p50_ms']:.0f} ms without    {dense['uncached_to_cached']:.2f} : 1",
        f"embedding of a patch: {embedding['alone']['p50_ms']:.1f} ms alone, "
        f"{embedding['in_batch_each']['p50_ms']:.1f} ms in a batch of {BATCH}    {embedding['alone_to_batch']:.2f} : 1",
        f"{facts['cpu']}, {facts['cpus']} processors, load {facts['load_before']} before",
    ]
    return "\n".join(lines)


def _cells(spread: Mapping[str, float] | None) -> str:
    if spread is None:
        return f"{'-':>10}" * 4
    return f"{spread['count']:>10}" + "".join(f"{spread[name]:>10.1f}" for name in ("p50_ms", "p95_ms", "p99_ms"))


def benchmark(options: Options) -> dict[str, Any]:
    """Everything measured, as it stands in the JSON file."""
    facts = facts_of_this_machine()
    embedder = open_embedder(None)
    with tempfile.TemporaryDirectory() as scratch:
        package, flight = prepare(options, embedder, Path(scratch))
        grid = package.grid
        return {
            "machine": facts,
            "scene": {
                "seed": SEED,
                "map_km2": round(grid.width_px * grid.height_px * grid.gsd_m**2 / 1e6, 3),
                "tiles": len(package.tile_centres_m),
                "frames": len(flight.rows),
                "frame_px": [flight.camera.width, flight.camera.height],
                "model": embedder.manifest.name,
                "model_sha256": embedder.manifest.sha256,
            },
            "frames": measure_frames(flight, package, embedder),
            "correlation": measure_correlation(flight, package, options.repeats),
            "embedding": measure_embedding(package, embedder, options.repeats),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table and writes the JSON file; 2 with one clear line when something is wrong."""
    parser = argparse.ArgumentParser(description="Measure the localizer on this machine.")
    parser.add_argument("--out", type=Path, default=Path("out/bench/localizer.json"), help="the JSON file to write")
    parser.add_argument("--world-m", type=float, default=2100.0, help="side of the generated world")
    parser.add_argument("--stride-m", type=float, default=40.0, help="of the map's tiles")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=15, help="of correlations and embeddings")
    args = parser.parse_args(argv)
    return report("benchmark_localizer", args.out, lambda: benchmark(_options(args)), table)


def _options(args: argparse.Namespace) -> Options:
    for name, value, low, high in (
        ("--world-m", args.world_m, 500.0, 8000.0),
        ("--stride-m", args.stride_m, 10.0, PATCH_M),
        ("--frames", args.frames, WARM_UP + 2, 1000),
        ("--repeats", args.repeats, 1, 1000),
    ):
        if not low <= value <= high:
            raise TilefixError(f"{name} {value:g} is out of range", mend=f"give {low:g} to {high:g}")
    return Options(args.world_m, args.frames, args.stride_m, args.repeats)


def _say(line: str) -> None:
    print(f"benchmark_localizer: {line}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
