"""Whatever comes by the link, nothing raises, nothing that is not finite is ever sent, and no key is told."""

from __future__ import annotations

import logging
import math
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.clocks import ManualClock
from support.mavlink import PEER, Autopilot, FakeTransport, decoded
from support.packets import Unwritten, packet_of, signed
from tilefix.links.commands import Result, hint_of
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.messages import Order
from tilefix.links.signing import Book, Signing
from tilefix.links.vehicle import Vehicle
from tilefix.publishing.publisher import Publisher
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason

KINDS = [
    mavlink.MAVLINK_MSG_ID_HEARTBEAT,
    mavlink.MAVLINK_MSG_ID_ATTITUDE,
    mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE,
    mavlink.MAVLINK_MSG_ID_GPS_RAW_INT,
    mavlink.MAVLINK_MSG_ID_DISTANCE_SENSOR,
    mavlink.MAVLINK_MSG_ID_HOME_POSITION,
    mavlink.MAVLINK_MSG_ID_SYSTEM_TIME,
    mavlink.MAVLINK_MSG_ID_TIMESYNC,
    mavlink.MAVLINK_MSG_ID_STATUSTEXT,
    mavlink.MAVLINK_MSG_ID_PARAM_VALUE,
    mavlink.MAVLINK_MSG_ID_COMMAND_ACK,
    mavlink.MAVLINK_MSG_ID_COMMAND_LONG,
    mavlink.MAVLINK_MSG_ID_COMMAND_INT,
    mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN,
    mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION,
    mavlink.MAVLINK_MSG_ID_EKF_STATUS_REPORT,
    mavlink.MAVLINK_MSG_ID_ESTIMATOR_STATUS,
    mavlink.MAVLINK_MSG_ID_RC_CHANNELS,
    mavlink.MAVLINK_MSG_ID_MOUNT_ORIENTATION,
    mavlink.MAVLINK_MSG_ID_GIMBAL_DEVICE_ATTITUDE_STATUS,
    mavlink.MAVLINK_MSG_ID_SETUP_SIGNING,
]


WORDS = st.one_of(
    st.binary(min_size=4, max_size=4),
    st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", struct.pack("<f", 950.0)]),
)
PACKETS = st.builds(
    lambda kind, words: packet_of(kind, b"".join(words)), st.sampled_from(KINDS), st.lists(WORDS, max_size=20)
)


def test_the_packets_are_sound() -> None:
    parser = mavlink.MAVLink(None)
    for kind in KINDS:
        (message,) = parser.parse_buffer(packet_of(kind, bytes(range(1, 200))))
        assert message.get_msgId() == kind


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(PACKETS, st.binary(max_size=60)), max_size=30), st.floats(0.001, 2.0))
def test_hostile_messages_neither_raise_nor_leave(packets: list[bytes], step_s: float) -> None:
    clock, transport, vehicle, publisher = ManualClock(), FakeTransport(), Vehicle(), Publisher()
    link = MavlinkLink(transport, clock)
    pilot = Autopilot(7)
    for packet in [pilot.heartbeat(), *packets]:
        clock.advance_s(step_s)
        now_ns = clock.now_ns()
        transport.incoming.append((packet, PEER))
        transport.incoming += [(pilot.gps(), PEER), (pilot.pressure(now_ns // 1_000_000, 950.0), PEER)]
        for message in link.poll():
            if isinstance(message, Order):
                hint = hint_of(message)
                assert hint is None or all(map(math.isfinite, hint))
                link.answer(message, Result.DENIED)
            vehicle.take(message)
        state = vehicle.state_at(now_ns)
        angles = (state.roll_deg, state.pitch_deg, state.yaw_deg, state.agl_m)
        assert all(value is None or math.isfinite(value) for value in angles)
        circle = Covariance(1.0, 0.0, 1.0)
        for estimate in (
            NoFix(now_ns, Reason.NO_MATCH),
            Fix(now_ns, FixKind.FIX, 47.0, 8.0, 0.0, 0.0, circle, 0.0, 1.0, 1.0, circle),
        ):
            report = publisher.decide(estimate, vehicle).report
            if report is not None:
                assert link.send_report(report)
    for sent in decoded(transport):
        if sent.get_type() == "GPS_INPUT":
            numbers = (
                sent.alt,
                sent.vn,
                sent.ve,
                sent.vd,
                sent.horiz_accuracy,
                sent.vert_accuracy,
                sent.speed_accuracy,
            )
            assert all(map(math.isfinite, numbers))
            assert abs(sent.lat) <= 900_000_000
    assert link.system_id == 7


KEY = bytes(range(60, 92))
SECRET = bytes(range(150, 182))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                PACKETS,
                st.binary(max_size=60),
                st.builds(signed, PACKETS, st.just(SECRET), st.integers(0, (1 << 48) - 1)),
            ),
            st.sampled_from([PEER, (PEER[0], 9), ("10.0.0.66", 14550)]),
            st.floats(0.0, 4.0),
        ),
        max_size=30,
    )
)
def test_a_signed_link_hears_nobody_without_the_key(packets: list[tuple[bytes, tuple[str, int], float]]) -> None:
    clock, transport = ManualClock(), FakeTransport()
    signing = Signing(KEY, Book(10**12), clock.now_ns())
    link, pilot = MavlinkLink(transport, clock, signing=Unwritten(signing, Path("none"))), Autopilot(7)
    transport.incoming.append((signed(pilot.heartbeat(), KEY, 10**12), PEER))
    link.poll()
    assert link.system_id == 7
    before = (dict(signing._streams), link.gate.peer, link.gate.heard_ns)
    for packet, peer, seconds in packets:
        clock.advance_s(seconds)
        transport.incoming.append((packet, peer))
        assert list(link.poll()) == []
    assert (signing._streams, link.gate.peer, link.gate.heard_ns) == before


def test_a_key_that_is_told_on_the_link_goes_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    clock, transport = ManualClock(), FakeTransport()
    link, pilot = MavlinkLink(transport, clock), Autopilot(7)
    told = packet_of(mavlink.MAVLINK_MSG_ID_SETUP_SIGNING, bytes(8) + bytes((7, 191)) + SECRET)
    with caplog.at_level(logging.DEBUG):
        for peer in (PEER, ("10.0.0.66", 14550)):
            transport.incoming += [(pilot.heartbeat(), PEER), (told, peer), (told[:40], peer)]
            assert SECRET not in repr(list(link.poll())).encode("latin-1", "replace")
    assert all(SECRET not in data for data, _ in transport.sent)
    for shown in (SECRET.hex(), repr(SECRET)[2:12], SECRET.decode("latin-1")):
        assert shown not in caplog.text
