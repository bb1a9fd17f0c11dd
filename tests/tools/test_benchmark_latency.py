"""tools/benchmark_latency.py on a small map and flight: what is measured and how it adds up, never how fast it was."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.engines import engine_of, fake_machine
from support.scenes import flight_over, small_map
from support.tools import load_tool
from tilefix.embedders import open_embedder
from tilefix.flights.flight import open_flight

benchmark_latency = load_tool("benchmark_latency")
latency_report = load_tool("latency_report")
latency_flight = load_tool("latency_flight")
latency_rig = load_tool("latency_rig")
latency_summary = load_tool("latency_summary")
latency_scene = load_tool("latency_scene")

FRAMES = 3


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("latency")
    package = small_map(folder / "map", open_embedder(None))
    return package.path, flight_over(package, folder / "flight", count=20)


@pytest.fixture(scope="module")
def outcome(scene: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("results") / "bench" / "latency.json"
    argv = ["--map", str(scene[0]), "--flight", str(scene[1]), "--pace", "full", "--frames", str(FRAMES)]
    assert benchmark_latency.main([*argv, "--warm-up", "6", "--opencv-threads", "1", "--json", str(out)]) == 0
    return json.loads(out.read_text()), out


def test_every_frame_is_measured_in_the_lane_whose_turn_it_was(outcome) -> None:
    result = outcome[0]
    searched = result["lanes"]["search"]
    assert set(searched) == {"searched"}
    assert searched["searched"]["frames"] >= FRAMES
    assert set(searched["searched"]["stages"]) == {
        "rectify", "embed", "search", "track", "copy_in", "engine", "copy_out",
    }  # fmt: skip
    assert set(result["lanes"]["track"]["tracked"]["stages"]) == {"rectify", "register", "track"}
    assert result["frames_dropped"] == 0
    assert result["frames_given"] >= 2 * (FRAMES + 6)


def test_stages_lie_within_the_frame_and_parts_within_the_embedding(outcome) -> None:
    for kinds in outcome[0]["lanes"].values():
        for facts in kinds.values():
            for clock, whole in (("wall", "end_to_end"), ("cpu", "end_to_end_cpu")):
                stages = {name: one[clock] for name, one in facts["stages"].items()}
                main = [one for name, one in stages.items() if name not in ("copy_in", "engine", "copy_out")]
                # Of every frame the stages are less than the whole; so is the largest sum of any of their least.
                assert max(one["p50_ms"] for one in main) <= facts[whole]["p50_ms"]
                assert max(one["max_ms"] for one in main) <= facts[whole]["max_ms"]
                if "engine" in stages:
                    assert stages["engine"]["p50_ms"] <= stages["embed"]["p50_ms"]
                for one in [*stages.values(), facts[whole]]:
                    percents = [one[f"p{n}_ms"] for n in (50, 90, 95, 99)] + [one["max_ms"]]
                    assert percents == sorted(percents)
                    assert one["count"] == facts["frames"]


def test_ratios_follow_from_what_stands_beside_them(outcome) -> None:
    result = outcome[0]
    reference = result["floor"]["reference"]
    tracked = result["lanes"]["track"]["tracked"]
    # A tracked frame has no engine to subtract.
    assert tracked["ratios"]["overhead_over_reference"] == pytest.approx(
        tracked["end_to_end"]["p50_ms"] / reference["p50_ms"], rel=1e-2, abs=1e-3
    )
    assert "end_to_end_over_engine" not in tracked["ratios"]
    searched = result["lanes"]["search"]["searched"]
    assert searched["ratios"]["end_to_end_over_engine"] == pytest.approx(
        searched["end_to_end"]["p50_ms"] / searched["stages"]["engine"]["wall"]["p50_ms"], rel=1e-2
    )
    assert result["ratios"]["track: tracked: overhead_over_reference"] == tracked["ratios"]["overhead_over_reference"]


def test_the_floor_is_counted_from_the_graph(outcome) -> None:
    floor = outcome[0]["floor"]
    assert floor["reference"]["parameters"] == pytest.approx(27.8e6, rel=0.002)
    # 4.5 GMAC at 224 px, where the classifier that is left out has 0.77 million of them.
    assert floor["reference"]["gmac"] == pytest.approx(4.46 * (256 / 224) ** 2, rel=0.01)
    engine = floor["engines"]["auto"]
    cost = floor["engine_cost"]
    assert engine["arithmetic_floor_ms"] == pytest.approx(
        2.0 * cost["gmac"] * 1e3 / floor["gemm"]["cpu_gflops"], rel=0.02
    )
    assert engine["memory_floor_ms"] == pytest.approx(
        cost["weight_bytes"] / floor["read"]["cpu_gb_per_s"] / 1e6, rel=0.02
    )


def test_the_machine_and_what_was_run_are_stated(outcome, capsys) -> None:
    result, _ = outcome
    assert {"cpu", "versions", "threads", "governor", "turbo", "warnings"} <= set(result["machine"])
    assert result["run"]["model"] == open_embedder(None).manifest.name
    assert result["run"]["frame_px"] == [320, 240] or len(result["run"]["frame_px"]) == 2
    assert result["exposure_to_mavlink"] is None  # time stood still
    assert {"first_mib", "last_mib", "peak_mib", "slope_mib_per_min"} <= set(result["memory"])
    text = benchmark_latency.table(result)
    for words in ("overhead_over_reference", "the network does not run", "27.8 M parameters", "x the floor"):
        assert words in text


def test_in_real_time_positions_arrive_on_the_other_end(scene, tmp_path) -> None:
    """Time runs: how many frames come through depends on the machine, not what is noted of them."""
    out = tmp_path / "latency.json"
    argv = ["--map", str(scene[0]), "--flight", str(scene[1]), "--seconds", "6", "--mode", "track", "--warm-up", "0"]
    assert benchmark_latency.main([*argv, "--json", str(out), "--delay-ms", "0"]) == 0
    result = json.loads(out.read_text())
    assert result["run"]["pace"] == "realtime"
    assert result["publish"]["count"] > 0
    assert result["positions"] > 0
    # A picture is in a position only after it was looked at.
    assert result["exposure_to_mavlink"]["count"] > 0
    assert result["exposure_to_mavlink"]["p50_ms"] >= result["exposure_to_forecast"]["p50_ms"]
    assert result["exposure_to_hand"]["p50_ms"] <= result["exposure_to_forecast"]["p50_ms"]


def test_an_engine_is_measured_beside_the_cpu(scene, tmp_path, monkeypatch) -> None:
    """What docs/engine.md says to run on a Jetson, on the GPU of `support.fakecuda`."""
    pytest.importorskip("onnx", reason="an engine is made of an ONNX graph")
    fake_machine(monkeypatch)
    ways = [f"tensorrt={engine_of(None, tmp_path)}", "onnxruntime=default"]
    out = tmp_path / "latency.json"
    argv = ["--map", str(scene[0]), "--flight", str(scene[1]), "--pace", "full", "--frames", "2", "--warm-up", "1"]
    assert benchmark_latency.main([*argv, "--compare", *ways, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    lanes = [result["lanes"][f"search {way}"]["searched"] for way in ways]
    assert all(lane["ratios"]["end_to_end_over_engine"] > 1.0 for lane in lanes)
    assert all("matched" in lane["reasons_of_lane"] for lane in lanes)
    assert set(result["floor"]["engines"]) == set(ways)


@pytest.mark.parametrize(
    ("change", "status"), [({}, 0), ({"search: searched: overhead_over_reference_cpu": 1e-3}, 1), ({"gone": 0.1}, 0)]
)
def test_against_an_older_run(outcome, tmp_path, capsys, monkeypatch, change, status) -> None:
    result, _ = outcome
    monkeypatch.setattr(benchmark_latency, "measure", lambda options, scene: json.loads(json.dumps(result)))
    old = tmp_path / "old.json"
    old.write_text(json.dumps({"ratios": {**result["ratios"], **change}}))
    argv = ["--against", str(old), "--json", str(tmp_path / "new.json")]
    assert benchmark_latency.main(argv) == status
    told = json.loads((tmp_path / "new.json").read_text())["against"]["worse"]
    assert len(told) == status
    assert ("worse: search: searched" in capsys.readouterr().out) is bool(status)


def test_regressions_by_hand() -> None:
    old = {"a": 1.0, "a_cpu": 1.0, "b": 0.10, "c": 1.0, "d": 1.0}
    new = {"a": 9.0, "a_cpu": 1.2, "b": 0.119, "c": 1.26, "e": 5.0}
    # a: its processor time decides; b: too small a change; c: worse; d, e: only in one.
    assert latency_report.regressions(old, new, 0.25) == ["c: 1.000 before, 1.260 now (1.26 x)"]
    assert latency_report.regressions(old, new, 0.1) == [
        "a_cpu: 1.000 before, 1.200 now (1.20 x)",
        "c: 1.000 before, 1.260 now (1.26 x)",
    ]


def test_percentiles_by_hand() -> None:
    spread = latency_summary.spread(np.array([np.nan, *range(101)], float))
    assert spread == {"count": 101, "p50_ms": 50.0, "p90_ms": 90.0, "p95_ms": 95.0, "p99_ms": 99.0, "max_ms": 100.0}
    assert latency_summary.spread(np.array([np.nan])) is None


def test_exposure_to_link_by_hand() -> None:
    s = 1_000_000_000
    # Exposure, in hand, answered. The second is answered after the third was exposed.
    marks = np.array([[1 * s, 1 * s, 1.1 * s], [2 * s, 2 * s, 3.05 * s], [3 * s, 3 * s, 3.2 * s]]).astype(np.int64)
    # Arrival, and the instant the position holds for.
    positions = np.array([[1.05 * s, 1.05 * s], [1.25 * s, 1.25 * s], [3.1 * s, 3.1 * s], [3.3 * s, 2.9 * s]])
    found = latency_rig.exposure_to_link_ms(marks, positions.astype(np.int64))
    assert found[0] == pytest.approx(250.0)
    assert found[1] == pytest.approx(1100.0)
    assert np.isnan(found[2])  # the last position holds for an instant before it


def test_a_round_ends_where_it_begins_and_leans_into_the_turn() -> None:
    begin, end = latency_scene.round_at(0.0), latency_scene.round_at(latency_scene.LAP_S)
    assert (end.east_m, end.north_m, end.yaw_deg % 360.0) == pytest.approx(
        (begin.east_m, begin.north_m, begin.yaw_deg), abs=1e-6
    )
    step = latency_scene.round_at(0.01)
    assert step.east_m - begin.east_m == pytest.approx(0.01 * begin.east_mps, abs=1e-3)
    assert step.north_m - begin.north_m == pytest.approx(0.01 * begin.north_mps, abs=1e-3)
    # Nose ahead: north at the east end of a round that goes counter-clockwise; the left wing down.
    assert begin.yaw_deg == pytest.approx(0.0)
    assert begin.roll_deg < 0.0
    assert math.tan(math.radians(-begin.roll_deg)) * 9.80665 == pytest.approx(
        math.hypot(begin.east_mps, begin.north_mps) ** 2 / latency_scene.RADIUS_M
    )


def test_a_flight_on_rails_says_what_the_log_says(scene) -> None:
    flight = open_flight(scene[1])
    table = latency_flight.Timetable(flight, laps=True)
    assert table.due_ns(0) == 0
    assert table.due_ns(20) == 10_000_000_000 == table.lap_ns
    assert table.newest(10_600_000_000) == 21
    assert latency_flight.Timetable(flight, laps=False).due_ns(20) is None
    state = table.state_at(250_000_000)
    assert (state.yaw_deg, state.agl_m) == (90.0, flight.rows[0].state.agl_m)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--frames", "0"], "--frames 0 is out of range"),
        (["--seconds", "0"], "--seconds 0 is out of range"),
        (["--soak", "0"], "--soak 0 is out of range"),
        (["--map", "somewhere"], "--map and --flight belong together"),
        (["--compare", "onnxruntime"], "is no list of providers"),
        (["--compare", "onnxruntime,onnxruntime"], "is no list of providers"),
        (["--provider", "abacus"], "abacus"),
        (["--precision", "int8", "--model", "nothing"], "no model of the name"),
        (["--against", "absent.json"], "is no result of this benchmark"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(argv, message, tmp_path, capsys) -> None:
    out = tmp_path / "latency.json"
    assert benchmark_latency.main([*argv, "--json", str(out), "--cache", str(tmp_path / "none")]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not out.exists()
