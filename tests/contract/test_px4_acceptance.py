"""What PX4 takes of positions from maps, by its published rules: a publisher that breaks one is refused by the
simulated autopilot. No PX4 was flown."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.clocks import ManualClock
from support.mavlink import FakeTransport
from tilefix.geodesy import LocalFrame
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.messages import AutopilotKind, Identity
from tilefix.links.reports import GlobalReport
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.verdicts import Flaw, Verdict
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.flying import AutopilotSettings
from tilefix.simulation.vehicle import Course, SimulatedVehicle

FRAME = LocalFrame(47.0, 8.0)
MAPS = {"EKF2_AGP0_ID": 1.0, "EKF2_AGP0_CTRL": 1.0}
OWN_CLOCK_S = 5000.0  # the companion's clock runs this far from the autopilot's


class Bench:
    """A PX4 in flight, and a companion with a clock of its own that answers TIMESYNC."""

    def __init__(self, version: tuple[int, int, int] = (1, 18, 0), **parameters: float) -> None:
        vehicle = SimulatedVehicle(0.0, 0.0, 100.0, seed=1500, speed_mps=9.0)
        settings = AutopilotSettings(
            firmware=Firmware(kind=AutopilotKind.PX4, version=version), parameters=parameters or MAPS
        )
        course = Course([(0.0, 0.0), (0.0, 5000.0)], 9.0)
        self.autopilot = SimulatedAutopilot(vehicle, course, FRAME, start_ns=0, seed=1500, settings=settings)
        self.flight = self.autopilot.flight
        self.now_ns = 0
        self.answers = True
        self._sender = mavlink.MAVLink(None, srcSystem=1, srcComponent=191)
        self._parser = mavlink.MAVLink(None)
        self.heard: list[Any] = []

    def send(self, message: Any) -> None:
        self.autopilot.receive(bytes(message.pack(self._sender)), self.now_ns)

    def run(self, seconds: float, period_s: float = 0.5, **changes: Any) -> None:
        """Flies on, sending a position every period; with `period_s` 0 none."""
        self.heard = []
        step_s = period_s or 0.1
        for _ in range(round(seconds / step_s)):
            self.now_ns += round(step_s * 1e9)
            for packet in self.autopilot.step(self.now_ns):
                for message in self._parser.parse_buffer(packet) or []:
                    self.heard.append(message)
                    if message.get_type() == "TIMESYNC" and message.tc1 == 0 and self.answers:
                        own_ns = self.now_ns + round(OWN_CLOCK_S * 1e9)
                        self.send(mavlink.MAVLink_timesync_message(own_ns, message.ts1))
            if period_s:
                self.position(**changes)

    def position(self, east_m: float = 0.0, age_s: float = 0.05, stamp_s: float | None = None, **changes: Any) -> None:
        true = self.flight.truth_at(self.now_ns - round(age_s * 1e9))
        lat_deg, lon_deg = FRAME.to_geodetic(true.east_m + east_m, true.north_m)
        sent_s = self.now_ns / 1e9 + OWN_CLOCK_S if stamp_s is None else stamp_s
        fields: dict[str, Any] = {
            "target_system": 1, "target_component": 1, "id": 1, "time_usec": round(sent_s * 1e6),
            "processing_time": round(age_s * 1e6), "source": 2, "flags": 0, "lat": round(lat_deg * 1e7),
            "lon": round(lon_deg * 1e7), "alt_ellipsoid": math.nan, "alt": 300.0, "eph": 2.0, "epv": 3.0,
        }  # fmt: skip
        self.send(mavlink.MAVLink_global_position_sensor_message(**{**fields, **changes}))

    @property
    def verdicts(self) -> dict[Verdict, int]:
        return dict(self.flight.tally.verdicts)

    def error_m(self) -> float:
        true, (east_m, north_m) = self.flight.vehicle.motion, self.flight.estimator.position
        return math.hypot(east_m - true.east_m, north_m - true.north_m)


def _fed_through_denial(**changes: Any) -> Bench:
    """Ten seconds with GNSS, forty without."""
    bench = Bench()
    bench.run(10.0, **changes)
    bench.flight.own.denied = True
    bench.run(40.0, **changes)
    return bench


def test_it_says_that_it_is_px4_and_codes_integers_bytewise() -> None:
    bench = Bench()
    bench.send(mavlink.MAVLink_command_long_message(1, 1, 512, 0, 148, 0, 0, 0, 0, 0, 0))
    bench.send(mavlink.MAVLink_param_request_read_message(1, 1, b"EKF2_AGP0_ID", -1))
    bench.run(1.0, 0.0)
    kinds = {message.get_type(): message for message in bench.heard}
    assert kinds["HEARTBEAT"].autopilot == mavlink.MAV_AUTOPILOT_PX4
    assert kinds["AUTOPILOT_VERSION"].flight_sw_version >> 16 == 0x0112
    assert kinds["PARAM_VALUE"].param_type == mavlink.MAV_PARAM_TYPE_INT32
    assert 0.0 < kinds["PARAM_VALUE"].param_value < 1e-40
    assert "ESTIMATOR_STATUS" in kinds
    assert "EKF_STATUS_REPORT" not in kinds


def test_good_positions_twice_a_second_carry_the_flight() -> None:
    bench = _fed_through_denial()
    assert set(bench.verdicts) == {Verdict.FUSED}
    assert bench.error_m() < 4.0
    assert not bench.flight.landing


def test_without_any_the_flight_ends_after_five_seconds() -> None:
    bench = Bench()
    bench.run(10.0, 0.0)
    bench.flight.own.denied = True
    bench.run(4.5, 0.0)
    assert not bench.flight.landing
    bench.run(1.0, 0.0)
    assert bench.flight.landing


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        pytest.param({"id": 2}, Verdict.WRONG_SENSOR, id="of another sensor"),
        pytest.param({"id": 0}, Verdict.WRONG_SENSOR, id="of no sensor"),
        pytest.param({"flags": 1}, Verdict.UNHEALTHY, id="unhealthy"),
        pytest.param({"lat": 2147483647}, Verdict.NOT_FINITE, id="no latitude"),
        pytest.param({"lon": 1_900_000_000}, Verdict.NOT_FINITE, id="no place on earth"),
        pytest.param({"age_s": 0.5}, Verdict.OUT_OF_TIME, id="half a second old"),
        pytest.param({"stamp_s": 1000.0}, Verdict.OUT_OF_TIME, id="by another clock"),
        pytest.param({"stamp_s": 9000.0}, Verdict.OUT_OF_TIME, id="of the future"),
    ],
)
def test_a_position_that_breaks_a_rule_is_refused_and_the_flight_ends(
    changes: dict[str, Any], verdict: Verdict
) -> None:
    bench = _fed_through_denial(**changes)
    assert bench.verdicts.get(verdict, 0) >= 95  # the first ones came before TIMESYNC
    assert bench.flight.landing


def test_another_systems_position_is_not_looked_at() -> None:
    bench = _fed_through_denial(target_system=9)
    assert bench.verdicts == {}
    assert bench.flight.landing


@pytest.mark.parametrize("parameters", [{"EKF2_AGP0_ID": 1.0}, {"EKF2_AGP0_CTRL": 1.0}])
def test_a_slot_must_be_switched_on(parameters: dict[str, float]) -> None:
    bench = Bench(**parameters)
    bench.run(5.0)
    assert set(bench.verdicts) <= {Verdict.NOT_SET_UP, Verdict.WRONG_SENSOR}


def test_before_1_18_the_message_is_unknown() -> None:
    bench = Bench((1, 16, 0), EKF2_AGP_CTRL=1.0)
    bench.run(5.0)
    assert set(bench.verdicts) == {Verdict.UNSUPPORTED}


def test_beside_gnss_a_position_that_is_off_is_gated_for_ever() -> None:
    bench = Bench()
    bench.run(10.0)
    bench.run(30.0, east_m=60.0)
    assert bench.verdicts[Verdict.GATED] == 60
    assert bench.error_m() < 4.0


def test_alone_a_position_that_is_off_is_gated_for_seconds_and_then_taken() -> None:
    bench = _fed_through_denial()
    bench.run(4.0, east_m=60.0)
    assert bench.error_m() < 20.0
    bench.run(8.0, east_m=60.0)
    assert bench.error_m() == pytest.approx(60.0, abs=12.0)


def test_an_error_that_is_not_told_counts_as_the_least_one() -> None:
    bench = _fed_through_denial(eph=math.nan)
    assert bench.flight.tally.flaws[Flaw.NO_ACCURACY] > 50
    assert not bench.flight.landing


def test_gps_input_is_not_taken() -> None:
    bench = Bench()
    bench.run(1.0, 0.0)
    bench.send(
        mavlink.MAVLink_gps_input_message(0, 1, 0, 0, 0, 3, 470000000, 80000000, 300.0, 1, 1, 0, 0, 0, 1, 1, 1, 8)
    )
    assert bench.verdicts == {Verdict.UNSUPPORTED: 1}


def test_what_the_link_sends_is_taken() -> None:
    """A report of tilefix over its own link, with its own clock and its own answers to TIMESYNC."""
    bench = Bench()
    bench.answers = False
    clock, transport = ManualClock(), FakeTransport()
    link = MavlinkLink(transport, clock)
    identities: list[Identity] = []
    for index in range(300):
        bench.now_ns += 100_000_000
        clock.advance_s(0.1)
        transport.incoming = [(packet, ("autopilot", 1)) for packet in bench.autopilot.step(bench.now_ns)]
        identities += [one for one in link.poll() if isinstance(one, Identity)]
        if index == 100:
            bench.flight.own.denied = True
        then = bench.flight.truth_at(bench.now_ns - 150_000_000)
        place = FRAME.to_geodetic(then.east_m, then.north_m)
        if index > 30:
            at_ns = clock.now_ns() - 150_000_000
            link.send_report(GlobalReport(at_ns, at_ns, 1, *place, 300.0, 2.0, 3.0))
        for data, _ in transport.sent:
            bench.autopilot.receive(data, bench.now_ns)
        transport.sent.clear()
    assert identities[-1].kind is AutopilotKind.PX4
    assert identities[-1].version == (1, 18, 0)
    assert set(bench.verdicts) == {Verdict.FUSED}
    assert bench.error_m() < 4.0
