"""Measures runtimes and precisions of models side by side: latency, memory, and whether they describe alike.

Each model runs as FP32 and as the int8 file that `tilefix engine quantize` makes of it, in every runtime that is
installed; one patch at a time, each configuration in turn, so that all see the same machine. Ratios are to ONNX
Runtime's FP32 with as many threads. Processor time is what a shared machine disturbs least; it counts all threads.

    python tools/benchmark_embedders.py                                   # the shipped model
    python tools/benchmark_embedders.py --models default convnext-atto convnext-tiny   # needs torch: random weights
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from embedder_subjects import FP32, INT8, SHIPPED, Subject, Way, prepare, say
from machine import facts_of_this_machine, report
from tilefix.embedders import BACKENDS
from tilefix.engine.check import RECALL_AT, Yardstick
from tilefix.engine.heldout import HeldOut, held_out_worlds
from tilefix.errors import ConfigError
from tilefix.ports import Embedder
from tilefix.types import UInt8Array

PROVIDERS = ("onnxruntime", "openvino")
SCORED_SEED = 9990


def measure_latency(
    ways: Sequence[Way], subject: Subject, patch: UInt8Array, repeats: int
) -> dict[Way, dict[str, Any]]:
    """Milliseconds of one patch embedded, wall and processor time, every way in turn after a first run each."""
    with ExitStack() as held:
        embedders = {way: held.enter_context(closing(way.open(subject))) for way in ways}
        return _in_turn(embedders, patch, repeats)


def _in_turn(embedders: Mapping[Way, Embedder], patch: UInt8Array, repeats: int) -> dict[Way, dict[str, Any]]:
    ways = tuple(embedders)
    wall_ms: dict[Way, list[float]] = {way: [] for way in ways}
    processor_ms: dict[Way, list[float]] = {way: [] for way in ways}
    for number in range(repeats + 1):
        for way, embedder in embedders.items():
            if way.threads > 1:
                time.sleep(0.02)  # the threads of the way before may still wait busily for more
            wall_s, processor_s = time.perf_counter(), time.process_time()
            embedder.embed(patch)
            processor_s, wall_s = time.process_time() - processor_s, time.perf_counter() - wall_s
            if number > 0:
                wall_ms[way].append(1e3 * wall_s)
                processor_ms[way].append(1e3 * processor_s)
    return {
        way: {
            "wall_min_ms": round(min(wall_ms[way]), 3),
            "wall_p50_ms": round(statistics.median(wall_ms[way]), 3),
            "wall_p95_ms": round(float(np.percentile(wall_ms[way], 95)), 3),
            "processor_p50_ms": round(statistics.median(processor_ms[way]), 3),
        }
        for way in ways
    }


def measure_memory(way: Way, subject: Subject) -> dict[str, Any]:
    """Resident memory of a process that runs nothing else, in MiB: before the model, and once it has described."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        before, after = pool.submit(_resident, way, subject).result()
    return {"resident_before_mib": before, "resident_mib": after, "of_the_model_mib": round(after - before, 1)}


def _resident(way: Way, subject: Subject) -> tuple[float, float]:
    importlib.import_module(BACKENDS[".onnx"][way.provider].module)
    before = _resident_mib()
    with closing(way.open(subject)) as embedder:
        side = embedder.manifest.patch_px
        patch = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
        for _ in range(5):
            embedder.embed(patch)
        return before, _resident_mib()


