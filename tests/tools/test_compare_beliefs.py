"""tools/compare_beliefs.py on a tiny world: the same flights by several beliefs, faults, cost, tables and picture."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.tools import load_tool
from tilefix.simulation.faults import Fault

compare = load_tool("compare_beliefs")
cost = load_tool("belief_cost")
evaluate_flights = load_tool("evaluate_flights")
plans = load_tool("generated_plans")
reports = load_tool("belief_report")
faults = load_tool("fault_report")

FLOWN = plans.WorldSet(range(1790, 1791), flights=1, frames=14, size_m=420.0, patch_m=80.0, width_px=240, height_px=180)


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("flown")
    with pytest.MonkeyPatch.context() as patch:
        _small(patch)
        assert evaluate_flights.main(["generate", "development", "--out", str(out)]) == 0
        assert evaluate_flights.main(["converge", "development", "--out", str(out)]) == 0
    return out


def _small(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(plans.SETS, "development", FLOWN)
    patch.setattr(plans, "AGL_M", (70.0, 80.0))
    patch.setattr(plans, "SPEED_MPS", (6.0, 8.0))


def test_starts_with_the_grid_are_those_that_fly_and_rivals_stand_beside(
    flights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _small(monkeypatch)
    run = ["starts", "development", "--flown", str(flights), "--out", str(tmp_path)]
    run += ["--beliefs", "grid", "hypotheses"]
    assert compare.main(run) == 0
    said = capsys.readouterr().out
    grid = json.loads((tmp_path / "starts" / "1790-0 grid.json").read_text(encoding="utf-8"))
    usual = json.loads((flights / "development" / "starts" / "1790-0.json").read_text(encoding="utf-8"))
    assert grid["starts"] == usual["starts"]
    assert sum(grid["said"].values()) == 14
    assert grid["said"]["FIX"] >= 1
    assert f"| grid | {len(grid['starts'])} |" in said
    assert "| hypotheses |" in said
    ElementTree.fromstring((tmp_path / "beliefs.svg").read_text(encoding="utf-8"))
    before = (tmp_path / "starts" / "1790-0 grid.json").stat().st_mtime_ns
    assert compare.main(run) == 0
    assert (tmp_path / "starts" / "1790-0 grid.json").stat().st_mtime_ns == before


def test_cost_counts_a_beliefs_own_calls_and_arrays(flights: Path) -> None:
    makes = {name: compare.BELIEFS[name] for name in ("grid", "1,000 particles")}
    found = cost.costs(flights / "development", "1790-0", 14, makes)
    grid, particles = found["beliefs"].values()
    assert grid["held"] == 4 * 4 * found["cells"]  # fresh, log, recent, gathered: float32
    assert particles["held"] == 1_000 * 5 * 8  # two coordinates, log, recent, gathered: float64
    for row in (grid, particles):
        assert sum(row["frames"].values()) == 14
        assert row["searched"] > 0.0
        assert row["peak"] >= 4 * found["cells"]  # what a search is given holds every cell
    lines = reports.markdown({"grid": [_record(3)]}, {}, {"tiny": found}).splitlines()
    assert any(line.startswith("| grid | 1.00 (") for line in lines)


def test_a_meter_does_not_count_a_call_within_a_call_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(cost.time, "thread_time_ns", lambda: next(clock))
    meter = cost.Meter()
    belief = meter.watch(compare.BELIEFS["grid"](FLOWN_GRID, 6.0))
    belief.mode()  # calls log_posterior, too
    assert meter.nanoseconds == 10
    belief.probability_near(0.0, 0.0, 10.0)
    assert meter.nanoseconds == 20


FLOWN_GRID = load_tool("generated_flights").generate_world(1790, size_m=120.0, gsd_m=0.5).grid


def _start(frames: int, *, found: bool = True, false_fixes: int = 0) -> dict[str, object]:
    return {"flight": "w-0", "found": found, "frames": frames, "metres": 2.0 * frames, "false_fixes": false_fixes}


def _record(*frames: int) -> dict[str, object]:
    return {"starts": [_start(k) for k in frames], "said": {"FIX": 3, "AMBIGUOUS": 1}}


def test_tables_and_picture_by_hand() -> None:
    wrong = {"starts": [_start(9, found=False), _start(4, false_fixes=2)], "said": {"AMBIGUOUS": 4}}
    starts = {"grid": [_record(2, 4), _record(3)], "hypotheses": [wrong]}
    tried = faults.Tried("KIDNAPPED", 1, (5.0, 5.0), (1, 1), (0, 0), (3, 4), 2.5, 0, 0.0, {}, [])
    never = faults.Tried("KIDNAPPED", 2, (5.0, 5.0), (1, 1), (0, 0), (1, 4), None, 1, 80.0, {}, [])
    off = faults.Tried("OFF_MAP", 1, (5.0, 9.0), (1, 1), (1, 4), (3, 4), 1.0, 0, 0.0, {}, [])
    row = {"searched": 4.0, "tracked": 2.0, "held": 1 << 20, "peak": 3 << 20}
    found = {"map_km2": 4.41, "cells": 490_000, "cell_m": 3.0, "beliefs": {"grid": row}}
    found["beliefs"]["hypotheses"] = {"searched": 10.0, "tracked": None, "held": 1 << 19, "peak": 1 << 20}
    text = reports.markdown(starts, {"grid": [tried, never, off]}, {"evaluation": found})
    assert "| grid | 3 | 3 | 3.0 | 3 / 4 | 6.0 | 6 / 8 | 0 | 25.0 % |" in text
    assert "| hypotheses | 2 | 1 | 6.5 | 6 / 9 | 13.0 | 13 / 18 | 1 | 100.0 % |" in text
    assert "| belief | false | kidnapped | off map |" in text
    assert "| grid | 1 | – / 50 %; 2.5 s, never | 25 % / 75 %; 1.0 s, 1.0 s |" in text
    assert "Over 2 worlds:" in text
    assert "| grid | 1.00 (4.0 ms) | 1.00 (2.0 ms) | 1.0 MiB | 3.0 MiB |" in text
    assert "| hypotheses | 2.50 | – | 0.5 MiB | 1.0 MiB |" in text
    root = ElementTree.fromstring(reports.picture(starts, {"evaluation": found}))
    curves = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(curves) == 2
    ends = [curve.get("points").split()[-1].split(",")[1] for curve in curves]
    assert float(ends[0]) == reports.TOP  # all were found
    assert float(ends[1]) == 0.5 * (reports.TOP + reports.FLOOR)
    words = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"2.5", "0.38"} <= words  # times the grid's time, and (1/2 + 1) / (1 + 3) of its memory


def test_faults_are_tried_with_each_belief(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "FAULTS", (Fault.KIDNAPPED,))
    paths = list(compare.try_faults(tmp_path, [1790], ["1,000 particles"], quick=True))
    assert [path.name for path in paths] == ["1790 KIDNAPPED 1,000 particles.json"]
    tried = faults.Tried.of(json.loads(paths[0].read_text(encoding="utf-8")))
    assert tried.false == 0
    assert tried.before[0] > 0  # a position was there to be carried away from
    assert tried.recovery_s is not None


def test_what_cannot_be_done_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["report", "--out", str(tmp_path)]) == 2
    assert "nothing was run" in capsys.readouterr().err
    assert compare.main(["starts", "evaluation", "--flown", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "generate" in capsys.readouterr().err
