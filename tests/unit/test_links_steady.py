"""The attitude that follows the turn rates at once and the autopilot in the long run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tilefix.links.messages import Attitude
from tilefix.links.steady import ALONE_S, TRUSTED_S, SteadyAttitude
from tilefix.links.vehicle import Vehicle

S = 1_000_000_000
STEP_S = 0.025


def _angles(second: float) -> tuple[float, float, float]:
    """A vehicle that sways while it turns, degrees."""
    return 10.0 * math.sin(second), -15.0 + 3.0 * math.cos(0.7 * second), 20.0 * second


def _rates(second: float) -> tuple[float, float, float]:
    """What its gyroscopes say of that, degrees a second (Euler's kinematic equations)."""
    roll, pitch = (math.radians(angle) for angle in _angles(second)[:2])
    d_roll, d_pitch, d_yaw = 10.0 * math.cos(second), -2.1 * math.sin(0.7 * second), 20.0
    return (
        d_roll - d_yaw * math.sin(pitch),
        d_pitch * math.cos(roll) + d_yaw * math.sin(roll) * math.cos(pitch),
        -d_pitch * math.sin(roll) + d_yaw * math.cos(roll) * math.cos(pitch),
    )


def _told(second: float, error_deg: float = 0.0, *, rates: bool = True) -> Attitude:
    roll, pitch, yaw = _angles(second)
    yaw = (yaw + 180.0) % 360.0 - 180.0
    return Attitude(round(second * S), roll, pitch + error_deg, yaw, _rates(second) if rates else None)


def _errors(used: Attitude) -> np.ndarray:
    off = np.array([used.roll_deg, used.pitch_deg, used.yaw_deg]) - _angles(used.at_ns / S)
    return (off + 180.0) % 360.0 - 180.0


def _taken(steady: SteadyAttitude, told: Attitude, *, trusted: bool = False) -> Attitude:
    used = steady.take(told, trusted=trusted)
    assert used is not None
    return used


def _run(seconds: float, error, *, rates: bool = True) -> list[Attitude]:
    steady = SteadyAttitude()
    return [_taken(steady, _told(STEP_S * k, error(STEP_S * k), rates=rates)) for k in range(round(seconds / STEP_S))]


def test_a_right_attitude_stays_right_for_as_long_as_it_is_told() -> None:
    for used in _run(120.0, lambda _: 0.0):
        assert np.abs(_errors(used)).max() < 0.02


def test_an_error_that_comes_and_goes_in_seconds_hardly_shows() -> None:
    """What the autopilot makes of false positions: 2 degrees up and down in 6 s."""
    used = _run(60.0, lambda second: 2.0 * math.sin(second))
    worst = max(float(np.abs(_errors(one)).max()) for one in used)
    assert worst < 0.2


@pytest.mark.parametrize(("trusted", "within_s"), [(False, ALONE_S), (True, TRUSTED_S)])
def test_an_error_that_stays_is_followed_at_its_pace(trusted: bool, within_s: float) -> None:
    steady = SteadyAttitude()
    level = (0.0, 0.0, 0.0)
    steady.take(Attitude(0, 0.0, -10.0, 30.0, level), trusted=trusted)
    followed = [
        _taken(steady, Attitude(round(STEP_S * k * S), 1.0, -10.0, 30.0, level), trusted=trusted).roll_deg
        for k in range(1, round(3.0 * within_s / STEP_S) + 1)
    ]
    third = len(followed) // 3
    assert followed[0] < 0.05
    assert followed[third - 1] == pytest.approx(1.0 - math.exp(-1.0), abs=0.01)
    assert followed[-1] == pytest.approx(1.0 - math.exp(-3.0), abs=0.01)


def test_without_turn_rates_the_autopilot_is_taken_at_its_word() -> None:
    for second, used in enumerate(_run(2.0, lambda second: 0.5 * second, rates=False)):
        assert used == _told(STEP_S * second, 0.5 * STEP_S * second, rates=False)


def test_over_a_gap_it_turns_as_the_autopilot_did() -> None:
    steady = SteadyAttitude()
    for k in range(200):
        steady.take(_told(STEP_S * k), trusted=False)
    used = _taken(steady, _told(STEP_S * 199 + 1.0))
    assert np.abs(_errors(used)).max() < 0.02


def test_what_lies_far_apart_starts_anew_and_so_does_a_reboot() -> None:
    steady = SteadyAttitude()
    steady.take(Attitude(0, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0)), trusted=False)
    used = _taken(steady, Attitude(S // 40, 0.0, 0.0, 90.0, (0.0, 0.0, 0.0)))
    assert used.yaw_deg == pytest.approx(90.0)
    used = _taken(steady, Attitude(S // 20, 0.0, 5.0, 90.0, (0.0, 0.0, 0.0)))
    assert used.pitch_deg == pytest.approx(0.0, abs=0.01)
    steady.restart()
    used = _taken(steady, Attitude(1, 0.0, 5.0, 90.0, (0.0, 0.0, 0.0)))
    assert used.pitch_deg == 5.0


@pytest.mark.parametrize("angle", [math.nan, math.inf])
def test_what_is_not_finite_or_out_of_order_is_dropped_and_changes_nothing(angle: float) -> None:
    steady = SteadyAttitude()
    steady.take(Attitude(S, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0)), trusted=False)
    assert steady.take(Attitude(2 * S, angle, 0.0, 0.0, (0.0, 0.0, 0.0)), trusted=False) is None
    assert steady.take(Attitude(S // 2, 9.0, 9.0, 9.0, (0.0, 0.0, 0.0)), trusted=False) is None
    used = _taken(steady, Attitude(S + S // 40, 0.0, 1.0, 0.0, (0.0, 0.0, 0.0)))
    assert used.pitch_deg == pytest.approx(0.0, abs=0.01)


def test_a_late_datagram_makes_no_jump_between_followed_attitudes() -> None:
    """The autopilot says 10 degrees of bank that its gyroscopes did not turn; two of its words change places."""
    vehicle = Vehicle()
    order = [*range(40), 41, 40, *range(42, 60)]
    for k in order:
        vehicle.take(Attitude(round(STEP_S * k * S), 0.0 if k < 20 else 10.0, 0.0, 0.0, (0.0, 0.0, 0.0)))
    rolls = [vehicle.state_at(round(STEP_S * k * S)).roll_deg for k in range(60)]
    assert all(later is not None for later in rolls)
    assert np.abs(np.diff(np.array(rolls, float))).max() < 0.05


def test_half_a_turn_between_two_words_is_no_trap() -> None:
    steady = SteadyAttitude()
    steady.take(Attitude(0, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0)), trusted=False)
    used = _taken(steady, Attitude(S // 40, 0.0, 0.0, 180.0, (0.0, 0.0, 0.0)))
    assert all(map(math.isfinite, (used.roll_deg, used.pitch_deg, used.yaw_deg)))
