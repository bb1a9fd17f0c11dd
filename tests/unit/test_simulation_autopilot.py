"""The autopilot stand-in: real MAVLink 2, and a flight that is as good as what it is fed."""

import itertools
import math
import socket
import time

import cv2
import numpy as np
import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.camera import rotation_deg
from tilefix.geodesy import LocalFrame
from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.verdicts import Flaw, Verdict
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.flying import AutopilotSettings
from tilefix.simulation.live import LiveAutopilot
from tilefix.simulation.vehicle import Course, SimulatedVehicle

START_NS = 5_000_000_000
FRAME = LocalFrame(47.0, 8.0)
PATH = [(0.0, 0.0), (0.0, 400.0), (400.0, 400.0), (400.0, 0.0), (0.0, 0.0), (0.0, 400.0), (400.0, 400.0), (400.0, 0.0)]


class Bench:
    """An autopilot, and a companion that talks to it."""

    def __init__(self, **settings):
        vehicle = SimulatedVehicle(0.0, 0.0, 120.0, seed=3, speed_mps=8.0)
        self.autopilot = SimulatedAutopilot(
            vehicle, Course(PATH, 8.0), FRAME, start_ns=START_NS, seed=3, settings=AutopilotSettings(**settings)
        )
        self.flight = self.autopilot.flight
        self.now_ns = START_NS
        self._parser = mavlink.MAVLink(None)
        self._sender = mavlink.MAVLink(None, srcSystem=7, srcComponent=191)

    def send(self, message):
        self.autopilot.receive(bytes(message.pack(self._sender)), self.now_ns)

    def run(self, seconds, feed=None, period_s=0.1):
        """Flies on, calling `feed(self)` every period; gives the messages heard."""
        heard = []
        for _ in range(round(seconds / period_s)):
            self.now_ns += round(period_s * 1e9)
            for packet in self.autopilot.step(self.now_ns):
                assert packet[0] == 0xFD  # MAVLink 2
                heard.extend(self._parser.parse_buffer(packet) or [])
            if feed is not None:
                feed(self)
        return heard

    def position(self, east_off_m=0.0, ignored=0, gps_id=1):
        then = self.flight.truth_at(self.now_ns - 200_000_000)
        lat_deg, lon_deg = FRAME.to_geodetic(then.east_m + east_off_m, then.north_m)
        self.send(
            mavlink.MAVLink_gps_input_message(
                0, gps_id, ignored, 0, 0, 3, round(lat_deg * 1e7), round(lon_deg * 1e7), 300.0, 1.0, 1.0,
                then.north_mps, then.east_mps, 0.0, 0.4, 3.0, 4.0, 8,
            )
        )  # fmt: skip

    def error_m(self):
        true, (east_m, north_m) = self.flight.vehicle.motion, self.flight.estimator.position
        return math.hypot(east_m - true.east_m, north_m - true.north_m)


def _command(number, *params, system=1):
    padded = [*params, 0, 0, 0, 0, 0, 0, 0][:7]
    return mavlink.MAVLink_command_long_message(system, 1, number, 0, *padded)


def _of(messages, kind):
    return [message for message in messages if message.get_type() == kind]


def test_streams_come_at_the_rates_asked_for():
    bench = Bench(system_id=42, rangefinder_m=200.0)
    usual = bench.run(10.0)
    assert {message.get_srcSystem() for message in usual} == {42}
    assert len(_of(usual, "HEARTBEAT")) == pytest.approx(10, abs=1)
    assert len(_of(usual, "ATTITUDE")) == pytest.approx(40, abs=1)
    for number, hz in ((30, 50.0), (132, 10.0), (242, 0.5), (29, 10.0)):
        bench.send(_command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, number, 1e6 / hz, system=42))
    bench.send(_command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, 26, 1e5, system=42))
    asked = bench.run(10.0)
    assert [ack.result for ack in _of(asked, "COMMAND_ACK")] == [0, 0, 0, 0, mavlink.MAV_RESULT_DENIED]
    counts = {
        kind: len(_of(asked, kind)) for kind in ("ATTITUDE", "DISTANCE_SENSOR", "HOME_POSITION", "SCALED_PRESSURE")
    }
    assert counts == pytest.approx(
        {"ATTITUDE": 500, "DISTANCE_SENSOR": 100, "HOME_POSITION": 5, "SCALED_PRESSURE": 100}, abs=1
    )
    assert [a.time_boot_ms for a in _of(asked, "ATTITUDE")] == sorted(a.time_boot_ms for a in _of(asked, "ATTITUDE"))


