"""What PX4 takes of positions from outside and what it refuses: the same cases for the simulated one and, where
TILEFIX_PX4 names a build folder, for PX4's own program with the quadrotor that it simulates itself.

A publisher that breaks a rule loses the position some seconds after GNSS; what is not looked at breaks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.benches import BODY_FRD, LOCAL_FRD, LOCAL_NED, NAN
from support.clocks import ManualClock
from support.mavlink import FakeTransport
from support.px4bench import CLOCK_LEARNED_S, OWN_CLOCK_S, Px4Bench, Px4Sitl, Px4StandIn, program
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.messages import AutopilotKind, Identity
from tilefix.links.reports import GlobalReport
from tilefix.simulation.acceptance.verdicts import Flaw, Verdict

MAPS = {"EKF2_AGP0_ID": 1, "EKF2_AGP0_CTRL": 1}
VISION = {"EKF2_EV_CTRL": 1}
Feed = Callable[[Px4Bench], None]
Make = Callable[..., Px4Bench]


class RealMaker:
    """Makes benches of PX4's own program, one at a time."""

    def __init__(self) -> None:
        self._bench: Px4Sitl | None = None

    def __call__(self, **parameters: float) -> Px4Bench:
        self.close()
        found = program()
        assert found is not None
        self._bench = Px4Sitl(found, parameters)
        return self._bench

    def close(self) -> None:
        if self._bench is not None:
            self._bench.close()
            self._bench = None


@pytest.fixture(params=["stand-in", "px4"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    if request.param == "stand-in":
        yield lambda **parameters: Px4StandIn(parameters)
        return
    if program() is None:
        pytest.skip("TILEFIX_PX4 names no build folder of PX4")
    maker = RealMaker()
    yield maker
    maker.close()


def _good(bench: Px4Bench) -> None:
    bench.map_position()


def _denied(bench: Px4Bench, feed: Feed | None, period_s: float = 0.5, seconds: float = 12.0) -> Px4Bench:
    """In flight, fed all the while, and so many seconds without GNSS."""
    bench.take_off(feed)
    bench.lose_gnss()
    bench.run(seconds, feed, period_s)
    return bench


# What it says of itself


def test_it_says_that_it_is_px4_and_codes_integers_bytewise(make: Make) -> None:
    bench = make(**MAPS)
    bench.send(mavlink.MAVLink_command_long_message(*bench.component, 512, 0, 148, 0, 0, 0, 0, 0, 0))
    bench.send(mavlink.MAVLink_param_request_read_message(*bench.component, b"EKF2_AGP0_ID", -1))
    bench.run(2.0)
    kinds = {message.get_type(): message for message in bench.heard}
    assert kinds["HEARTBEAT"].autopilot == mavlink.MAV_AUTOPILOT_PX4
    assert kinds["AUTOPILOT_VERSION"].flight_sw_version >> 16 == 0x0112
    assert kinds["PARAM_VALUE"].param_type == mavlink.MAV_PARAM_TYPE_INT32
    assert 0.0 < kinds["PARAM_VALUE"].param_value < 1e-40
    assert "ESTIMATOR_STATUS" in kinds
    assert "EKF_STATUS_REPORT" not in kinds


# Positions from a map


def test_good_positions_twice_a_second_carry_the_flight(make: Make) -> None:
    bench = _denied(make(**MAPS), _good, seconds=40.0)
    assert bench.error_m() < 7.0
    assert bench.has_position()


def test_without_any_the_position_ends_after_seconds(make: Make) -> None:
    bench = _denied(make(**MAPS), None, seconds=3.0)
    assert bench.has_position()
    bench.run(5.0)
    assert not bench.has_position()


@pytest.mark.parametrize(
    ("parameters", "changes"),
    [
        pytest.param(MAPS, {"id": 2}, id="of another sensor"),
        pytest.param(MAPS, {"id": 0}, id="of no sensor"),
        pytest.param({"EKF2_AGP0_ID": 1}, {}, id="slot not switched on"),
        pytest.param({"EKF2_AGP0_CTRL": 1}, {}, id="slot of no sensor"),
        pytest.param({**MAPS, "EKF2_AGP0_DELAY": 600.0}, {}, id="later than the buffer reaches back"),
    ],
)
def test_what_is_not_set_up_is_not_taken(make: Make, parameters: dict[str, float], changes: dict[str, Any]) -> None:
    bench = _denied(make(**parameters), lambda one: one.map_position(**changes))
    assert not bench.has_position()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"stamp_s": 1000.0}, id="stamped by another clock"),
        pytest.param({"stamp_s": 9000.0}, id="stamped of the future"),
        pytest.param({"processing_time": 5_000_000}, id="processed for 5 s"),
        pytest.param({"flags": 1}, id="flagged unhealthy"),
        pytest.param({"target_system": 9}, id="for another system"),
        pytest.param({"source": 0}, id="of no known source"),
        pytest.param({"eph": NAN}, id="without an error"),
        pytest.param({"alt": NAN, "epv": NAN}, id="without a height"),
    ],
)
def test_what_it_does_not_look_at(make: Make, changes: dict[str, Any]) -> None:
    bench = _denied(make(**MAPS), lambda one: one.map_position(**changes))
    assert bench.has_position()
    assert bench.error_m() < 7.0


