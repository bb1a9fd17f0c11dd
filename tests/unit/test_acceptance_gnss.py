"""What ArduPilot's driver of a fed receiver makes of GPS_INPUT."""

import dataclasses

import pytest

from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.alignment import AlignmentChecks
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.gnss import GpsInput, MavlinkReceiver
from tilefix.simulation.acceptance.receivers import Receivers
from tilefix.simulation.acceptance.selection import ReceiverSelection
from tilefix.simulation.acceptance.verdicts import Flaw
from tilefix.simulation.parameters import ParameterTable

GOOD = GpsInput(1, 3, 47.0, 8.0, 500.0, 1.0, 2.0, 3.0, 4.0, 0.5, 8, 1.0, 0)
COPTER = Firmware()


def _parameters(firmware=COPTER, **values):
    table = ParameterTable.of(firmware.kind, firmware.airframe, firmware.version)
    table.put(**values)
    return table


def _feed(receiver, times, message=GOOD):
    return [receiver.take(message, at) for at in times]


def _every(interval, count, start=0.0):
    return [start + i * interval for i in range(count)]


@pytest.mark.parametrize(("interval", "expected"), [(0.1, True), (0.2, True), (0.22, False), (0.24, False)])
def test_five_hertz_is_the_slowest_healthy_rate(interval, expected):
    receiver = MavlinkReceiver(1, COPTER)
    flaws = _feed(receiver, _every(interval, 300))
    assert receiver.even is expected
    assert (flaws[-1] == ()) is expected


def test_two_long_intervals_in_a_row_make_it_unhealthy_and_one_does_not():
    receiver = MavlinkReceiver(1, COPTER)
    _feed(receiver, _every(0.1, 100))
    assert _feed(receiver, [10.2, 10.3]) == [()] * 2
    assert _feed(receiver, [10.6, 10.9]) == [(), (Flaw.SLOW,)]
    assert _feed(receiver, [11.0]) == [()]


def test_after_low_rates_it_takes_seconds_to_be_healthy_again():
    receiver = MavlinkReceiver(1, COPTER)
    _feed(receiver, _every(0.5, 40))
    flaws = _feed(receiver, _every(0.1, 200, start=20.0))
    healthy_s = 0.1 * flaws.index(())
    assert 3.0 < healthy_s < 10.0


def test_four_seconds_of_silence_are_no_fix_and_forget_everything():
    receiver = MavlinkReceiver(1, COPTER)
    _feed(receiver, [0.0, 0.1])
    receiver.watch(4.0)
    assert receiver.fix_type == 3
    receiver.watch(4.2)
    assert (receiver.fix_type, receiver.satellites, receiver.velocity_mps) == (1, 0, (0.0, 0.0))


@pytest.mark.parametrize(("version", "wanted"), [((4, 5, 5), True), ((4, 6, 0), False), ((4, 7, 0), False)])
def test_another_receivers_message_is_dropped_from_4_6_on(version, wanted):
    receiver = MavlinkReceiver(1, Firmware(version=version))
    assert receiver.wants(dataclasses.replace(GOOD, receiver=0)) is wanted
    assert receiver.wants(GOOD)


@pytest.mark.parametrize(
    ("ignored", "flaw"), [(8, Flaw.NO_VELOCITY), (16, Flaw.NO_VELOCITY), (1, Flaw.NO_ALTITUDE), (64, Flaw.NO_ACCURACY)]
)
def test_flaws_are_told_though_it_is_taken(ignored, flaw):
    receiver = MavlinkReceiver(1, COPTER)
    assert _feed(receiver, [0.0], dataclasses.replace(GOOD, ignored=ignored)) == [(flaw,)]


def test_what_is_ignored_stays_as_it_was_told_last():
    receiver = MavlinkReceiver(1, COPTER)
    _feed(receiver, [0.0])
    other = dataclasses.replace(GOOD, east_mps=9.0, horizontal_m=50.0, hdop=9.0, ignored=255)
    _feed(receiver, [0.1], other)
    assert (receiver.velocity_mps, receiver.horizontal_m, receiver.hdop, receiver.amsl_m) == ((2.0, 1.0), 3.0, 1.0, 0.0)


def test_a_receiver_that_never_told_a_velocity_stands_still():
    receiver = MavlinkReceiver(1, COPTER)
    _feed(receiver, [0.0], dataclasses.replace(GOOD, ignored=24))
    assert receiver.velocity_mps == (0.0, 0.0)


def test_a_time_of_its_own_takes_the_jitter_out():
    receiver = MavlinkReceiver(1, COPTER)
    for index, late_s in enumerate((0.1, 0.1, 0.18, 0.1)):
        stamp_s = 0.2 * index
        receiver.take(dataclasses.replace(GOOD, stamp_s=1000.0 + stamp_s), stamp_s + late_s)
        assert receiver.message_s == pytest.approx(stamp_s + 0.1)


