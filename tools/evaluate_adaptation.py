"""What `tilefix-train adapt` gains in an area: dense localisation before and after, headings known and unknown.

    python tools/evaluate_adaptation.py nust          ../shared/data/nust_islamabad: adapted on the map and the flight's
                                                      frames 0-599 without positions, scored on frames 750-1351
    python tools/evaluate_adaptation.py world 9005    a generated world: adapted on its map and one flight, scored on
                                                      another one in another look; 1000-1999 to choose settings by
    python tools/evaluate_adaptation.py tables        what has been measured, as Markdown

Everything lies in --out and is kept: a call cut short goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from real_flights import NUST_AGL_M, NUST_CAMERA, NUST_FRAMES_PER_S, NUST_YAW_DEG, prepare_nust
from real_maps import nust_map
from tilefix.camera import CameraModel, Mount
from tilefix.embedders import manifest_path, open_embedder
from tilefix.errors import ConfigError, TilefixError
from tilefix.evaluation.results import write_results
from tilefix.flights.flight import FlightRow, open_flight
from tilefix.flights.writer import FlightWriter
from tilefix.manifest import load_manifest
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.simulation.flights import FlightPlan, fly_over
from tilefix.simulation.looks import Look, drone_look, satellite_look
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import World, generate_world
from tilefix.types import VehicleState

NUST_FOOTAGE = range(0, 600, 3)
NUST_SCORED = "750:1351"
SIZE_M, PATCH_M, AGL_M, SPEED_MPS = 800.0, 120.0, 147.0, 10.0
FOOTAGE_S, SCORED_S = 100.0, 50.0
CAMERA = CameraModel.from_hfov(852, 480, 73.7)
OTHER = 500  # added to a world's seed: the look of the flight that is scored
SEARCHES = {"known": (5.0, 1), "unknown": (10.0, 36)}  # headings: metres between tiles, headings tried
RESULT = "result.json"
ASKED = "asked.json"


@dataclass(frozen=True)
class Place:
    """The map of an area, footage to adapt on, a flight to score and which of its frames."""

    area: Path
    footage: Path
    scored: Path
    frames: str | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Measures one place and prints its tables; 0, or 2 with one clear line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/adaptation"), help="%(default)s")
    parser.add_argument("--model", default="default", help="what is adapted; %(default)s")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="%(default)s")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as in tilefix-train")
    parser.add_argument("--headings", nargs="*", choices=list(SEARCHES), default=list(SEARCHES), help="all of them")
    parser.add_argument("place", choices=("nust", "world", "tables"))
    parser.add_argument("seed", type=int, nargs="?", help="of the world")
    args = parser.parse_args(argv)
    try:
        if args.place == "tables":
            print(tables(args.out))
            return 0
        if (args.seed is None) == (args.place == "world"):
            raise ConfigError("a world needs its seed, and nothing else has one", mend="such as world 9005")
        name = "nust" if args.seed is None else f"world_{args.seed}"
        place = once(args.out / name, lambda new: nust(args.data, new) if args.seed is None else world(args.seed, new))
        print(measure(name, place, args.out / name, args.model, args.set, args.headings))
    except TilefixError as error:
        print(f"evaluate_adaptation: {error}", file=sys.stderr)
        return 2
    return 0


def once(folder: Path, make: Callable[[Path], None]) -> Place:
    """The place in `folder`, made beside it and renamed unless it is there."""
    place = folder / "place"
    if not place.exists():
        partial = folder / "place.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        make(partial)
        partial.replace(place)
    return Place(place / "map", place / "footage", place / "scored", NUST_SCORED if folder.name == "nust" else None)


def nust(data: Path, folder: Path) -> None:
    """The orthophoto, the flight with its truth, and its first frames as a flight without positions."""
    with closing(open_embedder("default")) as embedder:
        nust_map(data, folder / "map", embedder)
    prepare_nust(data, folder / "scored")
    footage = folder / "footage"
    with FlightWriter(footage, frames="flight.mp4", camera=NUST_CAMERA, mount=Mount()) as writer:
        shutil.copyfile(data / "nust_islamabad" / "flight.mp4", footage / "flight.mp4")
        for index in NUST_FOOTAGE:
            time_s = index / NUST_FRAMES_PER_S
            state = VehicleState(round(time_s * 1e9), 0.0, 0.0, NUST_YAW_DEG, NUST_AGL_M)
            writer.add(FlightRow(str(index), time_s, state))


def world(seed: int, folder: Path) -> None:
    """A generated world: its map in a satellite's look, and two flights in two looks of a drone."""
    place = generate_world(seed, size_m=SIZE_M, gsd_m=0.5)
    pixels = place.render(satellite_look(seed))
    cover = np.full(pixels.shape[:2], 255, np.uint8)
    imagery = ArrayImagery(place.frame, place.grid, pixels, cover, f"world {seed}", "", "Apache-2.0")
    with closing(open_embedder("default")) as embedder:
        build_package(imagery, folder / "map", embedder=embedder, patch_m=PATCH_M, stride_m=PATCH_M / 4)
    _fly(place, drone_look(seed), seed, FOOTAGE_S, folder / "footage")
    _fly(place, drone_look(seed + OTHER), seed + OTHER, SCORED_S, folder / "scored")


