from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from support.scenes import flight_over, small_map
from support.tools import load_tool
from tilefix.embedders import open_embedder

replay_flight = load_tool("replay_flight")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a map and a flight over it."""
    folder = tmp_path_factory.mktemp("scene")
    flight_over(small_map(folder / "map", open_embedder()), folder / "flight")
    return folder


def _main(scene: Path, out: Path, *more: str) -> int:
    argv = ["--flight", str(scene / "flight"), "--map", str(scene / "map"), "--out", str(out), *more]
    status: int = replay_flight.main(argv)
    return status


@pytest.mark.parametrize("hint", ["none", "first"])
def test_a_flight_is_found_on_its_map(scene: Path, tmp_path: Path, hint: str) -> None:
    assert _main(scene, tmp_path / "out", "--hint", hint) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fixes.csv", "report.html", "summary.json"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["frames"] == 6
    assert summary["fixes"] >= 4
    assert summary["median_error_m"] < 2.0
    assert summary["false_fixes"] == 0
    rows = list(csv.DictReader((tmp_path / "out" / "fixes.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == [f"{k}.png" for k in range(6)]


def test_two_runs_give_equal_bytes(scene: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert _main(scene, tmp_path / name, "--hint", "first") == 0
    for name in ("fixes.csv", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two")]
    plain = [{key: value for key, value in s.items() if not key.startswith("latency")} for s in summaries]
    assert plain[0] == plain[1]


def test_a_limit_replays_the_first_rows(scene: Path, tmp_path: Path) -> None:
    assert _main(scene, tmp_path / "out", "--frames", "2") == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["frames"] == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--flight", "{tmp}/nowhere"], "cannot be read"),
        (["--map", "{tmp}/nowhere"], "nowhere"),
        (["--model", "{tmp}/nowhere.onnx"], "nowhere"),
        (["--frames", "0"], "--frames 0"),
        (["--hint-sigma-m", "nan"], "--hint-sigma-m nan"),
    ],
)
def test_bad_input_leaves_nothing_behind(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert _main(scene, tmp_path / "out", *(word.format(tmp=tmp_path) for word in more)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_flight_that_breaks_off_leaves_nothing_behind(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flight = tmp_path / "flight"
    flight.mkdir()
    for path in (scene / "flight").iterdir():
        (flight / path.name).write_bytes(path.read_bytes())
    (flight / "3.png").write_bytes((flight / "3.png").read_bytes()[:500])
    assert _main(scene, tmp_path / "out", "--flight", str(flight)) == 2
    assert "3.png: picture is cut short" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
