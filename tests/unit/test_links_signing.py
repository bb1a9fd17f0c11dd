"""Signing: who is trusted, and that no stamp is used twice."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.packets import heartbeat, packet_of, parsed, signed
from tilefix.links.packets import Packet
from tilefix.links.signing import AHEAD_TICKS, LAST_STAMP, MAX_AGE_TICKS, MAX_STREAMS, TICK_NS, Book, Signing, Trust

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
BEGUN = 10**12
SECOND = 100_000
S = 1_000_000_000


def _packet(stamp: int, *, link: int = 0, component: int = 1, key: bytes = KEY) -> Packet:
    return parsed(signed(heartbeat(7, component), key, stamp, link))


def _write(signing: Signing, now_ns: int = 0) -> Book:
    """What a disk would hold after writing what is due."""
    book = signing.due(now_ns)
    assert book is not None
    signing.written(book)
    return book


@pytest.fixture
def signing() -> Signing:
    """One that trusts stream (7, 1, 0) already, whose last stamp was BEGUN."""
    made = Signing(KEY, Book(BEGUN), 0)
    _write(made)
    assert made.check(_packet(BEGUN), 0) is Trust.SIGNED
    return made


def test_a_packet_is_trusted_once_and_an_older_one_never(signing: Signing) -> None:
    assert signing.check(_packet(BEGUN + 5), 0) is Trust.SIGNED
    assert signing.check(_packet(BEGUN + 5), 0) is Trust.REPLAYED
    assert signing.check(_packet(BEGUN + 4), 0) is Trust.REPLAYED
    assert signing.check(_packet(BEGUN + 6), 0) is Trust.SIGNED
    assert signing.counts[Trust.REPLAYED] == 2


def test_every_byte_of_a_packet_counts(signing: Signing) -> None:
    raw = bytearray(signed(heartbeat(), KEY, BEGUN + 5))
    for at in range(len(raw)):
        altered = bytearray(raw)
        altered[at] ^= 0x10
        packet = Packet(0, 7, 1, 0, b"", True, bytes(altered))
        assert signing.check(packet, 0) is Trust.FORGED, at
    assert signing.check(_packet(BEGUN + 5, key=OTHER_KEY), 0) is Trust.FORGED


def test_a_forged_packet_moves_nothing(signing: Signing) -> None:
    before = signing.stamp(0)
    assert signing.check(_packet(BEGUN + 3 * SECOND, key=OTHER_KEY), 0) is Trust.FORGED
    assert signing.stamp(0) == before
    assert signing.check(_packet(BEGUN + 1), 0) is Trust.SIGNED


def test_streams_are_told_apart_by_system_component_and_link(signing: Signing) -> None:
    for other in (_packet(BEGUN - 10, link=1), _packet(BEGUN - 10, component=2)):
        assert signing.check(other, 0) is Trust.SIGNED
        assert signing.check(other, 0) is Trust.REPLAYED


def test_a_stream_may_not_begin_more_than_a_minute_behind(signing: Signing) -> None:
    assert signing.check(_packet(BEGUN - MAX_AGE_TICKS - 1, link=3), 0) is Trust.TOO_OLD
    assert signing.check(_packet(BEGUN - MAX_AGE_TICKS, link=3), 0) is Trust.SIGNED


def test_an_autopilot_that_counts_packets_instead_of_time_is_not_left_behind(signing: Signing) -> None:
    hour_ns = 3600 * S
    # ArduPilot without GNSS: one tick for each packet, however long it takes.
    assert signing.check(_packet(BEGUN + 1), hour_ns) is Trust.SIGNED
    # One that was off for an hour begins a minute after the last stamp that it saved, up to 30 s old, on any port.
    assert signing.check(_packet(BEGUN + 30 * SECOND, link=5), 2 * hour_ns) is Trust.SIGNED


def test_ones_own_stamps_run_on_for_half_a_minute_only(signing: Signing) -> None:
    assert signing.stamp(10 * S) == BEGUN + 10 * SECOND
    assert signing.stamp(1000 * S) == BEGUN + 30 * SECOND


def test_without_a_book_the_first_who_signs_is_believed() -> None:
    signing = Signing(KEY, Book(0), 0)
    assert signing.check(_packet(BEGUN), 0) is Trust.SIGNED
    _write(signing)
    assert signing.next_stamp(0) == BEGUN


def test_streams_are_bounded(signing: Signing) -> None:
    for link in range(256):
        signing.check(_packet(BEGUN + link, link=link, component=9), 0)
    assert len(signing.last(0).heard) == MAX_STREAMS


def test_the_stamps_of_others_carry_ones_own_along(signing: Signing) -> None:
    ahead = BEGUN + 1000 * SECOND
    assert signing.check(_packet(ahead), 0) is Trust.SIGNED
    assert signing.stamp(0) == ahead
    assert signing.stamp(7 * TICK_NS) == ahead + 7
    assert signing.next_stamp(0) is None
    _write(signing)
    assert signing.next_stamp(0) == ahead


def test_unsigned_packets_are_refused_but_a_radios(signing: Signing) -> None:
    assert signing.check(parsed(heartbeat()), 0) is Trust.NOT_SIGNED
    for number in (mavlink.MAVLINK_MSG_ID_RADIO_STATUS, mavlink.MAVLINK_MSG_ID_RADIO):
        assert signing.check(parsed(packet_of(number, b"x", 51, 68)), 0) is Trust.UNSIGNED
    lenient = Signing(KEY, Book(BEGUN), 0, required=False)
    assert lenient.check(parsed(heartbeat()), 0) is Trust.UNSIGNED
    assert lenient.check(_packet(BEGUN, key=OTHER_KEY), 0) is Trust.FORGED
    assert Trust.UNSIGNED.accepted
    assert [one for one in Trust if one.accepted] == [Trust.SIGNED, Trust.UNSIGNED]


def test_a_signature_is_the_one_that_pymavlink_makes_and_trusts() -> None:
    theirs = mavlink.MAVLink(None, srcSystem=7, srcComponent=1)
    theirs.signing.secret_key, theirs.signing.timestamp, theirs.signing.link_id = KEY, BEGUN, 4
    theirs.signing.sign_outgoing = True
    raw = bytes(mavlink.MAVLink_system_time_message(1, 2).pack(theirs))
    assert raw == signed(packet_of(mavlink.MAVLINK_MSG_ID_SYSTEM_TIME, raw[10:-15]), KEY, BEGUN, 4)
    reader = mavlink.MAVLink(None)
    reader.signing.secret_key = KEY
    assert reader.decode(bytearray(signed(heartbeat(), KEY, BEGUN))).get_signed()


def test_own_stamps_rise_and_end_where_the_book_does(signing: Signing) -> None:
    stamps = [signing.next_stamp(0) for _ in range(3)]
    assert stamps == [BEGUN, BEGUN + 1, BEGUN + 2]
    assert signing.next_stamp(S) == BEGUN + SECOND
    assert signing.next_stamp(0) == BEGUN + SECOND + 1
    assert signing.next_stamp(4 * S) is not None
    assert signing.next_stamp(5 * S) is None
    _write(signing, 5 * S)
    assert signing.next_stamp(5 * S) == BEGUN + 5 * SECOND


def test_the_book_is_due_before_it_ends_and_when_streams_went_on(signing: Signing) -> None:
    book = _write(signing, 3 * S)
    assert book == Book(BEGUN + 3 * SECOND + AHEAD_TICKS, {(7, 1, 0): BEGUN})
    assert signing.due(5 * S) is None
    # Behind ones own, as of an autopilot that counts packets: nothing but the stream itself goes on.
    assert signing.check(_packet(BEGUN + 7), 5 * S) is Trust.SIGNED
    assert signing.due(5 * S) is None
    assert _write(signing, 5 * S + S // 2).heard == {(7, 1, 0): BEGUN + 7}


def test_a_command_is_written_down_at_once(signing: Signing) -> None:
    assert signing.check(_packet(BEGUN + 1), 0) is Trust.SIGNED
    assert signing.due(0) is None
    signing.keep()
    assert _write(signing).heard == {(7, 1, 0): BEGUN + 1}
    assert signing.due(0) is None


def test_after_the_end_the_last_stamps_are_known_and_nothing_is_lost(signing: Signing) -> None:
    signing.check(_packet(BEGUN + 70), 0)
    last = signing.last(0)
    assert last.heard == {(7, 1, 0): BEGUN + 70}
    again = Signing(KEY, last, 0)
    _write(again)
    assert again.check(_packet(BEGUN + 70), 0) is Trust.REPLAYED
    assert again.check(_packet(BEGUN + 71), 0) is Trust.SIGNED


def test_a_clock_at_its_end_signs_nothing_more() -> None:
    signing = Signing(KEY, Book(LAST_STAMP), 0)
    _write(signing)
    assert signing.next_stamp(10 * S) is None


def test_a_key_of_another_length_is_none() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Signing(b"short", Book(0), 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.just(0)),
        st.tuples(st.just("hear"), st.integers(-70 * SECOND, 20 * SECOND)),
        st.tuples(st.just("wait"), st.integers(0, 20)),
        st.tuples(st.just("write"), st.just(0)),
        st.tuples(st.just("crash"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_no_stamp_that_was_written_is_used_twice_whenever_it_crashes(steps: list[tuple[str, int]]) -> None:
    disk, now_ns = Book(BEGUN), 0
    signing = Signing(KEY, disk, now_ns)
    sent: list[int] = []
    trusted: list[int] = []
    known = 0  # of the trusted, those that are on the disk
    for what, value in steps:
        if what == "wait":
            now_ns += value * S
        elif what == "write":
            signing.keep()
            disk = signing.due(now_ns) or disk
            signing.written(disk)
            known = len(trusted)
        elif what == "crash":
            # The machine's clock begins anew; the book is all that is left.
            now_ns, signing = 0, Signing(KEY, dataclasses.replace(disk), 0)
            del trusted[known:]
        elif what == "hear":
            stamp = BEGUN + value
            if signing.check(_packet(stamp), now_ns) is Trust.SIGNED:
                trusted.append(stamp)
        elif (own := signing.next_stamp(now_ns)) is not None:
            sent.append(own)
    assert sent == sorted(set(sent))
    assert trusted == sorted(set(trusted))
