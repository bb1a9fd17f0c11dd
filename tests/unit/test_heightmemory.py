"""A service that starts again without GNSS knows its height above the sea from the process before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilefix.links.height import Anchor, PressureAltitude
from tilefix.links.messages import GnssReceiver, Pressure
from tilefix.links.vehicle import Vehicle
from tilefix.service.heightmemory import HeightMemory

S = 1_000_000_000
HPA = 954.61


def fly_with_gnss(vehicle: Vehicle, amsl_m: float, seconds: int) -> None:
    for second in range(1, seconds + 1):
        vehicle.take(Pressure(second * S, HPA))
        vehicle.take(GnssReceiver(second * S, 3, 47.0, 8.0, amsl_m, 0.9, 1.5, 0.0, 5.0))


def test_the_height_is_known_again_after_a_restart_without_gnss(tmp_path: Path) -> None:
    memory = HeightMemory(tmp_path)
    before = Vehicle(remember=memory.keep)
    fly_with_gnss(before, 540.0, 30)
    known_m = before.amsl_m(30 * S)
    assert known_m == pytest.approx(540.0)
    after = Vehicle()
    anchor = HeightMemory(tmp_path).last(60 * S)
    assert anchor is not None
    after.recall(anchor)
    after.take(Pressure(60 * S, HPA))
    assert after.amsl_m(60 * S) == pytest.approx(540.0)
    sigma_m, fresh_m = after.amsl_sigma_m(60 * S), before.amsl_sigma_m(30 * S)
    assert sigma_m is not None
    assert fresh_m is not None
    assert sigma_m > fresh_m


def test_what_gnss_tells_now_counts_more_than_the_past() -> None:
    altitude = PressureAltitude()
    altitude.add_pressure(S, HPA)
    for _ in range(5):
        altitude.anchor(S, 540.0, 1.0)
    altitude.restore(Anchor(0, 1000.0, 1.0))
    assert altitude.amsl_m(S) == pytest.approx(540.0)


def test_it_writes_every_ten_seconds_and_leaves_nothing_else(tmp_path: Path) -> None:
    memory = HeightMemory(tmp_path)
    memory.keep(Anchor(0, 1.0, 1.0))
    memory.keep(Anchor(9 * S, 2.0, 1.0))
    assert HeightMemory(tmp_path).last(9 * S) == Anchor(0, 1.0, 1.0)
    memory.keep(Anchor(10 * S, 3.0, 1.0))
    assert HeightMemory(tmp_path).last(10 * S) == Anchor(10 * S, 3.0, 1.0)
    assert [one.name for one in tmp_path.iterdir()] == ["height.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 5000,
        '{"at_ns": 1, "shift_m": "x", "sigma_m": 1}',
        '{"at_ns": 1, "shift_m": NaN, "sigma_m": 1}',
        '{"at_ns": 1, "shift_m": 1, "sigma_m": -1}',
        '{"at_ns": 1e999, "shift_m": 1, "sigma_m": 1}',
    ],
)
def test_what_is_no_anchor_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "height.json").write_text(text)
    assert HeightMemory(tmp_path).last(S) is None


def test_what_is_too_old_or_from_the_future_is_not_recalled(tmp_path: Path) -> None:
    (tmp_path / "height.json").write_text(json.dumps({"at_ns": 100 * S, "shift_m": 1.0, "sigma_m": 1.0}))
    assert HeightMemory(tmp_path).last(99 * S) is None
    assert HeightMemory(tmp_path).last(100 * S + 7 * 3600 * S) is None
    assert HeightMemory(tmp_path).last(101 * S) is not None


def test_a_folder_that_is_gone_ends_no_flight(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    HeightMemory(tmp_path / "gone").keep(Anchor(0, 1.0, 1.0))
    assert "cannot be written" in caplog.text
