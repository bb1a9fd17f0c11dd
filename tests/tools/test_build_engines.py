from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.networks import small_model
from support.tools import load_tool
from tilefix.engine.calibration import Patches
from tilefix.engine.check import Limits
from tilefix.engine.quantize import quantize

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'tilefix[tensorrt-rtx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'tilefix[engine]'")

LOOSE = Limits(cosine=0.5, points=100.0)


def test_every_precision_of_a_model_is_built_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool, embedders = load_tool("build_engines"), load_tool("embedder_subjects")
    file = small_model(tmp_path)
    images = np.random.default_rng(3).integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)
    int8 = quantize(file, Patches(images, np.ones((16, 16, 16), np.bool_)), tmp_path / "small-int8.onnx", limits=LOOSE)
    files = {embedders.FP32: file, embedders.INT8: int8.file}
    subject = embedders.Subject("small", "random", files, int8, 0.0)
    monkeypatch.setattr(tool, "prepare", lambda name, px, patches, folder: replace(subject, name=name))
    assert tool.main(["--models", "small", "--layers"]) == 0
    said = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in said.splitlines() if line.startswith("| small")]
    assert [row[1].strip() for row in rows] == ["fp32", "fp16", "int8"]
    assert [kind in row[5] for row, kind in zip(rows, ["FP32", "FP16", "INT8"], strict=True)] == [True] * 3
    assert "FP32" not in rows[1][5] + rows[2][5]
    assert "count  type   kind" in said


def test_a_model_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert load_tool("build_engines").main(["--models", "resnet"]) == 2
    assert "resnet" in capsys.readouterr().err


def test_convnext_tiny_is_built_in_every_precision(capsys: pytest.CaptureFixture[str]) -> None:
    """28 million random weights, 18 blocks: depthwise convolutions stay in FP16, all else is computed in int8."""
    pytest.importorskip("torch")
    assert load_tool("build_engines").main(["--models", "convnext-tiny", "--px", "128", "--patches", "4"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| convnext-tiny")]
    arithmetic = [sorted(line.split("|")[6].strip().split(", ")) for line in lines]
    assert arithmetic == [["58 FP32"], ["58 FP16"], ["18 FP16", "40 INT8"]]
