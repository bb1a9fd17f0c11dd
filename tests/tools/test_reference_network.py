"""tools/reference_network.py: what it writes is ONNX, and the network that it says."""

from __future__ import annotations

import numpy as np
import pytest

from support.tools import load_tool

reference_network = load_tool("reference_network")


def test_it_is_a_valid_model_of_the_known_size() -> None:
    onnx = pytest.importorskip("onnx")
    data, parameters = reference_network.convnext_tiny(64)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    # Stem, three reductions and 18 blocks; two linear layers a block; one norm a block, stem, reduction, and the last.
    assert (kinds.count("Conv"), kinds.count("MatMul"), kinds.count("LayerNormalization")) == (22, 36, 23)
    assert sum(np.prod(one.dims) for one in model.graph.initializer) == parameters == 27_820_128
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    assert {one.name: list(one.ints) for one in convolution.attribute} == {"kernel_shape": [4, 4], "strides": [4, 4]}


def test_it_runs_and_keeps_its_numbers_in_range() -> None:
    data, _ = reference_network.convnext_tiny(64)
    session = reference_network.session_of(data, 1)
    picture = np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)
    (out,) = session.run(None, {"x": picture})
    assert out.shape == (1, 768)
    assert 0.1 < float(out.std()) < 10.0


def test_a_product_is_one() -> None:
    session = reference_network.session_of(reference_network.product(8), 1)
    one, two = (session.run(None, {"x": scale * np.eye(8, dtype=np.float32)})[0] for scale in (1.0, 2.0))
    assert np.allclose(two, 2.0 * one)


@pytest.mark.parametrize(("number", "coded"), [(0, "00"), (127, "7f"), (300, "ac02"), (-1, "ff" * 9 + "01")])
def test_integers_are_coded_as_protocol_buffers_do(number, coded) -> None:
    assert reference_network._varint(number).hex() == coded
