"""Small networks as ONNX files, for tests of what quantizes and runs them. Needs the package onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tilefix.manifest import ModelManifest, save_manifest, sha256_of

PATCH_PX = 16
DESCRIPTOR_DIM = 24


def small_network(seed: int = 0, *, outlier: float = 1.0) -> object:
    """A `ModelProto`: convolution, depthwise convolution, two linear layers, mean, L2 norm; (n, 3, 16, 16) to (n, 24).

    `outlier`: factor of one channel before the layer "second", which takes it back out: a scale of one number for all
    channels then rounds the others away.
    """
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(seed)
    channels, wide = 8, 12
    stretch = np.ones(wide, np.float32)
    stretch[0] = outlier
    weights = {
        "stem.weight": rng.standard_normal((channels, 3, 4, 4)) / 7.0,
        "stem.bias": rng.standard_normal(channels) / 10.0,
        "depthwise.weight": rng.standard_normal((channels, 1, 3, 3)) / 3.0,
        "first.weight": rng.standard_normal((channels, wide)) / 3.0,
        "first.bias": rng.standard_normal(wide) / 10.0,
        "stretch": stretch,
        "second.weight": rng.standard_normal((wide, DESCRIPTOR_DIM)) / 3.5 / stretch[:, None],
    }
    nodes = [
        helper.make_node("Conv", ["patches", "stem.weight", "stem.bias"], ["a"], "stem", strides=[4, 4]),
        helper.make_node("Conv", ["a", "depthwise.weight"], ["a2"], "depthwise", group=channels, pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["a2"], ["b"], "last", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["b", "first.weight"], ["c"], "first"),
        helper.make_node("Add", ["c", "first.bias"], ["d"], "shift"),
        helper.make_node("Gelu", ["d"], ["e"], "gelu"),
        helper.make_node("Mul", ["e", "stretch"], ["f"], "stretching"),
        helper.make_node("MatMul", ["f", "second.weight"], ["g"], "second"),
        helper.make_node("Reshape", ["g", "flat"], ["h"], "flatten"),
        helper.make_node("ReduceMean", ["h", "axis"], ["i"], "mean", keepdims=0),
        helper.make_node("LpNormalization", ["i"], ["descriptors"], "norm", axis=1, p=2),
    ]
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    initializers.append(numpy_helper.from_array(np.array([0, -1, DESCRIPTOR_DIM], np.int64), "flat"))
    initializers.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("patches", onnx.TensorProto.FLOAT, ["n", 3, PATCH_PX, PATCH_PX])],
        [helper.make_tensor_value_info("descriptors", onnx.TensorProto.FLOAT, ["n", DESCRIPTOR_DIM])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def small_model(folder: Path, seed: int = 0, *, outlier: float = 1.0) -> Path:
    """`folder/small.onnx` of `small_network`, with its manifest beside it."""
    file = folder / "small.onnx"
    file.write_bytes(small_network(seed, outlier=outlier).SerializeToString())  # type: ignore[attr-defined]
    manifest = ModelManifest(
        name="small",
        file=file.name,
        sha256=sha256_of(file),
        patch_px=PATCH_PX,
        patch_m_min=20.0,
        patch_m_max=200.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        descriptor_dim=DESCRIPTOR_DIM,
        metric="cosine",
        trained_on=(),
    )
    save_manifest(manifest, file.with_suffix(".json"))
    return file
