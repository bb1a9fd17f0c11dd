"""What the autopilot is: read from it, asked for until it answers, and again after a reboot; its parameters."""

from __future__ import annotations

import struct

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.clocks import ManualClock
from support.mavlink import PEER, Autopilot, FakeTransport, decoded
from tilefix.links.decode import Decoder
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.messages import (
    Airframe,
    AutopilotKind,
    CommandResult,
    EkfFlags,
    Identity,
    LinkMessage,
    Origin,
    Parameter,
    ParameterRefused,
    RcChannels,
    Rebooted,
)
from tilefix.links.streams import STREAM_RATES_HZ

PX4 = mavlink.MAV_AUTOPILOT_PX4


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.transport = FakeTransport()
        self.link = MavlinkLink(self.transport, self.clock)
        self.pilot = Autopilot()

    def hear(self, *pieces: bytes) -> list[LinkMessage]:
        self.transport.incoming.extend((piece, PEER) for piece in pieces)
        return list(self.link.poll())

    def told(self, *pieces: bytes) -> list[Identity]:
        return [one for one in self.hear(*pieces) if isinstance(one, Identity)]

    def version_requests(self) -> int:
        return sum(
            one.get_type() == "COMMAND_LONG"
            and one.command == mavlink.MAV_CMD_REQUEST_MESSAGE
            and one.param1 == mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION
            for one in decoded(self.transport)
        )


@pytest.mark.parametrize(
    ("kind", "airframe"),
    [
        (mavlink.MAV_TYPE_QUADROTOR, Airframe.COPTER),
        (mavlink.MAV_TYPE_HELICOPTER, Airframe.COPTER),
        (mavlink.MAV_TYPE_FIXED_WING, Airframe.PLANE),
        (20, Airframe.PLANE),
        (mavlink.MAV_TYPE_GROUND_ROVER, Airframe.ROVER),
        (mavlink.MAV_TYPE_SUBMARINE, Airframe.OTHER),
    ],
)
def test_the_heartbeat_tells_who_flies_what(kind: int, airframe: Airframe) -> None:
    rig = Rig()
    now_ns = rig.clock.now_ns()
    assert rig.told(rig.pilot.heartbeat(kind)) == [Identity(now_ns, AutopilotKind.ARDUPILOT, airframe)]
    assert rig.told(rig.pilot.heartbeat(kind)) == []
    assert rig.told(rig.pilot.heartbeat(kind, PX4)) == [Identity(now_ns, AutopilotKind.PX4, airframe)]


@pytest.mark.parametrize(("stage", "development"), [(0, True), (64, True), (128, False), (192, False), (255, False)])
def test_the_version_is_asked_for_until_it_is_told(stage: int, development: bool) -> None:
    rig = Rig()
    rig.hear(rig.pilot.heartbeat())
    for _ in range(50):
        rig.clock.advance_s(0.1)
        rig.hear(rig.pilot.heartbeat())
    assert rig.version_requests() == 6
    told = rig.told(rig.pilot.version(4, 7, 1, stage))
    assert told == [Identity(rig.clock.now_ns(), AutopilotKind.ARDUPILOT, Airframe.COPTER, (4, 7, 1), development)]
    assert rig.told(rig.pilot.version(4, 7, 1, stage)) == []
    rig.clock.advance_s(30.0)
    rig.hear(rig.pilot.heartbeat())
    assert rig.version_requests() == 0


def test_a_version_of_nothing_is_none() -> None:
    rig = Rig()
    assert [one.version for one in rig.told(rig.pilot.heartbeat(), rig.pilot.version(0, 0, 0))] == [None]


def test_a_reboot_asks_anew_and_may_bring_another_version() -> None:
    rig = Rig()
    rig.hear(rig.pilot.heartbeat(), rig.pilot.version(4, 5, 7), rig.pilot.attitude(90_000))
    rig.version_requests()
    rig.clock.advance_s(0.2)
    heard = rig.hear(rig.pilot.attitude(900), rig.pilot.heartbeat())
    assert isinstance(heard[0], Rebooted)
    assert [one.version for one in heard if isinstance(one, Identity)] == [None]
    assert rig.version_requests() == 1
    assert [one.version for one in rig.told(rig.pilot.version(4, 6, 0))] == [(4, 6, 0)]


