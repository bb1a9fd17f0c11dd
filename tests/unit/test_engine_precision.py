"""The network that TensorRT is given: pixels as its input, half precision where it does no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from support.engines import small_model
from tilefix.embedders import open_embedder, open_model_files
from tilefix.engine.build import prepared_network
from tilefix.engine.lowering import write_out_gelu
from tilefix.engine.pixels import DESCRIPTORS, MASKS, PIXELS, take_pixels
from tilefix.engine.precision import to_half
from tilefix.errors import EngineError

onnx = pytest.importorskip("onnx")


def run(network: Any, patches: np.ndarray, masks: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    data = network if isinstance(network, bytes) else network.SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_outputs()] == [DESCRIPTORS]
    return session.run(None, {PIXELS: patches, MASKS: masks.view(np.uint8)})[0]


def some_patches(side: int, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    masks = rng.random((count, side, side)) < 0.9
    masks[0] = False
    masks[1] = True
    return coarse.repeat(side // 8, 1).repeat(side // 8, 2), masks


def kinds(model: Any) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    found = {item.name: item.data_type for item in inferred.initializer}
    items = (*inferred.value_info, *inferred.input, *inferred.output)
    return found | {item.name: item.type.tensor_type.elem_type for item in items}


def test_pixels_give_the_descriptors_of_to_input_to_the_last_bit() -> None:
    manifest, file = open_model_files(None)
    patches, masks = some_patches(manifest.patch_px)
    network = prepared_network(file.read_bytes(), manifest, "fp32", file)
    assert run(network, patches, masks).tobytes() == open_embedder().embed(patches, masks).tobytes()


def test_the_shipped_model_in_half_precision_describes_the_same() -> None:
    manifest, file = open_model_files(None)
    patches, masks = some_patches(manifest.patch_px)
    network = prepared_network(file.read_bytes(), manifest, "fp16", file)
    assert len(network) < 0.55 * file.stat().st_size  # the weights are half as long
    cosines = (run(network, patches, masks) * open_embedder().embed(patches, masks)).sum(axis=1)
    assert cosines.min() > 0.9999


def test_arithmetic_is_half_precision_and_what_is_sensitive_is_not() -> None:
    manifest, file = open_model_files(None)
    model = onnx.load_model_from_string(prepared_network(file.read_bytes(), manifest, "fp16", file))
    onnx.checker.check_model(model, full_check=True)
    types = kinds(model)
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for node in model.graph.node:
        if node.op_type in ("Conv", "MatMul", "Gelu"):
            assert {types[name] for name in (*node.input, *node.output)} == {half}, node.name
        if node.op_type in ("LayerNormalization", "ReduceL2", "ReduceSum", "Pow", "Sqrt", "AveragePool"):
            assert half not in {types[name] for name in (*node.input, *node.output)}, node.name
    before_first_conv = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    for node in model.graph.node[:before_first_conv]:
        assert node.op_type == "Cast" or half not in {types[name] for name in node.output}, node.name
    assert types[DESCRIPTORS] == single


def test_a_written_out_gelu_is_the_same(tmp_path: Path) -> None:
    manifest, file = open_model_files(small_model(tmp_path))
    model = onnx.load(file)
    assert write_out_gelu(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert "Gelu" not in {node.op_type for node in model.graph.node}
    take_pixels(model, manifest)
    patches, masks = some_patches(64)
    np.testing.assert_allclose(run(model, patches, masks), open_embedder(file).embed(patches, masks), atol=1e-6)


def test_a_gelu_by_tanh_stays(tmp_path: Path) -> None:
    model = onnx.load(small_model(tmp_path))
    (gelu,) = (node for node in model.graph.node if node.op_type == "Gelu")
    gelu.attribute.append(onnx.helper.make_attribute("approximate", "tanh"))
    assert write_out_gelu(model) == 0


def quantized_network(scale: float, *, opset: int = 20) -> Any:
    """(n, 4) by int8 weights (4, 3), both sides of a multiplication quantized."""
    from onnx import TensorProto, helper, numpy_helper

    arrays = {
        "scale_x": np.float32(0.05),
        "scale_w": np.full(3, scale, np.float32),
        "zero": np.int8(0),
        "zeros": np.zeros(3, np.int8),
        "weights": np.random.default_rng(1).integers(-127, 128, (4, 3)).astype(np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale_x", "zero"], ["xq"], name="q"),
        helper.make_node("DequantizeLinear", ["xq", "scale_x", "zero"], ["xd"], name="dq"),
        helper.make_node("DequantizeLinear", ["weights", "scale_w", "zeros"], ["wd"], name="dqw", axis=1),
        helper.make_node("MatMul", ["xd", "wd"], ["product"], name="matmul"),
        helper.make_node("QuantizeLinear", ["product", "scale_x", "zero"], ["pq"], name="q2"),
        helper.make_node("DequantizeLinear", ["pq", "scale_x", "zero"], ["pd"], name="dq2"),
        helper.make_node("Identity", ["pd"], ["y"], name="out"),
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.mark.parametrize(("scale", "half"), [(2.0**-10, True), (2.0**-17, True), (2.0**-18, False), (1e-9, False)])
def test_scales_are_half_precision_where_that_keeps_them(scale: float, half: bool) -> None:
    model = quantized_network(scale)
    to_half(model)
    onnx.checker.check_model(model, full_check=True)
    types = kinds(model)
    assert types["xd"] == types["product"] == onnx.TensorProto.FLOAT16
    assert types["wd"] == (onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT)
    assert types["weights"] == types["xq"] == onnx.TensorProto.INT8
    assert types["pd"] == onnx.TensorProto.FLOAT  # after the last multiplication nothing needs to be quick


def test_outputs_keep_their_type() -> None:
    model = quantized_network(0.01)
    del model.graph.node[4:]
    model.graph.node[3].output[0] = "y"
    to_half(model)
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model)["y"] == onnx.TensorProto.FLOAT


def test_a_quantized_network_of_an_old_opset_is_refused() -> None:
    with pytest.raises(EngineError, match="opset 17 cannot become half precision"):
        to_half(quantized_network(0.01, opset=17))