def _fly(place: World, look: Look, seed: int, duration_s: float, folder: Path) -> None:
    plan = FlightPlan(agl_m=AGL_M, speed_mps=SPEED_MPS, rate_hz=1.0, duration_s=duration_s, seed=seed, camera=CAMERA)
    fly_over(Scenery(place.render(look), place.grid), place.frame, plan, folder)


def measure(name: str, place: Place, folder: Path, model: str, sets: Sequence[str], headings: Sequence[str]) -> str:
    """Adapts, unless that is done, and scores both models and the thumbnail; figures go to `folder`/result.json."""
    from tilefix_training.cli import main as train

    shipped = load_manifest(manifest_path(None)).sha256  # what the map was built with
    _same_question(folder, {"model": model, "shipped": shipped, "set": list(sets)})
    adapted = folder / "adapted"
    exported = sorted(adapted.glob("*.onnx"))
    if not exported:
        words = ["adapt", "--map", str(place.area), "--footage", str(place.footage), "--out", str(adapted)]
        words += ["--model", model, *(word for item in sets for word in ("--set", item))]
        if status := train([*words, "--resume"] if (adapted / "run").exists() else words):
            raise SystemExit(status)
        exported = sorted(adapted.glob("*.onnx"))
    path = folder / RESULT
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for heading in headings:
        if heading not in found:
            found[heading] = _scores(place, model, str(exported[0]), *SEARCHES[heading])
            write_results(folder, {RESULT: json.dumps(found, indent=2) + "\n"})
    return "\n\n".join(_table(name, heading, found[heading]) for heading in headings)


def _same_question(folder: Path, asked: dict[str, Any]) -> None:
    """Notes what is adapted and how; raises `ConfigError` where the folder holds the answer to something else."""
    path = folder / ASKED
    if not path.exists():
        write_results(folder, {ASKED: json.dumps(asked, indent=2) + "\n"})
    elif json.loads(path.read_text()) != asked:
        what = "holds the adaptation of another model, or with another --set"
        raise ConfigError(what, where=folder, mend="give another --out")


def _scores(place: Place, before: str, after: str, stride_m: float, turns: int) -> dict[str, Any]:
    from tilefix_training.evaluation import dense
    from tilefix_training.evaluation.command import number_range
    from tilefix_training.evaluation.descriptors import thumbnail
    from tilefix_training.evaluation.models import open_model
    from tilefix_training.evaluation.places import flight_case, open_ground

    manifest = open_model(before, "cpu").manifest
    case = flight_case(
        open_ground(place.area, manifest),
        open_flight(place.scored),
        manifest.patch_px,
        stride_m=stride_m,
        turns=turns,
        frames=None if place.frames is None else number_range(place.frames, "--frames"),
    )
    describes = {name: open_model(model, "cpu").describe for name, model in (("before", before), ("after", after))}
    return {
        name: asdict(dense.score([case], describe)) for name, describe in (describes | {"thumbnail": thumbnail}).items()
    }


def tables(out: Path) -> str:
    """All that has been measured below `out`."""
    parts = []
    for path in sorted(out.glob(f"*/{RESULT}")):
        parts += [_table(path.parent.name, heading, scores) for heading, scores in json.loads(path.read_text()).items()]
    if not parts:
        raise ConfigError("nothing has been measured", where=out, mend="run it for a place")
    return "\n\n".join(parts)


def _table(name: str, heading: str, scores: dict[str, Any]) -> str:
    """Markdown; `lattice`: what the nearest tile would give."""
    first, (stride_m, turns) = scores["before"], SEARCHES[heading]
    lines = [
        f"{name}: heading {heading} ({turns} tried), {first['queries']} frames, {first['tiles_per_map']} tiles "
        f"{stride_m:g} m apart, the nearest {first['nearest_median_m']:.1f} m off in the median",
        "",
        "| | median m | mean m | 5 m | 10 m | 25 m |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for title, s in scores.items():
        within = " | ".join(f"{100 * s['within_m'][key]:.1f} %" for key in _keys(s["within_m"]))
        lines.append(f"| {title} | {s['median_error_m']:.1f} | {s['mean_error_m']:.1f} | {within} |")
    return "\n".join(lines)


def _keys(within: dict[Any, float]) -> list[Any]:
    """The keys of 5, 10 and 25 m: numbers, or text once they have been in a file."""
    return [key for metres in (5.0, 10.0, 25.0) for key in within if float(key) == metres]


if __name__ == "__main__":
    sys.exit(main())