@pytest.mark.parametrize(
    ("airframe", "version", "interval_us", "result"),
    [
        (Airframe.PLANE, (4, 7, 0), 20_000, mavlink.MAV_RESULT_DENIED),
        (Airframe.PLANE, (4, 7, 0), 24_000, mavlink.MAV_RESULT_DENIED),
        (Airframe.PLANE, (4, 7, 0), 25_000, mavlink.MAV_RESULT_ACCEPTED),
        (Airframe.PLANE, (4, 5, 5), 20_000, mavlink.MAV_RESULT_ACCEPTED),
        (Airframe.COPTER, (4, 7, 0), 20_000, mavlink.MAV_RESULT_ACCEPTED),
        (Airframe.PLANE, (4, 7, 0), -1, mavlink.MAV_RESULT_ACCEPTED),
    ],
)
def test_a_rate_near_that_of_its_loop_is_refused_since_4_7(airframe, version, interval_us, result):
    bench = Bench(firmware=Firmware(airframe=airframe, version=version))
    bench.run(1.0)
    bench.send(_command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, mavlink.MAVLINK_MSG_ID_ATTITUDE, interval_us))
    heard = bench.run(5.0)
    assert [ack.result for ack in _of(heard, "COMMAND_ACK")] == [result]
    if result == mavlink.MAV_RESULT_DENIED:
        assert len(_of(heard, "ATTITUDE")) == pytest.approx(20, abs=1)


def test_it_answers_timesync_requests_and_not_replies():
    bench = Bench(boot_offset_s=100.0)
    bench.run(2.0)
    bench.send(mavlink.MAVLink_timesync_message(0, 777))
    bench.send(mavlink.MAVLink_timesync_message(5, 778))
    (reply,) = _of(bench.run(0.1), "TIMESYNC")
    assert reply.ts1 == 777
    assert reply.tc1 == pytest.approx(102e9, rel=1e-4)


def test_version_comes_on_request_and_unknown_commands_are_unsupported():
    bench = Bench()
    bench.send(_command(mavlink.MAV_CMD_REQUEST_MESSAGE, 148))
    bench.send(_command(mavlink.MAV_CMD_REQUEST_AUTOPILOT_CAPABILITIES, 1))
    bench.send(_command(mavlink.MAV_CMD_REQUEST_MESSAGE, 9999))
    bench.send(_command(31999))
    heard = bench.run(0.1)
    assert len(_of(heard, "AUTOPILOT_VERSION")) == 2
    assert [ack.result for ack in _of(heard, "COMMAND_ACK")] == [0, 0, mavlink.MAV_RESULT_FAILED, 3]


def test_attitude_and_pressure_tell_the_truth_within_their_errors():
    bench = Bench()
    heard = bench.run(20.0)
    attitude, true = _of(heard, "ATTITUDE")[-1], bench.flight.vehicle.motion
    # Sent at most a quarter of a second before.
    assert math.degrees(attitude.roll) == pytest.approx(true.roll_deg, abs=3.0)
    assert math.degrees(attitude.pitch) == pytest.approx(true.pitch_deg, abs=3.0)
    turn = (math.degrees(attitude.yaw) - true.yaw_deg + 180.0) % 360.0 - 180.0
    assert abs(turn) < 8.0
    first, last = _of(heard, "SCALED_PRESSURE")[0], _of(heard, "SCALED_PRESSURE")[-1]
    assert 900.0 < first.press_abs < 1013.0
    climbed = (first.press_abs - last.press_abs) * 8.6
    assert climbed == pytest.approx(bench.flight.motions[-1].agl_m - bench.flight.motions[30].agl_m, abs=2.0)


