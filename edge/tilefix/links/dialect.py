"""What MAVLink's ardupilotmega dialect knows of its messages: sizes and checksums, and the fields of a packet. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links.packets import Known, Packet

KNOWN = {number: Known(kind.crc_extra, kind.unpacker.size) for number, kind in mavlink.mavlink_map.items()}


def numbers(names: Iterable[str]) -> frozenset[int]:
    """The numbers of messages by their names."""
    wanted = set(names)
    return frozenset(number for number, kind in mavlink.mavlink_map.items() if kind.msgname in wanted)


def message_of(packet: Packet) -> Any:
    """The message in a packet of a known number; what its sender left off the end is zero, what a later version of the
    dialect added is cut."""
    kind = mavlink.mavlink_map[packet.number]
    message = kind(*_fields(packet.number)(packet.payload))
    message._header = mavlink.MAVLink_header(
        packet.number, 0, 0, len(packet.payload), packet.sequence, packet.system, packet.component
    )
    return message


@functools.cache
def _fields(number: int) -> Callable[[bytes], list[Any]]:
    """Takes the payload of one kind of message apart, into the order in which its class wants the fields."""
    kind = mavlink.mavlink_map[number]
    unpacker, size = kind.unpacker, kind.unpacker.size
    # (first value of the field on the wire, how many; 0: a single value, or bytes), in the class's order.
    places = [(sum(kind.lengths[:order]), kind.array_lengths[order]) for order in kind.orders]
    texts = {where for where, one in enumerate(unpacker.unpack(bytes(size))) if isinstance(one, bytes)}

    def take(payload: bytes) -> list[Any]:
        values = unpacker.unpack(payload[:size].ljust(size, b"\0"))
        return [
            values[first].rstrip(b"\0")
            if first in texts
            else (list(values[first : first + count]) if count else values[first])
            for first, count in places
        ]

    return take
