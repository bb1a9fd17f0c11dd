"""Evaluates tilefix on flights of a simulated camera over generated worlds; nothing that it writes may be committed.

    python tools/evaluate_flights.py generate evaluation      maps and flight folders, in out/generated/evaluation
    python tools/evaluate_flights.py run evaluation           replays every flight with no hint, then reports
    python tools/evaluate_flights.py run evaluation --with-terrain       on maps that know the ground's heights
    python tools/evaluate_flights.py run evaluation --without-heading
    python tools/evaluate_flights.py converge evaluation      starts over and over along every flight, then reports
    python tools/evaluate_flights.py converge large --hint-off-m 2000     each start told a place so far off
    python tools/evaluate_flights.py convergence evaluation large         table and picture of the starts of sets
    python tools/evaluate_flights.py report evaluation        tables and a picture of what was run
    python tools/evaluate_flights.py attitude evaluation      how much of the errors is that of the logs

Sets of flights: `development` to choose settings by, `evaluation` for figures that are published; `development-large`
and `large` over 25 km2 each, `development-vast` and `vast` over 100 km2. What exists already is kept, so a run that was
cut short goes on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from fnmatch import fnmatch
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from convergence_picture import grouped
from convergence_picture import picture as convergence_picture
from generated_attitude import attitude_table, heading_line, headings_off_deg, thrown_m
from generated_figures import read_record
from generated_flights import flight_folder, map_folder, open_map, record_world
from generated_plans import SETS, Sortie, sorties
from generated_report import convergence_table, flight_table, line_of, picture, whole_table
from generated_runs import Start, WrongHint, converge_flight, read_starts, run_flight
from headless_picture import picture as headless_picture
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results
from tilefix.flights.flight import open_flight
from tilefix.maps.package import MapPackage

T = TypeVar("T")
STARTS = ("starts", "misled")  # folders: of starts without a hint, and of those told a wrong place


def generate(out: Path, name: str, table: Sequence[Sortie], jobs: int, model: str | None) -> None:
    """Records what is missing of the set, a world at a time."""
    tasks = [
        partial(record_world, out, SETS[name], world, list(flown), model)
        for world, flown in groupby(table, key=lambda one: one.world)
    ]
    for count, recorded in enumerate(each(tasks, jobs), start=1):
        print(f"world {count} of {len(tasks)}: {recorded} flights recorded", flush=True)


def replays(
    out: Path,
    table: Sequence[Sortie],
    jobs: int,
    frames: int | None,
    model: str | None,
    kind: str,
    hint: WrongHint | None = None,
) -> None:
    """Runs every flight of the table: `kind` runs (whole flights), surveyed (the same on a map with terrain), headless
    (the same without a heading), starts, or misled (starts told a wrong `hint`)."""
    with closing(open_embedder(model)) as embedder:
        for world in dict.fromkeys(one.world for one in table):
            open_map(out, world, embedder)  # built anew here for another model, not by two jobs at once
    kinds: dict[str, Callable[..., Path]] = {
        "runs": run_flight,
        "surveyed": partial(run_flight, terrain=True),
        "headless": partial(run_flight, heading=False),
        "starts": converge_flight,
        "misled": partial(converge_flight, hint=hint),
    }
    one_flight = kinds[kind]
    tasks = [partial(one_flight, out, out / kind, one, frames, model) for one in table]
    for path in each(tasks, jobs):
        if kind not in ("starts", "misled"):
            print(line_of(read_record(path)), flush=True)
        else:
            starts = read_starts(path)
            print(path.stem, len(starts), "starts,", sum(start.found for start in starts), "found", flush=True)


def each(tasks: Sequence[Callable[[], T]], jobs: int) -> Iterator[T]:
    """The results as they come; with one job, in this process."""
    if jobs == 1:
        yield from (task() for task in tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
        for done in as_completed([pool.submit(task) for task in tasks]):
            yield done.result()


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def report(out: Path, table: Sequence[Sortie], kind: str) -> None:
    """Writes and prints the tables of what was run of the set, and the picture; `kind`: runs, surveyed or headless."""
    records = [read_record(path) for one in table if (path := out / kind / f"{one.name}.json").is_file()]
    starts, misled = (starts_of(out, table, kind) for kind in STARTS)
    if not records and not starts and not misled:
        raise TilefixError("nothing was run yet", where=out, mend="use `run` or `converge` first")
    files: dict[str, str] = {}
    text = ""
    if records:
        states = {str(sorted(record.state.items())) for record in records}
        if len(states) > 1:
            text += "**The flights were replayed with different code, models or settings.**\n\n"
        text += f"{whole_table(records)}\n{flight_table(records)}"
        if kind != "headless":
            files["flights.svg" if kind == "runs" else "surveyed.svg"] = picture(records)
        else:
            off_deg = headings_off_deg((record, open_flight(flight_folder(out, record.name))) for record in records)
            text += heading_line(off_deg)
            files["headless.svg"] = headless_picture(records, off_deg)
    if starts and kind == "runs":
        text += f"\n{convergence_table(starts)}"
    if misled and kind == "runs":
        text += f"\nTold a wrong place at the start:\n\n{convergence_table(misled)}"
    name = "results.md" if kind == "runs" else f"{kind}.md"
    write_results(out, {**files, name: text})
    print("\n" + text + f"\n{out / name}")


def starts_of(out: Path, table: Sequence[Sortie], kind: str) -> list[Start]:
    """The starts that were run of the set."""
    paths = (out / kind / f"{one.name}.json" for one in table)
    return [start for path in paths if path.is_file() for start in read_starts(path)]


def convergence(out: Path, sets: Sequence[str]) -> None:
    """Writes and prints the table, and the picture, of all starts that were run of these sets."""
    tables = [(out / name, sorties(SETS[name])) for name in sets]
    starts, misled = ([one for where, table in tables for one in starts_of(where, table, kind)] for kind in STARTS)
    if not starts and not misled:
        raise TilefixError("nothing was run yet", where=out, mend="use `converge` first")
    text = convergence_table(starts)
    if misled:
        text += f"\nTold a wrong place at the start:\n\n{convergence_table(misled)}"
    write_results(out, {"convergence.md": text, "convergence.svg": convergence_picture(grouped(starts, misled))})
    print(text + f"\n{out / 'convergence.svg'}")


def attitude(out: Path, table: Sequence[Sortie], kind: str) -> str:
    """The table of what the logs' errors do to the flights that were run."""
    flights = []
    for one in table:
        path = out / kind / f"{one.name}.json"
        if path.is_file():
            record, package = read_record(path), MapPackage.open(map_folder(out, one.world), verify=False)
            flights.append((record, thrown_m(one, record, package.grid, package.frame)))
    if not flights:
        raise TilefixError("nothing was run yet", where=out, mend="use `run` first")
    return attitude_table(flights)


