"""tools/evaluate_flights.py on a tiny world: plan, record, replay, figures and tables."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from support.tools import load_tool
from tilefix.camera import CameraModel, Mount
from tilefix.errors import TilefixError
from tilefix.evaluation.scoring import Answer, judge, score
from tilefix.flights.flight import Flight, FlightRow, open_flight
from tilefix.geodesy import Grid, LocalFrame
from tilefix.simulation.flights import FlightPlan
from tilefix.simulation.flights import flown as fly
from tilefix.simulation.world import EVALUATION_SEED_START, VALIDATION_SEEDS, satellite_look
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason, VehicleState

evaluate_flights = load_tool("evaluate_flights")
attitudes = load_tool("generated_attitude")
figures = load_tool("generated_figures")
plans = load_tool("generated_plans")
runs = load_tool("generated_runs")
tables = load_tool("generated_report")

LOCAL = LocalFrame(47.0, 8.5)


def test_published_flights_are_over_worlds_that_nothing_was_chosen_on() -> None:
    for name, flown in plans.SETS.items():
        allowed = VALIDATION_SEEDS if name.startswith("development") else range(EVALUATION_SEED_START, 10**6)
        assert all(world in allowed for world in flown.worlds)
    evaluation = plans.SETS["evaluation"]
    assert len(evaluation.worlds) >= 10
    assert len(evaluation.worlds) * evaluation.flights * evaluation.frames >= 20_000
    assert (evaluation.size_m / 1000.0) ** 2 >= 4.0


@pytest.mark.parametrize("name", sorted(plans.SETS))
def test_heights_and_speeds_are_spread_evenly_and_seasons_change(name: str) -> None:
    table = plans.sorties(plans.SETS[name])
    assert table == plans.sorties(plans.SETS[name])
    for values, (low, high) in (
        ([one.plan.agl_m for one in table], plans.AGL_M),
        ([one.plan.speed_mps for one in table], plans.SPEED_MPS),
    ):
        width = (high - low) / len(table)
        for k, value in enumerate(sorted(values)):  # one in each of as many bins
            assert k * width - 1e-9 <= value - low <= (k + 1) * width + 1e-9
    others = sum(one.look.season is not satellite_look(one.world).season for one in table)
    assert others >= 0.6 * len(table)
    assert len({one.plan.seed for one in table}) == len(table)
    assert len({one.look for one in table}) == len(table)


def _fix(east_m: float, north_m: float, velocity: tuple[float, float], sigma_m: float = 1.0) -> Fix:
    spread, doubt = Covariance(sigma_m**2, 0.0, sigma_m**2), Covariance(0.01, 0.0, 0.01)
    lat_deg, lon_deg = LOCAL.to_geodetic(east_m, north_m)
    return Fix(0, FixKind.FIX, lat_deg, lon_deg, east_m, north_m, spread, 0.0, *velocity, doubt)


def _record(positions: list[Fix | NoFix], name: str = "w-0", agl_m: float = 100.0) -> object:
    """A flight eastwards at 10 m/s, a frame a second."""
    answers: list[Answer] = [
        judge(str(k), float(k), position, LOCAL.to_geodetic(10.0 * k, 0.0), LOCAL, 0.5)
        for k, position in enumerate(positions)
    ]
    truth_m, truth_mps = figures.true_motion(answers, LOCAL)
    facts = {"agl_m": agl_m, "speed_mps": 10.0, "airframe": "copter", "season": "spring", "map_season": "winter"}
    return figures.Record(name, facts, {}, tuple(answers), truth_m, truth_mps, 1.0)


def _lost_then_found() -> object:
    lost = NoFix(0, Reason.AMBIGUOUS)
    fixes = [_fix(10.0 * k + 0.5, 0.0, (10.0, 0.3)) for k in range(8)]
    return _record([lost, lost, *fixes[2:5], lost, *fixes[6:]])


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    record = _lost_then_found()
    figures.write_record(tmp_path / "w-0.json", record)
    found = figures.read_record(tmp_path / "w-0.json")
    assert found.answers == record.answers
    assert np.array_equal(found.truth_mps, record.truth_mps)
    assert score(found.answers) == score(record.answers)


def test_figures_by_hand() -> None:
    record = _lost_then_found()
    first = figures.first_fix(record)
    assert (first.frames, first.seconds) == (3, 2.0)
    assert first.metres == pytest.approx(20.0, abs=1e-3)
    assert figures.availability_after([record]) == 5 / 6
    never = _record([NoFix(0, Reason.NO_MATCH)] * 4)
    assert figures.first_fix(never) is None
    assert figures.availability_after([record, never]) == 5 / 6
    assert figures.availability_after([never]) is None
    velocity = figures.velocity_score([record])
    assert velocity.count == 5
    assert velocity.median_share == pytest.approx(0.03, abs=1e-4)
    assert velocity.coverage == (0.0, 0.0, 1.0)  # 3 sigma: within 99.73 % of two dimensions, beyond 95.45 %
    assert figures.velocity_score([never]) is None


def test_the_coverage_curve_rises_where_the_errors_lie() -> None:
    record = _record([_fix(10.0 * k + (1.0 if k % 2 else 2.0), 0.0, (10.0, 0.0)) for k in range(4)])
    one_sigma, two_sigma = (1.0 - math.exp(-0.5 * s * s) for s in (1.0, 2.0))
    shares = [one_sigma - 0.01, one_sigma + 0.01, two_sigma - 0.01, two_sigma + 0.01]
    assert figures.coverage_curve([record], shares) == [0.0, 0.5, 0.5, 1.0]


def test_tables_hold_what_was_counted() -> None:
    record, never = _lost_then_found(), _record([NoFix(0, Reason.NO_MATCH)] * 4, "w-1", 400.0)
    table = tables.whole_table([record, never]).splitlines()
    assert len({line.count("|") for line in table if line.startswith("|")}) == 1
    assert table[2].startswith("| **all 2** | 12 | 83.3 % | 41.7 % | 0.50 m |")
    assert "3 / 3 frames, 2.0 / 2.0 s, 20 / 20 m" in table[-1]
    flights = tables.flight_table([record, never]).splitlines()
    assert len({line.count("|") for line in flights}) == 1
    assert "| never |" in flights[-1]
    starts = [
        runs.Start("w-0", 100.0, 4.41, True, 3, 1.0, 20.0, 0),
        runs.Start("w-0", 400.0, 4.41, False, 9, 4.0, 80.0, 1),
        runs.Start("x-0", 400.0, 25.0, True, 5, 2.0, 30.0, 0),
    ]
    converged = tables.convergence_table(starts).splitlines()
    assert converged[2] == "| 4.4 km² | **all** | 2 | 1 | 6 / 9 | 2.5 / 3.8 | 50 / 77 | 1 |"
    assert converged[-1].startswith("| 25.0 km² | 350 to 500 m | 1 | 1 |")


def test_the_picture_is_sound_and_shows_every_flight() -> None:
    records = [_lost_then_found(), replace(_lost_then_found(), name="w-1")]
    root = ElementTree.fromstring(tables.picture(records))
    dots = [node for node in root.iter("{http://www.w3.org/2000/svg}circle") if node.get("r") == "4"]
    assert [node.get("class") for node in dots] == ["fix"] * 2 + ["coast"] * 2  # of positions, of velocities


def test_a_wrong_hint_is_as_far_off_as_asked_and_on_the_map() -> None:
    grid, rng = Grid(-500.0, 500.0, 1.0, 1000, 1000), np.random.default_rng(7)
    hint = runs.WrongHint(600.0, 30.0)
    places = [hint.place((-300.0, 100.0), grid, rng) for _ in range(20)]
    assert all(grid.contains(*place) for place in places)
    assert [math.dist(place, (-300.0, 100.0)) for place in places] == pytest.approx([600.0] * 20)
    assert len({round(place[1]) for place in places}) > 5
    with pytest.raises(TilefixError, match="no place 1500 m off lies on the map"):
        runs.WrongHint(1500.0, 30.0).place((0.0, 0.0), grid, rng)


def _replayed(sortie: Any, grid: Grid) -> object:
    """A record of that flight, each fix where the camera is."""
    rows = list(fly(grid, LOCAL, sortie.plan))
    answers = [
        judge(row.frame, row.time_s, _fix(motion.east_m, motion.north_m, (0.0, 0.0)), row.truth, LOCAL, 0.5)
        for row, motion in rows
    ]
    truth_m, truth_mps = figures.true_motion(answers, LOCAL)
    return figures.Record("1790-0", {"agl_m": 60.0}, {}, tuple(answers), truth_m, truth_mps, 1.0)


def test_a_log_without_errors_throws_nothing_off_and_one_with_a_wrong_height_along_the_view() -> None:
    grid = Grid(-400.0, 400.0, 0.5, 1600, 1600)
    plan = FlightPlan(
        60.0, 8.0, 2.0, 8.0, 3, CameraModel.from_hfov(240, 180, 60.0), Mount(0.0, 20.0, 0.0),
        attitude_error_deg=0.0, heading_error_deg=0.0, height_error=0.0,
    )  # fmt: skip
    exact: Any = plans.Sortie(1790, 0, satellite_look(1790), plan)
    assert attitudes.thrown_m(exact, _replayed(exact, grid), grid, LOCAL) == pytest.approx(0.0, abs=1e-9)
    high = replace(exact, plan=replace(plan, height_error=0.05))
    thrown = attitudes.thrown_m(high, _replayed(high, grid), grid, LOCAL)
    for off, (row, true) in zip(thrown, fly(grid, LOCAL, high.plan), strict=True):
        assert row.state.agl_m is not None
        ahead_m = (true.agl_m - row.state.agl_m) * math.tan(math.radians(20.0 + true.pitch_deg))
        yaw_rad = math.radians(true.yaw_deg)
        along_m = off[0] * math.sin(yaw_rad) + off[1] * math.cos(yaw_rad)
        assert along_m == pytest.approx(ahead_m, rel=0.02)
    other = replace(exact, plan=replace(plan, seed=4))
    with pytest.raises(TilefixError, match="another flight"):
        attitudes.thrown_m(other, _replayed(exact, grid), grid, LOCAL)


def test_the_table_takes_the_logs_part_from_the_errors_of_fixes_alone() -> None:
    record = _lost_then_found()
    thrown = np.tile([0.5, 3.0], (8, 1))
    thrown[0] = 99.0  # no fix there
    lines = attitudes.attitude_table([(record, thrown)]).splitlines()
    assert lines[2] == "| all: 1 | 5 | 3.04 m / 3.04 m | 0.50 m / 0.50 m | 3.00 m / 3.00 m |"
    assert lines[3].startswith("| 50 to 150 m: 1 |")
    assert len(lines) == 4


def test_headings_found_are_compared_with_the_logs_around_the_circle() -> None:
    fixes = [replace(_fix(10.0 * k, 0.0, (10.0, 0.0)), heading_deg=deg) for k, deg in enumerate((359.0, 4.0))]
    record = _record([*fixes, NoFix(0, Reason.AMBIGUOUS)])
    rows = tuple(FlightRow(str(k), float(k), VehicleState(0, 0.0, 0.0, 1.0, 100.0)) for k in range(5))
    flight = Flight(Path(), CameraModel.from_hfov(240, 180, 60.0), Mount(), rows, None, {})
    off_deg = attitudes.headings_off_deg([(record, flight)])
    assert off_deg == [2.0, 3.0]
    assert "2.5 / 3.0 / 3.0 degrees" in attitudes.heading_line(off_deg)
    assert attitudes.heading_line([]) == ""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    flown = plans.WorldSet(
        range(1790, 1791), flights=2, frames=14, size_m=420.0, patch_m=80.0, width_px=240, height_px=180
    )
    monkeypatch.setitem(plans.SETS, "development", flown)
    monkeypatch.setattr(plans, "AGL_M", (70.0, 80.0))
    monkeypatch.setattr(plans, "SPEED_MPS", (6.0, 8.0))
    return "development"


def test_from_a_world_to_its_tables(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def tool(command: str, *more: str) -> int:
        return int(evaluate_flights.main([command, tiny, "--out", str(tmp_path), *more]))

    assert tool("generate") == 0
    assert "2 flights recorded" in capsys.readouterr().out
    out = tmp_path / tiny
    flight = open_flight(out / "flights" / "1790-0")
    assert len(flight.rows) == 14
    assert all(row.truth is not None for row in flight.rows)
    assert tool("generate") == 0
    assert "0 flights recorded" in capsys.readouterr().out

    assert tool("run") == 0
    assert "1790-1" in capsys.readouterr().out
    record = figures.read_record(out / "runs" / "1790-0.json")
    assert len(record.answers) == 14
    # Over a flat, sharp world tracking begins within the flight, and the camera's velocity is near the truth.
    assert figures.first_fix(record) is not None
    assert figures.velocity_score([record]).median_share < 0.2
    assert (out / "flights.svg").is_file()
    before = (out / "runs" / "1790-0.json").stat().st_mtime_ns
    assert tool("run") == 0
    assert (out / "runs" / "1790-0.json").stat().st_mtime_ns == before

    capsys.readouterr()
    assert tool("attitude") == 0
    assert "| all: 2 |" in capsys.readouterr().out

    assert tool("run", "--with-terrain", "--flights", "1790-0") == 0
    surveyed = figures.read_record(out / "surveyed" / "1790-0.json")
    assert len(surveyed.answers) == 14
    assert surveyed.answers != record.answers
    assert "all 1" in (out / "surveyed.md").read_text(encoding="utf-8")
    assert (out / "surveyed.svg").is_file()

    assert tool("run", "--without-heading", "--flights", "1790-0") == 0
    headless = figures.read_record(out / "headless" / "1790-0.json")
    assert len(headless.answers) == 14
    assert all(answer.fix is None or answer.fix.turn_deg is None for answer in headless.answers)
    assert "all 1" in (out / "headless.md").read_text(encoding="utf-8")
    assert "1 flights, " in (out / "headless.svg").read_text(encoding="utf-8")
    assert "all 2" in (out / "results.md").read_text(encoding="utf-8")

    assert tool("converge", "--flights", "1790-0") == 0
    starts = runs.read_starts(out / "starts" / "1790-0.json")
    assert starts[0].found
    assert starts[0].frames == figures.first_fix(record).frames
    assert len(starts) > 1
    assert sum(start.frames for start in starts) <= 14
    assert "km²" in (out / "results.md").read_text(encoding="utf-8")

    assert tool("converge", "--flights", "1790-0", "--hint-off-m", "150", "--hint-sigma-m", "20") == 0
    misled = runs.read_starts(out / "misled" / "1790-0.json")
    assert misled[0].frames >= starts[0].frames
    assert not any(start.false_fixes for start in misled)
    assert runs.read_starts(out / "starts" / "1790-0.json") == starts
    assert evaluate_flights.main(["convergence", tiny, "--out", str(tmp_path)]) == 0
    together = (tmp_path / "convergence.md").read_text(encoding="utf-8")
    assert together.count("| 0.2 km² | **all** |") == 2
    assert f"{len(starts) + len(misled)} starts, 0 with" in (tmp_path / "convergence.svg").read_text(encoding="utf-8")


def test_what_cannot_be_done_is_one_clear_line(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, message in (("report", "nothing was run"), ("attitude", "nothing was run"), ("run", "generate")):
        assert evaluate_flights.main([command, tiny, "--out", str(tmp_path)]) == 2
        assert message in capsys.readouterr().err
    assert evaluate_flights.main(["convergence", tiny, "--out", str(tmp_path)]) == 2
    assert "nothing was run" in capsys.readouterr().err
    assert evaluate_flights.main(["run", tiny, "--out", str(tmp_path), "--flights", "x*"]) == 2
    assert "no flight x*" in capsys.readouterr().err
