"""The measurement of spoofing and biased vision, on flights made up for it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from support.tools import load_tool

trials = load_tool("handover_trials")
report = load_tool("handover_report")
tool = load_tool("evaluate_handover")


def _tracks(count: int = 3) -> list[object]:
    return [trials.long_track(1900 + k, 0.02) for k in range(count)]


def test_a_generated_flight_errs_as_its_seed_says() -> None:
    track, same = trials.long_track(1900, 0.02), trials.long_track(1900, 0.02)
    assert track.answers == same.answers
    assert track.seconds == pytest.approx(72.0, abs=1.0)
    assert trials.long_track(1901, 0.02).answers != track.answers


def test_a_receiver_is_led_away_as_fast_as_the_attack_says_and_no_farther() -> None:
    attack = trials.Attack(30.0, ramp_mps=2.0, most_m=20.0)
    assert [attack.pull_m(at) for at in (29.0, 30.0, 35.0, 60.0)] == [0.0, 0.0, 10.0, 20.0]
    track = _tracks(1)[0]
    honest, led = trials.receivers(track, trials.Attack(), 4), trials.receivers(track, attack, 4)
    apart = [(b.lat_deg - a.lat_deg) * trials.M_PER_DEG for a, b in zip(honest, led, strict=True)]
    assert apart[0] == pytest.approx(0.0, abs=1e-6)
    assert apart[-1] == pytest.approx(20.0, abs=1e-3)
    # A spoofer's own velocity goes with it.
    assert max(b.velocity_north_mps - a.velocity_north_mps for a, b in zip(honest, led, strict=True)) == pytest.approx(
        2.0
    )


def test_ramps_are_noticed_and_honest_flights_are_not() -> None:
    ramp = trials.trials(_tracks(), trials.Attack(30.0, ramp_mps=100.0 / 60.0, most_m=100.0), 1, 1)
    assert all(one.spoofed_at_s and one.spoofed_at_s[0] > 0.0 for one in ramp)
    honest = trials.trials(_tracks(), trials.Attack(), 1, 1)
    assert not any(one.spoofed_at_s or one.biased_at_s for one in honest)
    assert all(one.consistent_at_s is not None for one in honest)


def test_a_canary_is_called_biased_and_not_spoofing() -> None:
    out = trials.trials(_tracks(), trials.Attack(30.0, canary_m=20.0), 1, 1)
    assert all(one.biased_at_s is not None and one.biased_at_s < 25.0 for one in out)
    assert not any(one.spoofed_at_s for one in out)


def test_tables_count_what_was_missed() -> None:
    attack = trials.Attack(10.0, ramp_mps=2.0)
    seen = trials.Outcome(60.0, (-5.0, 4.0), None, None, 3.0, 0.0, 0.0, 1.2)
    missed = trials.Outcome(60.0, (), 12.0, 3.0, 4.0, 0.1, 0.0, 0.3)
    row = report.Row("2 m/s", attack, [seen, missed])
    assert row.detected_s == [4.0]
    assert row.pulled_m == [8.0, math.inf]
    assert "| 2 m/s | 2 | 1 | 8.0 / – / – m | 4.0 / 4.0 s | 1 |" in report.attack_table([row])
    assert "| 2 m/s | 2 | 1 | 12.0 / – / – s | 2 | 1 |" in report.canary_table([row])
    assert "| all | 2 | 0.0 | 2 in 1 | 1 | 1 | 0.75 / 1.20 |" in report.honest_table({"all": [seen, missed]})


def test_the_whole_is_written_with_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "recorded", lambda folder, name: _tracks(1))
    for name, few in (("RAMPS_MPS", (3.0,)), ("STEPS_M", (50.0,)), ("CANARIES_M", (20.0,))):
        monkeypatch.setattr(tool, name, few)
    assert tool.main(["development", "--out", str(tmp_path), "--draws", "1", "--hours", "0"]) == 0
    said = capsys.readouterr().out
    written = (tmp_path / "development" / "results.md").read_text()
    assert written in said
    assert "| 3 m/s | 1 | 1 |" in written
    assert (tmp_path / "development" / "handover.svg").read_text().startswith("<svg")


def test_without_replayed_flights_it_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["evaluation", "--flights", str(tmp_path)]) == 2
    assert "evaluate_flights.py run evaluation" in capsys.readouterr().err
