"""The MAVLink link: whom it listens to, what it asks for, what it says."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.clocks import ManualClock
from support.mavlink import PEER, Autopilot, FakeTransport, decoded
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.messages import (
    Airframe,
    Attitude,
    AutopilotKind,
    AutopilotTime,
    CameraAttitude,
    GimbalSource,
    GnssReceiver,
    GroundRange,
    HealthState,
    Heartbeat,
    Home,
    Identity,
    LinkMessage,
    PositionReport,
    Pressure,
    Rebooted,
    Severity,
)
from tilefix.links.streams import GIMBAL_STREAMS, STREAM_RATES_HZ
from tilefix.links.vehicle import Vehicle

REPORT = PositionReport(
    at_ns=5_000_000_000,
    gps_id=1,
    lat_deg=47.1234567,
    lon_deg=-8.7654321,
    amsl_m=512.5,
    velocity_north_mps=3.0,
    velocity_east_mps=-4.0,
    velocity_down_mps=0.5,
    horizontal_sigma_m=2.5,
    vertical_sigma_m=3.5,
    speed_sigma_mps=0.4,
    satellites=8,
    gps_week=2400,
    gps_week_ms=123456,
)


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.transport = FakeTransport()
        self.link = MavlinkLink(self.transport, self.clock, component_id=191)
        self.autopilot = Autopilot()

    def hear(self, *pieces: bytes, peer: tuple[str, int] = PEER) -> list[LinkMessage]:
        self.transport.incoming.extend((piece, peer) for piece in pieces)
        return list(self.link.poll())

    def sent(self, kind: str) -> list[object]:
        return [message for message in decoded(self.transport) if message.get_type() == kind]

    def commands(self, command: int = mavlink.MAV_CMD_SET_MESSAGE_INTERVAL) -> list[object]:
        return [message for message in self.sent("COMMAND_LONG") if message.command == command]  # type: ignore[attr-defined]


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def known(rig: Rig) -> Rig:
    rig.hear(rig.autopilot.heartbeat())
    rig.transport.sent.clear()
    return rig


def test_nothing_leaves_before_the_vehicle_is_known(rig: Rig) -> None:
    rig.link.poll()
    assert not rig.link.send_heartbeat(HealthState.BOOT)
    assert not rig.link.send_report(REPORT)
    assert rig.transport.sent == []
    assert rig.link.system_id is None


def test_the_system_id_is_the_vehicles(rig: Rig) -> None:
    ground = Autopilot(255, 190).heartbeat(mavlink.MAV_TYPE_GCS, mavlink.MAV_AUTOPILOT_INVALID)
    companion = Autopilot(9, 191).heartbeat(mavlink.MAV_TYPE_ONBOARD_CONTROLLER, mavlink.MAV_AUTOPILOT_INVALID)
    assert rig.hear(ground, companion, Autopilot(0, 1).heartbeat()) == []
    assert rig.link.system_id is None
    assert rig.hear(rig.autopilot.heartbeat()) == [
        Identity(rig.clock.now_ns(), AutopilotKind.ARDUPILOT, Airframe.COPTER),
        Heartbeat(rig.clock.now_ns(), 7, False),
    ]
    rig.link.send_heartbeat(HealthState.ACTIVE)
    heartbeat = decoded(rig.transport)[-1]
    assert (heartbeat.get_srcSystem(), heartbeat.get_srcComponent()) == (7, 191)
    assert (heartbeat.type, heartbeat.autopilot) == (mavlink.MAV_TYPE_ONBOARD_CONTROLLER, mavlink.MAV_AUTOPILOT_INVALID)
    assert heartbeat.system_status == mavlink.MAV_STATE_ACTIVE


def test_everything_sent_is_mavlink_2_in_sequence(known: Rig) -> None:
    for _ in range(3):
        known.link.send_text(Severity.INFO, "x")
    assert [data[0] for data, _ in known.transport.sent] == [0xFD] * 3
    sequence = [data[4] for data, _ in known.transport.sent]
    assert sequence == [sequence[0], sequence[0] + 1, sequence[0] + 2]
    assert {peer for _, peer in known.transport.sent} == {PEER}


def _fly(rig: Rig, seconds: float, *, attitude_every: int = 1) -> None:
    """The streams at 50 Hz of attitude, 10 Hz of pressure and 5 Hz of GNSS."""
    for tick in range(round(seconds * 50)):
        rig.clock.advance_s(0.02)
        boot_ms = rig.clock.now_ns() // 1_000_000
        packets = [rig.autopilot.attitude(boot_ms)] if tick % attitude_every == 0 else []
        packets += [rig.autopilot.pressure(boot_ms, 950.0)] if tick % 5 == 0 else []
        packets += [rig.autopilot.gps()] if tick % 10 == 0 else []
        rig.hear(*packets)


def test_streams_are_asked_for_when_the_vehicle_is_known(rig: Rig) -> None:
    rig.hear(rig.autopilot.heartbeat())
    asked = rig.commands()
    assert {(one.command, int(one.param1)) for one in asked} == {
        (mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, message_id) for message_id in STREAM_RATES_HZ
    }
    assert {(one.target_system, one.target_component) for one in asked} == {(7, 1)}
    interval_us = {int(one.param1): one.param2 for one in asked}
    assert interval_us[mavlink.MAVLINK_MSG_ID_ATTITUDE] == 25_000


def test_only_streams_that_stay_away_or_come_slowly_are_asked_for_again(known: Rig) -> None:
    _fly(known, 7.0)
    assert known.commands() == []
    _fly(known, 3.5, attitude_every=12)
    assert {int(one.param1) for one in known.commands()} == {mavlink.MAVLINK_MSG_ID_ATTITUDE}
    _fly(known, 25.0)
    optional = [int(one.param1) for one in known.commands()]
    assert optional.count(mavlink.MAVLINK_MSG_ID_DISTANCE_SENSOR) == 1
    assert optional.count(mavlink.MAVLINK_MSG_ID_HOME_POSITION) == 1
    known.clock.advance_s(4.5)
    known.hear(known.autopilot.heartbeat())
    assert {int(one.param1) for one in known.commands()} == {
        mavlink.MAVLINK_MSG_ID_ATTITUDE,
        mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE,
        mavlink.MAVLINK_MSG_ID_GPS_RAW_INT,
    }


def test_a_rate_that_is_refused_is_halved_and_kept_when_it_comes(known: Rig) -> None:
    asked_us = []
    for _ in range(6):
        _fly(known, 3.2, attitude_every=50)
        asked_us += [one.param2 for one in known.commands() if one.param1 == mavlink.MAVLINK_MSG_ID_ATTITUDE]
    assert asked_us == [25_000, 50_000, 50_000, 100_000, 100_000, 100_000]
    _fly(known, 8.0, attitude_every=5)
    assert known.commands() == []
    _fly(known, 5.0, attitude_every=5)
    tried_again = {int(one.param1): one.param2 for one in known.commands()}
    assert tried_again[mavlink.MAVLINK_MSG_ID_ATTITUDE] == 25_000
    known.hear(known.autopilot.attitude(300))
    again = {int(one.param1): one.param2 for one in known.commands()}
    assert again[mavlink.MAVLINK_MSG_ID_ATTITUDE] == 25_000


def test_a_reboot_is_reported_and_streams_are_asked_for_again(known: Rig) -> None:
    known.hear(known.autopilot.attitude(60_000))
    known.transport.sent.clear()
    known.clock.advance_s(0.5)
    heard = known.hear(known.autopilot.attitude(300, yaw=1.0))
    assert isinstance(heard[0], Rebooted)
    assert isinstance(heard[1], Attitude)
    assert len(known.commands()) == len(STREAM_RATES_HZ)


def test_every_message_becomes_its_value(known: Rig) -> None:
    pilot, now_ns = known.autopilot, known.clock.now_ns()
    assert known.hear(pilot.attitude(1000, math.radians(5), math.radians(-3), math.radians(90))) == [
        Attitude(now_ns, pytest.approx(5, abs=1e-4), pytest.approx(-3, abs=1e-4), pytest.approx(90, abs=1e-4))
    ]
    turning = mavlink.MAVLink_attitude_message(1000, 0.0, 0.0, 0.0, math.radians(3), math.radians(-2), math.radians(1))
    (attitude,) = known.hear(pilot.pack(turning))
    assert isinstance(attitude, Attitude)
    assert attitude.rates_dps == pytest.approx((3.0, -2.0, 1.0), abs=1e-4)
    assert known.hear(pilot.pressure(1000, 950.25)) == [Pressure(now_ns, 950.25)]
    assert known.hear(pilot.range(1000, 42.5)) == [GroundRange(now_ns, 42.5)]
    assert known.hear(pilot.home(431.0)) == [Home(now_ns, 431.0)]
    assert known.hear(pilot.system_time(1000, 1_800_000_000_000_000)) == [AutopilotTime(now_ns, 1_800_000_000 * 10**9)]
    (gnss,) = known.hear(pilot.gps(lat_deg=47.5, lon_deg=-8.25, amsl_m=501.5, speed_mps=5.0, course_deg=90.0))
    assert isinstance(gnss, GnssReceiver)
    assert gnss.good
    assert (gnss.lat_deg, gnss.lon_deg, gnss.amsl_m) == (47.5, -8.25, 501.5)
    assert (gnss.horizontal_sigma_m, gnss.vertical_sigma_m) == (0.9, 1.5)
    assert gnss.velocity_north_mps == pytest.approx(0.0, abs=1e-9)
    assert gnss.velocity_east_mps == pytest.approx(5.0)


def test_a_receiver_without_a_fix_has_no_position(known: Rig) -> None:
    (gnss,) = known.hear(known.autopilot.gps(fix_type=1, lat_deg=0.0, lon_deg=0.0))
    assert isinstance(gnss, GnssReceiver)
    assert not gnss.good
    assert (gnss.lat_deg, gnss.amsl_m) == (None, None)


def test_a_rangefinder_counts_only_downwards_and_within_its_limits(known: Rig) -> None:
    sideways = known.autopilot.range(1000, 10.0, orientation=mavlink.MAV_SENSOR_ROTATION_NONE)
    assert known.hear(sideways, known.autopilot.range(1000, 121.0), known.autopilot.range(1000, 0.0)) == []


def test_attitude_is_dated_by_the_round_trip(known: Rig) -> None:
    known.clock.advance_s(1.0)
    known.link.poll()
    (request,) = known.sent("TIMESYNC")
    assert request.tc1 == 0
    known.clock.advance_s(0.010)
    known.hear(known.autopilot.timesync(70_000_000_000, request.ts1))
    known.clock.advance_s(0.200)
    (attitude,) = known.hear(known.autopilot.attitude(70_105))
    # The autopilot showed 70 s half a round trip (5 ms) after the question, 205 ms ago.
    assert attitude.at_ns == known.clock.now_ns() - 205_000_000 + 105_000_000


def test_a_stamp_never_lies_in_the_future_nor_far_in_the_past(known: Rig) -> None:
    known.hear(known.autopilot.timesync(10_000_000_000, known.clock.now_ns()))
    (early,) = known.hear(known.autopilot.attitude(10_900))
    assert early.at_ns == known.clock.now_ns()
    known.clock.advance_s(30.0)
    (late,) = known.hear(known.autopilot.pressure(10_950, 950.0))
    assert late.at_ns == known.clock.now_ns() - 1_000_000_000


def test_attitudes_that_waited_too_long_do_not_stand_for_a_later_instant(known: Rig) -> None:
    """What comes after a stall of 2.5 s, in which the vehicle rolled by 25 degrees, is right at once."""
    known.hear(known.autopilot.timesync(10_000_000_000, known.clock.now_ns()))
    vehicle, boot_ms = Vehicle(), 10_000

    def attitude(at_ms: int) -> bytes:
        rolled = math.radians(10.0 * (at_ms - 10_000) / 1000.0)
        return known.autopilot.attitude(at_ms, roll=rolled, rates=(math.radians(10.0), 0.0, 0.0))

    waiting: list[bytes] = []
    for _ in range(200):
        boot_ms += 25
        known.clock.advance_s(0.025)
        waiting.append(attitude(boot_ms))
        if not 11_000 < boot_ms < 13_500:
            for message in known.hear(*waiting):
                vehicle.take(message)
            waiting.clear()
            told = vehicle.state_at(known.clock.now_ns()).roll_deg
            assert told == pytest.approx(10.0 * (boot_ms - 10_000) / 1000.0, abs=0.1)


def test_foreign_and_malformed_traffic_neither_stops_nor_moves_it(known: Rig) -> None:
    stranger = Autopilot(42, 1)
    noise = random.Random(4)
    other = ("10.0.0.66", 14550)
    garbage = [bytes(noise.randrange(256) for _ in range(300)) for _ in range(40)]
    cut = known.autopilot.attitude(2000)[:-3]
    crooked = bytearray(known.autopilot.attitude(2000))
    crooked[10] ^= 0xFF
    assert (
        known.hear(stranger.heartbeat(), stranger.attitude(5), known.autopilot.attitude(math.floor(1)), peer=other)
        == []
    )
    known.hear(*garbage, cut, bytes(crooked), b"", b"\xfd\xff\xff")
    known.hear(*(known.autopilot.heartbeat() for _ in range(30)))
    assert known.link.system_id == 7
    heard = known.hear(known.autopilot.attitude(3000, yaw=0.5))
    assert [type(one) for one in heard] == [Attitude]
    known.link.send_heartbeat(HealthState.ACTIVE)
    assert known.transport.sent[-1][1] == PEER


def test_noise_between_packets_loses_only_itself(known: Rig) -> None:
    noise = b"\x55noise\xfd\x00"
    for index in range(20):
        heard = known.hear(noise, known.autopilot.heartbeat(), known.autopilot.attitude(1000 + index))
    assert [type(one) for one in heard] == [Heartbeat, Attitude]
    assert len(heard) == 2


def test_many_strangers_do_not_grow_it(known: Rig) -> None:
    for port in range(1000):
        known.hear(Autopilot(42, 1).heartbeat(), peer=("10.0.0.66", port))
    assert len(known.link.gate._framers) <= 8
    assert known.hear(known.autopilot.attitude(3000)) != []


def test_not_finite_angles_are_dropped(known: Rig) -> None:
    assert known.hear(known.autopilot.attitude(1000, roll=math.nan), known.autopilot.attitude(1000, yaw=math.inf)) == []


def test_the_vehicle_may_come_back_from_another_port_after_a_silence_only(known: Rig) -> None:
    moved = (PEER[0], 40000)
    assert known.hear(known.autopilot.heartbeat(), peer=moved) == []
    known.clock.advance_s(6.0)
    assert known.hear(known.autopilot.heartbeat(), peer=moved) == [Heartbeat(known.clock.now_ns(), 7, False)]
    known.link.send_heartbeat(HealthState.ACTIVE)
    assert known.transport.sent[-1][1] == moved


def test_messages_split_over_reads_are_put_together(known: Rig) -> None:
    whole = known.autopilot.attitude(1000)
    assert known.hear(whole[:7]) == []
    assert [type(one) for one in known.hear(whole[7:])] == [Attitude]


def test_a_position_fills_every_field_of_gps_input(known: Rig) -> None:
    assert known.link.send_report(REPORT)
    (sent,) = known.sent("GPS_INPUT")
    assert (sent.gps_id, sent.ignore_flags, sent.fix_type, sent.satellites_visible) == (1, 0, 3, 8)
    assert (sent.lat, sent.lon, sent.alt) == (471234567, -87654321, 512.5)
    assert (sent.vn, sent.ve, sent.vd) == (3.0, -4.0, 0.5)
    assert (sent.horiz_accuracy, sent.vert_accuracy) == (2.5, 3.5)
    assert sent.speed_accuracy == pytest.approx(0.4)
    assert (sent.time_week, sent.time_week_ms, sent.time_usec, sent.yaw) == (2400, 123456, 5_000_000, 0)


def test_a_value_that_its_field_cannot_hold_does_not_leave(known: Rig) -> None:
    assert not known.link.send_report(dataclasses.replace(REPORT, gps_week=70_000))
    assert not known.link.send_report(dataclasses.replace(REPORT, lat_deg=500.0))
    assert known.transport.sent == []


def test_a_text_is_cut_to_fifty_bytes(known: Rig) -> None:
    known.link.send_text(Severity.WARNING, "é" * 80)
    (sent,) = known.sent("STATUSTEXT")
    assert (sent.severity, sent.text) == (4, "?" * 50)


def test_what_the_transport_does_not_take_is_reported(known: Rig) -> None:
    known.transport.takes = False
    assert not known.link.send_report(REPORT)
    known.link.close()
    known.link.close()
    assert not known.transport.open


def _camera(messages: list[LinkMessage]) -> CameraAttitude:
    (one,) = (message for message in messages if isinstance(message, CameraAttitude))
    return one


@pytest.mark.parametrize(
    ("yaw", "yaw_absolute", "expected", "of_body"),
    [(40.0, 100.0, 40.0, True), (math.nan, 100.0, 100.0, False), (-170.0, math.nan, -170.0, True)],
)
def test_where_a_mount_points(known: Rig, yaw: float, yaw_absolute: float, expected: float, of_body: bool) -> None:
    message = mavlink.MAVLink_mount_orientation_message(5000, 0.0, -85.0, yaw, yaw_absolute)
    camera = _camera(known.hear(known.autopilot.pack(message)))
    assert (camera.roll_deg, camera.pitch_deg, camera.yaw_deg) == pytest.approx((0.0, 5.0, expected), abs=1e-4)
    assert (camera.of_body, camera.source) == (of_body, GimbalSource.MOUNT_ORIENTATION)


def test_a_mount_that_does_not_know_says_nothing(known: Rig) -> None:
    for angles in ((math.nan, -85.0, 0.0, 0.0), (0.0, math.inf, 0.0, 0.0), (0.0, -85.0, math.nan, math.nan)):
        message = mavlink.MAVLink_mount_orientation_message(5000, *angles)
        assert not [one for one in known.hear(known.autopilot.pack(message)) if isinstance(one, CameraAttitude)]


def _gimbal(flags: int, q: tuple[float, float, float, float]) -> object:
    return mavlink.MAVLink_gimbal_device_attitude_status_message(0, 0, 5000, flags, q, 0.0, 0.0, 0.0, 0)


def _down(yaw_deg: float) -> tuple[float, float, float, float]:
    """Yaw, then 90 degrees down: the product of two half turns."""
    half, down = math.radians(yaw_deg) / 2.0, math.radians(-90.0) / 2.0
    c, s, cd, sd = math.cos(half), math.sin(half), math.cos(down), math.sin(down)
    return (c * cd, -s * sd, c * sd, s * cd)


@pytest.mark.parametrize(
    ("flags", "of_body"),
    [
        (0, True),
        (mavlink.GIMBAL_DEVICE_FLAGS_YAW_IN_VEHICLE_FRAME, True),
        (mavlink.GIMBAL_DEVICE_FLAGS_YAW_IN_VEHICLE_FRAME | mavlink.GIMBAL_DEVICE_FLAGS_YAW_LOCK, True),
        (mavlink.GIMBAL_DEVICE_FLAGS_YAW_IN_EARTH_FRAME, False),
        (mavlink.GIMBAL_DEVICE_FLAGS_YAW_LOCK, False),
    ],
)
def test_where_a_gimbal_points(known: Rig, flags: int, of_body: bool) -> None:
    camera = _camera(known.hear(known.autopilot.pack(_gimbal(flags, _down(62.0)))))
    assert (camera.roll_deg, camera.pitch_deg, camera.yaw_deg) == pytest.approx((0.0, 0.0, 62.0), abs=1e-4)
    assert (camera.of_body, camera.source) == (of_body, GimbalSource.GIMBAL_DEVICE)


def test_a_quaternion_that_is_none_says_nothing(known: Rig) -> None:
    for q in ((0.0, 0.0, 0.0, 0.0), (math.nan, 0.0, 0.0, 0.0), (3.0, 0.0, 0.0, 0.0), (math.inf, 0.0, 0.0, 0.0)):
        heard = known.hear(known.autopilot.pack(_gimbal(0, q)))
        assert not [one for one in heard if isinstance(one, CameraAttitude)]


def test_a_gimbal_on_the_same_bus_is_not_the_autopilot(known: Rig) -> None:
    gimbal = Autopilot(component=mavlink.MAV_COMP_ID_GIMBAL)
    assert known.hear(gimbal.pack(_gimbal(0, _down(0.0)))) == []


@pytest.mark.parametrize("source", list(GimbalSource))
def test_the_gimbals_stream_is_asked_for_where_one_carries_the_camera(source: GimbalSource) -> None:
    rig = Rig()
    rig.link = MavlinkLink(rig.transport, rig.clock, component_id=191, gimbal=source)
    rig.hear(rig.autopilot.heartbeat())
    asked = {message.param1 for message in rig.commands()}  # type: ignore[attr-defined]
    assert asked == {*STREAM_RATES_HZ, GIMBAL_STREAMS[source]}
