"""Replays a flight folder on a map package: fixes.csv, summary.json and report.html.

python tools/replay_flight.py --flight DIR --map DIR --hint first --out out/replay
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tilefix.embedders import open_embedder
from tilefix.errors import FlightError, TilefixError
from tilefix.evaluation.replay import Hint, Replay, first_truth, fixes_csv, replay, summary_json
from tilefix.evaluation.report import report_html
from tilefix.evaluation.results import write_results
from tilefix.evaluation.scoring import Score
from tilefix.flights.flight import Flight, open_flight
from tilefix.localization.localizer import Localizer, LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.timing import MonotonicClock

HINT_SIGMA_M = 25.0


def main(argv: Sequence[str] | None = None) -> int:
    """Replays one flight; 0 when results were written, 2 with one clear line when they could not be."""
    parser = argparse.ArgumentParser(description="Replay a flight folder on a map package.")
    parser.add_argument("--flight", type=Path, required=True, help="flight folder, or its flight.toml")
    parser.add_argument("--map", type=Path, required=True, help="map package")
    parser.add_argument("--model", help="the model that the map was built with (default: the one that ships)")
    parser.add_argument(
        "--hint", choices=("none", "first"), default="none", help="first: start from the first row with a truth"
    )
    parser.add_argument("--hint-sigma-m", type=float, default=HINT_SIGMA_M, help="how sure that hint is")
    parser.add_argument(
        "--map-offset-m", nargs=2, type=float, default=(0.0, 0.0), metavar=("EAST", "NORTH"), help="added to the map's"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--frames", type=int, help="replay that many rows only")
    args = parser.parse_args(argv)
    try:
        _check(args)
        flight = open_flight(args.flight)
        embedder = open_embedder(args.model)
        package = MapPackage.open(args.map, model=embedder.manifest).moved(*args.map_offset_m)
        hint = first_truth(flight, args.hint_sigma_m, args.frames) if args.hint == "first" else None
        result = run(flight, package, embedder, hint=hint, limit=args.frames, out=args.out)
    except TilefixError as error:
        print(f"replay_flight: {error}", file=sys.stderr)
        return 2
    print(line_of(result.score))
    print(args.out / "report.html")
    return 0


def run(
    flight: Flight,
    package: MapPackage,
    embedder: Embedder,
    *,
    hint: Hint | None,
    out: Path,
    limit: int | None = None,
    title: str = "",
) -> Replay:
    """Replays the flight and writes the three files of results into `out`."""
    settings = LocalizerSettings()
    localizer = Localizer(package, TileIndex.open(package), embedder, flight.camera, flight.mount, settings)
    result = replay(
        flight, localizer, package.frame, package.grid, MonotonicClock(), hint=hint, limit=limit, progress=_progress
    )
    imagery = package.manifest.imagery
    told = "none" if hint is None else f"{hint.lat_deg:.6f}, {hint.lon_deg:.6f} within {hint.sigma_m:g} m"
    stated = {
        "map": f"{package.path.resolve().name} ({', '.join(filter(None, (imagery.source, imagery.date)))})",
        "map pixel": f"{package.grid.gsd_m:g} m",
        "model": f"{embedder.manifest.name} ({embedder.manifest.sha256[:12]})",
        "hint": told,
    }
    page = report_html(
        title or f"Replay of {flight.folder.resolve().name}",
        result.answers,
        result.score,
        imagery=package.imagery,
        grid=package.grid,
        local=package.frame,
        subtitle=f"{len(result.answers)} frames on {stated['map']} · hint: {told}",
        facts={**stated, **asdict(settings)},
    )
    files = {
        "fixes.csv": fixes_csv(result.answers),
        "summary.json": summary_json(result.score, result.latency, hint=told, map=stated["map"], model=stated["model"]),
        "report.html": page,
    }
    write_results(out, files)
    return result


def line_of(score: Score) -> str:
    """The score in one line."""

    def metres(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f} m"

    return (
        f"{score.frames} frames, availability {100 * score.availability:.1f} %, median {metres(score.median_error_m)}, "
        f"p95 {metres(score.p95_error_m)}, max {metres(score.max_error_m)}, false fixes {score.false_fixes}, "
        f"coasts {score.coasts}, reasons {score.reasons or 'none'}"
    )


def _check(args: argparse.Namespace) -> None:
    if args.frames is not None and args.frames < 1:
        raise FlightError(f"--frames {args.frames} is no number of rows", mend="give 1 or more")
    if not 0.1 <= args.hint_sigma_m <= 1e5:
        raise FlightError(f"--hint-sigma-m {args.hint_sigma_m:g} is out of range", mend="give 0.1 to 100000")
    if not all(abs(metres) <= 1000.0 for metres in args.map_offset_m):
        raise FlightError("--map-offset-m is out of range", mend="give -1000 to 1000, east and north")


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} frames", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
