"""MAVLink packets around any payload, and their signatures: what the link's tools send."""

from __future__ import annotations

from tilefix.links.dialect import KNOWN
from tilefix.links.packets import checksum
from tilefix.links.signing import signature


def sound_packet(
    number: int, payload: bytes, system: int, component: int, sequence: int, *, signed: bool = False
) -> bytes:
    """A packet of version 2; the payload is filled up or cut to the message's size. `signed`: its header says that a
    signature follows."""
    size = KNOWN[number].payload_bytes
    body = payload[:size].ljust(size, b"\0").rstrip(b"\0") or b"\0"
    head = bytes((len(body), int(signed), 0, sequence, system, component)) + number.to_bytes(3, "little")
    return b"\xfd" + head + body + checksum(head + body, KNOWN[number].extra).to_bytes(2, "little")


def with_signature(packet: bytes, key: bytes, stamp: int, link: int = 0) -> bytes:
    """The same packet signed."""
    number = int.from_bytes(packet[7:10], "little")
    packet = sound_packet(number, packet[10 : 10 + packet[1]], packet[5], packet[6], packet[4], signed=True)
    packet += bytes((link,)) + stamp.to_bytes(6, "little")
    return packet + signature(key, packet)
