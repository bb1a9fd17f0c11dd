"""Evaluates tilefix on the real imagery in ../shared/data; nothing that it writes may be committed.

    python tools/evaluate_real.py prepare nust               one flight folder, in out/real/nust
    python tools/evaluate_real.py run                        maps, flights, replays: out/real/results.md, .json, .svg
    python tools/evaluate_real.py run nust negative          some of them

Every replay uses the same default settings. `nust`: a real flight. `planted`: the same with heading and height stated
wrongly. `negative`: flights over another place than the
map, which must give no fix at all. `naip`: a simulated camera over one year, on the map of another. `registration`:
ways to register one frame, compared.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compare_registration import compare
from compare_registration import markdown as registration_table
from real_flights import prepare_elsewhere, prepare_nust
from real_maps import NAIP_YEARS, mirrored_map, naip_flight, naip_map, nust_map
from real_pictures import Aged, ages_picture, refusals_picture, registration_picture
from replay_flight import HINT_SIGMA_M
from replay_flight import run as run_replay
from tilefix.embedders import open_embedder, open_model_files
from tilefix.errors import TilefixError
from tilefix.evaluation.replay import Hint, first_truth
from tilefix.evaluation.results import write_results
from tilefix.evaluation.scoring import Answer, Score, score
from tilefix.flights.flight import open_flight
from tilefix.geodesy import LocalFrame
from tilefix.localization.localizer import LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.ports import Embedder
from track_picture import picture as track_picture
from track_picture import rows_picture

FLIGHTS: dict[str, Callable[[Path, Path], Path]] = {
    "nust": prepare_nust,
    "brighton_40m": lambda data, folder: prepare_elsewhere(data, "brighton_beach", folder, 40.0),
    "brighton_120m": lambda data, folder: prepare_elsewhere(data, "brighton_beach", folder, 120.0),
    "lewis_100m": lambda data, folder: prepare_elsewhere(data, "lewis_oblique", folder, 100.0),
}
PARTS = ("nust", "planted", "negative", "naip", "ages", "registration")
# Flown over, map of, 1, 1, 2, 5, 9 and 11 years older: ages that pairs of the four years do not have.
AGE_PAIRS = ((2017, 2016), (2020, 2019), (2016, 2014), (2019, 2014), (2019, 2010), (2020, 2009))
# Errors planted into the log of the real flight: degrees added to the heading, factor of the height.
PLANTED = {
    "nust_heading_plus_10": (10.0, 1.0),
    "nust_heading_minus_10": (-10.0, 1.0),
    "nust_height_plus_15": (0.0, 1.15),
    "nust_height_minus_15": (0.0, 0.85),
    "nust_both": (10.0, 1.15),
}
CENTRE_SIGMA_M = 100.0
# Drawing of a track -> the replay, and its title.
TRACKS = {
    "nust.svg": ("nust_on_map_nust_none", "NUST, no hint"),
    "naip.svg": ("naip_2014_on_map_naip_2020_none", "2014 on the map of 2020"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One replay: its part, what flew over which map, what it was told, and what came of it."""

    part: str
    flight: str
    map: str
    hint: str
    score: Score
    latency_p50_ms: float
    latency_p99_ms: float


