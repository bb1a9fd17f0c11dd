"""The demonstration, short and over a small world: the real daemon against the simulation, over real MAVLink."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tilefix import cli
from tilefix.simulation import demo
from tilefix.simulation.world import EVALUATION_SEED_START

SEED = 1500  # of the range for validation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    options = demo.DemoOptions(out, SEED, 10.0, 3.0, world_m=800.0, stride_m=60.0, with_gnss_s=4.0)
    written = demo.demonstrate(options)
    assert written == json.loads((out / "summary.json").read_text())
    assert f"{100.0 * written['availability']:.1f} %" in demo.table(written)
    return out


def test_it_finds_itself_and_the_autopilot_flies_by_it(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["seed"] == SEED
    assert summary["frames"] > 5
    assert summary["fixes"] > 0
    assert summary["false_fixes"] == 0
    assert summary["median_error_m"] < 6.0
    assert summary["autopilot"]["verdicts"]["FUSED"] > 10
    assert summary["autopilot"]["flaws"].get("NO_VELOCITY", 0) == 0
    assert summary["autopilot"]["flaws"].get("NO_ALTITUDE", 0) == 0
    assert summary["belief_uniform_after_s"] > 0.0
    # Nothing is at hand before the belief was made uniform and the first picture answered.
    assert 0.0 < summary["availability_over_time"] <= 1.0 - summary["first_fix_after_s"] / summary["denied_s"] + 0.02


def test_the_results_are_those_of_a_replay(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "fixes.csv").read_text().splitlines()))
    summary = json.loads((folder / "summary.json").read_text())
    assert len(rows) == summary["frames"]
    assert sum(row["kind"] == "fix" for row in rows) == summary["fixes"]
    assert all(row["truth_lat_deg"] for row in rows)
    assert min(float(row["time_s"]) for row in rows) >= 0.0
    page = (folder / "report.html").read_text()
    assert str(SEED) in page
    assert "<svg" in page


def test_the_default_seed_is_none_that_was_trained_on() -> None:
    assert demo.DemoOptions(Path()).seed >= EVALUATION_SEED_START


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--seconds", "1"], ["--rate-hz", "0"]])
def test_options_out_of_range_are_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert cli.main(["demo", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_generated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert cli.main(["demo", "--out", str(tmp_path / "file" / "demo")]) == 2
    said = capsys.readouterr().err
    assert "cannot write here" in said
    assert "generating" not in said
