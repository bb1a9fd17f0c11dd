"""Measures what a tracked frame costs beside a search of the whole map, as exact, for the same frame.

Flies the first frames of generated flights (`evaluate_flights.py generate development`) and, for some of the tracked
ones, correlates their templates with every block of the map: at the level that is tracked at and on the fine level,
with all spectra of the map kept, and made from imagery for the frame. A tracked frame follows what is wrong with the
stated heading and height; a search can only look under several of them. So the fine level is searched with one
template, as stated, and with as many headings and heights as two standard deviations of the log's errors ask for: how
far apart they may lie is measured on the frame itself. Processor time of one thread; medians.

    python tools/benchmark_tracking.py                  # flights 1700-1, 1700-2 and 1704-2
    python tools/benchmark_tracking.py large/9120-0 vast/9125-1 --searches 1
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from benchmark_maps import sortie_of
from generated_flights import flight_folder, open_map
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results
from tilefix.flights.flight import open_flight
from tilefix.localization.correlation import Template
from tilefix.localization.fine import FINE_PX
from tilefix.localization.localizer import Localizer
from tilefix.localization.look import Look, Looker
from tilefix.localization.register import MapCorrelator, Peak, refine_peak
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.spectracache import SpectraCache
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.types import Fix
from tracking_report import Measured, picture, table

FLIGHTS = ("development/1700-1", "development/1700-2", "development/1704-2")
FRAMES = 40
SEARCHES = 3  # of the whole map each way: they are long
NEVER_FULL_BYTES = 1 << 34
# Two standard deviations of the errors of heading and height in the logs of these flights, and larger ones.
STATED = (2.0, 0.02)
LARGE = (10.0, 0.15)
TURNS_DEG = np.arange(-12.0, 12.01, 0.5)  # that are tried out to see how far a wrong one is tolerated
SCALES = np.arange(0.85, 1.1501, 0.01)
NEAR_PX = 12  # of the known place, where the best score under another heading or height is looked for


def processor_ms(work: Callable[[], object]) -> float:
    """Processor time that it takes this thread."""
    begun_ns = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - begun_ns) / 1e6


def correlator_at(package: MapPackage, factor: int) -> MapCorrelator:
    """The map at a level, with room for all of its spectra."""
    cache = SpectraCache(NEVER_FULL_BYTES)
    return MapCorrelator(package.imagery, package.coverage, package.grid, factor, cache)


def whole_map_ms(package: MapPackage, factor: int, template: Template, searches: int = SEARCHES) -> tuple[float, float]:
    """(spectra ready, from imagery): one template correlated with every block."""

    def search(correlator: MapCorrelator) -> None:
        for block in correlator.blocks:
            correlator.search_block(template, block)

    ready = correlator_at(package, factor)
    search(ready)
    kept = [processor_ms(lambda: search(ready)) for _ in range(searches)]
    anew = [processor_ms(lambda: search(correlator_at(package, factor))) for _ in range(searches)]
    return float(np.median(kept)), float(np.median(anew))


def fine_templates(seen: Look, errors: Iterable[tuple[float, float]]) -> tuple[int, list[Template]]:
    """The map's fine level, and what is looked for there under each error of heading (degrees) and height (factor)."""
    fine = seen.fine or seen.correlator
    gsd_m = fine.level.gsd_m
    size_px = min(FINE_PX, round(seen.view.extent_m / gsd_m)) // 2 * 2 + 1
    prepared = seen.rectifier.finer(seen.prepared, seen.view.agl_m, gsd_m)
    return fine.factor, [
        Template(
            prepared.patch(
                seen.view, gsd_m=gsd_m, size_px=size_px, centre_m=seen.offset_m, turn_deg=turn_deg, scale=scale
            )
        )
        for turn_deg, scale in errors
    ]


def best_place(correlator: MapCorrelator, templates: Sequence[Template]) -> Peak:
    """The best of all places and templates on the whole map."""
    found = []
    for template in templates:
        for block in correlator.blocks:
            surface = correlator.search_block(template, block)
            if np.isfinite(surface.values).any():
                at = divmod(int(np.nanargmax(surface.values)), surface.values.shape[1])
                found.append((float(surface.values[at]), surface, at))
    _, surface, at = max(found, key=lambda one: one[0])
    return refine_peak(surface, at[0], at[1], 1.0)


def steps(seen: Look, place_m: tuple[float, float]) -> tuple[float, float]:
    """How far apart headings (degrees) and heights (relative) may lie so that half of the correlation is left between
    two of them: the width at half the height of what the frame scores at its place under others."""
    correlator = seen.fine or seen.correlator
    column, row = (
        round(v) for v in correlator.level.to_pixel(place_m[0] + seen.offset_m[0], place_m[1] + seen.offset_m[1])
    )

    def scores(errors: Sequence[tuple[float, float]]) -> np.ndarray:
        templates = fine_templates(seen, errors)[1]
        side = 2 * NEAR_PX + 1
        windows = (correlator.search(one, column - NEAR_PX, row - NEAR_PX, side, side).values for one in templates)
        return np.array([float(np.nanmax(values)) for values in windows])

    by_turn = scores([(float(turn), 1.0) for turn in TURNS_DEG])
    turn_deg = float(TURNS_DEG[by_turn.argmax()])
    by_scale = scores([(turn_deg, float(scale)) for scale in SCALES])
    return width(TURNS_DEG, by_turn), width(SCALES, by_scale)


