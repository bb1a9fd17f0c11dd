"""The form of a quantized ONNX file that TensorRT's explicit quantization, OpenVINO and ONNX Runtime all take.

Pairs of QuantizeLinear and DequantizeLinear, symmetric and signed: the input of a layer is rounded to int8 with one
scale, its weights are stored as int8 with one scale per output channel, biases stay float. What differs is refused here
with the node's name, as NVIDIA's parser names a tensor at best. Needs the package `onnx`.
Source: NVIDIA TensorRT documentation, "Working with Quantized Types", explicit quantization.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tilefix.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

# Layers with weights: op -> which axis of the weights (its input 1) counts output channels.
WEIGHTED = {"Conv": 0, "MatMul": -1, "Gemm": -1}
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_FUSED = {
    "ConvInteger",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearAdd",
    "QLinearConv",
    "QLinearMatMul",
}
_AGAIN = "quantize the FP32 model with tilefix engine quantize"


@dataclass(frozen=True, slots=True)
class Quantized:
    """Names of the layers with weights: those that run in int8, and those left in float."""

    int8: tuple[str, ...]
    left_float: tuple[str, ...]


def parse_onnx(data: bytes, where: object) -> ModelProto:
    """The model that the bytes hold. Raises `ModelError` when they hold none, or its weights lie in other files."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ModelError(f"this needs the package onnx: {error}", mend="pip install 'tilefix[engine]'") from error
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ModelError("not an ONNX model", where=where, mend="export the model again") from error
    if not model.graph.node:
        raise ModelError("an ONNX model without a node", where=where, mend="export the model again")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelError(
                f"the weights {tensor.name} lie in another file", where=where, mend="export with the weights inside"
            )
    return model


def check_qdq(model: ModelProto, where: object) -> Quantized:
    """Which layers are quantized, when the form is the one above; a float model has none.

    Raises `ModelError` naming the node and the mend.
    """
    return _Checker(model.graph, where).check()