@pytest.mark.parametrize("hz", [50, 40])
def test_told_rates_joined_by_straight_lines_give_the_whole_turn(hz):
    """At 40 Hz a message comes after two ticks or after three, and means alone leave 2.7 degrees of it out."""
    bench, told = Bench(), []
    bench.send(_command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, mavlink.MAVLINK_MSG_ID_ATTITUDE, 1e6 / hz))
    bench.run(1.0)
    for _ in range(60 * 100):
        attitudes = _of(bench.run(0.01, period_s=0.01), "ATTITUDE")
        told += [(bench.flight.ticks, (a.rollspeed, a.pitchspeed, a.yawspeed)) for a in attitudes]
    assert len(told) == pytest.approx(60 * hz, abs=2)
    left_deg, turned_deg, worst_deg = np.zeros(3), 0.0, 0.0
    for (then, before), (now, rates) in itertools.pairwise(told):
        attitudes = [bench.flight.motions[at] for at in (then, now)]
        first, last = (rotation_deg(one.roll_deg, one.pitch_deg, one.yaw_deg) for one in attitudes)
        turn_deg = np.degrees(cv2.Rodrigues(first.T @ last)[0].ravel())
        left_deg += turn_deg - (now - then) * 0.01 * np.degrees((np.array(before) + rates) / 2.0)
        turned_deg, worst_deg = turned_deg + turn_deg[2], max(worst_deg, *np.abs(left_deg))
    assert turned_deg > 80.0
    assert worst_deg < 0.6


def test_gnss_is_good_until_denied_then_says_nothing():
    bench = Bench()
    raw = _of(bench.run(5.0), "GPS_RAW_INT")[-1]
    assert raw.fix_type == 3
    east_m, north_m = FRAME.to_local(raw.lat / 1e7, raw.lon / 1e7)
    true = bench.flight.vehicle.motion
    assert math.hypot(east_m - true.east_m, north_m - true.north_m) < 8.0
    assert bench.error_m() < 3.0
    bench.flight.gnss_denied = True
    raw = _of(bench.run(5.0), "GPS_RAW_INT")[-1]
    assert (raw.fix_type, raw.lat, raw.vel) == (1, 0, 65535)


def test_without_help_it_gives_up_as_a_real_one_does():
    bench = Bench()
    bench.run(10.0)
    bench.flight.gnss_denied = True
    lost = bench.run(6.0)
    assert _of(lost, "EKF_STATUS_REPORT")[-1].flags == 0x033F
    lost = bench.run(11.0)
    assert _of(lost, "EKF_STATUS_REPORT")[-1].flags == 0x00A5
    assert [text.text for text in _of(lost, "STATUSTEXT")] == [
        "EKF variance",
        "EKF Failsafe: changed to LAND Mode",
        "EKF3 IMU0 stopped aiding",
    ]
    frozen = {(message.lat, message.lon) for message in _of(bench.run(2.0), "GLOBAL_POSITION_INT")}
    assert len(frozen) == 1
    assert _of(lost, "HEARTBEAT")[-1].custom_mode == 9


