"""What a frame's time is measured by: a reference inference, and the least that arithmetic and memory allow an engine.

Measured in the same run as the frames, between them, in wall time and in processor time.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reference_network import REFERENCE_PX, convnext_tiny, product, session_of
from tilefix.errors import TilefixError
from tilefix.ports import Embedder
from tilefix.timing import MonotonicClock, StageTimer

GEMM_SIDE = 768  # 0.9 GFLOP: its operands stay in the caches, as those of a network's layers should
READ_BYTES = 64 << 20  # more than the caches hold
_LAYERS = ("Conv", "MatMul", "Gemm")

Pair = tuple[float, float]


def timed(work: Any) -> Pair:
    """Runs it; (wall, processor) milliseconds that it took this thread."""
    wall_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
    work()
    return (time.monotonic_ns() - wall_ns) / 1e6, (time.thread_time_ns() - cpu_ns) / 1e6


@dataclass(frozen=True)
class GraphCost:
    """Arithmetic of one pass: multiplications with additions of convolutions and products, and bytes of the weights."""

    macs: int
    weight_bytes: int


def graph_cost(model: bytes, shape: tuple[int, ...]) -> GraphCost:
    """What the network does, counted from the shapes that its nodes really have when it runs once, unoptimised."""
    with tempfile.TemporaryDirectory() as scratch:
        session = session_of(model, 1, optimised=False, profile=str(Path(scratch) / "nodes"))
        session.run(None, {session.get_inputs()[0].name: np.zeros(shape, np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    macs = 0
    for event in events:
        facts = event.get("args", {})
        if not event.get("name", "").endswith("_kernel_time") or facts.get("op_name") not in _LAYERS:
            continue
        inputs, (output,) = ([next(iter(one.values())) for one in facts[key]] for key in _SHAPES)
        # A convolution's weights are (out, in / groups, height, width); a product sums over the last input axis.
        summed = math.prod(inputs[1][1:]) if facts["op_name"] == "Conv" else inputs[0][-1]
        macs += math.prod(output) * summed
    return GraphCost(macs, len(model))


_SHAPES = ("input_type_shape", "output_type_shape")


@dataclass
class Floor:
    """The measures of one run. `model`: the engine's ONNX file, `None` where it has none to count."""

    threads: int
    engine_threads: int
    embedders: Mapping[str, Embedder]
    model: Path | None
    took: dict[str, list[Pair]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        network, self.parameters = convnext_tiny()
        shape = (1, 3, REFERENCE_PX, REFERENCE_PX)
        self.reference_cost = graph_cost(network, shape)
        self._reference = session_of(network, self.threads)
        rng = np.random.default_rng(0)
        self._picture = rng.standard_normal(shape, np.float32)
        self._product = session_of(product(GEMM_SIDE), self.engine_threads)
        self._square = rng.standard_normal((GEMM_SIDE, GEMM_SIDE), np.float32)
        self._bytes = np.ones(READ_BYTES // 4, np.float32)
        side = next(iter(self.embedders.values())).manifest.patch_px
        self._patch = rng.integers(0, 256, (1, side, side, 3), np.uint8)
        self._mask = np.ones((1, side, side), np.bool_)
        self.engine_cost = None
        if self.model is not None:
            try:
                self.engine_cost = graph_cost(self.model.read_bytes(), (1, 3, side, side))
            except Exception as error:  # the runtime's exceptions share no public base class
                raise TilefixError(f"the model's arithmetic cannot be counted: {error}", where=self.model) from error
        self.measure()
        self.took.clear()  # warm-up

    def measure(self) -> None:
        """Measures everything once: call it between frames, all through the run."""
        self._add("reference", timed(lambda: self._reference.run(None, {"x": self._picture})))
        self._add("gemm", timed(lambda: self._product.run(None, {"x": self._square})))
        self._add("read", timed(self._bytes.max))
        for name, embedder in self.embedders.items():
            clocks = StageTimer(MonotonicClock()), StageTimer(_Processor())
            with clocks[0].stage("embed"), clocks[1].stage("embed"):
                embedder.embed(self._patch, self._mask)
            parts = [clock.drain_ns() for clock in clocks]
            wall, cpu = (part.get("engine", part["embed"]) / 1e6 for part in parts)
            self._add(f"engine {name}", (wall, cpu))

    def _add(self, name: str, pair: Pair) -> None:
        self.took.setdefault(name, []).append(pair)

    def median_ms(self, name: str) -> Pair:
        """Medians, wall and processor time."""
        wall, cpu = np.median(np.asarray(self.took[name]), axis=0)
        return float(wall), float(cpu)

    def result(self) -> dict[str, Any]:
        """As it stands in the JSON file."""
        gemm_ms, gemm_cpu_ms = self.median_ms("gemm")
        read_ms, read_cpu_ms = self.median_ms("read")
        flop_per_ms = 2.0 * GEMM_SIDE**3 / gemm_cpu_ms
        bytes_per_ms = READ_BYTES / read_cpu_ms
        engines = {}
        for name in self.embedders:
            wall_ms, cpu_ms = self.median_ms(f"engine {name}")
            engines[name] = {"alone_ms": _round(wall_ms), "alone_cpu_ms": _round(cpu_ms)}
            if self.engine_cost is not None:
                arithmetic_ms = 2.0 * self.engine_cost.macs / flop_per_ms
                memory_ms = self.engine_cost.weight_bytes / bytes_per_ms
                engines[name] |= {
                    "arithmetic_floor_ms": _round(arithmetic_ms),
                    "memory_floor_ms": _round(memory_ms),
                    "alone_cpu_over_floor": _round(cpu_ms / max(arithmetic_ms, memory_ms)),
                }
        reference_ms, reference_cpu_ms = self.median_ms("reference")
        return {
            "reference": {
                "network": f"ConvNeXt-Tiny, {REFERENCE_PX} px, FP32, ONNX Runtime, random weights",
                "parameters": self.parameters,
                "gmac": _round(self.reference_cost.macs / 1e9),
                "threads": self.threads,
                "runs": len(self.took["reference"]),
                "p50_ms": _round(reference_ms),
                "p50_cpu_ms": _round(reference_cpu_ms),
            },
            "gemm": {"side": GEMM_SIDE, "p50_ms": _round(gemm_ms), "cpu_gflops": _round(flop_per_ms / 1e6)},
            "read": {"bytes": READ_BYTES, "p50_ms": _round(read_ms), "cpu_gb_per_s": _round(bytes_per_ms / 1e6)},
            "engine_cost": None
            if self.engine_cost is None
            else {"gmac": _round(self.engine_cost.macs / 1e9), "weight_bytes": self.engine_cost.weight_bytes},
            "engines": engines,
        }  # fmt: skip


class _Processor:
    def now_ns(self) -> int:
        return time.thread_time_ns()


def _round(value: float) -> float:
    return round(value, 4)
