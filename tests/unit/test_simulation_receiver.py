"""What the autopilot stand-in takes from GPS_INPUT, and why it refuses."""

import dataclasses

import pytest

from tilefix.simulation.receiver import Flaw, GpsInput, MavlinkReceiver, Verdict

GOOD = GpsInput(1, 3, 47.0, 8.0, 500.0, 1.0, 2.0, 3.0, 4.0, 0.5, 8, 1.0, 0, 0.1)


def _feed(receiver, times, message=GOOD, *, aligned=True, needed=True):
    return [receiver.take(message, at, aligned=aligned, needed=needed) for at in times]


def _every(interval, count, start=0.0):
    return [start + i * interval for i in range(count)]


@pytest.mark.parametrize(("interval", "expected"), [(0.1, True), (0.2, True), (0.24, False), (0.5, False)])
def test_five_hertz_is_the_slowest_healthy_rate(interval, expected):
    receiver = MavlinkReceiver(1)
    times = _every(interval, 300)
    verdicts = _feed(receiver, times)
    assert receiver.healthy(times[-1]) is expected
    assert (verdicts[-1] is Verdict.FUSED) is expected


def test_two_long_intervals_in_a_row_make_it_unhealthy_and_one_does_not():
    receiver = MavlinkReceiver(1)
    _feed(receiver, _every(0.1, 100))
    assert _feed(receiver, [10.2, 10.3]) == [Verdict.FUSED] * 2
    assert _feed(receiver, [10.6, 10.9]) == [Verdict.FUSED, Verdict.UNHEALTHY]
    assert _feed(receiver, [11.0]) == [Verdict.FUSED]


def test_silence_of_four_seconds_is_no_fix():
    receiver = MavlinkReceiver(1)
    _feed(receiver, _every(0.1, 20))
    assert receiver.healthy(1.9 + 3.9)
    assert not receiver.healthy(1.9 + 4.1)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [({"receiver": 0}, Verdict.WRONG_RECEIVER), ({"fix_type": 2}, Verdict.NO_FIX), ({}, Verdict.FUSED)],
)
def test_each_message_is_judged(change, verdict):
    receiver = MavlinkReceiver(1)
    assert _feed(receiver, [0.0], dataclasses.replace(GOOD, **change)) == [verdict]
    assert receiver.verdicts == {verdict: 1}


def test_it_stays_spare_while_the_first_receiver_lives():
    assert _feed(MavlinkReceiver(1), [0.0], needed=False) == [Verdict.SPARE]


def test_faster_than_twenty_hertz_is_dropped():
    assert _feed(MavlinkReceiver(1), [0.0, 0.02, 0.06]) == [Verdict.FUSED, Verdict.TOO_CLOSE, Verdict.FUSED]


@pytest.mark.parametrize(
    ("change", "starts"),
    [({}, True), ({"horizontal_m": 5.0}, False), ({"vertical_m": 8.0}, False), ({"speed_mps": 1.0}, False),
     ({"satellites": 5}, False), ({"hdop": 2.5}, False)],
)  # fmt: skip
def test_a_lone_receiver_must_be_accurate_for_ten_seconds_first(change, starts):
    verdicts = _feed(MavlinkReceiver(1), _every(0.1, 120), dataclasses.replace(GOOD, **change), aligned=False)
    assert verdicts[:99] == [Verdict.NOT_ALIGNED] * 99
    assert (verdicts[-1] is Verdict.FUSED) is starts


@pytest.mark.parametrize(
    ("change", "flaw"),
    [({"ignored": 8}, Flaw.NO_VELOCITY), ({"ignored": 1}, Flaw.NO_ALTITUDE)],
)
def test_flaws_are_counted_though_it_is_taken(change, flaw):
    receiver = MavlinkReceiver(1)
    assert _feed(receiver, [0.0], dataclasses.replace(GOOD, **change)) == [Verdict.FUSED]
    assert receiver.flaws == {flaw: 1}


def test_lateness_is_told_from_the_quickest_one():
    receiver = MavlinkReceiver(1)
    for at, age_s in enumerate((0.28, 0.25, 0.29, 0.31)):
        _feed(receiver, [at / 10], dataclasses.replace(GOOD, age_s=age_s))
    assert receiver.flaws == {Flaw.LATE: 1}
