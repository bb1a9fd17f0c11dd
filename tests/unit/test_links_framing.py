"""Packets out of a stream of bytes."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tilefix.links.framing import MAX_PACKET_BYTES, Framer, packet_bytes


def _packet(number: int, payload: bytes = b"abc", *, signed: bool = False) -> bytes:
    """A packet of version 2 whose checksum, here, is the sum of its bytes."""
    head = struct.pack("<BBBBBBB", 0xFD, len(payload), int(signed), 0, number, 1, 1) + b"\x1e\0\0"
    body = head + payload
    return body + struct.pack("<H", sum(body) & 0xFFFF) + (bytes(13) if signed else b"")


def _decode(packet: bytearray) -> int | None:
    if packet[0] != 0xFD:
        return None
    body = packet[: 10 + packet[1]]
    (checksum,) = struct.unpack_from("<H", packet, len(body))
    return packet[4] if checksum == sum(body) & 0xFFFF else None


def test_the_claimed_length_of_every_kind_of_header() -> None:
    assert packet_bytes(b"\xfe\x05\x00", 0) == 13
    assert packet_bytes(b"\xfd\x05\x00", 0) == 17
    assert packet_bytes(b"\xfd\x05\x01", 0) == 30
    assert packet_bytes(b"\xfd\x05\x02", 0) == 0
    assert packet_bytes(b"x\xfd", 0) == 0
    assert packet_bytes(b"x\xfd", 1) == -1
    assert packet_bytes(b"", 0) == -1
    assert packet_bytes(b"\xfd\xff\x01", 0) == MAX_PACKET_BYTES


def test_a_false_header_costs_a_byte_and_not_what_it_seems_to_cover() -> None:
    framer = Framer(_decode)
    assert framer.feed(b"\xfd\x00\x00" + _packet(1) + _packet(2)) == [1, 2]
    assert framer.feed(b"\xfe\x14\x00" + _packet(3) + _packet(4) + _packet(5)) == [3, 4, 5]


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=8), st.integers(1, 50))
def test_every_packet_is_found_however_the_bytes_are_cut_and_whatever_stands_between(
    parts: list[tuple[bytes, bool]], piece: int
) -> None:
    stream = b"".join(noise + _packet(number, signed=signed) for number, (noise, signed) in enumerate(parts))
    # Noise that looks like a header may hold the last packets back until enough bytes came.
    stream += bytes(MAX_PACKET_BYTES)
    framer = Framer(_decode)
    found = [one for at in range(0, len(stream), piece) for one in framer.feed(stream[at : at + piece])]
    assert found == list(range(len(parts)))


@given(st.binary(max_size=3000))
def test_it_never_holds_more_than_one_packet(noise: bytes) -> None:
    framer = Framer(lambda _: None)
    framer.feed(noise)
    assert len(framer._held) <= MAX_PACKET_BYTES
