"""Measures what a larger map costs: lost and tracked frames, memory, and opening, of several maps in one run.

Each flight (`evaluate_flights.py generate`) is replayed in a process of its own, one after the other: first from a
hint; then, with the place forgotten, its pictures are shown mirrored, which fit nowhere, so that every frame stays lost
and is searched for over the whole map. Processor time of all threads. Memory is the localizer's own (anonymous pages)
beside the pages of the map's files that happen to lie in memory, which the system takes back when it needs them.

    python tools/benchmark_maps.py                                        # maps of 4.4, 25 and 100 km2
    python tools/benchmark_maps.py development/1704-2 development-vast/1720-0
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from generated_flights import flight_folder, map_folder
from generated_plans import SETS, Sortie, sorties
from machine import facts_of_this_machine
from panels import SHADES, Panel, bar, drawing, key, text
from replay_flight import HINT_SIGMA_M
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.replay import first_truth
from tilefix.evaluation.results import write_results
from tilefix.flights.flight import open_flight
from tilefix.geodesy import Grid
from tilefix.localization.belief import Belief
from tilefix.localization.localizer import Localizer
from tilefix.localization.look import Look, Looker
from tilefix.localization.settings import LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.types import Fix, UInt8Array

T = TypeVar("T")
FLIGHTS = ("evaluation/9100-2", "large/9120-0", "vast/9125-2", "evaluation/9100-0", "large/9120-1", "vast/9125-1")
FRAMES = 30
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Measured:
    """One flight over one map. Times are of the processor, milliseconds; sizes MiB. `files_mib`: of the package;
    `open_ms`: with its checksums; `searches`: frames until every pixel of the map was looked at once; `localizer_mib`:
    anonymous memory of map and localizer at its most; `mapped_mib`: of the package's pages at the end."""

    name: str
    map_km2: float
    agl_m: float
    files_mib: float
    open_ms: float
    ready_ms: float
    lost_ms: list[float]
    tracked_ms: list[float]
    false_fixes: int
    localizer_mib: float
    mapped_mib: float
    cells: int
    tiles: int
    searches: int


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What the work gives, and the processor time that it takes this process."""
    begun_ns = time.process_time_ns()
    done = work()
    return done, (time.process_time_ns() - begun_ns) / 1e6


def anonymous_mib() -> float:
    """Memory that no file holds, as far as it lies in memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024.0


def mapped_mib(folder: Path) -> float:
    """Pages of the folder's files that lie in memory."""
    total, inside = 0.0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.partition(" ")[0]:
            inside = str(folder.resolve()) in line
        elif inside and line.startswith("Rss:"):
            total += float(line.split()[1]) / 1024.0
    return total


def sortie_of(name: str) -> Sortie:
    """The flight of a name, SET/FLIGHT. Raises `TilefixError` when there is none."""
    kind, _, number = name.partition("/")
    found = next((one for one in sorties(SETS[kind]) if one.name == number), None) if kind in SETS else None
    if found is None:
        raise TilefixError(f"no flight {name}", mend="give SET/FLIGHT, see evaluate_flights.py list")
    return found


def measure(flown: Path, name: str, frames: int, model: str | None) -> Measured:
    """One flight. Raises `TilefixError` for one that is not there, or that is never tracked."""
    sortie, folder = sortie_of(name), flown / name.partition("/")[0]
    path = map_folder(folder, sortie.world)
    flight = open_flight(flight_folder(folder, sortie.name))
    with closing(open_embedder(model)) as embedder:
        manifest = embedder.manifest
        embedder.embed(np.zeros((1, manifest.patch_px, manifest.patch_px, 3), np.uint8), None)
        beliefs: list[Belief] = []

        def believed(grid: Grid, cell_m: float) -> Belief:
            beliefs.append(Belief(grid, cell_m))
            return beliefs[-1]

        before_mib = anonymous_mib()
        package, open_ms = timed(lambda: MapPackage.open(path, model=manifest))
        localizer, ready_ms = timed(
            lambda: Localizer(package, TileIndex.open(package), embedder, flight.camera, flight.mount, belief=believed)
        )
        most_mib = anonymous_mib()
        hint = first_truth(flight, HINT_SIGMA_M)
        localizer.hint(hint.lat_deg, hint.lon_deg, hint.sigma_m)
        tracked_ms: list[float] = []
        for row, frame in flight.frames(frames):
            answer, took_ms = timed(lambda: localizer.process(frame, row.state))  # noqa: B023
            if isinstance(answer, Fix) and answer.reason is None:
                tracked_ms.append(took_ms)
            most_mib = max(most_mib, anonymous_mib())
        seen = Looker(package, flight.camera, flight.mount, LocalizerSettings()).look(frame, row.state, 0.0, 1.0)
        # The same localizer again, so that memory is that of a flight with both; its clock must not step back.
        later_ns = row.state.at_ns + 10**9 - flight.rows[0].state.at_ns
        localizer.reset()
        lost_ms, wrong = [], 0
        for row, frame in flight.frames(frames):
            elsewhere = type(frame)(_mirrored(frame.image), frame.captured_ns + later_ns, frame.sequence)
            answer, took_ms = timed(lambda: localizer.process(elsewhere, row.state))  # noqa: B023
            lost_ms.append(took_ms)
            wrong += isinstance(answer, Fix)
            most_mib = max(most_mib, anonymous_mib())
    if len(tracked_ms) < 3 or not isinstance(seen, Look):
        raise TilefixError(f"flight {name} is not tracked within {frames} frames", mend="give more --frames")
    level, grid = seen.correlator.level, package.grid
    return Measured(
        name=name,
        map_km2=round(grid.width_px * grid.height_px * grid.gsd_m**2 / 1e6, 1),
        agl_m=sortie.plan.agl_m,
        files_mib=sum(one.stat().st_size for one in path.iterdir()) / MIB,
        open_ms=open_ms,
        ready_ms=ready_ms,
        lost_ms=lost_ms,
        tracked_ms=tracked_ms[2:],
        false_fixes=wrong,
        localizer_mib=most_mib - before_mib,
        mapped_mib=mapped_mib(path),
        cells=beliefs[-1].rows * beliefs[-1].columns,
        tiles=package.manifest.tiles,
        searches=math.ceil(level.width_px * level.height_px / LocalizerSettings().search_budget_px),
    )


