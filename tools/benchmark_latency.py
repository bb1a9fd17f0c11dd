"""Measures the daemon that flies, stage by stage, on this machine: its real threads, link and publisher, 1080p frames.

Without arguments it flies round after round over a generated world (made once, kept under out/). Frames are given in
turn to a localizer that tracks and to one that is made to search the whole map for every frame, so that the network
runs: the honest worst case. Between frames, in the same run, one reference inference, a matrix product and a read of
memory are measured: what stands in ratios to them carries to other machines. How to read it: docs/latency.md.

    python tools/benchmark_latency.py
    python tools/benchmark_latency.py --compare onnxruntime openvino
    python tools/benchmark_latency.py --against out/bench/latency-before.json
    python tools/benchmark_latency.py --soak 5
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latency_report import regressions, table
from latency_run import MAX_FRAMES, WARM_UP_FRAMES, Options, measure
from latency_scene import Scene, generated_scene
from tilefix.embedders import manifest_path
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results
from tilefix.ports import Embedder

MODES = ("both", "track", "search")
PACES = ("realtime", "full")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the daemon's latency on this machine, stage by stage.")
    parser.add_argument("--model", help="a shipped name, or a model file (.onnx, .engine, .json)")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="its file of that precision")
    parser.add_argument("--provider", default="auto", help="runtime of the network")
    parser.add_argument(
        "--compare", nargs="+", metavar="P", help="runtimes side by side, each PROVIDER or PROVIDER=MODEL"
    )
    parser.add_argument("--map", type=Path, help="map package (with --flight)")
    parser.add_argument("--flight", type=Path, help="flight folder over that map; default: a generated one")
    parser.add_argument("--frames", type=int, help="frames to measure in each lane, instead of --seconds")
    parser.add_argument("--seconds", type=float, default=40.0, help="of flight time to measure")
    parser.add_argument("--mode", choices=MODES, default="both", help="track, search the whole map, or both in turn")
    parser.add_argument("--pace", choices=PACES, default="realtime", help="full: every frame, without waiting")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="fly so long: memory, p99 at both ends")
    parser.add_argument("--json", type=Path, default=Path("out/bench/latency.json"), help="the file to write")
    parser.add_argument("--against", type=Path, metavar="OLD.json", help="exit 1 where a ratio became worse")
    parser.add_argument("--tolerance", type=float, default=0.25, help="share by which a ratio may be worse")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="[publish] delay_ms; 0 sends the newest picture")
    parser.add_argument("--opencv-threads", type=int, help="1 keeps a frame on one processor")
    parser.add_argument("--warm-up", type=int, default=WARM_UP_FRAMES, help="frames of each lane that are not counted")
    parser.add_argument("--world-m", type=float, default=2100.0, help="side of the generated world")
    parser.add_argument("--cache", type=Path, default=Path("out/bench/scene"), help="where it is kept")
    return parser.parse_args(argv)  # fmt: skip


def options_of(args: argparse.Namespace) -> Options:
    """The options checked. Raises `TilefixError`."""
    if (args.map is None) != (args.flight is None):
        raise TilefixError("--map and --flight belong together", mend="give both, or none for the generated ones")
    for name, value, low, high in (
        ("--frames", args.frames, 1, MAX_FRAMES),
        ("--seconds", args.seconds, 1.0, 7200.0),
        ("--soak", args.soak, 0.05, 1440.0),
        ("--tolerance", args.tolerance, 0.0, 10.0),
        ("--delay-ms", args.delay_ms, 0.0, 250.0),
        ("--opencv-threads", args.opencv_threads, 1, 256),
        ("--warm-up", args.warm_up, 0, 10_000),
        ("--world-m", args.world_m, 400.0, 8000.0),
    ):
        if value is not None and not low <= value <= high:
            raise TilefixError(f"{name} {value:g} is out of range", mend=f"give {low:g} to {high:g}")
    providers = tuple(one.strip() for one in ",".join(args.compare or [args.provider]).split(","))
    if "" in providers or len(set(providers)) != len(providers) or (args.compare and len(providers) < 2):
        raise TilefixError(
            f"--compare {' '.join(args.compare or [args.provider])} is no list of providers",
            mend="give --compare A B, each PROVIDER or PROVIDER=MODEL",
        )
    mode = "track" if args.soak is not None and args.mode == "both" else args.mode
    if args.compare and args.mode == "both":
        mode = "search"  # only there the network runs
    return Options(
        _model_of(args.model, args.precision), providers, args.map, args.flight, args.frames, args.seconds, mode,
        args.pace, args.soak, args.delay_ms, args.opencv_threads, args.warm_up, args.world_m, args.cache,
    )  # fmt: skip


def _model_of(model: str | None, precision: str | None) -> str | None:
    """The model's file of that precision, as `tilefix engine` names it: NAME-int8 here or beside NAME; fp32 is NAME."""
    if precision in (None, "fp32"):
        return model
    plain = manifest_path(model)
    for folder in (Path(), plain.parent):
        found = folder / f"{plain.stem}-{precision}.json"
        if found.is_file():
            return str(found)
    raise TilefixError(
        f"no {plain.stem}-{precision}.json here or beside it",
        where=plain,
        mend="make it with tilefix engine, or give its file as --model",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table and writes the JSON file; 1 after a regression, 2 with one clear line for what is wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    args = _arguments(argv)
    try:
        options = options_of(args)
        old = None if args.against is None else _old(args.against)

        def scene(embedder: Embedder) -> Scene:
            if options.map is not None and options.flight is not None:
                return Scene(options.map, options.flight, laps=False)
            return generated_scene(options.cache, embedder, world_m=options.world_m)

        result = measure(options, scene)
        worse = [] if old is None else regressions(old["ratios"], result["ratios"], args.tolerance)
        if old is not None:
            result["against"] = {"file": str(args.against), "tolerance": args.tolerance, "worse": worse}
        write_results(args.json.parent, {args.json.name: json.dumps(result, indent=2) + "\n"})
    except TilefixError as error:
        print(f"benchmark_latency: {error}", file=sys.stderr)
        return 2
    print(table(result))
    print(args.json)
    for line in worse:
        print(f"worse: {line}")
    return 1 if worse else 0


def _old(path: Path) -> dict[str, Any]:
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        ratios = old["ratios"]
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in ratios.values()):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TilefixError(
            "is no result of this benchmark", where=path, mend="give the --json of a run before"
        ) from error
    loaded: dict[str, Any] = old
    return loaded


if __name__ == "__main__":
    raise SystemExit(main())