class _Checker:
    def __init__(self, graph: GraphProto, where: object) -> None:
        self._graph, self._where = graph, where
        self._constants = constants_of(graph)
        self._maker = {output: node for node in graph.node for output in node.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def check(self) -> Quantized:
        int8: list[str] = []
        left_float: list[str] = []
        for node in self._graph.node:
            if node.op_type in _FUSED:
                raise self._refuse(node, "is an operator that only ONNX Runtime knows", "write the QDQ form")
        for node in self._graph.node:
            if node.op_type == _QUANTIZE:
                self._check_quantize(node)
            elif node.op_type == _DEQUANTIZE:
                self._check_dequantize(node)
            elif node.op_type in WEIGHTED:
                (int8 if self._is_int8(node) else left_float).append(node.name)
        return Quantized(tuple(int8), tuple(left_float))

    def _check_quantize(self, node: NodeProto) -> None:
        if node.input[0] in self._constants:
            raise self._refuse(node, "quantizes a constant", "store the weights as int8")
        if self._scale(node).ndim != 0 and self._scale(node).size != 1:
            raise self._refuse(node, "has a scale per channel for an activation", "give activations one scale")
        self._check_zero(node, required=True)
        readers = self._readers.get(node.output[0], [])
        if not readers or any(reader.op_type != _DEQUANTIZE for reader in readers):
            raise self._refuse(node, "is not followed by a DequantizeLinear", "write pairs")

    def _check_dequantize(self, node: NodeProto) -> None:
        source = node.input[0]
        scale = self._scale(node)
        if source in self._constants:
            self._check_weights(node, self._constants[source], scale)
            return
        maker = self._maker.get(source)
        if maker is None or maker.op_type != _QUANTIZE:
            raise self._refuse(node, "dequantizes what no QuantizeLinear made", "write pairs")
        if not np.array_equal(scale, self._scale(maker)):
            raise self._refuse(node, "has another scale than its QuantizeLinear", "give both the same")
        self._check_zero(node, required=True)

    def _check_weights(self, node: NodeProto, weights: TensorProto, scale: np.ndarray[Any, Any]) -> None:
        import onnx

        if weights.data_type == onnx.TensorProto.INT32:
            raise self._refuse(node, "dequantizes an int32 bias", "leave biases in float (QuantizeBias=False)")
        if weights.data_type != onnx.TensorProto.INT8:
            kind = onnx.TensorProto.DataType.Name(weights.data_type)
            raise self._refuse(node, f"has weights of type {kind}, not INT8", "quantize weights as QInt8")
        self._check_zero(node, required=False)
        if scale.size == 1:
            return
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = tuple(weights.dims)
        axis += len(shape) if axis < 0 else 0
        for reader in self._readers.get(node.output[0], []):
            wanted = _channel_axis(reader, len(shape))
            if wanted is None or list(reader.input).index(node.output[0]) != 1:
                raise self._refuse(
                    node, f"has a scale per channel but feeds {reader.op_type} {reader.name}", "use one scale there"
                )
            if axis != wanted or scale.shape != (shape[axis],):
                raise self._refuse(
                    node,
                    f"has {scale.size} scales along axis {axis} of weights {shape}; {reader.op_type} {reader.name} "
                    f"needs one for each of axis {wanted}",
                    "quantize weights per output channel",
                )

    def _is_int8(self, node: NodeProto) -> bool:
        """True where input and weights are quantized, False where neither is; one alone is refused."""
        makers = [self._maker.get(name) for name in node.input[:2]]
        quantized = [maker is not None and maker.op_type == _DEQUANTIZE for maker in makers]
        if quantized[0] != quantized[1]:
            raise self._refuse(node, "has only its input or only its weights quantized", "quantize both, or neither")
        for name in node.input[2:]:
            maker = self._maker.get(name)
            if maker is not None and maker.op_type == _DEQUANTIZE:
                raise self._refuse(node, "has a quantized bias", "leave biases in float (QuantizeBias=False)")
        return quantized[0]

    def _scale(self, node: NodeProto) -> np.ndarray[Any, Any]:
        import onnx

        tensor = self._constants.get(node.input[1])
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            raise self._refuse(node, "has no constant float scale", "calibrate before")
        scale = onnx.numpy_helper.to_array(tensor)
        if scale.size == 0 or not np.isfinite(scale).all() or scale.min() <= 0.0:
            raise self._refuse(node, "has a scale that is not positive", "calibrate with patches that show ground")
        return scale

    def _check_zero(self, node: NodeProto, *, required: bool) -> None:
        """The zero point is 0 and of type int8; for weights their own type says so too."""
        import onnx

        if len(node.input) < 3 or not node.input[2]:
            if required:
                raise self._refuse(node, "has no zero point, and so means uint8", "give it a zero point of int8 0")
            return
        tensor = self._constants.get(node.input[2])
        if tensor is None or tensor.data_type != onnx.TensorProto.INT8:
            raise self._refuse(node, "is not signed 8 bit", "quantize activations and weights as QInt8")
        if onnx.numpy_helper.to_array(tensor).any():
            raise self._refuse(node, "has a zero point that is not 0", "quantize symmetrically")

    def _refuse(self, node: NodeProto, what: str, mend: str) -> ModelError:
        name = node.name or ", ".join(node.output)
        return ModelError(f"{node.op_type} {name} {what}", where=self._where, mend=f"{mend}, or {_AGAIN}")


def _channel_axis(node: NodeProto, rank: int) -> int | None:
    axis = WEIGHTED.get(node.op_type)
    if axis is None:
        return None
    if node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
        return 0
    return axis % rank


def constants_of(graph: GraphProto) -> dict[str, TensorProto]:
    """Tensors that are part of the model, by name: initializers and Constant nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = attribute.t
    return found


def is_depthwise(node: NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    """True for a convolution whose every output channel looks at one input channel."""
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    return node.op_type == "Conv" and group > 1 and constants[node.input[1]].dims[1] == 1


def layers_to_quantize(model: ModelProto, *, depthwise: bool = False) -> Iterator[NodeProto]:
    """The layers to quantize: convolutions and linear layers with constant weights; depthwise ones only if asked."""
    constants = constants_of(model.graph)
    for node in model.graph.node:
        weighted = node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in constants
        if weighted and (depthwise or not is_depthwise(node, constants)):
            yield node


def with_layers_in_float(quantized: ModelProto, original: ModelProto, names: frozenset[str]) -> ModelProto:
    """The quantized model with the named layers as they are in the original, which it was made of."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(quantized)
    before = {node.name: node for node in original.graph.node}
    for node in model.graph.node:
        if node.name in names:
            del node.input[:]
            node.input.extend(before[node.name].input)
    graph = model.graph
    kept = list(graph.node)
    outputs = {value.name for value in graph.output}
    # A DequantizeLinear that nobody reads goes, and then its QuantizeLinear.
    for op_type in (_DEQUANTIZE, _QUANTIZE):
        read = {name for node in kept for name in node.input} | outputs
        kept = [node for node in kept if node.op_type != op_type or node.output[0] in read]
    read = {name for node in kept for name in node.input} | outputs
    constants = {tensor.name: tensor for tensor in (*original.graph.initializer, *graph.initializer)}
    del graph.node[:]
    graph.node.extend(kept)
    del graph.initializer[:]
    graph.initializer.extend(tensor for name, tensor in constants.items() if name in read)
    return model