def test_fed_well_it_flies_on_within_metres():
    bench = Bench()
    bench.run(10.0, Bench.position)
    assert bench.flight.tally.verdicts == {Verdict.SPARE: 100}
    bench.flight.gnss_denied = True
    errors = []
    bench.run(90.0, lambda b: (b.position(), errors.append(b.error_m())))
    assert not bench.flight.landing
    assert bench.flight.tally.verdicts[Verdict.FUSED] == 900
    assert sorted(errors)[len(errors) // 2] < 1.5
    assert max(errors) < 6.0
    moved = math.dist((0, 0), (bench.flight.vehicle.motion.east_m, bench.flight.vehicle.motion.north_m))
    assert moved > 100.0


def test_a_wrong_feed_flies_it_wrong():
    bench = Bench()
    bench.run(10.0, Bench.position)
    bench.flight.gnss_denied = True
    bench.run(20.0, lambda b: b.position(east_off_m=15.0))
    assert bench.error_m() == pytest.approx(15.0, abs=3.0)


def test_without_velocity_a_moving_copter_lands_at_once():
    bench = Bench()
    without = 8 | 16
    bench.run(10.0, lambda b: b.position(ignored=without))
    bench.flight.gnss_denied = True
    heard = bench.run(3.0, lambda b: b.position(ignored=without))
    assert bench.flight.tally.flaws[Flaw.VELOCITY_GATED] > 0
    assert bench.flight.landing
    assert "EKF variance" in [text.text for text in _of(heard, "STATUSTEXT")]


def test_a_slow_feed_flies_but_does_not_arm():
    bench = Bench()
    bench.run(10.0, Bench.position, period_s=0.5)
    assert bench.flight.nav.arming_failures(bench.flight.vehicle.motion) == ["GPS 2: not healthy"]
    bench.flight.gnss_denied = True
    bench.run(12.0, Bench.position, period_s=0.5)
    assert bench.flight.tally.flaws[Flaw.SLOW] > 20
    assert not bench.flight.landing


def _text(messages):
    return [message.text for message in _of(messages, "STATUSTEXT")]


def test_it_tells_what_it_is():
    for firmware, version, kind in (
        (Firmware(version=(4, 5, 5)), 0x040505FF, mavlink.MAV_TYPE_QUADROTOR),
        (Firmware(airframe=Airframe.PLANE, version=(4, 7, 0), development=True), 0x04070000, 1),
    ):
        bench = Bench(firmware=firmware)
        bench.send(_command(mavlink.MAV_CMD_REQUEST_MESSAGE, 148))
        heard = bench.run(1.0)
        assert _of(heard, "AUTOPILOT_VERSION")[0].flight_sw_version == version
        assert _of(heard, "HEARTBEAT")[0].type == kind


def test_parameters_are_read_and_set_and_unknown_ones_are_silence():
    bench = Bench()
    for name in (b"GPS2_TYPE", b"GPS_TYPE2"):
        bench.send(mavlink.MAVLink_param_request_read_message(1, 1, name, -1))
    bench.send(mavlink.MAVLink_param_set_message(1, 1, b"GPS_AUTO_SWITCH", 0.0, 9))
    values = {one.param_id: one.param_value for one in _of(bench.run(0.1), "PARAM_VALUE")}
    assert values == {"GPS2_TYPE": 14.0, "GPS_AUTO_SWITCH": 0.0}
    bench.send(mavlink.MAVLink_param_request_list_message(1, 1))
    listed = _of(bench.run(0.1), "PARAM_VALUE")
    assert len(listed) == listed[0].param_count


def test_it_forces_the_second_receiver_when_told():
    """A receiver that is pulled away slowly is followed, until the fed one is made the first."""
    bench = Bench()
    bench.run(5.0, Bench.position)
    bench.flight.own.spoof(100.0, 0.0, over_s=60.0)
    heard = bench.run(40.0, Bench.position)
    raw = _of(heard, "GPS_RAW_INT")[-1]
    east_m, _ = FRAME.to_local(raw.lat / 1e7, raw.lon / 1e7)
    assert east_m - bench.flight.vehicle.motion.east_m == pytest.approx(67.0, abs=5.0)
    assert bench.error_m() > 50.0
    for name, value in ((b"GPS_AUTO_SWITCH", 0.0), (b"GPS_PRIMARY", 1.0)):
        bench.send(mavlink.MAVLink_param_set_message(1, 1, name, value, 9))
    bench.run(5.0, Bench.position)
    assert bench.error_m() < 3.0
    bench.flight.own.clear()
    assert bench.flight.own.spoofed_m == (0.0, 0.0)


def test_a_jammed_receiver_has_no_steady_fix():
    bench = Bench()
    bench.run(5.0)
    bench.flight.own.jam()
    fixes = [raw.fix_type for raw in _of(bench.run(60.0), "GPS_RAW_INT")]
    assert set(fixes) == {1, 3}
    assert fixes[:4] == [1, 1, 1, 1]


def test_it_arms_only_once_both_receivers_are_good():
    bench = Bench(armed=False)
    arm = _command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1)
    bench.send(arm)
    heard = bench.run(1.0)
    assert [ack.result for ack in _of(heard, "COMMAND_ACK")] == [mavlink.MAV_RESULT_FAILED]
    assert _text(heard)[0] == "Arm: GPS 2: Bad fix"
    heard = bench.run(50.0, Bench.position)
    assert _of(heard, "HEARTBEAT")[-1].base_mode & mavlink.MAV_MODE_FLAG_SAFETY_ARMED == 0
    assert "EKF3 IMU0 is using GPS" in _text(heard)
    bench.send(arm)
    heard = bench.run(2.0, Bench.position)
    assert [ack.result for ack in _of(heard, "COMMAND_ACK")] == [0]
    assert _of(heard, "HEARTBEAT")[-1].base_mode & mavlink.MAV_MODE_FLAG_SAFETY_ARMED


