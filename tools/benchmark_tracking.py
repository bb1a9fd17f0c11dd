"""Measures what a tracked frame costs beside one template correlated with the whole map.

Flies the first frames of generated flights (`evaluate_flights.py generate development`) and, between tracked frames,
correlates their templates with every block of the map: at the level that is tracked at and on the fine level, with all
spectra of the map kept, and made from imagery for the frame. Processor time of one thread; medians.

    python tools/benchmark_tracking.py                  # flights 1700-1, 1700-2 and 1704-2
    python tools/benchmark_tracking.py 1705-0 --frames 60
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from generated_flights import flight_folder, open_map
from generated_plans import SETS, sorties
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.replay import write_results
from tilefix.flights.flight import open_flight
from tilefix.localization.correlation import Template
from tilefix.localization.fine import FINE_PX
from tilefix.localization.localizer import Localizer
from tilefix.localization.look import Look, Looker
from tilefix.localization.register import MapCorrelator
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.spectracache import SpectraCache
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.types import Fix, Reason

FLIGHTS = ("1700-1", "1700-2", "1704-2")
FRAMES = 40
SEARCHES = 3  # of the whole map each way: they are long
NEVER_FULL_BYTES = 1 << 34


def processor_ms(work: Callable[[], object]) -> float:
    """Processor time that it takes this thread."""
    begun_ns = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - begun_ns) / 1e6


def correlator_at(package: MapPackage, factor: int) -> MapCorrelator:
    """The map at a level, with room for all of its spectra."""
    cache = SpectraCache(NEVER_FULL_BYTES)
    return MapCorrelator(package.imagery, package.coverage, package.grid, factor, cache)


def whole_map_ms(package: MapPackage, factor: int, template: Template) -> tuple[float, float]:
    """(spectra ready, from imagery): one template correlated with every block."""

    def search(correlator: MapCorrelator) -> None:
        for block in correlator.blocks:
            correlator.search_block(template, block)

    ready = correlator_at(package, factor)
    search(ready)
    kept = [processor_ms(lambda: search(ready)) for _ in range(SEARCHES)]
    anew = [processor_ms(lambda: search(correlator_at(package, factor))) for _ in range(SEARCHES)]
    return float(np.median(kept)), float(np.median(anew))


def fine_template(seen: Look) -> tuple[int, Template]:
    """The map's fine level and what is looked for there; the tracked level's where that is the finest."""
    if seen.fine is None:
        return seen.correlator.factor, seen.template
    gsd_m = seen.fine.level.gsd_m
    size_px = min(FINE_PX, round(seen.view.extent_m / gsd_m)) // 2 * 2 + 1
    prepared = seen.rectifier.finer(seen.prepared, seen.view.agl_m, gsd_m)
    patch = prepared.patch(seen.view, gsd_m=gsd_m, size_px=size_px, centre_m=seen.offset_m)
    return seen.fine.factor, Template(patch)


def measure(out: Path, name: str, frames: int, embedder: Embedder) -> str:
    """One row of the table. Raises `TilefixError` for a flight that is not there or is never tracked."""
    sortie = next((one for one in sorties(SETS["development"]) if one.name == name), None)
    if sortie is None:
        raise TilefixError(f"no flight {name} in development", mend="see evaluate_flights.py list development")
    flight, package = open_flight(flight_folder(out, name)), open_map(out, sortie.world, embedder)
    localizer = Localizer(package, TileIndex.open(package), embedder, flight.camera, flight.mount)
    tracked_ms = []
    seen: Look | Reason = Reason.NO_FRAME
    looker = Looker(package, flight.camera, flight.mount, LocalizerSettings())
    for row, frame in flight.frames(frames):
        begun_ns = time.thread_time_ns()
        answer = localizer.process(frame, row.state)
        if isinstance(answer, Fix) and answer.reason is None:
            tracked_ms.append((time.thread_time_ns() - begun_ns) / 1e6)
            seen = looker.look(frame, row.state, 0.0, 1.0)
    if len(tracked_ms) < 3 or isinstance(seen, Reason):
        raise TilefixError(f"flight {name} is not tracked within {frames} frames", mend="give more --frames")
    level = whole_map_ms(package, seen.correlator.factor, seen.template)
    factor, template = fine_template(seen)
    fine = whole_map_ms(package, factor, template)
    tracked = float(np.median(tracked_ms[2:]))
    gsd_m = package.grid.gsd_m
    cells = [
        f"{sortie.plan.agl_m:.0f} m",
        f"{tracked:.0f} ms",
        f"{level[0]:.0f} ms at {seen.correlator.level.gsd_m:g} m/px",
        f"{fine[0]:.0f} ms at {gsd_m * factor:g} m/px",
        f"{fine[1]:.0f} ms",
        f"1/{fine[0] / tracked:.0f}",
        f"1/{fine[1] / tracked:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| height | tracked | whole map at the level of tracking, spectra ready | at the fine level, ready "
    "| at the fine level, from imagery | tracked of ready | of from imagery |\n"
    "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints and writes the table; 2 with one clear line when it cannot be made."""
    parser = argparse.ArgumentParser(description="Measure a tracked frame beside a search of the whole map.")
    parser.add_argument("flights", nargs="*", default=list(FLIGHTS), metavar="FLIGHT", help="of the development set")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--flown", type=Path, default=Path("out/generated/development"))
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        with closing(open_embedder(None)) as embedder:
            rows = [measure(args.flown, name, args.frames, embedder) for name in args.flights]
        table = "\n".join([HEAD, *rows]) + "\n"
        write_results(args.out, {"tracking.md": table})
    except TilefixError as error:
        print(f"benchmark_tracking: {error}", file=sys.stderr)
        return 2
    print(table, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
