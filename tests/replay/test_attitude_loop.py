"""Flights on an autopilot that corrects its attitude by the positions it is given, which were laid out by it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.standin import Flight, LaidOutLocalizer
from tilefix.links.messages import Attitude
from tilefix.simulation.flying import AutopilotSettings

# Degrees for each m/s: enough that the loop through the attitude would run away from 120 m.
CORRECTED = AutopilotSettings(lean_per_mps_deg=1.0)


def _flown_without_gnss(flight: Flight, seconds: float) -> float:
    """The largest error of the autopilot's position after a loss."""
    flight.fly(20.0)
    flight.autopilot.flight.own.denied = True
    return flight.fly(seconds)


def test_an_attitude_that_positions_correct_does_not_carry_them_away() -> None:
    assert _flown_without_gnss(Flight(CORRECTED, localizer=LaidOutLocalizer), 60.0) < 6.0


def test_taken_as_it_is_told_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flight above can fail: nothing but the steadied attitude keeps it."""
    flight = Flight(CORRECTED, localizer=LaidOutLocalizer)
    steady = flight.daemon._vehicle._steady
    take = steady.take
    monkeypatch.setattr(steady, "take", lambda told, *, trusted: take(replace(told, rates_dps=None), trusted=trusted))
    assert _flown_without_gnss(flight, 60.0) > 20.0


def test_the_rates_that_it_tells_are_those_of_its_attitude() -> None:
    """Followed alone, without a word of the attitude, they lead where the vehicle turns."""
    flight = Flight(AutopilotSettings(tilt_error_deg=0.0, yaw_error_deg=0.0))
    told: list[Attitude] = []
    vehicle = flight.daemon._vehicle
    take = vehicle._steady.take
    vehicle._steady.take = lambda one, *, trusted: told.append(one) or take(one, trusted=False)  # type: ignore[method-assign]
    flight.fly(40.0)
    used = vehicle.state_at(told[-1].at_ns)
    assert used.roll_deg == pytest.approx(told[-1].roll_deg, abs=1.0)
    assert used.pitch_deg == pytest.approx(told[-1].pitch_deg, abs=1.0)
    assert max(abs(one.rates_dps[2]) for one in told if one.rates_dps is not None) > 15.0