def _resident_mib() -> float:
    """Resident memory of this process; 0 where the system does not say it this way."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return round(pages * 4096 / 2**20, 1)


def measure_subject(subject: Subject, args: argparse.Namespace, worlds: Sequence[HeldOut]) -> dict[str, Any]:
    """Every way to run one model."""
    providers = [name for name in PROVIDERS if _installed(name)]
    runs = []
    yardstick = None
    agreements: dict[tuple[str, str], dict[str, Any]] = {}
    for threads in args.threads:
        ways = [Way(provider, precision, threads) for provider in providers for precision in subject.files]
        say(f"{subject.name}: {args.repeats} patches each way, {threads} threads")
        latency = measure_latency(ways, subject, worlds[0].patches[:1], args.repeats)
        base = latency[ways[0]]
        for way, took in latency.items():
            say(f"  {way.provider} {way.precision}: {took['processor_p50_ms']:.2f} ms of processor time")
        for way in ways:
            if yardstick is None:
                say(f"{subject.name}: describing the held-out maps with each runtime and precision")
                with closing(way.open(subject)) as reference:
                    yardstick = Yardstick(reference, held_out=worlds)
            key = (way.provider, way.precision)
            if key not in agreements:
                with closing(way.open(subject)) as candidate:
                    agreements[key] = asdict(yardstick.agreement(candidate))
            ratios = {f"{name[:-3]}_ratio": round(latency[way][name] / base[name], 3) for name in base}
            runs.append(
                {**asdict(way), **latency[way], **ratios, **measure_memory(way, subject), "agreement": agreements[key]}
            )
    assert yardstick is not None
    names = (*(f"recall_{k}" for k in RECALL_AT), "localised")
    return {
        "model": subject.name,
        "weights": subject.weights,
        "patch_px": subject.manifest(FP32).patch_px,
        "file_mib": {name: round(file.stat().st_size / 2**20, 1) for name, file in subject.files.items()},
        "layers_int8": len(subject.int8.int8),
        "layers_float": list(subject.int8.left_float),
        "quantize_s": round(subject.quantize_s, 1),
        "queries": sum(len(world.patches) for world in worlds),
        "fp32_found": {name: round(float(value), 4) for name, value in zip(names, yardstick.found, strict=True)},
        "runs": runs,
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything measured, as it stands in the JSON file. Raises `TilefixError` for what cannot be."""
    if args.repeats < 1 or args.queries < 1 or args.worlds < 1 or min(args.threads) < 1 or args.patches < 16:
        raise ConfigError("--repeats, --queries, --worlds, --threads or --patches is out of range")
    facts = facts_of_this_machine()
    facts["versions"].update({name: version(name) for name in ("openvino", "onnx") if importlib.util.find_spec(name)})
    subjects = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.models:
            subject = prepare(name, args.px, args.patches, Path(scratch), depthwise=args.depthwise)
            worlds = held_out_worlds(
                subject.manifest(FP32), seeds=range(SCORED_SEED, SCORED_SEED + args.worlds), queries=args.queries
            )
            subjects.append(measure_subject(subject, args, worlds))
    return {"machine": facts, "models": subjects}


def text(found: dict[str, Any]) -> str:
    """The tables a person reads."""
    lines = []
    for one in found["models"]:
        recall = one["fp32_found"]
        lines += [
            f"{one['model']}, {one['patch_px']} px, {one['weights']} weights; {one['layers_int8']} layers in int8, "
            f"{len(one['layers_float'])} in float; file {one['file_mib'][FP32]} -> {one['file_mib'][INT8]} MiB",
            f"FP32 finds {100 * recall['recall_1']:.1f} / {100 * recall['recall_10']:.1f} % (R@1 / R@10) and localises "
            f"{100 * recall['localised']:.1f} % of {one['queries']} held-out patches",
            f"{'':<20}{'threads':>8}{'wall ms: min':>14}{'p50':>9}{'p95':>9}{'proc. ms':>10}{'ratio':>8}{'of min':>8}"
            f"{'MiB':>8}{'cosine':>9}{'recall':>8}{'local.':>8}",
        ]
        for run in one["runs"]:
            agreed = run["agreement"]
            lines.append(
                f"{run['provider']:<12}{run['precision']:<8}{run['threads']:>8}{run['wall_min_ms']:>14.2f}"
                f"{run['wall_p50_ms']:>9.2f}{run['wall_p95_ms']:>9.2f}{run['processor_p50_ms']:>10.2f}"
                f"{run['processor_p50_ratio']:>8.2f}{run['wall_min_ratio']:>8.2f}{run['of_the_model_mib']:>8.0f}"
                f"{agreed['cosine_min']:>9.4f}{0.0 - agreed['recall_lost_points']:>+8.1f}"
                f"{0.0 - agreed['localisation_lost_points']:>+8.1f}"
            )
        lines.append("")
    facts = found["machine"]
    lines.append("ratio: of processor time to onnxruntime's fp32 with as many threads; of min: of the least wall time")
    lines.append(f"{facts['cpu']}, {facts['cpus']} processors, load {facts['load_before']} before; {facts['versions']}")
    return "\n".join(lines)


def _installed(provider: str) -> bool:
    try:
        importlib.import_module(BACKENDS[".onnx"][provider].module)
    except ImportError:
        say(f"{provider} is not installed and is left out")
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table and writes the figures; 2 with one clear line on standard error for bad arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="+", default=[SHIPPED], help="default, or backbones of tilefix-train (random weights)"
    )
    parser.add_argument("--px", type=int, default=256, help="side of the patches of backbones with random weights")
    parser.add_argument("--patches", type=int, default=128, help="to calibrate with")
    parser.add_argument("--depthwise", action="store_true", help="also with depthwise convolutions in int8")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--worlds", type=int, default=2, help="held-out maps, from seed 9990 on")
    parser.add_argument("--queries", type=int, default=100, help="drone patches on each")
    parser.add_argument("--out", type=Path, default=Path("out/bench/embedders.json"))
    args = parser.parse_args(argv)
    return report("benchmark_embedders", args.out, lambda: measure(args), text)


if __name__ == "__main__":
    raise SystemExit(main())
