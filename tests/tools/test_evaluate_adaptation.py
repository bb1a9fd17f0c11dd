"""The evaluation of adaptation on a small generated place; published figures come from larger ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.tools import load_tool
from tilefix.camera import CameraModel
from tilefix.embedders import open_embedder
from tilefix.flights.flight import open_flight

pytest.importorskip("torch")
evaluate = load_tool("evaluate_adaptation")
SCORE = {
    "queries": 4,
    "tiles_per_map": 100,
    "nearest_median_m": 1.5,
    "median_error_m": 2.25,
    "mean_error_m": 3.0,
    "within_m": {"1.0": 0.0, "5.0": 0.5, "10.0": 0.75, "25.0": 1.0, "50.0": 1.0},
}


def test_a_world_is_adapted_to_and_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"SIZE_M": 400.0, "SCORED_S": 4.0, "FOOTAGE_S": 36.0, "SPEED_MPS": 5.0, "AGL_M": 130.0}.items():
        monkeypatch.setattr(evaluate, name, value)
    monkeypatch.setattr(evaluate, "CAMERA", CameraModel.from_hfov(160, 120, 60.0))
    monkeypatch.setattr(evaluate, "SEARCHES", {"known": (60.0, 1), "unknown": (120.0, 2)})
    words = ["--out", str(tmp_path), "--set", "run.epochs=1", "--set", "optimiser.iterations=1"]
    words += ["--set", 'drone.labels="instance"', "world", "1901"]
    assert evaluate.main(words) == 0
    text = capsys.readouterr().out
    assert "world_1901: heading known (1 tried), 4 frames" in text
    assert "world_1901: heading unknown (2 tried), 4 frames" in text
    folder = tmp_path / "world_1901"
    figures = json.loads((folder / "result.json").read_text())
    assert list(figures) == ["known", "unknown"]
    assert all(list(scores) == ["before", "after", "thumbnail"] for scores in figures.values())
    adapted = open_embedder(folder / "adapted" / "tilefix-s-adapted.onnx").manifest
    assert adapted.sha256 != open_embedder("default").manifest.sha256
    assert len(open_flight(folder / "place" / "footage").rows) == 36
    monkeypatch.setattr(evaluate, "_scores", lambda *_: pytest.fail("measured again"))
    assert evaluate.main(words) == 0
    again = capsys.readouterr().out
    assert text.endswith(again)
    assert evaluate.main([*words, "--set", "run.epochs=2"]) == 2
    assert "another --set" in capsys.readouterr().err
    assert evaluate.main(["--out", str(tmp_path), "tables"]) == 0
    assert capsys.readouterr().out == again


def test_a_table_names_medians_and_shares() -> None:
    lines = evaluate._table("here", "known", {"before": SCORE, "after": SCORE | {"median_error_m": 1.75}}).splitlines()
    assert lines[0].endswith("100 tiles 5 m apart, the nearest 1.5 m off in the median")
    assert lines[-2:] == [
        "| before | 2.2 | 3.0 | 50.0 % | 75.0 % | 100.0 % |",
        "| after | 1.8 | 3.0 | 50.0 % | 75.0 % | 100.0 % |",
    ]


@pytest.mark.parametrize("words", [["world"], ["nust", "3"], ["--out", "/nowhere", "tables"]])
def test_what_cannot_be_done_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
