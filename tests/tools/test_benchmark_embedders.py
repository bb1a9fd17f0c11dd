"""tools/benchmark_embedders.py on a small network: what is measured, not how fast it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.networks import PATCH_PX, small_model
from support.tools import load_tool
from tilefix.manifest import load_manifest

pytest.importorskip("onnx", reason="the extra engine is not installed")
benchmark_embedders = load_tool("benchmark_embedders")
embedder_subjects = load_tool("embedder_subjects")
LITTLE = ["--repeats", "2", "--worlds", "1", "--queries", "5", "--patches", "16", "--threads", "1"]


def test_every_way_is_measured_beside_fp32(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(tmp_path)
    manifest = load_manifest(model.with_suffix(".json"))
    monkeypatch.setattr(embedder_subjects, "open_model_files", lambda _: (manifest, model))
    monkeypatch.setattr(benchmark_embedders, "_installed", lambda name: name == "onnxruntime")
    out = tmp_path / "bench" / "embedders.json"
    assert benchmark_embedders.main([*LITTLE, "--depthwise", "--out", str(out)]) == 0
    (found,) = json.loads(out.read_text())["models"]
    assert (found["weights"], found["patch_px"], found["queries"]) == ("trained", PATCH_PX, 5)
    assert (found["layers_int8"], found["layers_float"]) == (3, ["depthwise"])
    plain, quantized, whole = found["runs"]
    assert (plain["precision"], quantized["precision"], whole["precision"]) == ("fp32", "int8", "int8+dw")
    assert whole["agreement"] != quantized["agreement"]
    assert plain["processor_p50_ratio"] == plain["wall_min_ratio"] == 1.0
    assert plain["agreement"]["cosine_min"] == pytest.approx(1.0, abs=1e-6)
    assert 0.98 < quantized["agreement"]["cosine_min"] < 1.0
    assert quantized["resident_mib"] >= quantized["resident_before_mib"] > 0
    assert "3 layers in int8, 1 in float" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"), [(["--repeats", "0"], "out of range"), (["--models", "convnext-enormous"], "not known")]
)
def test_what_cannot_be_measured_is_said(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--models" in arguments:
        pytest.importorskip("torch")
    assert benchmark_embedders.main([*arguments, "--out", str(tmp_path / "out.json")]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
