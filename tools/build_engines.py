"""Builds engines of models with NVIDIA's parser and builder and tabulates what came out: size, layers, precisions.

With TensorRT-RTX no GPU is needed: its log tells the layers. The engines are not kept; `tilefix engine build` makes
those that fly, on the machine that they fly on.

    python tools/build_engines.py                                        # the shipped model
    python tools/build_engines.py --models default convnext-tiny --px 256   # needs torch: random weights
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedder_subjects import FP32, INT8, SHIPPED, Subject, prepare
from tilefix.engine.build import prepared_network
from tilefix.engine.layers import Layer, layer_table
from tilefix.engine.plan import Plan, build_plan
from tilefix.engine.runtime import is_rtx, load_tensorrt
from tilefix.errors import EngineError, TilefixError

PRECISIONS = ("fp32", "fp16", "int8")
ARITHMETIC = ("gemm", "correlation")  # TensorRT-RTX's words for matrix products and convolutions


@dataclass(frozen=True)
class Row:
    """One engine: of which model, in which precision."""

    model: str
    precision: str
    onnx_bytes: int
    plan: Plan
    build_s: float


def build_row(subject: Subject, precision: str) -> Row:
    """Builds one engine. Raises `EngineError` when it cannot be parsed or built."""
    file = subject.files[INT8 if precision == "int8" else FP32]
    manifest = subject.manifest(INT8 if precision == "int8" else FP32)
    network = prepared_network(file.read_bytes(), manifest, precision, file)
    begun_s = time.monotonic()
    plan = build_plan(load_tensorrt(), network)
    return Row(subject.name, precision, file.stat().st_size, plan, time.monotonic() - begun_s)


def table(rows: Sequence[Row]) -> str:
    """A Markdown table. Arithmetic: convolutions and matrix products; others: kernels made of all else."""
    lines = [
        "| model | precision | ONNX MiB | engine MiB | parse and build s | arithmetic | other kernels |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        arithmetic = [layer for layer in row.plan.layers if layer.kind in ARITHMETIC]
        others = [layer for layer in row.plan.layers if layer.kind not in ARITHMETIC]
        lines.append(
            f"| {row.model} | {row.precision} | {row.onnx_bytes / 2**20:.1f} | {len(row.plan.data) / 2**20:.1f} | "
            f"{row.build_s:.1f} | {_counts(arithmetic)} | {_counts(others)} |"
        )
    return "\n".join(lines)


def _counts(layers: Sequence[Layer]) -> str:
    counts = Counter(layer.precision for layer in layers)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()) if kind != "-") or "none"


def main(argv: Sequence[str] | None = None) -> int:
    """Builds and prints; 0 when every engine was built, 2 otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", default=[SHIPPED], help="default, convnext-atto ... convnext-tiny")
    parser.add_argument("--px", type=int, default=256, help="side of the patches of models with random weights")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--patches", type=int, default=64, help="to calibrate with")
    parser.add_argument("--layers", action="store_true", help="prints the layers of each engine by kind too")
    args = parser.parse_args(argv)
    try:
        trt = load_tensorrt()
        if not is_rtx(trt):
            raise EngineError("this table is made of TensorRT-RTX's log", mend="use tilefix engine build and inspect")
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            for name in args.models:
                subject = prepare(name, args.px, args.patches, Path(folder))
                rows += [build_row(subject, precision) for precision in args.precisions]
    except TilefixError as error:
        print(f"build_engines: {error}", file=sys.stderr)
        return 2
    print(f"TensorRT-RTX {trt.__version__}\n\n{table(rows)}")
    if args.layers:
        for row in rows:
            print(f"\n{row.model} {row.precision}\n{layer_table(row.plan.layers)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
