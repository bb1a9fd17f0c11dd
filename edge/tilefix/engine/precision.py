"""A network in half precision, written out in its ONNX graph: the one form that TensorRT 10, 11 and RTX all keep to.

TensorRT 11 and RTX have no flag that lets the builder choose precisions, and where TensorRT 10 has one, the result
changes with the machine. So each operation's type is fixed here, and the network is built strongly typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tilefix.errors import EngineError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

# Where the arithmetic is. Half precision reaches from the first of these to the last: the standardisation of the input,
# whose sums run over a whole patch, and pooling and norming at the end stay in float32.
_HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# What may be half precision between them: no sums over many values but the heavy ones', which accumulate in float32.
# Normalisations, reductions, powers, exponentials stay in float32.
_LIGHT = frozenset(
    ("Add", "Clip", "Concat", "Dropout", "Erf", "Expand", "Flatten", "Gelu", "HardSigmoid", "HardSwish", "Identity",
     "LeakyRelu", "MaxPool", "Mul", "Neg", "Pad", "PRelu", "Relu", "Reshape", "Sigmoid", "Slice", "Squeeze", "Sub",
     "Tanh", "Transpose", "Unsqueeze")
)  # fmt: skip
_QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})
# Which inputs carry values, where others are shapes, axes and indices.
_VALUES = {"Reshape": (0,), "Slice": (0,), "Squeeze": (0,), "Unsqueeze": (0,), "Expand": (0,), "Pad": (0, 2)}
# Below this a scale loses more than 1 part in 500 in half precision, where it has no longer 11 bits.
_SMALLEST_SCALE = 2.0**-17
_HALF_SCALES = 19  # the first opset whose scales may be half precision


def to_half(model: ModelProto) -> int:
    """Changes the network's heavy part to half precision, with casts around it; gives the number of nodes changed.

    A quantized network (QDQ) keeps its int8 operations: what lies between them becomes half precision. Inputs and
    outputs keep their types. Raises `EngineError` for a quantized network of an opset without half-precision scales.
    """
    from onnx import TensorProto, helper, numpy_helper, shape_inference

    graph = model.graph
    if _quantized(model) and _opset(model) < _HALF_SCALES:
        raise EngineError(
            f"a quantized network of opset {_opset(model)} cannot become half precision",
            mend=f"export the model at opset {_HALF_SCALES} or later, and quantize it again",
        )
    inferred = shape_inference.infer_shapes(model).graph
    kinds = {item.name: item.type.tensor_type.elem_type for item in (*inferred.value_info, *graph.input, *graph.output)}
    constants = {item.name: item for item in graph.initializer}
    kinds |= {name: item.data_type for name, item in constants.items()}
    chosen = _chosen(graph.node, kinds, constants, {item.name for item in graph.output})
    held = {tensor for place in chosen for tensor in graph.node[place].output}  # in half precision now
    made: dict[tuple[str, bool], str] = {}
    nodes: list[NodeProto] = []

    def as_kind(tensor: str, half: bool) -> str:
        """The tensor in the type that a node wants: itself, a constant of that type, or a cast made once."""
        if kinds.get(tensor) != TensorProto.FLOAT or (tensor in held) == half:
            return tensor
        name = f"{tensor}_{'half' if half else 'float'}"
        if (tensor, half) not in made:
            made[tensor, half] = name
            if tensor in constants:
                values = numpy_helper.to_array(constants[tensor]).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, name))
            else:
                to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
                nodes.append(helper.make_node("Cast", [tensor], [name], to=to, name=name))
        return name

    for place, original in enumerate(graph.node):
        node = type(original).FromString(original.SerializeToString())
        half = place in chosen
        for index, tensor in enumerate(original.input):
            if not half or index in _VALUES.get(node.op_type, range(len(original.input))):
                node.input[index] = as_kind(tensor, half)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # their types are no longer true
    used = {tensor for node in nodes for tensor in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return len(chosen)


def _chosen(
    nodes: Sequence[NodeProto], kinds: dict[str, int], constants: dict[str, TensorProto], outputs: set[str]
) -> set[int]:
    """The places of the nodes that become half precision."""
    from onnx import TensorProto, numpy_helper

    after = _reached(nodes, [t for node in nodes if node.op_type in _HEAVY for t in node.output])
    before = _reached_backwards(nodes, [t for node in nodes if node.op_type in _HEAVY for t in node.input])
    chosen = set()
    for place, node in enumerate(nodes):
        if outputs.intersection(node.output):
            continue
        feeds, follows = bool(set(node.output) & before), bool(set(node.input) & after)
        if node.op_type in _QUANTIZING:
            scales = numpy_helper.to_array(constants[node.input[1]]) if node.input[1] in constants else np.zeros(1)
            if feeds and kinds.get(node.input[1]) == TensorProto.FLOAT and scales.min() >= _SMALLEST_SCALE:
                chosen.add(place)
        elif kinds.get(node.output[0]) == TensorProto.FLOAT and (
            node.op_type in _HEAVY or (node.op_type in _LIGHT and feeds and follows)
        ):
            chosen.add(place)
    return chosen


def _reached(nodes: Sequence[NodeProto], tensors: list[str]) -> set[str]:
    """The tensors that depend on `tensors`, these included; nodes stand in an order of execution."""
    found = set(tensors)
    for node in nodes:
        if found.intersection(node.input):
            found.update(node.output)
    return found


def _reached_backwards(nodes: Sequence[NodeProto], tensors: list[str]) -> set[str]:
    found = set(tensors)
    for node in reversed(nodes):
        if found.intersection(node.output):
            found.update(node.input)
    return found


def _quantized(model: ModelProto) -> bool:
    return any(node.op_type in _QUANTIZING for node in model.graph.node)


def _opset(model: ModelProto) -> int:
    return max(int(item.version) for item in model.opset_import if item.domain in ("", "ai.onnx"))
