"""`tilefix-train evaluate`: one model on generated worlds, on a published data set, or on a flight over a map."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tilefix.errors import ConfigError
from tilefix.evaluation.results import write_results

WORLDS = "1000:1004"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "--model", default="default", help="shipped name, .onnx, .json or checkpoint .safetensors; %(default)s"
    )
    parser.add_argument("--device", default="auto", help="of a checkpoint: cpu, cuda; a GPU where there is one")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--worlds", help=f"generated worlds, seeds FIRST:LAST, both included; {WORLDS} unless given")
    what.add_argument(
        "--dataset", metavar="KIND:ROOT", help="university-1652, sues-200 or denseuav, and its folder: both directions"
    )
    what.add_argument("--map", type=Path, help="map package, GeoTIFF, MBTiles or folder of tiles; with --flight")
    worlds = parser.add_argument_group("worlds")
    worlds.add_argument("--size-m", type=float, default=1200.0, help="metres across a world; %(default)s")
    worlds.add_argument("--queries", type=int, default=60, help="per world; %(default)s")
    dataset = parser.add_argument_group("data set")
    dataset.add_argument("--height-m", type=int, help="flight height: SUES-200 needs it, DenseUAV takes all without")
    flight = parser.add_argument_group("map")
    flight.add_argument("--flight", type=Path, help="flight folder with truth")
    flight.add_argument("--frames", metavar="FIRST:LAST", help="of the video, or rows of pictures; all unless given")
    dense = parser.add_argument_group("worlds and map")
    dense.add_argument("--patch-m", type=float, help="metres across a patch; 120, or that of the map")
    dense.add_argument(
        "--stride-m", type=float, help="metres between tiles; a quarter of the patch, on a map an eighth"
    )
    dense.add_argument(
        "--turns", type=int, default=1, help="1: headings are known; else so many are tried; %(default)s"
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")


def run(args: argparse.Namespace) -> int:
    """Prints a table, writes the figures; 0. Raises `TilefixError`; then nothing is written."""
    begun = time.monotonic()
    if args.flight is not None and args.map is None:
        raise ConfigError("--flight needs --map", mend="give the map that the flight is searched on")
    if not 1 <= args.turns <= 360:
        raise ConfigError(f"--turns {args.turns} is out of range", mend="1 to 360")
    if args.out is not None and not args.out.parent.is_dir():
        raise ConfigError("no such folder", where=args.out.parent, mend="make it first, or give another --out")
    if args.dataset is not None:
        text, figures = _dataset(args)
    elif args.map is not None:
        text, figures = _map(args)
    else:
        text, figures = _worlds(args)
    print(f"{text}\n{time.monotonic() - begun:.0f} s")  # noqa: T201
    if args.out is not None:
        write_results(args.out.parent, {args.out.name: json.dumps(figures, indent=2) + "\n"})
    return 0


def _worlds(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from tilefix_training.evaluation.dense import world_case
    from tilefix_training.evaluation.models import open_model

    text = args.worlds or WORLDS
    first, last = number_range(text, "--worlds")
    patch_m = 120.0 if args.patch_m is None else args.patch_m
    size_m = args.size_m
    if not (last < first + 1000 and args.queries >= 1 and 1.0 <= patch_m <= size_m / 2 <= 4000.0 and size_m >= 50.0):
        raise ConfigError("--worlds, --queries, --size-m or --patch-m is out of range", mend="patch at most half of it")
    if args.stride_m is not None and not 0.0 < args.stride_m <= patch_m:
        raise ConfigError(f"--stride-m {args.stride_m:g} leaves gaps", mend=f"above 0, at most {patch_m:g}")
    model = open_model(args.model, args.device)
    model.manifest.check_patch_m(patch_m, "--patch-m")
    cases = [
        world_case(
            seed,
            patch_m=patch_m,
            size_m=args.size_m,
            queries=args.queries,
            patch_px=model.manifest.patch_px,
            stride_m=args.stride_m,
            turns=args.turns,
        )
        for seed in range(first, last + 1)
    ]
    return _dense(cases, model, f"worlds {text}, patches of {patch_m:g} m")


def _map(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from tilefix.flights.flight import open_flight
    from tilefix_training.evaluation.models import open_model
    from tilefix_training.evaluation.places import flight_case, open_ground

    if args.flight is None:
        raise ConfigError("--map needs --flight", mend="give a flight folder with truth")
    frames = None if args.frames is None else number_range(args.frames, "--frames")
    model = open_model(args.model, args.device)
    ground = open_ground(args.map, model.manifest, args.patch_m)
    case = flight_case(
        ground,
        open_flight(args.flight),
        model.manifest.patch_px,
        stride_m=args.stride_m,
        frames=frames,
        turns=args.turns,
    )
    title = f"{args.flight} on {args.map}, patches of {ground.patch_m:g} m"
    return _dense([case], model, title if frames is None else f"{title}, frames {args.frames}")


def _dense(cases: Any, model: Any, title: str) -> tuple[str, dict[str, Any]]:
    """The model beside an untrained network and the thumbnail."""
    from tilefix_training.evaluation.dense import score, table
    from tilefix_training.evaluation.descriptors import thumbnail
    from tilefix_training.evaluation.models import untrained

    describes = {model.name: model.describe, "untrained": untrained(model), "thumbnail": thumbnail}
    scores = {name: score(cases, describe) for name, describe in describes.items()}
    found = scores[model.name]
    head = f"{title}: {found.queries} queries, {found.tiles_per_map} tiles a map"
    head += f", the nearest {found.nearest_median_m:.1f} m off in the median"
    return f"{head}\n{table(scores)}", {name: asdict(value) for name, value in scores.items()}


def _dataset(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from tilefix_training.evaluation.identities import DIRECTIONS, retrieval_split
    from tilefix_training.evaluation.models import open_model
    from tilefix_training.evaluation.retrieval import evaluate_splits, table

    kind, _, root = args.dataset.partition(":")
    if not root:
        raise ConfigError(f"--dataset {args.dataset!r} is not KIND:ROOT", mend="such as sues-200:/data/SUES-200")
    splits = {
        direction: retrieval_split(kind, Path(root), direction, height_m=args.height_m) for direction in DIRECTIONS
    }
    model = open_model(args.model, args.device)
    scores = evaluate_splits(model.describe, splits, model.manifest.patch_px)
    return f"{model.name} on {args.dataset}\n{table(scores)}", {name: asdict(value) for name, value in scores.items()}


def number_range(text: str, option: str) -> tuple[int, int]:
    """First and last out of FIRST:LAST; raises `ConfigError` for anything else."""
    try:
        first, last = (int(part) for part in text.split(":"))
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is not FIRST:LAST", mend="such as 1000:1004") from error
    if not 0 <= first <= last:
        raise ConfigError(f"{option} {text} goes backwards or below 0", mend="give the smaller number first")
    return first, last
