"""Quantizing small networks: what is written, what is left in float, what is refused, and that nothing else is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.networks import DESCRIPTOR_DIM, PATCH_PX, small_model
from tilefix import cli
from tilefix.embedders import open_embedder
from tilefix.engine.calibration import Patches
from tilefix.engine.check import INT8, Limits, compare
from tilefix.engine.place import put_in_place
from tilefix.engine.qdq import check_qdq, parse_onnx
from tilefix.engine.quantize import quantize, summary
from tilefix.errors import ModelError
from tilefix.manifest import load_manifest, sha256_of

pytest.importorskip("onnx", reason="the extra engine is not installed")


@pytest.fixture
def patches() -> Patches:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (48, PATCH_PX, PATCH_PX, 3), dtype=np.uint8)
    masks = np.ones((48, PATCH_PX, PATCH_PX), np.bool_)
    masks[::3, :, :5] = False
    return Patches(images, masks)


def test_every_layer_but_depthwise_is_quantized_where_that_changes_nothing(tmp_path: Path, patches: Patches) -> None:
    model = small_model(tmp_path)
    result = quantize(model, patches, tmp_path / "out" / "q.onnx")
    assert (result.int8, result.left_float) == (("stem", "first", "second"), ("depthwise",))
    assert result.agreement.cosine_min >= INT8.cosine
    written = parse_onnx(result.file.read_bytes(), "q")
    assert check_qdq(written, "q").int8 == result.int8
    rounded = [node.input[0] for node in written.graph.node if node.op_type == "QuantizeLinear"]
    assert rounded == ["patches", "b", "f"]  # the layers' inputs and nothing else
    assert result.sensitive == ()
    assert "3 layers in int8; in float 1 depthwise ones and 0 that" in summary(result)
    manifest = load_manifest(result.file.with_suffix(".json"))
    plain = load_manifest(model.with_suffix(".json"))
    assert manifest == result.manifest
    assert manifest == replace(
        plain, name="small-int8", file="q.onnx", sha256=sha256_of(result.file), descriptors_of=plain.sha256
    )
    compare(open_embedder(model), open_embedder(result.file), patches.images, patches.masks)
    # Only what was asked for, and nothing beside the model.
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["out", "q.json", "q.onnx", "small.json", "small.onnx"]


def test_equal_input_gives_equal_bytes(tmp_path: Path, patches: Patches) -> None:
    model = small_model(tmp_path, outlier=3000.0)
    first, second = (quantize(model, patches, tmp_path / f"{name}.onnx") for name in ("a", "b"))
    assert first.file.read_bytes() == second.file.read_bytes()
    assert first.left_float == second.left_float


def test_the_layer_that_suffers_is_left_in_float(tmp_path: Path, patches: Patches) -> None:
    result = quantize(small_model(tmp_path, outlier=3000.0), patches, tmp_path / "q.onnx")
    assert (result.int8, result.left_float) == (("stem", "first"), ("depthwise", "second"))
    assert result.sensitive == ("second",)
    assert "in float: second" in summary(result)


def test_what_no_mixture_holds_is_refused_and_nothing_written(tmp_path: Path, patches: Patches) -> None:
    model = small_model(tmp_path)
    with pytest.raises(ModelError, match="cannot be quantized without changing"):
        quantize(model, patches, tmp_path / "q.onnx", limits=Limits(cosine=1.1))
    assert not list(tmp_path.glob("q.*"))


def test_a_quantized_model_is_not_quantized_again(tmp_path: Path, patches: Patches) -> None:
    result = quantize(small_model(tmp_path), patches, tmp_path / "q.onnx")
    with pytest.raises(ModelError, match=r"is not an FP32 ONNX model"):
        quantize(result.file, patches, tmp_path / "r.onnx")
    raw = json.loads(result.file.with_suffix(".json").read_text())
    del raw["descriptors_of"]
    result.file.with_suffix(".json").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match="is quantized already"):
        quantize(result.file, patches, tmp_path / "r.onnx")


def test_the_model_itself_is_never_written_over(tmp_path: Path, patches: Patches) -> None:
    model = small_model(tmp_path)
    before = model.read_bytes()
    with pytest.raises(ModelError, match="over the model itself"):
        quantize(model, patches, tmp_path / "." / model.name)
    with pytest.raises(ModelError, match=r"must be named \.onnx"):
        quantize(model, patches, tmp_path / "q.engine")
    assert model.read_bytes() == before


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path, patches: Patches) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        quantize(small_model(tmp_path), patches, tmp_path / "file" / "q.onnx")


def test_a_pair_that_cannot_take_its_place_leaves_the_one_before(tmp_path: Path, patches: Patches) -> None:
    model = small_model(tmp_path)
    first = quantize(model, patches, tmp_path / "q.onnx")
    before = first.file.read_bytes()
    manifest = first.file.with_suffix(".json")
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(ModelError, match="cannot be written"):
        quantize(small_model(tmp_path, outlier=3000.0), patches, tmp_path / "q.onnx")
    assert first.file.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["q.json", "q.onnx", "small.json", "small.onnx"]


def test_files_are_put_in_place_all_or_none(tmp_path: Path) -> None:
    made = [tmp_path / "made" / name for name in ("a", "b", "c")]
    (tmp_path / "made").mkdir()
    for file in made:
        file.write_text("new")
    (tmp_path / "a").write_text("old")
    (tmp_path / "c").mkdir()  # no file can take its place
    with pytest.raises(OSError, match="c"):
        put_in_place(made, tmp_path)
    assert (tmp_path / "a").read_text() == "old"
    assert not (tmp_path / "b").exists()
    (tmp_path / "c").rmdir()
    for file in made:
        file.write_text("newer")
    put_in_place(made, tmp_path)
    assert [(tmp_path / file.name).read_text() for file in made] == 3 * ["newer"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c", "made"]


def test_the_descriptors_keep_their_shape(tmp_path: Path, patches: Patches) -> None:
    result = quantize(small_model(tmp_path), patches, tmp_path / "q.onnx")
    assert open_embedder(result.file).embed(patches.images, patches.masks).shape == (48, DESCRIPTOR_DIM)


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = small_model(tmp_path)
    for arguments, says in (
        (["--calibration", str(tmp_path / "none")], "no folder to calibrate with"),
        (["--calibration", str(tmp_path)], "no patch to calibrate with"),
        (["--calibration", str(tmp_path), "--patches", "0"], "--patches 0 is out of range"),
    ):
        assert cli.main(["engine", "quantize", "--model", str(model), *arguments]) == 2
        assert says in capsys.readouterr().err