def test_a_reboot_forgets_origin_streams_and_time():
    bench = Bench(armed=False)
    bench.send(_command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, 30, 20_000))
    bench.run(50.0, Bench.position)
    bench.send(mavlink.MAVLink_param_set_message(1, 1, b"VISO_TYPE", 1.0, 9))
    assert bench.flight.nav.origin.place is not None
    bench.send(_command(mavlink.MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN, 1))
    heard = bench.run(1.0)
    assert [ack.result for ack in _of(heard, "COMMAND_ACK")] == [0]
    assert len(heard) < 40  # what it had to say before
    assert bench.flight.parameters.effective("VISO_TYPE") == 1.0
    heard = bench.run(4.0)
    assert _of(heard, "ATTITUDE")[0].time_boot_ms < 3_000
    assert len(_of(heard, "ATTITUDE")) < 20
    bench.send(_command(mavlink.MAV_CMD_REQUEST_MESSAGE, 49))
    assert [ack.result for ack in _of(bench.run(0.1), "COMMAND_ACK")] == [mavlink.MAV_RESULT_FAILED]


def test_no_reboot_in_flight_unless_forced():
    bench = Bench()
    bench.send(_command(mavlink.MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN, 1))
    assert [ack.result for ack in _of(bench.run(0.1), "COMMAND_ACK")] == [mavlink.MAV_RESULT_FAILED]
    bench.autopilot.restart()
    assert bench.run(1.9) == []
    assert bench.run(1.0) != []


def test_a_cut_link_carries_nothing_either_way():
    bench = Bench()
    bench.run(1.0)
    bench.autopilot.link_cut = True
    assert bench.run(3.0, Bench.position) == []
    assert bench.flight.tally.verdicts == {}
    bench.autopilot.link_cut = False
    assert bench.run(1.0, Bench.position) != []


def test_a_mode_that_needs_a_position_is_taken_only_with_one():
    bench = Bench()
    bench.run(5.0)
    bench.flight.gnss_denied = True
    bench.run(10.0)
    assert bench.flight.landing
    guided = _command(mavlink.MAV_CMD_DO_SET_MODE, 1, 4)
    bench.send(guided)
    assert [ack.result for ack in _of(bench.run(0.1), "COMMAND_ACK")] == [mavlink.MAV_RESULT_FAILED]
    bench.flight.gnss_denied = False
    bench.run(5.0)
    bench.send(guided)
    assert [ack.result for ack in _of(bench.run(0.1), "COMMAND_ACK")] == [0]
    assert not bench.flight.landing


def test_channels_of_the_pilot():
    bench = Bench()
    bench.autopilot.telemetry.rc_pwm_us[6] = 1900
    channels = _of(bench.run(1.0), "RC_CHANNELS")[-1]
    assert (channels.chancount, channels.chan7_raw, channels.chan9_raw) == (8, 1900, 65535)


def test_companions_and_noise_are_counted_and_survived():
    bench = Bench()
    bench.send(mavlink.MAVLink_heartbeat_message(18, 8, 0, 0, 4, 3))
    bench.send(mavlink.MAVLink_statustext_message(6, b"tilefix: position found"))
    bench.autopilot.receive(bytes(range(256)) * 3, bench.now_ns)
    bench.send(mavlink.MAVLink_heartbeat_message(18, 8, 0, 0, 4, 3))
    assert bench.autopilot.companions[(7, 191)] >= 1
    assert bench.autopilot.texts == ["tilefix: position found"]
    assert bench.autopilot.malformed > 0


def test_same_inputs_give_the_same_packets():
    def packets():
        bench = Bench()
        return [message.get_msgbuf() for message in bench.run(3.0, Bench.position)]

    assert packets() == packets()


class _RealClock:
    def now_ns(self):
        return time.monotonic_ns()


def test_live_over_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(10.0)
        clock = _RealClock()
        vehicle = SimulatedVehicle(0.0, 0.0, 120.0, seed=3, speed_mps=8.0)
        core = SimulatedAutopilot(vehicle, Course(PATH, 8.0), FRAME, start_ns=clock.now_ns(), seed=3)
        live = LiveAutopilot(core, clock, udp.getsockname())
        live.start()
        try:
            parser, heard = mavlink.MAVLink(None), []
            sender = mavlink.MAVLink(None, srcSystem=1, srcComponent=191)
            data, peer = udp.recvfrom(65535)
            udp.sendto(bytes(mavlink.MAVLink_timesync_message(0, 99).pack(sender)), peer)
            while not any(m.get_type() == "TIMESYNC" for m in heard):
                heard.extend(parser.parse_buffer(data) or [])
                data = udp.recv(65535)
            live.deny_gnss()
            assert live.truth_at(clock.now_ns()).agl_m > 100.0
            assert core.flight.gnss_denied
        finally:
            live.stop()
            live.stop()
