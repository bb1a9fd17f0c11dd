"""Packets out of a stream of bytes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pymavlink.dialects.v20 import ardupilotmega as mavlink
from pymavlink.generator.mavcrc import x25crc

from support.packets import packet_of, parsed
from tilefix.links.dialect import KNOWN, message_of, numbers
from tilefix.links.packets import (
    MAX_FALSE_HEADERS,
    MAX_PACKET_BYTES,
    SIGNATURE_BYTES,
    Framer,
    checksum,
    packet_bytes,
)

ATTITUDE, SETUP_SIGNING, UNKNOWN = 30, 256, 0x7FFFFF


def _packet(sequence: int, payload: bytes = b"abc", *, signed: bool = False) -> bytes:
    whole = packet_of(ATTITUDE, payload, sequence=sequence)
    if not signed:
        return whole
    head = whole[1:2] + b"\x01" + whole[3:-2]
    return b"\xfd" + head + checksum(head, KNOWN[ATTITUDE].extra).to_bytes(2, "little") + bytes(SIGNATURE_BYTES)


def _framer() -> Framer:
    return Framer(KNOWN, KNOWN)


def _sequences(framer: Framer, data: bytes) -> list[int]:
    return [packet.sequence for packet in framer.feed(data)]


@given(st.binary(max_size=300), st.integers(0, 255))
def test_the_checksum_is_mavlinks(data: bytes, extra: int) -> None:
    theirs = x25crc(data)
    theirs.accumulate(bytes((extra,)))
    assert checksum(data, extra) == theirs.crc


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
    framer = _framer()
    assert _sequences(framer, b"\xfd\x00\x00" + _packet(1) + _packet(2)) == [1, 2]
    assert _sequences(framer, b"\xfe\x14\x00" + _packet(3) + _packet(4) + _packet(5)) == [3, 4, 5]
    assert framer.false_headers == 2


@example([(b"\xfd\x00\x00", False)], 1)
@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=8), st.integers(1, 50))
def test_every_packet_is_found_however_the_bytes_are_cut_and_whatever_stands_between(
    parts: list[tuple[bytes, bool]], piece: int
) -> None:
    stream = b"".join(noise + _packet(number, signed=signed) for number, (noise, signed) in enumerate(parts))
    # Noise that looks like a header may hold the last packets back until enough bytes came.
    stream += bytes(MAX_PACKET_BYTES)
    framer = _framer()
    found = [one for at in range(0, len(stream), piece) for one in _sequences(framer, stream[at : at + piece])]
    assert found == list(range(len(parts)))


@given(st.binary(max_size=3000))
def test_it_never_holds_more_than_one_packet(noise: bytes) -> None:
    framer = _framer()
    framer.feed(noise)
    assert len(framer._held) < MAX_PACKET_BYTES


def test_a_packet_of_version_1_is_taken_up_to_its_size() -> None:
    whole = packet_of(ATTITUDE, bytes(range(1, 29)), 3, 4, sequence=9, version=1)
    packet = parsed(whole)
    assert packet[:6] == (ATTITUDE, 3, 4, 9, bytes(range(1, 29)), False)
    longer = bytes((whole[1] + 1,)) + whole[2:-2] + b"\0"
    crc = checksum(longer, KNOWN[ATTITUDE].extra).to_bytes(2, "little")
    assert _framer().feed(b"\xfe" + longer + crc) == []


def _unknown(length: int = 20) -> bytes:
    return bytes((0xFD, length, 0, 0, 0, 7, 1)) + UNKNOWN.to_bytes(3, "little") + bytes(length + 2)


def test_a_message_that_the_dialect_does_not_know_is_stepped_over_whole() -> None:
    framer = _framer()
    inside = bytearray(_unknown(60))
    inside[12 : 12 + len(_packet(66))] = _packet(66)
    assert _sequences(framer, bytes(inside) + _packet(1)) == [1]
    assert _sequences(framer, _unknown()) == []
    assert _sequences(framer, _packet(2)) == [2]
    assert framer.packets == 4


def test_the_end_of_a_datagram_ends_a_message_that_the_dialect_does_not_know() -> None:
    framer = _framer()
    assert framer.feed(_unknown(), datagram=True) == []
    assert (framer.packets, framer._held) == (1, b"")


def test_a_false_header_of_an_unknown_message_covers_nothing() -> None:
    assert _sequences(_framer(), _unknown(60)[:10] + _packet(1) + _packet(2) + bytes(40)) == [1, 2]


def test_a_flood_of_false_headers_is_thrown_away_and_the_next_read_counts() -> None:
    framer = _framer()
    false = bytes((0xFD, 30, 0, 0, 0, 7, 1, ATTITUDE, 0, 0))
    assert _sequences(framer, false * (2 * MAX_FALSE_HEADERS) + _packet(1)) == []
    assert framer.false_headers == MAX_FALSE_HEADERS + 1
    assert _sequences(framer, _packet(2)) == [2]


def test_a_datagram_that_begins_with_a_packet_is_not_held_back_by_what_came_before() -> None:
    framer = _framer()
    framer.feed(b"\xfd\xff\x00", datagram=True)
    assert [one.sequence for one in framer.feed(_packet(1) + _packet(2), datagram=True)] == [1, 2]
    # One that goes on with a packet is put together with it, as lines are that are cut into datagrams.
    whole = _packet(3)
    assert framer.feed(whole[:9], datagram=True) == []
    assert [one.sequence for one in framer.feed(whole[9:], datagram=True)] == [3]


def test_only_what_is_wanted_is_given_and_all_is_counted() -> None:
    framer = Framer(KNOWN, numbers(["HEARTBEAT"]))
    assert framer.feed(_packet(1) + packet_of(0, b"abc")) == [parsed(packet_of(0, b"abc"))]
    assert framer.packets == 2


def test_gaps_in_each_senders_numbers_are_counted() -> None:
    framer = _framer()
    framer.feed(b"".join(map(_packet, (254, 255, 0, 1))) + packet_of(0, b"x", 9, 9, sequence=77))
    assert framer.lost == 0
    framer.feed(_packet(4) + packet_of(0, b"x", 9, 9, sequence=79))
    assert framer.lost == 3


def test_its_text_shows_no_content() -> None:
    secret = b"0123456789abcdef"
    packet = parsed(packet_of(SETUP_SIGNING, secret * 3))
    assert secret in packet.payload
    assert "0123" not in f"{packet} {packet!r} {[packet]}"


@given(st.sampled_from(sorted(KNOWN)), st.binary(min_size=255, max_size=255), st.integers(0, 255))
def test_the_message_is_the_one_that_pymavlink_reads(number: int, noise: bytes, length: int) -> None:
    raw = packet_of(number, noise[:length], 42, 99, sequence=3)
    theirs, ours = mavlink.MAVLink(None).decode(bytearray(raw)), message_of(parsed(raw))
    assert type(ours) is type(theirs)
    assert str(ours) == str(theirs)
    for name in ("get_msgId", "get_srcSystem", "get_srcComponent", "get_seq"):
        assert getattr(ours, name)() == getattr(theirs, name)()


def test_fields_of_a_later_version_of_the_dialect_are_cut() -> None:
    whole = packet_of(ATTITUDE, bytes(range(1, 29)))
    body = bytes((whole[1] + 3,)) + whole[2:-2] + b"new"
    raw = b"\xfd" + body + checksum(body, KNOWN[ATTITUDE].extra).to_bytes(2, "little")
    assert str(message_of(parsed(raw))) == str(message_of(parsed(whole)))


def test_names_become_numbers() -> None:
    assert numbers(["HEARTBEAT", "ATTITUDE", "NO_SUCH_MESSAGE"]) == {0, 30}


@pytest.mark.parametrize("content", [b"\xfd" * 65_535, b"\xfe\x14" * 30_000, b"\xfd\x03\x01" * 20_000])
def test_whatever_it_is_fed_few_checksums_are_made(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counting(data: bytes, extra: int) -> int:
        made.append(len(data))
        return checksum(data, extra)

    monkeypatch.setattr("tilefix.links.packets.checksum", counting)
    _framer().feed(content)
    assert len(made) <= MAX_FALSE_HEADERS + 1