def test_declared_delay_zero_stands_for_two_hundred_milliseconds():
    receiver = MavlinkReceiver(1, COPTER)
    assert receiver.delay_s(_parameters()) == 0.2
    assert receiver.delay_s(_parameters(GPS2_DELAY_MS=120)) == 0.12
    old = Firmware(version=(4, 5, 5))
    assert MavlinkReceiver(1, old).delay_s(_parameters(old, GPS_DELAY_MS2=90)) == 0.09


@pytest.mark.parametrize("scale", [100, 200])
@pytest.mark.parametrize(
    ("change", "starts"),
    [({}, True), ({"horizontal_m": 5.0}, False), ({"vertical_m": 8.0}, False), ({"speed_mps": 1.1}, False),
     ({"satellites": 5}, False), ({"hdop": 2.6}, False), ({"horizontal_m": 4.9}, True)],
)  # fmt: skip
def test_a_receiver_must_be_accurate_for_ten_seconds_first(change, starts, scale):
    receiver, checks = MavlinkReceiver(1, COPTER), AlignmentChecks()
    parameters = _parameters(EK3_CHECK_SCALE=scale)
    for at in _every(0.1, 130):
        receiver.take(dataclasses.replace(GOOD, **change), at)
        checks.check(receiver, at, parameters, None)
        if at < 10.0:
            assert not checks.good
    scaled = scale == 200 and not {"satellites", "hdop"} & set(change)
    assert checks.good is (starts or scaled)
    assert bool(checks.failure) is not checks.good


def test_planes_ask_for_less_and_a_cleared_bit_asks_for_nothing():
    def passes(parameters, **change):
        receiver, checks = MavlinkReceiver(1, COPTER), AlignmentChecks()
        for at in _every(0.1, 130):
            receiver.take(dataclasses.replace(GOOD, **change), at)
            checks.check(receiver, at, parameters, None)
        return checks.good

    plane = Firmware(airframe=Airframe.PLANE)
    assert passes(_parameters(plane), horizontal_m=7.4)
    assert not passes(_parameters(plane), horizontal_m=7.6)
    assert passes(_parameters(EK3_GPS_CHECK=31 - 8), horizontal_m=20.0)


def test_once_passed_the_limits_are_wider_and_only_five_seconds_of_failure_end_it():
    receiver, checks, parameters = MavlinkReceiver(1, COPTER), AlignmentChecks(), _parameters()

    def run(start, seconds, horizontal_m):
        for at in _every(0.1, round(seconds / 0.1), start):
            receiver.take(dataclasses.replace(GOOD, horizontal_m=horizontal_m), at)
            checks.check(receiver, at, parameters, None)
        return checks.good

    assert run(0.0, 11.0, 3.0)
    assert run(11.0, 10.0, 6.0)
    assert run(21.0, 4.9, 7.0)
    assert not run(25.9, 1.0, 7.0)


@dataclasses.dataclass
class _Seen:
    fix_type: int
    satellites: int


@pytest.mark.parametrize(("more", "after_s"), [(2, 5.0), (1, 20.0), (0, None)])
def test_more_satellites_win_after_a_while(more, after_s):
    selection = ReceiverSelection()
    receivers = {0: _Seen(3, 8), 1: _Seen(3, 8 + more)}
    changed = next((at for at in _every(0.1, 400) if selection.update(at, receivers, 1, 0) == 1), None)
    assert changed == (None if after_s is None else pytest.approx(after_s, abs=0.11))


def test_a_better_fix_wins_at_once_and_the_primary_while_it_has_one():
    receivers = {0: _Seen(1, 0), 1: _Seen(3, 6)}
    for mode, chosen in ((0, 0), (1, 1), (4, 1)):
        assert ReceiverSelection().update(0.0, receivers, mode, 0) == chosen
    selection = ReceiverSelection()
    selection.update(0.0, receivers, 4, 0)
    receivers[0] = _Seen(3, 5)
    assert selection.update(0.1, receivers, 4, 0) == 0


def test_a_driver_is_made_at_once_only_where_there_was_none():
    parameters = _parameters()
    receivers = Receivers(COPTER, parameters, _Seen(3, 10))
    assert (receivers.fed, receivers.update(0.0)) == ({}, 0)
    parameters.put(GPS2_TYPE=14)
    receivers.update(0.1)
    assert list(receivers.fed) == [1]
    parameters.put(GPS1_TYPE=14)
    receivers.update(0.2)
    assert list(receivers.fed) == [1]
    parameters.put(GPS1_TYPE=0)
    assert receivers.update(0.3) == 1
    assert list(receivers.present) == [1]
