"""The one form of a quantized file, and every other that ONNX can write, refused with the node's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support.networks import small_network
from tilefix.engine.qdq import check_qdq, layers_to_quantize, parse_onnx, with_layers_in_float
from tilefix.errors import ModelError

onnx = pytest.importorskip("onnx", reason="the extra engine is not installed")
from onnx import helper, numpy_helper  # noqa: E402

LAYERS = ("stem", "first", "second")


def tensor(name: str, values: Any, dtype: type) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def quantized() -> Any:
    """The small network in the right form, written by hand."""
    model = small_network()
    graph = model.graph  # type: ignore[attr-defined]
    weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.name in LAYERS:
            axis = 0 if node.op_type == "Conv" else 1
            w = weights[node.input[1]]
            scales = np.abs(w).max(axis=tuple(i for i in range(w.ndim) if i != axis)) / 127.0
            shape = [-1 if i == axis else 1 for i in range(w.ndim)]
            rounded = np.rint(w / scales.reshape(shape))
            n = node.name
            graph.initializer.extend(
                [
                    tensor(f"{n}.x_scale", 0.03, np.float32),
                    tensor(f"{n}.zero", 0, np.int8),
                    tensor(f"{n}.w_q", rounded, np.int8),
                    tensor(f"{n}.w_scale", scales, np.float32),
                    tensor(f"{n}.w_zero", np.zeros(len(scales)), np.int8),
                ]
            )
            x = node.input[0]
            nodes += [
                helper.make_node("QuantizeLinear", [x, f"{n}.x_scale", f"{n}.zero"], [f"{n}.q"], f"{n}.Q"),
                helper.make_node("DequantizeLinear", [f"{n}.q", f"{n}.x_scale", f"{n}.zero"], [f"{n}.dq"], f"{n}.DQ"),
                helper.make_node(
                    "DequantizeLinear",
                    [f"{n}.w_q", f"{n}.w_scale", f"{n}.w_zero"],
                    [f"{n}.w_dq"],
                    f"{n}.W",
                    axis=axis,
                ),
            ]
            node.input[0], node.input[1] = f"{n}.dq", f"{n}.w_dq"
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return model


def node_of(model: Any, name: str) -> Any:
    return next(node for node in model.graph.node if node.name == name)


def put(model: Any, name: str, values: Any, dtype: type) -> None:
    """Another value in place of a constant."""
    next(one for one in model.graph.initializer if one.name == name).CopyFrom(tensor(name, values, dtype))


def test_the_right_form_is_taken_and_told_layer_by_layer() -> None:
    onnx.checker.check_model(quantized())
    found = check_qdq(quantized(), "m.onnx")
    assert (found.int8, found.left_float) == (LAYERS, ("depthwise",))
    found = check_qdq(small_network(), "m.onnx")  # type: ignore[arg-type]
    assert (found.int8, found.left_float) == ((), ("stem", "depthwise", "first", "second"))


def _uint8(model: Any) -> None:
    put(model, "first.zero", 128, np.uint8)


def _shifted(model: Any) -> None:
    put(model, "first.zero", 3, np.int8)


def _no_zero(model: Any) -> None:
    del node_of(model, "first.Q").input[2:]


def _per_channel_activation(model: Any) -> None:
    put(model, "first.x_scale", np.full(8, 0.03), np.float32)


def _negative_scale(model: Any) -> None:
    put(model, "first.x_scale", -0.03, np.float32)


def _nan_scale(model: Any) -> None:
    put(model, "first.x_scale", np.nan, np.float32)


def _computed_scale(model: Any) -> None:
    node_of(model, "first.Q").input[1] = "patches"


def _other_scale(model: Any) -> None:
    model.graph.initializer.append(tensor("other", 0.04, np.float32))
    node_of(model, "first.DQ").input[1] = "other"


def _wrong_axis(model: Any) -> None:
    node_of(model, "first.W").attribute[0].i = 0
    put(model, "first.w_scale", np.full(8, 0.01), np.float32)
    put(model, "first.w_zero", np.zeros(8), np.int8)


def _wrong_count(model: Any) -> None:
    put(model, "first.w_scale", np.full(5, 0.01), np.float32)


def _uint8_weights(model: Any) -> None:
    put(model, "first.w_q", np.zeros((8, 12)), np.uint8)


def _int32_bias(model: Any) -> None:
    model.graph.initializer.extend([tensor("b_q", np.zeros(8), np.int32), tensor("b_scale", 1.0, np.float32)])
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b_q", "b_scale"], ["b_dq"], "bias.DQ"))
    node_of(model, "stem").input[2] = "b_dq"


def _int8_bias(model: Any) -> None:
    model.graph.initializer.extend([tensor("b_q", np.zeros(8), np.int8), tensor("b_scale", 1.0, np.float32)])
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b_q", "b_scale"], ["b_dq"], "bias.DQ"))
    node_of(model, "stem").input[2] = "b_dq"


def _float_weights(model: Any) -> None:
    node_of(model, "first").input[1] = "first.weight"


def _float_input(model: Any) -> None:
    node_of(model, "first").input[0] = "b"


def _lone_quantize(model: Any) -> None:
    node = node_of(model, "first.Q")
    model.graph.node.append(helper.make_node("QuantizeLinear", list(node.input), ["nobody"], "lone.Q"))


def _lone_dequantize(model: Any) -> None:
    constants = node_of(model, "first.DQ").input[1:]
    model.graph.node.append(helper.make_node("DequantizeLinear", ["patches", *constants], ["nobody"], "lone.DQ"))


def _weights_in_pairs(model: Any) -> None:
    node_of(model, "first.Q").input[0] = "first.bias"


def _fused(model: Any) -> None:
    node_of(model, "first").op_type = "MatMulInteger"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_uint8, "QuantizeLinear first.Q is not signed 8 bit"),
        (_shifted, "QuantizeLinear first.Q has a zero point that is not 0"),
        (_no_zero, "QuantizeLinear first.Q has no zero point"),
        (_per_channel_activation, "QuantizeLinear first.Q has a scale per channel for an activation"),
        (_negative_scale, "QuantizeLinear first.Q has a scale that is not positive"),
        (_nan_scale, "QuantizeLinear first.Q has a scale that is not positive"),
        (_computed_scale, "QuantizeLinear first.Q has no constant float scale"),
        (_other_scale, "DequantizeLinear first.DQ has another scale"),
        (_wrong_axis, "DequantizeLinear first.W has 8 scales along axis 0 .* needs one for each of axis 1"),
        (_wrong_count, "DequantizeLinear first.W has 5 scales along axis 1"),
        (_uint8_weights, "DequantizeLinear first.W has weights of type UINT8"),
        (_int32_bias, "DequantizeLinear bias.DQ dequantizes an int32 bias"),
        (_int8_bias, "Conv stem has a quantized bias"),
        (_float_weights, "MatMul first has only its input or only its weights"),
        (_float_input, "MatMul first has only its input or only its weights"),
        (_lone_quantize, "QuantizeLinear lone.Q is not followed"),
        (_lone_dequantize, "DequantizeLinear lone.DQ dequantizes what no QuantizeLinear made"),
        (_weights_in_pairs, "QuantizeLinear first.Q quantizes a constant"),
        (_fused, "MatMulInteger first is an operator that only ONNX Runtime knows"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_another_form_is_refused_with_node_and_mend(change: Callable[[Any], None], says: str) -> None:
    model = quantized()
    change(model)
    with pytest.raises(ModelError, match=rf"^m\.onnx: {says}.*\(.*tilefix engine quantize\)$"):
        check_qdq(model, "m.onnx")


def test_constants_may_be_nodes() -> None:
    model = quantized()
    scale = next(one for one in model.graph.initializer if one.name == "first.x_scale")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["first.x_scale"], "scale", value=scale))
    model.graph.initializer.remove(scale)
    assert check_qdq(model, "m.onnx").int8 == LAYERS


def test_one_scale_for_all_weights_will_do() -> None:
    model = quantized()
    put(model, "first.w_scale", 0.01, np.float32)
    put(model, "first.w_zero", 0, np.int8)
    assert check_qdq(model, "m.onnx").int8 == LAYERS


def test_gemm_counts_channels_by_its_transposition() -> None:
    model = quantized()
    node = node_of(model, "first")
    node.op_type = "Gemm"
    assert "first" in check_qdq(model, "m.onnx").int8
    node.attribute.append(helper.make_attribute("transB", 1))
    with pytest.raises(ModelError, match="needs one for each of axis 0"):
        check_qdq(model, "m.onnx")


def test_layers_go_back_to_float_with_all_that_served_them() -> None:
    original, model = small_network(), quantized()
    mixed = with_layers_in_float(model, original, frozenset({"first"}))  # type: ignore[arg-type]
    assert check_qdq(mixed, "m.onnx").int8 == ("stem", "second")
    onnx.checker.check_model(mixed)
    names = {node.name for node in mixed.graph.node} | {one.name for one in mixed.graph.initializer}
    assert not {name for name in names if name.startswith("first.") and name not in ("first.weight", "first.bias")}
    assert check_qdq(model, "m.onnx").int8 == LAYERS  # what it was made of is left alone
    whole = with_layers_in_float(model, original, frozenset(LAYERS))  # type: ignore[arg-type]
    assert [node.name for node in whole.graph.node] == [node.name for node in original.graph.node]  # type: ignore[attr-defined]


def test_layers_to_quantize_have_constant_weights_and_are_not_depthwise() -> None:
    model = small_network()
    assert tuple(node.name for node in layers_to_quantize(model)) == LAYERS  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"\x08\x0a" + b"\xff" * 300, b"not a model"])
def test_bytes_that_hold_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"m\.onnx: (not an ONNX model|an ONNX model without a node)"):
        parse_onnx(data, "m.onnx")


def test_weights_in_other_files_are_refused() -> None:
    model = small_network()
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"the weights stem\.weight lie in another file"):
        parse_onnx(model.SerializeToString(), "m.onnx")  # type: ignore[attr-defined]
