"""MAVLink packets made by hand: around any payload, from any sender, signed with any key."""

from __future__ import annotations

import struct

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links.dialect import KNOWN
from tilefix.links.packets import Framer, Packet, checksum
from tilefix.links.signing import signature
from tilefix.links.signingfiles import Bookkeeper


class Unwritten(Bookkeeper):
    """Keeps the book in memory."""

    def turn(self, now_ns: int) -> None:
        book = self.signing.due(now_ns)
        if book is not None:
            self.signing.written(book)


def packet_of(
    number: int, payload: bytes, system: int = 7, component: int = 1, *, sequence: int = 0, version: int = 2
) -> bytes:
    """A sound packet around a payload, which is filled up or cut to the message's length, without a signature."""
    size = KNOWN[number].payload_bytes
    body = payload[:size].ljust(size, b"\0")
    if version == 1:
        head = bytes((len(body), sequence, system, component, number))
    else:
        body = body.rstrip(b"\0") or b"\0"
        head = struct.pack("<BBBBBB", len(body), 0, 0, sequence, system, component) + number.to_bytes(3, "little")
    crc = checksum(head + body, KNOWN[number].extra)
    return (b"\xfe" if version == 1 else b"\xfd") + head + body + struct.pack("<H", crc)


def signed(packet: bytes, key: bytes, stamp: int, link: int = 0) -> bytes:
    """The same packet of version 2 with its signature."""
    number = int.from_bytes(packet[7:10], "little")
    head = packet[:2] + b"\x01" + packet[3 : 10 + packet[1]]
    body = head + struct.pack("<H", checksum(head[1:], KNOWN[number].extra))
    body += bytes((link,)) + stamp.to_bytes(6, "little")
    return body + signature(key, body)


def parsed(raw: bytes) -> Packet:
    """The one packet in these bytes."""
    (packet,) = Framer(KNOWN, KNOWN).feed(raw)
    return packet


def heartbeat(system: int = 7, component: int = 1) -> bytes:
    """A copter's heartbeat."""
    sender = mavlink.MAVLink(None, srcSystem=system, srcComponent=component)
    return bytes(
        mavlink.MAVLink_heartbeat_message(
            mavlink.MAV_TYPE_QUADROTOR, mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA, 0, 0, mavlink.MAV_STATE_ACTIVE, 3
        ).pack(sender)
    )
