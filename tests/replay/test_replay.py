from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from support.answers import ScriptedLocalizer, fix_at
from support.clocks import ManualClock
from support.flights import picture_flight
from tilefix.errors import FlightError
from tilefix.evaluation.replay import FIX_COLUMNS, Hint, Replay, first_truth, fixes_csv, replay, summary_json
from tilefix.evaluation.report import report_html
from tilefix.evaluation.results import write_results
from tilefix.flights.flight import Flight, open_flight
from tilefix.geodesy import Grid, LocalFrame
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason

LOCAL = LocalFrame(47.0, 8.5)
GRID = Grid(-500.0, 500.0, 1.0, 1000, 1000)
# Two rows with a truth at 0 m and 20 m north, after one without.
ROWS = "f0.png,0,100,0,0,0,,\nf1.png,0.5,100,0,0,0,47.0,8.5\nf2.png,1,100,0,0,0,47.00017988,8.5\n"


def _script(number: int) -> Fix | NoFix:
    if number == 0:
        return NoFix(0, Reason.NO_MATCH)
    if number == 1:
        return fix_at(3.0, 4.0, local=LOCAL)
    covariance = Covariance(400.0, 10.0, 300.0)
    return fix_at(0.0, 50.0, kind=FixKind.COAST, covariance=covariance, match_age_s=0.5, reason=Reason.BLURRED)


@pytest.fixture
def flight(tmp_path: Path) -> Flight:
    return open_flight(picture_flight(tmp_path / "flight", ROWS))


def _replay(flight: Flight, hint: Hint | None = None, limit: int | None = None) -> tuple[Replay, ScriptedLocalizer]:
    localizer = ScriptedLocalizer(_script)
    return replay(flight, localizer, LOCAL, GRID, ManualClock(), hint=hint, limit=limit), localizer


def test_every_frame_is_answered_and_scored(flight: Flight) -> None:
    result, localizer = _replay(flight)
    assert [answer.kind for answer in result.answers] == ["none", "fix", "coast"]
    assert [answer.frame for answer in result.answers] == ["f0.png", "f1.png", "f2.png"]
    assert result.answers[1].distance_m == pytest.approx(5.0, abs=1e-3)
    assert result.answers[2].distance_m == pytest.approx(30.0, abs=0.01)
    assert localizer.hints == []
    assert localizer.states == [row.state for row in flight.rows]
    assert result.score.reasons == {"BLURRED": 1, "NO_MATCH": 1}


def test_the_first_truth_is_hinted_at_its_own_row(flight: Flight) -> None:
    hint = first_truth(flight, 30.0)
    assert hint == Hint(47.0, 8.5, 30.0, row=1)
    _, localizer = _replay(flight, hint)
    assert localizer.hints == [(1, 47.0, 8.5, 30.0)]


def test_a_hint_needs_a_truth(flight: Flight) -> None:
    with pytest.raises(FlightError, match=r"no row has a truth.*--hint none"):
        first_truth(flight, 30.0, limit=1)


def test_a_hint_outside_the_map_is_refused(flight: Flight) -> None:
    with pytest.raises(FlightError, match=r"hint 48.000000, 8.500000 lies outside the map"):
        _replay(flight, Hint(48.0, 8.5, 30.0))


def test_a_limit_replays_the_first_rows_only(flight: Flight) -> None:
    result, localizer = _replay(flight, limit=2)
    assert result.score.frames == len(localizer.states) == 2