def _mirrored(image: UInt8Array) -> UInt8Array:
    return np.ascontiguousarray(image[:, ::-1])


def table(found: Sequence[Measured]) -> str:
    """A row for each flight."""
    lines = [
        "| map | height | lost frame, median / most | tracked frame, median / most | frames until all of the map was "
        "looked at | own memory | map's files, of these in memory | opened, with checksums | ready after | cells "
        "| tiles |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        cells = [
            f"{one.map_km2:.1f} km²",
            f"{one.agl_m:.0f} m",
            f"{np.median(one.lost_ms):.0f} / {max(one.lost_ms):.0f} ms",
            f"{np.median(one.tracked_ms):.0f} / {max(one.tracked_ms):.0f} ms",
            f"{one.searches}",
            f"{one.localizer_mib:.0f} MiB",
            f"{one.files_mib:.0f}, {one.mapped_mib:.0f} MiB",
            f"{one.open_ms:.0f} ms",
            f"{one.ready_ms:.0f} ms",
            f"{one.cells}",
            f"{one.tiles}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    wrong = sum(one.false_fixes for one in found)
    lost = sum(len(one.lost_ms) for one in found)
    return "\n".join(lines) + f"\n\nPositions given for {lost} mirrored pictures: {wrong}.\n"


def picture(found: Sequence[Measured]) -> str:
    """An SVG drawing: time of lost and tracked frames, and memory beside the map's own size, a group of bars for each
    map and height."""
    width, height, names = 1080, 400, [f"{one.map_km2:.0f} km², {one.agl_m:.0f} m" for one in found]
    most_ms = max(max(one.lost_ms) for one in found)
    most_mib = max(max(one.files_mib, one.localizer_mib) for one in found)
    parts = []
    for left, right, most, unit, title, meaning in (
        (70.0, 560.0, most_ms, "ms", "Processor time of a frame", ("lost, median", "lost, most", "tracked, median")),
        (650.0, 1060.0, most_mib, "MiB", "Memory", ("localizer", "map's files on disk")),
    ):
        panel = Panel(left, right, 70, 320, (0.0, len(found)), (0.0, 1.05 * most))
        parts += panel.axes(None, f"{{:g}} {unit}".format, title)
        parts += key(left, 58.0, meaning)
        for number, one in enumerate(found):
            values = [float(np.median(one.lost_ms)), max(one.lost_ms), float(np.median(one.tracked_ms))]
            if unit == "MiB":
                values = [one.localizer_mib, one.files_mib]
            step = (panel.x(1.0) - panel.x(0.0)) / (len(values) + 1)
            for k, value in enumerate(values):
                at = panel.x(number) + (k + 0.5) * step
                parts.append(bar(at, panel.y(value), step - 2.0, panel.floor - panel.y(value), SHADES[k]))
            middle = panel.x(number + 0.5)
            parts += [text(middle, 338 + 15 * k, words, "middle") for k, words in enumerate(names[number].split(", "))]
    return drawing(width, height, "Time of lost and tracked frames, and memory, by the size of the map", parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints and writes table, picture and figures; 2 with one clear line when they cannot be made."""
    parser = argparse.ArgumentParser(description="Measure what a larger map costs.")
    parser.add_argument("flights", nargs="*", default=list(FLIGHTS), metavar="SET/FLIGHT")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each flight")
    parser.add_argument("--flown", type=Path, default=Path("out/generated"))
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--model", help="default: the one that ships")
    args = parser.parse_args(argv)
    try:
        found = []
        for name in args.flights:
            sortie_of(name)
        for name in args.flights:
            spawned = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawned, initializer=cv2.setNumThreads, initargs=(1,)) as fresh:
                found.append(fresh.submit(measure, args.flown, name, args.frames, args.model).result())
        figures = {"machine": facts_of_this_machine(), "flights": [asdict(one) for one in found]}
        text_of = table(found)
        files = {"maps.md": text_of, "maps.svg": picture(found), "maps.json": json.dumps(figures, indent=1) + "\n"}
        write_results(args.out, files)
    except TilefixError as error:
        print(f"benchmark_maps: {error}", file=sys.stderr)
        return 2
    print(text_of, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
