"""Small models, and engines of them, on the GPU of `support.fakecuda`."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.fakecuda import FakeCuda, install
from support.faketensorrt import FakeTensorRT
from tilefix.embedders import open_model_files
from tilefix.embedders.device import open_device
from tilefix.engine.fingerprint import Fingerprint, fingerprint_path, machine_facts, write_fingerprint
from tilefix.engine.pixels import take_pixels
from tilefix.engine.plan import build_plan
from tilefix.engine.qdq import parse_onnx
from tilefix.engine.runtime import load_tensorrt
from tilefix.manifest import ModelManifest, save_manifest


def fake_machine(
    monkeypatch: pytest.MonkeyPatch, *, package: str = "cuda-bindings", version: str = "10.3.0", graphs: bool = True
) -> tuple[FakeCuda, FakeTensorRT]:
    """A GPU with TensorRT, until the test ends."""
    cuda = FakeCuda(graphs=graphs)
    install(monkeypatch, cuda, package)
    trt = FakeTensorRT(cuda, version=version)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    return cuda, trt


def small_model(folder: Path, *, patch_px: int = 64, name: str = "small") -> Path:
    """An .onnx with its .json: a convolution, GELU, another, pooling, length 1. Quick at any patch size."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng([5, patch_px])
    cell, width = patch_px // 8, 16
    constants = {
        "w1": rng.normal(size=(width, 3, cell, cell)).astype(np.float32) / cell,
        "b1": rng.normal(size=width).astype(np.float32),
        "w2": rng.normal(size=(24, width, 1, 1)).astype(np.float32),
        "b2": rng.normal(size=24).astype(np.float32),
        "least": np.float32(1e-6),
    }
    nodes = [
        helper.make_node("Conv", ["values", "w1", "b1"], ["c1"], name="conv1", strides=[cell, cell]),
        helper.make_node("Gelu", ["c1"], ["g1"], name="gelu1"),
        helper.make_node("Conv", ["g1", "w2", "b2"], ["c2"], name="conv2"),
        helper.make_node("Flatten", ["c2"], ["flat"], name="flat"),
        helper.make_node("ReduceL2", ["flat", "axis"], ["norm"], name="norm", keepdims=1),
        helper.make_node("Max", ["norm", "least"], ["length"], name="length"),
        helper.make_node("Div", ["flat", "length"], ["descriptors"], name="div"),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, ["n", 3, patch_px, patch_px])],
        [helper.make_tensor_value_info("descriptors", TensorProto.FLOAT, ["n", 24 * 64])],
        [
            *(numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    file = folder / f"{name}.onnx"
    file.write_bytes(model.SerializeToString())
    manifest = ModelManifest(
        name=name,
        file=file.name,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        patch_px=patch_px,
        patch_m_min=40.0,
        patch_m_max=800.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        descriptor_dim=24 * 64,
        metric="cosine",
        trained_on=(),
    )
    save_manifest(manifest, file.with_suffix(".json"))
    return file


def small_engine(folder: Path, *, patch_px: int = 64) -> Path:
    """The same of `small_model`."""
    return engine_of(small_model(folder, patch_px=patch_px), folder)


def engine_of(model: Path | None, folder: Path) -> Path:
    """An .engine of a model, in FP32, with its .json and fingerprint, of the machine that is installed; not checked."""
    manifest, file = open_model_files(model)
    trt, gpu = load_tensorrt(), open_device()
    network = parse_onnx(file.read_bytes(), file)
    take_pixels(network, manifest)
    data = build_plan(trt, network.SerializeToString()).data
    engine = folder / f"{manifest.name}-fp32.engine"
    engine.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    facts = machine_facts(trt, gpu.facts)
    gpu.close()
    fingerprint = Fingerprint(str(file), manifest.sha256, manifest.sha256, sha256, "fp32", **facts)
    write_fingerprint(fingerprint, fingerprint_path(engine))
    save_manifest(
        replace(manifest, file=engine.name, sha256=sha256, descriptors_of=manifest.sha256), engine.with_suffix(".json")
    )
    return engine