@pytest.mark.parametrize(("first", "then", "taken"), [(1, 2, True), (2, 1, False)])
def test_the_first_message_decides_which_slot_the_link_feeds(make: Make, first: int, then: int, taken: bool) -> None:
    bench = make(**MAPS)
    bench.run(2.0, lambda one: one.map_position(id=first), 0.5)
    _denied(bench, lambda one: one.map_position(id=then))
    assert bench.has_position() is taken


def test_a_sensor_counts_from_the_next_start_only(make: Make) -> None:
    bench = make(EKF2_AGP0_CTRL=1)
    bench.set("EKF2_AGP0_ID", 1)
    _denied(bench, _good)
    assert not bench.has_position()


@pytest.mark.parametrize(("delay_ms", "behind_m"), [(0.0, 2.25), (250.0, 0.0)])
def test_a_position_counts_as_true_by_its_delay_before_it_arrived(make: Make, delay_ms: float, behind_m: float) -> None:
    """A quarter of a second old, at 9 m/s."""
    bench = make(**MAPS, EKF2_AGP0_DELAY=delay_ms)
    _denied(bench, lambda one: one.map_position(age_s=0.25), 0.2, 25.0)
    assert bench.error_m() == pytest.approx(behind_m, abs=1.2)


def test_what_is_older_is_taken_where_the_buffer_is_longer(make: Make) -> None:
    bench = make(**MAPS, EKF2_AGP0_DELAY=450.0, EKF2_DELAY_MAX=500.0)
    _denied(bench, lambda one: one.map_position(age_s=0.45), 0.2, 25.0)
    assert bench.has_position()
    assert bench.error_m() < 3.0


def test_beside_gnss_a_position_that_is_off_is_gated_for_ever(make: Make) -> None:
    bench = make(**MAPS)
    bench.take_off(_good)
    bench.run(20.0, lambda one: one.map_position(east_m=60.0), 0.5)
    assert bench.error_m() < 4.0


def test_alone_a_position_that_is_off_is_gated_for_seconds_and_then_taken(make: Make) -> None:
    bench = _denied(make(**MAPS), _good)
    bench.run(4.0, lambda one: one.map_position(east_m=60.0), 0.5)
    assert bench.error_m() < 20.0
    bench.run(8.0, lambda one: one.map_position(east_m=60.0), 0.5)
    assert bench.error_m() == pytest.approx(60.0, abs=12.0)


def test_gps_input_is_not_taken(make: Make) -> None:
    bench = _denied(make(**MAPS), lambda one: one.gps_input())
    assert not bench.has_position()


# Local positions


def _vision(bench: Px4Bench) -> None:
    bench.vision()


def test_vision_carries_the_flight(make: Make) -> None:
    bench = _denied(make(**VISION), _vision, 0.1, 30.0)
    assert bench.has_position()
    assert bench.error_m() < 3.0


@pytest.mark.parametrize(
    ("parameters", "feed", "period_s"),
    [
        pytest.param({}, _vision, 0.1, id="not switched on"),
        pytest.param(VISION, _vision, 0.5, id="two a second"),
        pytest.param(VISION, lambda one: one.odometry(frame=BODY_FRD), 0.1, id="in the body's frame"),
        pytest.param(VISION, lambda one: one.odometry(estimator=4), 0.1, id="of a GPS"),
        pytest.param({**VISION, "EKF2_EV_QMIN": 50}, lambda one: one.odometry(quality=40), 0.1, id="of low quality"),
    ],
)
def test_what_is_no_vision(make: Make, parameters: dict[str, float], feed: Feed, period_s: float) -> None:
    bench = make(**parameters)
    bench.take_off()
    bench.lose_gnss()
    bench.run(12.0, feed, period_s)
    assert not bench.has_position()