class Evaluation:
    """The maps, flights and results of one output folder; a map is built once for a model and kept."""

    def __init__(self, data: Path, out: Path, embedder: Embedder, network: Path | None = None) -> None:
        self.data, self.out, self.embedder = data, out, embedder
        self.network = network or open_model_files(None)[1]
        self.answers: dict[str, tuple[LocalFrame, tuple[Answer, ...]]] = {}  # of the replays of this run

    def map(self, name: str) -> MapPackage:
        """`map_nust`, `map_nust_mirrored` or `map_naip_YEAR`."""
        path = self.out / name
        with contextlib.suppress(TilefixError):
            return MapPackage.open(path, model=self.embedder.manifest)
        if name == "map_nust":
            return nust_map(self.data, path, self.embedder)
        if name == "map_nust_mirrored":
            return mirrored_map(self.map("map_nust"), path, self.embedder)
        return naip_map(self.data, int(name.rpartition("_")[2]), path, self.embedder)

    def replay(self, part: str, flight: str, map_name: str, hint: str) -> tuple[Row, tuple[Answer, ...]]:
        """Replays a prepared flight; `hint`: none, first (truth), centre (of the map), or mirrored (the first truth's
        image, where a mirrored map looks most like the flight)."""
        package = self.map(map_name)
        opened = open_flight(self.out / flight)
        place: Hint | None = None
        if hint == "first":
            place = first_truth(opened, HINT_SIGMA_M)
        elif hint == "centre":
            grid = package.grid
            middle_m = 0.5 * (grid.west_m + grid.east_m), 0.5 * (grid.south_m + grid.north_m)
            place = Hint(*package.frame.to_geodetic(*middle_m), CENTRE_SIGMA_M)
        elif hint == "mirrored":
            truth = first_truth(opened, HINT_SIGMA_M)
            east_m, north_m = package.frame.to_local(truth.lat_deg, truth.lon_deg)
            image_m = package.grid.west_m + package.grid.east_m - east_m, north_m
            place = Hint(*package.frame.to_geodetic(*image_m), HINT_SIGMA_M)
        title = f"{flight} on {map_name}, hint: {hint}"
        name = f"{flight}_on_{map_name}_{hint}"
        out = self.out / "replays" / name
        result = run_replay(opened, package, self.embedder, hint=place, out=out, title=title)
        self.answers[name] = package.frame, result.answers
        row = Row(part, flight, map_name, hint, result.score, result.latency.p50_ms, result.latency.p99_ms)
        print(markdown([row]).splitlines()[-1], flush=True)
        return row, result.answers

    def nust(self) -> Iterator[Row]:
        """The real flight, on its orthophoto."""
        prepare_nust(self.data, self.out / "nust")
        for hint in ("first", "none"):
            yield self.replay("nust", "nust", "map_nust", hint)[0]

    def planted(self) -> Iterator[Row]:
        """The real flight without a hint, its heading or height stated wrongly."""
        for name, (turn_deg, scale) in PLANTED.items():
            prepare_nust(self.data, self.out / name, turn_deg, scale)
            yield self.replay("planted", name, "map_nust", "none")[0]

    def negative(self) -> Iterator[Row]:
        """What must give no fix: the orthophoto mirrored, and pictures of other places."""
        for name, prepare in FLIGHTS.items():
            prepare(self.data, self.out / name)
        for hint in ("centre", "first", "mirrored", "none"):
            yield self.replay("negative", "nust", "map_nust_mirrored", hint)[0]
        for flight in ("brighton_40m", "brighton_120m", "lewis_100m"):
            for hint in ("centre", "none"):
                yield self.replay("negative", flight, "map_nust", hint)[0]

    def naip(self) -> Iterator[Row]:
        """Every ordered pair of four years, then all of them together."""
        for year in NAIP_YEARS:
            naip_flight(self.map(f"map_naip_{year}"), year, self.out / f"naip_{year}")
        everything: list[Answer] = []
        rows = []
        for flown, mapped in itertools.permutations(NAIP_YEARS, 2):
            row, answers = self.replay("naip", f"naip_{flown}", f"map_naip_{mapped}", "none")
            everything += answers
            rows.append(row)
            yield row
        p50, p99 = (sorted(getattr(row, key) for row in rows) for key in ("latency_p50_ms", "latency_p99_ms"))
        yield Row("naip", "all years", "all other years", "none", score(everything), p50[len(p50) // 2], p99[-1])

    def ages(self) -> Iterator[Row]:
        """Flights over maps of ages that pairs of the four years do not have."""
        for flown, mapped in AGE_PAIRS:
            naip_flight(self.map(f"map_naip_{flown}"), flown, self.out / f"naip_{flown}")
            yield self.replay("ages", f"naip_{flown}", f"map_naip_{mapped}", "none")[0]

    def registration(self) -> dict[str, list[dict[str, object]]]:
        """Ways to register one frame, on the real flight and on two years six apart."""
        prepare_nust(self.data, self.out / "nust")
        naip_flight(self.map("map_naip_2014"), 2014, self.out / "naip_2014")
        return {
            f"{flight} on {name}": compare(open_flight(self.out / flight), self.map(name), self.embedder, self.network)
            for flight, name in (("nust", "map_nust"), ("naip_2014", "map_naip_2020"))
        }


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    lines = [
        "| flight | map | hint | frames | availability | median | p95 | max | false fixes | fix / coast / none "
        "| within 1, 2, 3 sigma | ms a frame | reasons |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        s = row.score
        errors = ("–" if e is None else f"{e:.2f} m" for e in (s.median_error_m, s.p95_error_m, s.max_error_m))
        coverage = [s.coverage_1sigma, s.coverage_2sigma, s.coverage_3sigma]
        shares = "–" if None in coverage else " / ".join(f"{100 * c:.0f}" for c in coverage if c is not None) + " %"
        reasons = ", ".join(f"{name} {count}" for name, count in s.reasons.items()) or "–"
        false_fixes = str(s.false_fixes) if s.with_truth else "–"
        lines.append(
            f"| {row.flight} | {row.map} | {row.hint} | {s.frames} | {100 * s.availability:.1f} % "
            f"| {' | '.join(errors)} | {false_fixes} | {s.fixes} / {s.coasts} / {s.nones} | {shares} "
            f"| {row.latency_p50_ms:.0f} | {reasons} |"
        )
    return "\n".join(lines) + "\n"


def evaluate(evaluation: Evaluation, parts: Sequence[str]) -> None:
    """Runs the parts and writes `results.json` and `results.md`; parts run before with the same model and settings
    stay in them."""
    model = evaluation.embedder.manifest
    state = {"model": {"name": model.name, "sha256": model.sha256}, "settings": asdict(LocalizerSettings())}
    earlier = _earlier(evaluation.out / "results.json", state)
    rows: list[Row] = []
    for part in PARTS[:-1]:
        if part in parts:
            rows += getattr(evaluation, part)()
        else:
            rows += [
                Row(**{**row, "score": Score(**row["score"])}) for row in earlier["replays"] if row["part"] == part
            ]
    compared = evaluation.registration() if "registration" in parts else earlier["registration"]
    text = f"Model {model.name}, SHA-256 {model.sha256[:12]}.\n"
    text += "\n" + markdown(rows) if rows else ""
    for pair, table in compared.items():
        text += f"\n{pair}:\n\n{registration_table(table)}"
    result = {**state, "replays": [asdict(row) for row in rows], "registration": compared}
    files = {"results.md": text, "results.json": json.dumps(result, indent=2) + "\n"}
    write_results(evaluation.out, {**files, **pictures(evaluation, rows, compared)})
    print("\n" + text, end="")


def pictures(
    evaluation: Evaluation, rows: Sequence[Row], compared: Mapping[str, Sequence[Mapping[str, object]]]
) -> dict[str, str]:
    """The drawings of what was run, by the names of their files; tracks are of this run only."""
    drawn: dict[str, str] = {}
    for file, (name, title) in TRACKS.items():
        if name in evaluation.answers:
            local, answers = evaluation.answers[name]
            drawn[file] = track_picture(answers, local, title)
    planted = {
        name.replace("_", " "): evaluation.answers[f"{name}_on_map_nust_none"][1]
        for name in PLANTED
        if f"{name}_on_map_nust_none" in evaluation.answers
    }
    if planted:
        drawn["planted.svg"] = rows_picture(planted, "NUST, heading and height stated wrongly: error over time")
    aged = [
        Aged(int(row.flight.rpartition("_")[2]), int(row.map.rpartition("_")[2]), row.score)
        for row in rows
        if row.part in ("naip", "ages") and row.flight.startswith("naip_")
    ]
    if aged:
        drawn["ages.svg"] = ages_picture(aged)
    refused = {f"{row.flight} on {row.map}, hint: {row.hint}": row.score for row in rows if row.part == "negative"}
    if refused:
        drawn["negative.svg"] = refusals_picture(refused)
    if compared:
        drawn["registration.svg"] = registration_picture(compared)
    return drawn


def _earlier(path: Path, state: dict[str, Any]) -> dict[str, Any]:
    """What an earlier run found in the same state."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if {key: found.get(key) for key in state} == state:
            return dict(found)
    return {"replays": [], "registration": {}}


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares flights, or runs the evaluation."""
    parser = argparse.ArgumentParser(description="Evaluate tilefix on the real imagery in ../shared/data.")
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="write flight folders")
    prepare.add_argument("names", nargs="+", choices=sorted(FLIGHTS))
    run = commands.add_parser("run", help="replay and write the tables")
    run.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    run.add_argument("--model", help="default: the one that ships")
    for command in (prepare, run):
        command.add_argument("--data", type=Path, default=Path("../shared/data"))
        command.add_argument("--out", type=Path, default=Path("out/real"))
    args = parser.parse_args(argv)
    try:
        if args.command == "prepare":
            for name in args.names:
                print(FLIGHTS[name](args.data, args.out / name))
        else:
            if unknown := sorted(set(args.parts) - set(PARTS)):
                raise TilefixError(f"no part {', '.join(unknown)}", mend=f"of {', '.join(PARTS)}")
            with contextlib.closing(open_embedder(args.model)) as embedder:
                evaluation = Evaluation(args.data, args.out, embedder, open_model_files(args.model)[1])
                evaluate(evaluation, args.parts or PARTS)
    except TilefixError as error:
        print(f"evaluate_real: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
