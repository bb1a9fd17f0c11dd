"""The evaluation's own parts, on generated ground; the figures themselves need the real imagery."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import LOCAL, flight_over, noise_ground, small_map
from support.tools import load_tool
from tilefix.camera import CameraModel
from tilefix.embedders import open_embedder
from tilefix.flights.flight import open_flight
from tilefix.geodesy import Grid
from tilefix.localization.rectify import Rectifier
from tilefix.mapbuild.package import ArrayImagery, build_package

evaluate_real = load_tool("evaluate_real")
real_maps = load_tool("real_maps")


def test_a_mirrored_map_exchanges_east_and_west(tmp_path: Path) -> None:
    original = small_map(tmp_path / "map", ThumbnailEmbedder(), side_px=400)
    mirrored = real_maps.mirrored_map(original, tmp_path / "mirrored", ThumbnailEmbedder())
    assert np.array_equal(mirrored.imagery[:, ::-1], original.imagery)
    assert mirrored.grid == original.grid


def test_a_high_flight_stays_on_its_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_maps, "NAIP_CAMERA", CameraModel.from_hfov(160, 120, 60.0))
    grid = Grid(-2335.0, 1800.0, 5.0, 934, 720)
    pixels = noise_ground(1, 934)[:720]
    imagery = ArrayImagery(LOCAL, grid, pixels, np.full((720, 934), 255, np.uint8), "noise", "2010", "none")
    package = build_package(imagery, tmp_path / "map", embedder=ThumbnailEmbedder(), patch_m=480.0, stride_m=240.0)
    flight = open_flight(real_maps.naip_flight(package, 2010, tmp_path / "flight"))
    assert len(flight.rows) == 80
    rectifier = Rectifier(flight.camera, flight.mount)
    places = []
    for row in flight.rows:
        state = row.state
        view = rectifier.view(state.roll_deg, state.pitch_deg, state.yaw_deg, state.agl_m)
        east_m, north_m = LOCAL.to_local(*row.truth)
        assert all(grid.contains(east_m + east, north_m + north) for east, north in view.corners_m)
        places.append((east_m, north_m))
    speeds_mps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert speeds_mps.min() > 20.0
    assert speeds_mps.max() < 35.0


def test_results_are_written_as_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embedder = open_embedder()
    flight_over(small_map(tmp_path / "map_nust", embedder), tmp_path / "seen", count=4)
    evaluation = evaluate_real.Evaluation(tmp_path / "no data", tmp_path, embedder)
    row, answers = evaluation.replay("nust", "seen", "map_nust", "centre")
    assert len(answers) == 4
    assert (row.hint, row.score.frames, row.score.false_fixes) == ("centre", 4, 0)
    table = evaluate_real.markdown([row]).splitlines()
    assert table[0].count("|") == table[1].count("|") == table[2].count("|")
    assert table[2].startswith("| seen | map_nust | centre | 4 |")
    summary = json.loads((tmp_path / "replays" / "seen_on_map_nust_centre" / "summary.json").read_text())
    assert summary["frames"] == 4


def test_parts_run_before_stay_in_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = open_embedder()
    flight_over(small_map(tmp_path / "map_nust", embedder), tmp_path / "seen", count=2)
    evaluation = evaluate_real.Evaluation(tmp_path / "no data", tmp_path, embedder)
    for part, hint in (("nust", "first"), ("negative", "none")):
        row, _ = evaluation.replay(part, "seen", "map_nust", hint)
        monkeypatch.setattr(evaluation, part, lambda row=row: iter([row]), raising=False)
        evaluate_real.evaluate(evaluation, [part])
    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["part"] for row in found["replays"]] == ["nust", "negative"]
    assert (tmp_path / "results.md").read_text().count("| seen | map_nust |") == 2
    assert "seen on map_nust, hint: none" in (tmp_path / "negative.svg").read_text(encoding="utf-8")
    assert not (tmp_path / "nust.svg").exists()


def test_what_is_run_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = open_embedder()
    flight_over(small_map(tmp_path / "map_nust", embedder), tmp_path / "seen", count=4)
    evaluation = evaluate_real.Evaluation(tmp_path / "no data", tmp_path, embedder)
    row, _ = evaluation.replay("naip", "seen", "map_nust", "none")
    monkeypatch.setitem(evaluate_real.TRACKS, "nust.svg", ("seen_on_map_nust_none", "What is seen"))
    monkeypatch.setattr(evaluate_real, "PLANTED", {"seen": (10.0, 1.0)})
    aged = [replace(row, flight=f"naip_{flown}", map="map_naip_2014") for flown in (2010, 2020)]
    drawn = evaluate_real.pictures(evaluation, [*aged, replace(row, flight="all years")], {})
    assert sorted(drawn) == ["ages.svg", "nust.svg", "planted.svg"]
    assert "What is seen" in drawn["nust.svg"]
    assert "2 flights, 8 frames" in drawn["ages.svg"]


def test_an_unknown_part_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate_real.main(["run", "mars", "--out", str(tmp_path / "out")]) == 2
    assert "no part mars" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_absent_data_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["prepare", "nust", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert evaluate_real.main(argv) == 2
    assert "pseudo_truth.csv: cannot be read" in capsys.readouterr().err
