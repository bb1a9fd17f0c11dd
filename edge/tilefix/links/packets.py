"""MAVLink packets out of a stream of bytes that may hold anything. Pure.

A header that turns out false costs one byte, not the packets that it seemed to cover: noise on the line loses only
itself. What a stream may cost is bounded: markers are found by a search, and a read with too many false headers is
thrown away. Source: MAVLink serialization, versions 1 and 2; checksum CRC-16/MCRF4XX.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

_V1, _V2 = 0xFE, 0xFD
_MARKER = re.compile(b"[\xfd\xfe]")
_SIGNED = 0x01
SIGNATURE_BYTES = 13
MAX_PACKET_BYTES = 10 + 255 + 2 + SIGNATURE_BYTES
_HEADER_BYTES = 3
# A line with noise has a false header in a hundred bytes; more than this in one read is no line but an attack.
MAX_FALSE_HEADERS = 256
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Packet(NamedTuple):
    """A whole packet whose checksum is right. `number`: the message's; `signed`: it carries a signature, which nobody
    checked yet. Its text shows no content: a packet may hold a key."""

    number: int
    system: int
    component: int
    sequence: int
    payload: bytes
    signed: bool
    raw: bytes

    def __repr__(self) -> str:
        return f"Packet({self.number} of {self.system}/{self.component}, {len(self.payload)} bytes)"


class Known(NamedTuple):
    """What a dialect knows of a message: the byte that its definition adds to the checksum, and its largest payload."""

    extra: int
    payload_bytes: int


def checksum(data: bytes, extra: int) -> int:
    """CRC-16/MCRF4XX over `data` and the extra byte. It is the CRC of `binascii.crc_hqx` with every byte, and the
    result, read from the other end, which is ten times as quick as any loop here."""
    crc = binascii.crc_hqx((data + bytes((extra,))).translate(_REVERSED), 0xFFFF)
    return _REVERSED[crc & 0xFF] << 8 | _REVERSED[crc >> 8]


def packet_bytes(data: bytes, at: int) -> int:
    """The length of the packet that begins at `at`, as its header claims; 0 when no packet begins there, -1 when too
    few bytes are there to tell."""
    if at >= len(data):
        return -1
    if data[at] not in (_V1, _V2):
        return 0
    if at + _HEADER_BYTES > len(data):
        return -1
    if data[at] == _V1:
        return 6 + data[at + 1] + 2
    # Any other incompatibility flag means a packet that cannot be understood.
    if data[at + 2] & ~_SIGNED:
        return 0
    return 10 + data[at + 1] + 2 + (SIGNATURE_BYTES if data[at + 2] & _SIGNED else 0)


class Framer:
    """Cuts packets out of what it is fed; holds at most one unfinished packet between calls.

    `false_headers` counts what looked like a packet and was none, `packets` every whole one, wanted or not, `lost` the
    gaps in their senders' sequence numbers.
    """

    def __init__(self, known: Mapping[int, Known], wanted: Collection[int]) -> None:
        """`known`: the messages whose checksum can be checked; `wanted`: those to give."""
        self._known = known
        self._wanted = frozenset(wanted)
        self._held = b""
        self._next: dict[int, int] = {}
        self.packets = 0
        self.lost = 0
        self.false_headers = 0

    def feed(self, data: bytes, *, datagram: bool = False) -> list[Packet]:
        """The wanted packets that these bytes complete. `datagram`: they came in one; when it begins with a packet,
        nothing before it is still to be completed, and a false header there cannot hold it back."""
        if datagram and self._held and self._begins_with_packet(data):
            self._held = b""
        held = self._held + data if self._held else data
        end = len(held)
        given: list[Packet] = []
        at, false_headers = 0, 0
        while (marker := _MARKER.search(held, at)) is not None:
            at = marker.start()
            length = packet_bytes(held, at)
            if length < 0 or at + length > end or (at + length == end and not datagram and self._unknown(held, at)):
                break
            packet = self._packet(held, at, length) if length else None
            if packet is None:
                at += 1
                false_headers += 1
                if false_headers > MAX_FALSE_HEADERS:
                    at = end
                    break
                continue
            at += length
            self.packets += 1
            sender = packet.system << 8 | packet.component
            self.lost += (packet.sequence - self._next.get(sender, packet.sequence)) & 0xFF
            self._next[sender] = packet.sequence + 1
            if packet.number in self._wanted:
                given.append(packet)
        else:
            at = end
        self._held = held[at:]
        self.false_headers += false_headers
        return given

    def _unknown(self, held: bytes, at: int) -> bool:
        """True where only what follows tells whether there is a packet."""
        number = held[at + 5] if held[at] == _V1 else held[at + 7] | held[at + 8] << 8 | held[at + 9] << 16
        return number not in self._known

    def _begins_with_packet(self, data: bytes) -> bool:
        length = packet_bytes(data, 0)
        return 0 < length <= len(data) and self._packet(data, 0, length) is not None

    def _packet(self, held: bytes, at: int, length: int) -> Packet | None:
        """The packet of that length at `at`; `None` when there is none."""
        raw = held[at : at + length]
        if raw[0] == _V1:
            number, begin, signed = raw[5], 6, False
            sequence, system, component = raw[2], raw[3], raw[4]
        else:
            number, begin, signed = raw[7] | raw[8] << 8 | raw[9] << 16, 10, bool(raw[2] & _SIGNED)
            sequence, system, component = raw[4], raw[5], raw[6]
        finish = begin + raw[1]
        known = self._known.get(number)
        if known is None:
            # Without a checksum the only sign of a whole packet is that another one, or a datagram's end, follows.
            if at + length < len(held) and held[at + length] not in (_V1, _V2):
                return None
            return Packet(number, system, component, sequence, raw[begin:finish], signed, raw)
        if raw[0] == _V1 and raw[1] > known.payload_bytes:
            return None
        if checksum(raw[1:finish], known.extra) != raw[finish] | raw[finish + 1] << 8:
            return None
        return Packet(number, system, component, sequence, raw[begin:finish], signed, raw)