def test_fixes_csv_says_what_was_answered(flight: Flight) -> None:
    result, _ = _replay(flight)
    rows = list(csv.DictReader(fixes_csv(result.answers).splitlines()))
    assert tuple(rows[0]) == FIX_COLUMNS
    none, fix, coast = rows
    assert (none["kind"], none["reason"], none["lat_deg"], none["error_m"]) == ("none", "NO_MATCH", "", "")
    assert (fix["kind"], fix["reason"], fix["false_fix"]) == ("fix", "", "0")
    assert (fix["cov_ee_m2"], fix["cov_en_m2"], fix["cov_nn_m2"], fix["sigma_m"]) == ("4", "0", "4", "2.0000")
    assert (fix["velocity_east_mps"], fix["velocity_north_mps"]) == ("1.2500", "-0.5000")
    assert float(fix["error_east_m"]) == pytest.approx(3.0, abs=1e-3)
    assert float(fix["error_north_m"]) == pytest.approx(4.0, abs=1e-3)
    assert (coast["kind"], coast["reason"], coast["match_age_s"]) == ("coast", "BLURRED", "0.500")
    assert float(coast["truth_lat_deg"]) == pytest.approx(47.00017988)


def test_summary_json_has_the_promised_fields(flight: Flight) -> None:
    result, _ = _replay(flight)
    summary = json.loads(summary_json(result.score, result.latency, hint="none"))
    promised = (
        "frames fixes availability median_error_m p95_error_m max_error_m false_fixes coverage_1sigma "
        "coverage_2sigma coverage_3sigma latency_p50_ms latency_p99_ms reasons hint"
    )
    assert set(promised.split()) <= summary.keys()
    assert (summary["frames"], summary["fixes"]) == (3, 1)
    assert summary["availability"] == pytest.approx(1 / 3, abs=1e-6)
    assert set(summary["latency_stages_ms"]) == {"decode", "register"}


def test_latency_is_that_of_the_localizer(flight: Flight) -> None:
    clock = ManualClock()

    def slow(number: int) -> NoFix:
        clock.advance_s(0.01 * (number + 1))
        return NoFix(0, Reason.NO_MATCH)

    latency = replay(flight, ScriptedLocalizer(slow), LOCAL, GRID, clock).latency
    assert latency.p50_ms == pytest.approx(20.0)
    assert latency.p99_ms == pytest.approx(29.8)
    assert latency.stages["register"] == pytest.approx((20.0, 29.8))
    assert latency.stages["decode"] == (0.0, 0.0)


def _page(result: Replay, title: str = "A flight") -> str:
    imagery = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
    return report_html(title, result.answers, result.score, imagery=imagery, grid=GRID, local=LOCAL)


def test_two_replays_give_equal_bytes(flight: Flight) -> None:
    first, _ = _replay(flight)
    second, _ = _replay(flight)
    assert fixes_csv(first.answers) == fixes_csv(second.answers)
    assert _page(first) == _page(second)
    assert summary_json(first.score) == summary_json(second.score)


def test_the_report_stands_alone_and_is_safe(flight: Flight) -> None:
    result, _ = _replay(flight)
    page = _page(result, "<script>alert(1)</script>")
    assert "<script>alert(1)" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert 'src="' not in page
    assert page.count("data:image/jpeg;base64,") == 1
    for expected in ("NO_MATCH", "picture fits nowhere on the map", "frame without detail", "33.3 %", "5.00 m"):
        assert expected in page


def test_the_report_draws_what_was_answered(flight: Flight) -> None:
    page = _page(_replay(flight)[0])
    drawing = page[page.index('<svg class="map"') : page.index("</svg>")]
    assert drawing.count("<ellipse") == 2
    assert drawing.count('<circle class="fix"') == 1
    assert drawing.count('<circle class="coast"') == 1
    assert drawing.count('<polyline class="track"') == 2
    assert "wrong" not in drawing


def test_a_flight_without_any_position_has_a_report(flight: Flight) -> None:
    localizer = ScriptedLocalizer(lambda number: NoFix(0, Reason.HORIZON))
    result = replay(flight, localizer, LOCAL, GRID, ManualClock())
    assert "HORIZON" in _page(result)


def test_results_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    write_results(tmp_path / "out", {"a.txt": "one\n", "b.txt": "two\n"})
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        "a.txt": "one\n",
        "b.txt": "two\n",
    }
    (tmp_path / "file").write_text("")
    with pytest.raises(FlightError, match="results cannot be written"):
        write_results(tmp_path / "file", {"a.txt": "one\n"})
