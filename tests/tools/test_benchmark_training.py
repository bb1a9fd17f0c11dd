from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.tools import load_tool

pytest.importorskip("torch")
benchmark_training = load_tool("benchmark_training")


def test_it_measures_both_ceilings_and_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench" / "training.json"
    words = [
        "--backbone",
        "tilefix-xxs",
        "--px",
        "32",
        "--batch",
        "8",
        "--batches",
        "2",
        "--rounds",
        "1",
        "--threads",
        "1",
    ]
    assert benchmark_training.main([*words, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert set(found["pictures_per_s"]) == {"reading", "arithmetic", "training"}
    assert all(rate > 0 for rates in found["pictures_per_s"].values() for rate in rates)
    rates = {name: values[0] for name, values in found["pictures_per_s"].items()}
    assert found["share_of_reading"] == pytest.approx(rates["training"] / rates["reading"])
    assert "24 epochs on University-1652" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--px", "50"], ["--batches", "0"], ["--backbone", "none", "--px", "32"]])
def test_bad_arguments_are_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark_training.main([*words, "--device", "cpu", "--out", str(tmp_path / "x.json")]) == 2
    assert capsys.readouterr().err.startswith("benchmark_training: ")
    assert not (tmp_path / "x.json").exists()
