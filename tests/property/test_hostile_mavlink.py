"""Whatever the vehicle's own address sends, nothing raises and nothing that is not finite is ever sent."""

from __future__ import annotations

import math
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from pymavlink.dialects.v20 import ardupilotmega as mavlink
from pymavlink.generator.mavcrc import x25crc

from support.clocks import ManualClock
from support.mavlink import PEER, Autopilot, FakeTransport, decoded
from tilefix.links.mavlink import MavlinkLink
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
]


def _packet(kind: int, payload: bytes) -> bytes:
    """A sound packet of system 7 around any payload, which is filled up or cut to the message's length."""
    message = mavlink.mavlink_map[kind]
    body = payload[: message.unpacker.size].ljust(message.unpacker.size, b"\0").rstrip(b"\0") or b"\0"
    head = struct.pack("<BBBBBB", len(body), 0, 0, 0, 7, 1) + kind.to_bytes(3, "little")
    checksum = x25crc(head + body)
    checksum.accumulate(bytes([message.crc_extra]))
    return b"\xfd" + head + body + struct.pack("<H", checksum.crc)


WORDS = st.one_of(
    st.binary(min_size=4, max_size=4),
    st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", struct.pack("<f", 950.0)]),
)
PACKETS = st.builds(
    lambda kind, words: _packet(kind, b"".join(words)), st.sampled_from(KINDS), st.lists(WORDS, max_size=20)
)


def test_the_packets_are_sound() -> None:
    parser = mavlink.MAVLink(None)
    for kind in KINDS:
        (message,) = parser.parse_buffer(_packet(kind, bytes(range(1, 200))))
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
