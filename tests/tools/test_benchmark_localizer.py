"""tools/benchmark_localizer.py on a small world: what is measured, not how fast it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.tools import load_tool

benchmark_localizer = load_tool("benchmark_localizer")


def test_both_ways_to_localize_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench" / "localizer.json"
    small = ["--world-m", "600", "--stride-m", "120", "--frames", "12", "--repeats", "1"]
    assert benchmark_localizer.main([*small, "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    search, track = result["frames"]["search"], result["frames"]["track"]
    # The warm-up is not counted; a searched frame never registers, a tracked one neither embeds nor searches.
    assert search["frame"]["count"] == 12 - benchmark_localizer.WARM_UP
    assert {name: one["count"] for name, one in search["stages"].items()} == dict.fromkeys(
        ("rectify", "embed", "search", "track"), search["frame"]["count"]
    )
    assert track["frame"]["count"] >= 1
    assert {name: one["count"] for name, one in track["stages"].items()} == dict.fromkeys(
        ("rectify", "register", "track"), track["frame"]["count"]
    )
    assert result["frames"]["search_to_track"] == pytest.approx(
        search["frame"]["p50_ms"] / track["frame"]["p50_ms"], rel=0.01
    )
    assert (result["correlation"]["blocks"], result["correlation"]["cached"]["count"]) == (4, 1)
    assert result["embedding"]["batch"] == 32
    assert set(result["machine"]["versions"]) == {"numpy", "opencv-python-headless", "onnxruntime", "faiss-cpu"}
    assert result["machine"]["threads"]["onnxruntime"] == 1
    shown = capsys.readouterr().out
    assert "searched : tracked frame" in shown
    assert str(out) in shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--world-m", "20"], "--world-m 20 is out of range"),
        (["--frames", "1"], "--frames 1 is out of range"),
        (["--repeats", "0"], "--repeats 0 is out of range"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(
    argv: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "localizer.json"
    assert benchmark_localizer.main([*argv, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
