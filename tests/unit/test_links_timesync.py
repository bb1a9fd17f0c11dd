"""The autopilot's boot time on our clock."""

from __future__ import annotations

import pytest

from tilefix.links.timesync import MAX_ROUND_TRIP_NS, BootTime

MS = 1_000_000


def test_nothing_is_known_before_any_evidence() -> None:
    assert BootTime().to_local_ns(5) is None


def test_the_earliest_arrival_counts_until_a_round_trip_is_known() -> None:
    boot = BootTime()
    for boot_ms, arrived_ms in ((1000, 5040), (1020, 5025), (1040, 5090)):
        boot.heard(boot_ms * MS, arrived_ms * MS)
    assert boot.to_local_ns(2000 * MS) == (2000 + 4005) * MS
    boot.round_trip(6000 * MS, 2010 * MS, 6020 * MS)
    assert boot.to_local_ns(2000 * MS) == 6000 * MS


def test_the_shortest_round_trip_wins_and_a_long_one_is_no_evidence() -> None:
    boot = BootTime()
    boot.round_trip(0, 100 * MS, MAX_ROUND_TRIP_NS + 1)
    assert boot.to_local_ns(0) is None
    boot.round_trip(0, 0, 100 * MS)
    boot.round_trip(1000 * MS, 990 * MS, 1004 * MS)
    assert boot.to_local_ns(0) == 12 * MS


@pytest.mark.parametrize("answer", [-1, -(10**18)])
def test_an_answer_from_before_the_question_is_no_evidence(answer: int) -> None:
    boot = BootTime()
    boot.round_trip(0, 0, answer)
    assert boot.to_local_ns(0) is None


def test_time_going_back_is_a_reboot_and_a_late_datagram_is_not() -> None:
    boot = BootTime()
    assert not boot.heard(60_000 * MS, 1_000_000 * MS)
    assert not boot.heard(59_950 * MS, 1_000_001 * MS)
    boot.round_trip(0, 0, 0)
    assert boot.heard(500 * MS, 1_002_000 * MS)
    assert boot.to_local_ns(600 * MS) == 1_002_100 * MS


def _asked(boot: BootTime, at_ms: float, behind_ms: float, took_ms: float = 5.0, share: float = 0.5) -> None:
    """A round trip at an instant of ours, of an autopilot whose clock lags by so much; it answers after `share`."""
    boot.round_trip(round(at_ms * MS), round((at_ms + share * took_ms - behind_ms) * MS), round((at_ms + took_ms) * MS))


@pytest.mark.parametrize("step_ms", [140.0, -140.0, 12.0])
def test_a_clock_that_steps_is_noticed_by_the_next_round_trip(step_ms: float) -> None:
    boot = BootTime()
    for second in range(30):
        _asked(boot, 1000.0 * second, 500.0)
    assert boot.to_local_ns(0) == 500 * MS
    _asked(boot, 30_000.0, 500.0 + step_ms, took_ms=6.0)
    assert boot.to_local_ns(0) == round((500.0 + step_ms) * MS)
    assert boot.transit_ns == 3 * MS


@pytest.mark.parametrize(("took_ms", "share"), [(150.0, 0.0), (150.0, 1.0), (6.0, 0.0), (40.0, 0.9)])
def test_an_answer_that_is_late_on_one_way_moves_nothing(took_ms: float, share: float) -> None:
    boot = BootTime()
    for second in range(30):
        _asked(boot, 1000.0 * second, 500.0)
    _asked(boot, 30_000.0, 500.0, took_ms, share)
    assert boot.to_local_ns(0) == 500 * MS


def test_clocks_that_drift_apart_do_not_step() -> None:
    boot = BootTime()
    for second in range(600):
        kept = boot.to_local_ns(0)
        _asked(boot, 1000.0 * second, 500.0 + 0.3 * second, took_ms=4.0 if second % 50 == 0 else 9.0)
        if second % 50:
            assert boot.to_local_ns(0) == kept
