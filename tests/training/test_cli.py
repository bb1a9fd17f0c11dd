from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from support.training import write_config, write_photos
from tilefix.embedders import open_embedder
from tilefix_training.cli import main


def test_from_config_to_a_model_that_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_photos(tmp_path / "drone", 4, seed=1)
    write_photos(tmp_path / "satellite", 4, seed=2)
    config = write_config(tmp_path / "c.toml", epochs="epochs = 1", extra='trained_on = ["drawn (CC0)"]')
    assert main(["fit", str(config)]) == 0
    checkpoint = Path(capsys.readouterr().out.strip())
    assert main(["export", str(checkpoint), "--out", str(tmp_path / "m"), "--name", "mine"]) == 0
    manifest = open_embedder(tmp_path / "m" / "mine.onnx").manifest
    assert (manifest.name, manifest.patch_px, manifest.trained_on) == ("mine", 32, ("drawn (CC0)",))
    assert main(["fit", str(config)]) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_evaluate_prints_the_model_beside_the_baselines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures.json"
    words = ["--worlds", "1001:1001", "--patch-m", "80", "--size-m", "320", "--queries", "5", "--out", str(out)]
    assert main(["evaluate", *words]) == 0
    text = capsys.readouterr().out
    for name in ("tilefix-s", "untrained", "thumbnail"):
        assert name in text
    assert json.loads(out.read_text())["thumbnail"]["queries"] == 5


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "/nowhere/c.toml"],
        ["export", "/nowhere/last.safetensors", "--out", "/nowhere/out"],
        ["evaluate", "--model", "nowhere"],
        ["evaluate", "--worlds", "a:b"],
        ["evaluate", "--worlds", "5:2"],
        ["evaluate", "--patch-m", "5000", "--size-m", "10000"],
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("tilefix-train: ")
    assert text.count("\n") == 1


def test_what_the_system_refuses_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_photos(tmp_path / "drone", 4, seed=1)
    write_photos(tmp_path / "satellite", 4, seed=2)
    (tmp_path / "run").write_text("a file where the folder should be")
    assert main(["fit", str(write_config(tmp_path / "c.toml", epochs="epochs = 1"))]) == 2
    text = capsys.readouterr().err
    assert "tilefix-train: [Errno" in text
    assert "Traceback" not in text


def test_without_torch_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    assert main(["fit", str(tmp_path / "c.toml")]) == 2
    assert "torch is not installed (pip install 'tilefix[train]'" in capsys.readouterr().err
