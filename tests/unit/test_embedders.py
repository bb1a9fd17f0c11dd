"""Opening models: the shipped one, those given by path, and every file that is not what it says."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from support.networks import small_model
from tilefix.embedders import BACKENDS, SHIPPED_FOLDER, SHIPPED_MODEL, Backend, manifest_path, open_embedder
from tilefix.errors import ModelError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the shipped model's .onnx, with its .json beside it."""
    for suffix in (".onnx", ".json"):
        shutil.copy(SHIPPED_FOLDER / f"{SHIPPED_MODEL}{suffix}", tmp_path)
    return tmp_path / f"{SHIPPED_MODEL}.onnx"


@pytest.fixture(params=["onnxruntime", "openvino"])
def provider(request: pytest.FixtureRequest) -> str:
    """Each runtime of .onnx files on a CPU."""
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    return str(request.param)


def change(model: Path, **values: Any) -> None:
    """Changes the manifest beside `model`."""
    path = model.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def rewrite(model: Path, data: bytes) -> None:
    """Puts other bytes into the model file, and their hash into the manifest."""
    model.write_bytes(data)
    change(model, sha256=hashlib.sha256(data).hexdigest())


def test_the_shipped_model_is_the_default_and_small() -> None:
    assert open_embedder(None).manifest == open_embedder("default").manifest == open_embedder(SHIPPED_MODEL).manifest
    assert (SHIPPED_FOLDER / f"{SHIPPED_MODEL}.onnx").stat().st_size <= 10_000_000


def test_a_model_opens_by_its_onnx_and_by_its_json(model: Path) -> None:
    assert open_embedder(model).manifest == open_embedder(str(model.with_suffix(".json"))).manifest
    assert manifest_path(model) == model.with_suffix(".json")


def test_a_name_that_is_no_model_lists_those_there_are() -> None:
    with pytest.raises(ModelError, match=SHIPPED_MODEL):
        open_embedder("bigger")


def test_missing_files_are_named(model: Path) -> None:
    model.unlink()
    with pytest.raises(ModelError, match=r"tilefix-s\.onnx.*No such file"):
        open_embedder(model)
    model.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"tilefix-s\.json.*keep the \.json beside"):
        open_embedder(model)


def test_one_byte_changed_is_noticed(model: Path) -> None:
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        open_embedder(model)


@pytest.mark.parametrize("data", [b"", b"not a model at all", b"\x08\x0a" + b"\xff" * 300])
def test_a_file_that_is_no_onnx_is_refused(model: Path, data: bytes, provider: str) -> None:
    rewrite(model, data)
    with pytest.raises(ModelError, match="not an ONNX model"):
        open_embedder(model, provider)


def test_a_truncated_model_is_refused(model: Path, provider: str) -> None:
    rewrite(model, model.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="not an ONNX model"):
        open_embedder(model, provider)


@pytest.mark.parametrize("values", [{"patch_px": 32}, {"descriptor_dim": 7}])
def test_shapes_other_than_the_manifests_are_refused(model: Path, values: dict[str, int], provider: str) -> None:
    change(model, **values)
    with pytest.raises(ModelError, match="its manifest says float"):
        open_embedder(model, provider)


def test_a_manifest_of_another_file_or_kind_is_refused(model: Path) -> None:
    change(model, file="other.onnx")
    with pytest.raises(ModelError, match=r"belongs to other\.onnx"):
        open_embedder(model)
    change(model, file="model.plan")
    with pytest.raises(ModelError, match=r"no runtime for .*'\.plan'"):
        open_embedder(model.with_suffix(".json"))


def test_a_provider_that_does_not_run_the_file_names_those_that_do(model: Path) -> None:
    for provider in ("tensorrt", "abacus"):
        with pytest.raises(ModelError, match=r"does not run \.onnx files \(use one of auto, onnxruntime"):
            open_embedder(model, provider)
    assert type(open_embedder(model, "onnxruntime")) is type(open_embedder(model))


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="has the CUDA provider")
def test_a_missing_cuda_provider_is_said(model: Path) -> None:
    with pytest.raises(ModelError, match=r"no CUDAExecutionProvider .*pip install onnxruntime-gpu"):
        open_embedder(model, "onnxruntime-cuda")


def test_a_cuda_provider_that_does_not_start_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ort.InferenceSession

    def fall_back(data: bytes, options: object, providers: list[str]) -> object:
        assert providers[0] == "CUDAExecutionProvider"
        return whole(data, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", fall_back)
    with pytest.raises(ModelError, match="CUDAExecutionProvider does not start"):
        open_embedder(model, "onnxruntime-cuda")


def test_a_provider_without_its_package_says_what_installs_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS[".onnx"], "other", Backend("tilefix_no_such_module", "X", "pip install it"))
    with pytest.raises(ModelError, match=r"'other' cannot be loaded: No module .*\(pip install it\)"):
        open_embedder(model, "other")


def test_auto_takes_the_same_runtime_on_every_machine(model: Path) -> None:
    assert type(open_embedder(model)).__name__ == "OnnxEmbedder"
    change(model, descriptors_of="0" * 64)
    assert type(open_embedder(model)).__name__ == "OnnxEmbedder"


def test_without_openvino_the_mend_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "tilefix.embedders.openvino", raising=False)
    with pytest.raises(ModelError, match=r"'openvino' cannot be loaded: .*\(pip install 'tilefix\[openvino\]'\)"):
        open_embedder(model, "openvino")


def test_weights_in_another_file_are_not_read(tmp_path: Path, provider: str) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra engine is not installed")
    file = small_model(tmp_path)
    network = onnx.load(file)
    weights = network.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=str(tmp_path / "weights.bin"))
    data = network.SerializeToString()
    key = b"\x0a\x08location"
    assert data.count(key) == 1
    for written in (key, b"\x8a\x00\x08location", b"\x0a\x88\x80\x00location"):  # the same to a protobuf reader
        rewrite(file, data.replace(key, written))
        with pytest.raises(ModelError, match="keeps weights in another file"):
            open_embedder(file, provider)


def _fixed_batch(onnx: Any, graph: Any) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _two_outputs(onnx: Any, graph: Any) -> None:
    graph.node.append(onnx.helper.make_node("Identity", [graph.output[0].name], ["again"]))
    graph.output.append(onnx.helper.make_tensor_value_info("again", onnx.TensorProto.FLOAT, None))


def _half_input(onnx: Any, graph: Any) -> None:
    name = graph.input[0].name
    shape = [side.dim_value or side.dim_param for side in graph.input[0].type.tensor_type.shape.dim]
    graph.node.insert(0, onnx.helper.make_node("Cast", ["half"], [name], to=onnx.TensorProto.FLOAT))
    graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("half", onnx.TensorProto.FLOAT16, shape))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (_fixed_batch, "the network's input has a fixed batch of 1"),
        (_two_outputs, "the network has 2 outputs, not one"),
        (_half_input, "the network's input is .*16.*, its manifest says float"),
    ],
)
def test_a_network_of_another_form_is_refused(
    tmp_path: Path, provider: str, damage: Callable[[Any, Any], None], what: str
) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra engine is not installed")
    file = small_model(tmp_path)
    network = onnx.load(file)
    damage(onnx, network.graph)
    rewrite(file, network.SerializeToString())
    with pytest.raises(ModelError, match=what):
        open_embedder(file, provider)
