"""Networks that a benchmark measures by, written as ONNX bytes without the onnx package (it does not fly).

An ONNX file is protocol-buffer messages: fields as (number << 3 | type), integers as varints, all else with its length.
Source: https://protobuf.dev/programming-guides/encoding and onnx.proto of ONNX 1.16 (IR version 9, opset 20).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort

from tilefix.types import Float32Array

_IR_VERSION, _OPSET = 9, 20
_FLOAT = 1
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 1, 2, 7

# Liu et al., A ConvNet for the 2020s, 2022: ConvNeXt-T.
DEPTHS, WIDTHS = (3, 3, 9, 3), (96, 192, 384, 768)
REFERENCE_PX = 256

Attribute = int | float | Sequence[int]


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1  # a negative one in two's complement
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, float):
        body, kind = _varint(2 << 3 | 5) + struct.pack("<f", value), _ATTRIBUTE_FLOAT
    elif isinstance(value, int):
        body, kind = _field(3, value), _ATTRIBUTE_INT
    else:
        body, kind = b"".join(_field(8, one) for one in value), _ATTRIBUTE_INTS
    return _field(5, _field(1, name) + body + _field(20, kind))


def _value(name: str, shape: Sequence[int]) -> bytes:
    dims = b"".join(_field(1, _field(1, side)) for side in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, dims)))


class Graph:
    """A graph of float32 tensors under construction. `add` gives the name of the node's output."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[bytes] = []
        self._initializers: list[bytes] = []
        self.parameters = 0

    def weight(self, *shape: int, spread: float | None = None) -> str:
        """Random weights of that shape, scaled so that a layer keeps the spread of what it is given."""
        fan = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        values = self._rng.standard_normal(shape, np.float32) * np.float32(fan**-0.5 if spread is None else spread)
        return self.constant(values)

    def constant(self, values: Float32Array) -> str:
        """A tensor that is part of the model."""
        name = f"w{len(self._initializers)}"
        dims = b"".join(_field(1, side) for side in values.shape)
        self._initializers.append(dims + _field(2, _FLOAT) + _field(8, name) + _field(9, values.tobytes()))
        self.parameters += values.size
        return name

    def add(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """One node with one output."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(
            b"".join(_field(1, one) for one in inputs)
            + _field(2, name)
            + _field(4, kind)
            + b"".join(_attribute(key, value) for key, value in attributes.items())
        )
        return name

    def model(self, inputs: Mapping[str, Sequence[int]], output: str, shape: Sequence[int]) -> bytes:
        """The whole file."""
        graph = b"".join(
            [
                *(_field(1, one) for one in self._nodes),
                _field(2, "g"),
                *(_field(5, one) for one in self._initializers),
                *(_field(11, _value(name, sides)) for name, sides in inputs.items()),
                _field(12, _value(output, shape)),
            ]
        )
        return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, _field(2, _OPSET))


def convnext_tiny(side_px: int = REFERENCE_PX, seed: int = 0) -> tuple[bytes, int]:
    """ConvNeXt-Tiny without its classifier as (ONNX bytes, parameters): float32, random weights, batch 1.

    (1, 3, side_px, side_px) to (1, 768); channels last around the linear layers, as it is exported.
    """
    graph = Graph(seed)

    def norm(x: str, width: int) -> str:
        scale, shift = graph.constant(np.ones(width, np.float32)), graph.constant(np.zeros(width, np.float32))
        return graph.add("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-6)

    def linear(x: str, width: int, out: int) -> str:
        return graph.add("Add", graph.add("MatMul", x, graph.weight(width, out)), graph.weight(out, spread=0.0))

    def last(x: str) -> str:
        return graph.add("Transpose", x, perm=(0, 2, 3, 1))

    def first(x: str) -> str:
        return graph.add("Transpose", x, perm=(0, 3, 1, 2))

    x, before = "x", 3
    for stage, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
        step = 4 if stage == 0 else 2
        if stage > 0:
            x = first(norm(last(x), before))
        weight, bias = graph.weight(width, before, step, step), graph.weight(width, spread=0.0)
        x = graph.add("Conv", x, weight, bias, kernel_shape=(step, step), strides=(step, step))
        if stage == 0:
            x = first(norm(last(x), width))
        for _ in range(depth):
            weight, bias = graph.weight(width, 1, 7, 7), graph.weight(width, spread=0.0)
            y = graph.add("Conv", x, weight, bias, kernel_shape=(7, 7), pads=(3, 3, 3, 3), group=width)
            y = linear(norm(last(y), width), width, 4 * width)
            y = linear(graph.add("Gelu", y), 4 * width, width)
            y = graph.add("Mul", y, graph.constant(np.full(width, 0.1, np.float32)))
            x = graph.add("Add", x, first(y))
        before = width
    x = graph.add("GlobalAveragePool", x)
    x = norm(graph.add("Flatten", x, axis=1), before)
    return graph.model({"x": (1, 3, side_px, side_px)}, x, (1, before)), graph.parameters


def product(side: int) -> bytes:
    """One matrix product, (side, side) by weights of (side, side), as ONNX bytes."""
    graph = Graph(0)
    return graph.model({"x": (side, side)}, graph.add("MatMul", "x", graph.weight(side, side)), (side, side))


def session_of(
    model: bytes, threads: int, *, optimised: bool = True, profile: str | None = None
) -> ort.InferenceSession:
    """ONNX Runtime's session on the CPU. `profile`: prefix of a file that tells what every node did."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