def _as_float(layout: str, value: int) -> float:
    return float(struct.unpack("<f", struct.pack(layout, value))[0])


def test_ardupilots_parameters_are_cast_and_px4s_keep_their_bytes() -> None:
    rig = Rig()
    now_ns = rig.clock.now_ns()
    rig.hear(rig.pilot.heartbeat())
    (heard,) = rig.hear(rig.pilot.parameter("GPS2_TYPE", 14.0, mavlink.MAV_PARAM_TYPE_INT8))
    assert heard == Parameter(now_ns, "GPS2_TYPE", 14.0)
    assert rig.hear(rig.pilot.parameter("X", float("nan"))) == []
    rig.hear(rig.pilot.heartbeat(autopilot=PX4))
    for kind, layout, value in (
        (mavlink.MAV_PARAM_TYPE_INT32, "<i", -7),
        (mavlink.MAV_PARAM_TYPE_INT32, "<i", 100_000),
        (mavlink.MAV_PARAM_TYPE_UINT32, "<I", 0),
        (mavlink.MAV_PARAM_TYPE_INT8, "<bxxx", -1),
    ):
        (heard,) = rig.hear(rig.pilot.parameter("EKF2_AGP0_ID", _as_float(layout, value), kind))
        assert heard == Parameter(now_ns, "EKF2_AGP0_ID", float(value))
    (heard,) = rig.hear(rig.pilot.parameter("EKF2_AGP0_NOISE", 1.5))
    assert heard == Parameter(now_ns, "EKF2_AGP0_NOISE", 1.5)


def test_a_parameter_that_is_refused_comes_with_the_reason() -> None:
    rig = Rig()
    now_ns = rig.clock.now_ns()
    rig.hear(rig.pilot.heartbeat())

    def refused(error: int, name: bytes = b"GPS2_TYPE") -> list[LinkMessage]:
        return rig.hear(rig.pilot.pack(mavlink.MAVLink_param_error_message(7, 191, name, -1, error)))

    assert refused(1) == [ParameterRefused(now_ns, "GPS2_TYPE", "does not have it")]
    assert refused(2) == [ParameterRefused(now_ns, "GPS2_TYPE", "says that the value is out of its range")]
    assert refused(77) == [ParameterRefused(now_ns, "GPS2_TYPE", "refuses it, MAV_PARAM_ERROR 77")]
    assert refused(0) == []
    assert refused(1, b"") == []


@pytest.mark.parametrize(
    ("target", "taken"),
    [((7, 191), True), ((0, 0), True), ((7, 0), True), ((255, 191), False), ((7, 192), False), ((8, 191), False)],
)
def test_answers_to_others_are_none_of_ours(target: tuple[int, int], taken: bool) -> None:
    """A ground station behind the same router asks, and the autopilot's answer to it comes by here."""
    rig = Rig()
    rig.hear(rig.pilot.heartbeat())
    refused = mavlink.MAVLink_param_error_message(*target, b"GPS2_TYPE", -1, 1)
    done = mavlink.MAVLink_command_ack_message(43003, 0, 0, 0, *target)
    for answer, kind in ((refused, ParameterRefused), (done, CommandResult)):
        assert [type(one) for one in rig.hear(rig.pilot.pack(answer))] == [kind] * taken


