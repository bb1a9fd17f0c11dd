"""MAVLink packets out of a stream of bytes that may hold anything. Pure.

A header that turns out false costs one byte, not the packets that it seemed to cover: noise on the line loses only
itself. Source: MAVLink serialization, versions 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Message = TypeVar("Message")

_V1, _V2 = 0xFE, 0xFD
_SIGNED = 0x01
_SIGNATURE_BYTES = 13
MAX_PACKET_BYTES = 10 + 255 + 2 + _SIGNATURE_BYTES
_HEADER_BYTES = 3


def packet_bytes(data: bytes | bytearray, at: int) -> int:
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
    return 10 + data[at + 1] + 2 + (_SIGNATURE_BYTES if data[at + 2] & _SIGNED else 0)


class Framer(Generic[Message]):
    """Cuts packets out of what it is fed; holds at most one unfinished packet between calls."""

    def __init__(self, decode: Callable[[bytearray], Message | None]) -> None:
        """`decode`: a whole packet to its message, or `None` when its checksum or content is wrong."""
        self._decode = decode
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete."""
        self._held += data
        messages: list[Message] = []
        at = 0
        while (length := packet_bytes(self._held, at)) >= 0:
            if at + length > len(self._held):
                break
            message = self._decode(self._held[at : at + length]) if length else None
            if message is None:
                at += 1
            else:
                messages.append(message)
                at += length
        del self._held[:at]
        return messages