@pytest.mark.parametrize(
    "feed",
    [
        pytest.param(lambda one: one.odometry(frame=LOCAL_NED), id="north, east, down"),
        pytest.param(lambda one: one.odometry(frame=LOCAL_FRD), id="forward, right, down"),
        pytest.param(lambda one: one.odometry(quality=0), id="without a quality"),
        pytest.param(lambda one: one.vision(variance=NAN), id="without variances"),
    ],
)
def test_what_is_vision_too(make: Make, feed: Feed) -> None:
    bench = _denied(make(**VISION), feed, 0.1)
    assert bench.has_position()
    assert bench.error_m() < 5.0


def test_a_jump_of_vision_is_taken_at_once_only_when_it_is_told(make: Make) -> None:
    bench = _denied(make(**VISION), _vision, 0.1)
    bench.run(0.7, lambda one: one.vision(east_m=60.0))
    assert bench.error_m() < 20.0
    bench.run(0.3, _vision)
    bench.run(0.7, lambda one: one.vision(east_m=60.0, reset=1))
    assert bench.error_m() > 50.0


def test_a_jump_of_vision_that_is_not_told_is_taken_after_a_second(make: Make) -> None:
    bench = _denied(make(**VISION), _vision, 0.1)
    bench.run(3.0, lambda one: one.vision(east_m=60.0))
    assert bench.error_m() > 40.0


def test_beside_gnss_only_the_changes_of_vision_count(make: Make) -> None:
    bench = make(**VISION)

    def feed(one: Px4Bench) -> None:
        one.vision(east_m=60.0)

    bench.take_off(feed)
    assert bench.error_m() < 4.0
    bench.lose_gnss()
    bench.run(12.0, feed)
    assert bench.error_m() == pytest.approx(60.0, abs=6.0)


@pytest.mark.parametrize("learned", [False, True])
def test_stamps_count_once_the_companions_clock_is_learned(make: Make, learned: bool) -> None:
    bench = make(**VISION)
    bench.answers = learned
    bench.run(CLOCK_LEARNED_S)

    def feed(one: Px4Bench) -> None:
        one.vision(stamp_s=one.boot_s + OWN_CLOCK_S - 2.0)

    bench.take_off()
    bench.lose_gnss()
    bench.run(12.0, feed)
    assert bench.has_position() is not learned


# The stand-in alone


def test_before_1_18_a_position_from_a_map_is_unknown() -> None:
    bench = Px4StandIn({"EKF2_AGP_CTRL": 1}, (1, 16, 0))
    bench.run(5.0, _good)
    assert set(bench.autopilot.flight.tally.verdicts) == {Verdict.UNSUPPORTED}


def test_an_error_that_is_not_told_counts_as_the_least_one() -> None:
    bench = Px4StandIn(MAPS)
    bench.run(5.0, lambda one: one.map_position(eph=NAN))
    assert bench.autopilot.flight.tally.flaws[Flaw.NO_ACCURACY] > 40


def test_what_the_link_sends_is_taken() -> None:
    """A report of tilefix over its own link, with its own clock and its own answers to TIMESYNC."""
    bench = Px4StandIn(MAPS)
    bench.take_off()
    flight = bench.autopilot.flight
    clock, transport = ManualClock(), FakeTransport()
    link = MavlinkLink(transport, clock)
    identities: list[Identity] = []
    now_ns = round(bench.now_s * 1e9)
    for index in range(300):
        now_ns += 100_000_000
        clock.advance_s(0.1)
        transport.incoming = [(packet, ("autopilot", 1)) for packet in bench.autopilot.step(now_ns)]
        identities += [one for one in link.poll() if isinstance(one, Identity)]
        if index == 100:
            flight.own.denied = True
        then = flight.truth_at(now_ns)
        place = flight.frame.to_geodetic(then.east_m, then.north_m)
        if index > 30:
            at_ns = clock.now_ns()
            link.send_report(GlobalReport(at_ns, at_ns, 1, *place, 300.0, 2.0, 3.0))
        for data, _ in transport.sent:
            bench.autopilot.receive(data, now_ns)
        transport.sent.clear()
    assert identities[-1].kind is AutopilotKind.PX4
    assert identities[-1].version == (1, 18, 0)
    assert set(flight.tally.verdicts) == {Verdict.FUSED}
    true, (east_m, north_m) = flight.vehicle.motion, flight.estimator.position
    assert math.hypot(east_m - true.east_m, north_m - true.north_m) < 4.0