def width(values: np.ndarray, scores: np.ndarray) -> float:
    """How wide the scores' peak is at half its height, above what wrong values score."""
    floor = float(np.median(scores))
    above = np.flatnonzero(scores - floor >= 0.5 * (float(scores.max()) - floor))
    peak = int(scores.argmax())
    run = next(list(part) for part in _runs(above) if peak in part)
    return float(len(run) * (values[1] - values[0]))


def _runs(indices: np.ndarray) -> list[list[int]]:
    """Neighbours together."""
    cuts = np.flatnonzero(np.diff(indices) > 1) + 1
    return [part.tolist() for part in np.split(indices, cuts)]


def spread(reach: float, step: float) -> list[float]:
    """Values that leave none within the reach further than half a step away."""
    side = max(math.ceil(reach / step - 0.5), 0)
    return [k * step for k in range(-side, side + 1)]


def measure(out: Path, name: str, frames: int, searches: int, embedder: Embedder) -> Measured:
    """One flight. Raises `TilefixError` for one that is not there or is never tracked."""
    sortie, folder = sortie_of(name), out / name.partition("/")[0]
    flight, package = open_flight(flight_folder(folder, sortie.name)), open_map(folder, sortie.world, embedder)
    localizer = Localizer(package, TileIndex.open(package), embedder, flight.camera, flight.mount)
    looker = Looker(package, flight.camera, flight.mount, LocalizerSettings())
    tracked_ms, errors_m = [], []
    looks: list[tuple[Look, tuple[float, float]]] = []
    for row, frame in flight.frames(frames):
        begun_ns = time.thread_time_ns()
        answer = localizer.process(frame, row.state)
        took_ms = (time.thread_time_ns() - begun_ns) / 1e6
        if not isinstance(answer, Fix) or answer.reason is not None:
            continue
        assert row.truth is not None
        here = package.frame.to_local(*row.truth)
        tracked_ms.append(took_ms)
        errors_m.append(math.dist((answer.east_m, answer.north_m), here))
        seen = looker.look(frame, row.state, 0.0, 1.0)
        if isinstance(seen, Look):
            looks.append((seen, here))
    if len(tracked_ms) < 3 or not looks:
        raise TilefixError(f"flight {name} is not tracked within {frames} frames", mend="give more --frames")
    chosen = [looks[k * (len(looks) - 1) // max(searches - 1, 1)] for k in range(searches)]
    last = chosen[-1][0]
    level = [whole_map_ms(package, last.correlator.factor, last.template, searches)[0]]
    factor, plain = fine_templates(last, [(0.0, 1.0)])
    one_ready_ms, one_anew_ms = whole_map_ms(package, factor, plain[0], searches)
    turn_step, scale_step = (float(np.median(values)) for values in zip(*(steps(*one) for one in chosen), strict=True))
    turns, scales = spread(STATED[0], turn_step), spread(STATED[1], scale_step)
    ready = correlator_at(package, factor)
    best_place(ready, plain)
    one_m: list[float] = []
    all_m: list[float] = []
    all_ms = []
    for seen, here in chosen:
        errors = [(turn, 1.0 + scale) for turn, scale in itertools.product(turns, scales)]
        begun_ns = time.thread_time_ns()
        every = [(error, best_place(ready, fine_templates(seen, [error])[1])) for error in errors]
        all_ms.append((time.thread_time_ns() - begun_ns) / 1e6)
        stated = next(peak for error, peak in every if error == (0.0, 1.0))
        best = max((peak for _, peak in every), key=lambda peak: peak.correlation)
        for peak, into in ((stated, one_m), (best, all_m)):
            into.append(math.dist((peak.east_m - seen.offset_m[0], peak.north_m - seen.offset_m[1]), here))
    grid = package.grid
    return Measured(
        map_km2=grid.width_px * grid.height_px * grid.gsd_m**2 / 1e6,
        agl_m=sortie.plan.agl_m,
        level_m=last.correlator.level.gsd_m,
        fine_m=grid.gsd_m * factor,
        tracked_ms=float(np.median(tracked_ms[2:])),
        tracked_errors_m=errors_m,
        level_ready_ms=level[0],
        one_ready_ms=one_ready_ms,
        one_anew_ms=one_anew_ms,
        one_errors_m=one_m,
        all_ready_ms=float(np.median(all_ms)),
        all_errors_m=all_m,
        turns=len(turns),
        scales=len(scales),
        larger=len(spread(LARGE[0], turn_step)) * len(spread(LARGE[1], scale_step)),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints and writes tables and picture; 2 with one clear line when they cannot be made."""
    parser = argparse.ArgumentParser(description="Measure a tracked frame beside a search of the whole map.")
    parser.add_argument("flights", nargs="*", default=list(FLIGHTS), metavar="SET/FLIGHT")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--searches", type=int, default=SEARCHES, help="frames whose whole map is searched")
    parser.add_argument("--flown", type=Path, default=Path("out/generated"))
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        for name in args.flights:
            sortie_of(name)
        with closing(open_embedder(None)) as embedder:
            found = [measure(args.flown, name, args.frames, args.searches, embedder) for name in args.flights]
        text_of = table(found)
        write_results(args.out, {"tracking.md": text_of, "tracking.svg": picture(found)})
    except TilefixError as error:
        print(f"benchmark_tracking: {error}", file=sys.stderr)
        return 2
    print(text_of, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