def main(argv: Sequence[str] | None = None) -> int:
    """Records, replays or reports; 2 with one clear line when it cannot be done."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "convergence":
            convergence(args.out, args.sets)
            return 0
        out = args.out / args.set
        table = [one for one in sorties(SETS[args.set]) if any(fnmatch(one.name, glob) for glob in args.flights)]
        if not table:
            raise TilefixError(f"no flight {' '.join(args.flights)} in {args.set}", mend="see `list`")
        if args.command == "list":
            for one in table:
                print(one.name, f"{one.plan.agl_m:.0f} m {one.plan.speed_mps:.1f} m/s {one.look.season.name.lower()}")
        elif args.command == "generate":
            generate(out, args.set, table, args.jobs, args.model)
        elif args.command == "attitude":
            print(attitude(out, table, args.kind), end="")
        else:
            kind = getattr(args, "kind", "runs")
            if args.command != "report":
                off_m = getattr(args, "hint_off_m", None)
                hint = None if off_m is None else WrongHint(off_m, args.hint_sigma_m)
                started = STARTS[hint is not None] if args.command == "converge" else kind
                replays(out, table, args.jobs, args.frames, args.model, started, hint)
            report(out, table, kind)
    except TilefixError as error:
        print(f"evaluate_flights: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Evaluate tilefix on flights over generated worlds.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("list", "the flights of a set"),
        ("generate", "record maps and flights"),
        ("run", "replay every flight with no hint"),
        ("converge", "start over and over along every flight"),
        ("report", "tables and a picture of what was run"),
        ("attitude", "how much of the errors is that of the logs"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("set", choices=sorted(SETS))
        command.add_argument("--out", type=Path, default=Path("out/generated"))
        command.add_argument("--flights", nargs="+", default=["*"], metavar="GLOB", help="some of them: 1701-* *-0")
        command.add_argument("--model", help="default: the one that ships")
        if name in ("generate", "run", "converge"):
            command.add_argument("--jobs", type=int, choices=range(1, 65), default=1, metavar="N")
        if name in ("run", "report", "attitude"):
            kinds = command.add_mutually_exclusive_group()
            command.set_defaults(kind="runs")
            for option, kind, text in (
                ("--with-terrain", "surveyed", "on maps that know the ground's heights, wrong by a metre"),
                ("--without-heading", "headless", "with the heading taken out of the logs"),
            ):
                kinds.add_argument(option, action="store_const", dest="kind", const=kind, help=text)
        if name in ("run", "converge"):
            command.add_argument("--frames", type=int, help="the first so many of each flight")
        if name == "converge":
            command.add_argument("--hint-off-m", type=float, metavar="M", help="tell each start a place so far away")
            command.add_argument("--hint-sigma-m", type=float, default=30.0, metavar="M", help="stated with it")
    together = commands.add_parser("convergence", help="table and picture of the starts of several sets")
    together.add_argument("sets", nargs="+", choices=sorted(SETS), metavar="SET")
    together.add_argument("--out", type=Path, default=Path("out/generated"))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