def test_parameters_are_read_and_set_as_the_autopilot_wants_them() -> None:
    rig = Rig()
    assert not rig.link.request_parameter("GPS2_TYPE")
    assert not rig.link.set_parameter("GPS2_TYPE", 14.0)
    rig.hear(rig.pilot.heartbeat())
    rig.transport.sent.clear()
    assert rig.link.request_parameter("GPS2_TYPE")
    assert rig.link.set_parameter("GPS2_TYPE", 14.0)
    asked, given = decoded(rig.transport)
    assert (asked.param_id, asked.param_index, asked.target_system, asked.target_component) == ("GPS2_TYPE", -1, 7, 1)
    assert (given.param_id, given.param_value, given.param_type) == ("GPS2_TYPE", 14.0, mavlink.MAV_PARAM_TYPE_REAL32)
    rig.hear(rig.pilot.heartbeat(autopilot=PX4))
    rig.transport.sent.clear()
    assert not rig.link.set_parameter("EKF2_AGP0_ID", 1.0)
    rig.hear(rig.pilot.parameter("EKF2_AGP0_ID", 0.0, mavlink.MAV_PARAM_TYPE_INT32))
    assert rig.link.set_parameter("EKF2_AGP0_ID", 1.0)
    assert not rig.link.set_parameter("EKF2_AGP0_ID", 1.5)
    (given,) = decoded(rig.transport)
    assert (struct.pack("<f", given.param_value), given.param_type) == (struct.pack("<i", 1), 6)


def test_origin_flags_switches_and_answers() -> None:
    rig = Rig()
    now_ns = rig.clock.now_ns()
    rig.hear(rig.pilot.heartbeat())
    assert rig.hear(rig.pilot.origin(47.25, -8.5, 431.5)) == [Origin(now_ns, 47.25, -8.5, 431.5)]
    assert rig.hear(rig.pilot.origin(0.0, 0.0, 0.0), rig.pilot.origin(91.0, 8.0, 0.0)) == []
    status = mavlink.MAVLink_ekf_status_report_message(0x33F, 0.1, 0.1, 0.1, 0.1, 0.0)
    assert rig.hear(rig.pilot.pack(status)) == [EkfFlags(now_ns, 0x33F)]
    channels = mavlink.MAVLink_rc_channels_message(1000, 8, *range(1001, 1009), *[65535] * 10, 255)
    assert rig.hear(rig.pilot.pack(channels)) == [RcChannels(now_ns, (*range(1001, 1009), *[0] * 10))]
    failed, done = (rig.pilot.pack(mavlink.MAVLink_command_ack_message(43003, result)) for result in (4, 0))
    heard = rig.hear(failed, done)
    assert heard == [CommandResult(now_ns, 43003, 4), CommandResult(now_ns, 43003, 0)]
    assert [one.accepted for one in heard if isinstance(one, CommandResult)] == [False, True]


def test_nothing_of_the_autopilots_own_estimate_is_even_read() -> None:
    """What it believes of its position and velocity could only come back to it."""
    estimates = {
        *("GLOBAL_POSITION_INT", "GLOBAL_POSITION_INT_COV", "LOCAL_POSITION_NED", "LOCAL_POSITION_NED_COV"),
        *("LOCAL_POSITION_NED_SYSTEM_GLOBAL_OFFSET", "AHRS2", "AHRS3", "VFR_HUD", "ODOMETRY", "HIGH_LATENCY"),
        *("HIGH_LATENCY2", "POSITION_TARGET_GLOBAL_INT", "ALTITUDE", "WIND", "GPS2_RAW", "GLOBAL_POSITION_SENSOR"),
    }
    assert not estimates & set(Decoder().names)
    by_name = {one.msgname for number, one in mavlink.mavlink_map.items() if number in STREAM_RATES_HZ}
    assert not estimates & by_name
    assert by_name <= set(Decoder().names)


def test_a_question_for_our_time_is_answered_by_the_clock_of_the_stamps() -> None:
    rig = Rig()
    rig.clock.advance_s(4.0)
    rig.hear(rig.pilot.heartbeat())
    rig.transport.sent.clear()
    rig.hear(rig.pilot.timesync(0, 123_456_789))
    (answer,) = (one for one in decoded(rig.transport) if one.get_type() == "TIMESYNC")
    # The link was opened 4 s ago, and its clock shows one second more.
    assert (answer.tc1, answer.ts1) == (5_000_000_000, 123_456_789)
