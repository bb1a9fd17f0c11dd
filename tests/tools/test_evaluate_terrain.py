"""tools/evaluate_terrain.py: cells, the map's own wrong terrain, a run from end to end, and its table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.tools import load_tool
from tilefix.geodesy import Grid
from tilefix.maps.package import MapPackage
from tilefix.simulation.relief import hills

evaluate_terrain = load_tool("evaluate_terrain")
survey = load_tool("generated_survey")
GRID = Grid(-400.0, 400.0, 0.5, 1600, 1600)


def test_cells_leave_room_above_the_hills() -> None:
    cells = evaluate_terrain.cells([1760], (60.0, 200.0), (120.0, 300.0))
    assert [(one.relief_m, one.agl_m, one.ranged) for one in cells] == [
        (60.0, 120.0, True), (60.0, 120.0, False), (60.0, 300.0, True), (60.0, 300.0, False),
        (200.0, 300.0, True), (200.0, 300.0, False),
    ]  # fmt: skip
    assert len({one.name for one in cells}) == len(cells)


def test_a_survey_is_near_the_truth_and_not_it() -> None:
    truth = hills(1760, GRID, 60.0)
    terrain = survey.surveyed(truth, 1760, GRID)
    easts, norths = np.meshgrid(np.linspace(-350.0, 350.0, 40), np.linspace(-350.0, 350.0, 40))
    wrong = terrain.sampled(easts, norths) - truth.sampled(easts, norths) - survey.GROUND_AMSL_M
    assert abs(wrong.mean()) < 0.5
    assert 0.4 < wrong.std() < 1.6


def test_a_run_ends_in_a_table_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluate_terrain, "SIZE_M", 700.0)
    monkeypatch.setattr(evaluate_terrain, "open_embedder", lambda model: ThumbnailEmbedder())
    argv = ["--worlds", "1760", "--relief-m", "40", "--agl-m", "100", "--frames", "6", "--out", str(tmp_path)]
    assert evaluate_terrain.main([*argv, "--report"]) == 2
    assert "nothing was run yet" in capsys.readouterr().err
    assert evaluate_terrain.main(argv) == 0
    found = json.loads((tmp_path / "results" / "1760-40-100-baro.json").read_text())
    assert {found[kind]["frames"] for kind in ("flat", "terrain")} == {6}
    assert MapPackage.open(tmp_path / "map-1760-40").terrain is not None
    table = (tmp_path / "results.md").read_text()
    assert table.count("| hills of 40 m |") == 4
    assert (tmp_path / "terrain.svg").read_text().count("<polyline") == 2
    before = (tmp_path / "1760-40-100-baro" / "log.csv").read_bytes()
    assert evaluate_terrain.main([*argv, "--report"]) == 0  # nothing is flown again
    assert (tmp_path / "1760-40-100-baro" / "log.csv").read_bytes() == before
    assert (tmp_path / "results.md").read_text() == table


def test_a_row_tells_what_was_counted() -> None:
    part = {"frames": 10, "first": 2, "fixes": 8, "false_fixes": 0, "errors_m": [1.0] * 7 + [3.0], "within_95": 8}
    never = {"frames": 10, "first": 10, "fixes": 0, "false_fixes": 0, "errors_m": [], "within_95": 0}
    assert evaluate_terrain._row([part, never]) == "40.0 % | 100.0 % | 1.00 m | 2.30 m | 3.00 m | 100.0 % | 0"
    assert evaluate_terrain._row([never]) == "0.0 % | - | - | - | - | - | 0"
