"""Hostile MAVLink traffic, the same for the same seed: what `tools/fuzz_link.py` sends beside a flight's own.

Each kind is a way in which a link is attacked or spoiled. An attacker knows everything that was sent on the link, but
not its key; `home` is the vehicle's own address.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from link_packets import sound_packet
from tilefix.links.dialect import KNOWN
from tilefix.links.packets import checksum
from tilefix.links.signing import LAST_STAMP, signature
from tilefix.links.transport import Address

HOME: Address = ("10.0.0.1", 14550)
SAME_HOST: Address = (HOME[0], 40_000)
STRANGERS: tuple[Address, ...] = tuple((f"10.0.0.{number}", 14550) for number in range(66, 80))
KINDS = (
    "random",
    "flipped",
    "truncated",
    "replayed",
    "contents",
    "spoofed",
    "foreign",
    "commands",
    "missigned",
    "version 1",
    "unknown",
    "flood",
)
_WORDS = [
    struct.pack("<f", value) for value in (float("nan"), float("inf"), float("-inf"), 3.4e38, -3.4e38, 1e-45, 950.0)
] + [struct.pack("<I", value) for value in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFF8000, 0x00FF00FF)]
_HEARD = (
    mavlink.MAVLINK_MSG_ID_HEARTBEAT,
    mavlink.MAVLINK_MSG_ID_SYSTEM_TIME,
    mavlink.MAVLINK_MSG_ID_PARAM_VALUE,
    mavlink.MAVLINK_MSG_ID_GPS_RAW_INT,
    mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE,
    mavlink.MAVLINK_MSG_ID_ATTITUDE,
    mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN,
    mavlink.MAVLINK_MSG_ID_RC_CHANNELS,
    mavlink.MAVLINK_MSG_ID_COMMAND_ACK,
    mavlink.MAVLINK_MSG_ID_TIMESYNC,
    mavlink.MAVLINK_MSG_ID_DISTANCE_SENSOR,
    mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION,
    mavlink.MAVLINK_MSG_ID_EKF_STATUS_REPORT,
    mavlink.MAVLINK_MSG_ID_HOME_POSITION,
    mavlink.MAVLINK_MSG_ID_SETUP_SIGNING,
    mavlink.MAVLINK_MSG_ID_STATUSTEXT,
)


@dataclass
class Hostile:
    """A source of hostile packets against the vehicle `system`.

    `signed`: the link has a key, so that the attacker may also speak from the vehicle's own address and host with its
    ids. `believed`: without a key, but from there all the same: then tilefix has to believe him.
    """

    seed: int
    system: int
    tilefix: int
    signed: bool
    believed: bool = False

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._seen: deque[bytes] = deque([bytes(12)], maxlen=4096)
        self._makers: dict[str, Callable[[], bytes]] = {
            "random": self._random,
            "flipped": self._flipped,
            "truncated": self._truncated,
            "replayed": lambda: self._rng.choice(self._seen),
            "contents": lambda: self.packet(self._rng.choice(_HEARD), self._words(), self.system, 1),
            "spoofed": self._spoofed,
            "foreign": self._foreign,
            "commands": self._command,
            "missigned": self._missigned,
            "version 1": self._version_1,
            "unknown": self._unknown,
            "flood": self._flood,
        }

    def saw(self, packet: bytes) -> None:
        """Notes what the vehicle sent, to repeat it."""
        self._seen.append(packet)

    def one(self) -> tuple[str, bytes, Address]:
        """A kind, a datagram and the address that it comes from."""
        kind = self._rng.choice(KINDS)
        return kind, self._makers[kind](), self._address(kind)

    def _address(self, kind: str) -> Address:
        # With the vehicle's ids, from its address, without a key: nothing tells that from the vehicle.
        from_anywhere = self.signed or self.believed or kind in ("random", "truncated", "foreign", "unknown")
        if from_anywhere and self._rng.random() < 0.4:
            return HOME
        if self.signed and self._rng.random() < 0.2:
            return SAME_HOST
        if kind == "flood":
            return f"10.1.{self._rng.randrange(256)}.{self._rng.randrange(256)}", self._rng.randrange(1, 65536)
        return self._rng.choice(STRANGERS)

    def packet(self, number: int, payload: bytes, system: int, component: int, *, signed: bool = False) -> bytes:
        """A sound packet of version 2."""
        return sound_packet(number, payload, system, component, self._rng.randrange(256), signed=signed)

    def _words(self) -> bytes:
        return b"".join(
            self._rng.choice(_WORDS) if self._rng.random() < 0.6 else self._rng.randbytes(4) for _ in range(20)
        )

    def _random(self) -> bytes:
        return self._rng.randbytes(self._rng.randrange(1, 300))

    def _flipped(self) -> bytes:
        """Up to three bits: a checksum of 16 bits finds each of these, and lets one of 65,536 worse ones through."""
        packet = bytearray(self._rng.choice(self._seen))
        for _ in range(self._rng.randrange(1, 4)):
            packet[self._rng.randrange(len(packet))] ^= 1 << self._rng.randrange(8)
        return bytes(packet)

    def _truncated(self) -> bytes:
        packet = self._rng.choice(self._seen)
        return packet[: self._rng.randrange(1, len(packet))]

    def _spoofed(self) -> bytes:
        """What would be believed of the vehicle: plausible, but not true."""
        rng, number = self._rng, self._rng.choice(_HEARD)
        places = {
            mavlink.MAVLINK_MSG_ID_HEARTBEAT: struct.pack("<IBBBBB", 4, 2, 3, 0x81, 4, 3),
            mavlink.MAVLINK_MSG_ID_ATTITUDE: struct.pack(
                "<I6f", rng.randrange(1 << 28), *(rng.uniform(-0.4, 0.4) for _ in range(6))
            ),
            mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE: struct.pack("<Iff", rng.randrange(1 << 28), 900.0, 0.0),
            mavlink.MAVLINK_MSG_ID_SYSTEM_TIME: struct.pack(
                "<QI", 1_900_000_000_000_000 + rng.randrange(10**12), rng.randrange(1 << 28)
            ),
            mavlink.MAVLINK_MSG_ID_TIMESYNC: struct.pack("<qq", rng.randrange(1 << 40), rng.randrange(1 << 40)),
        }
        return self.packet(number, places.get(number, self._words()), self.system, 1)

    def _foreign(self) -> bytes:
        """Another system's traffic, as a router passes it on."""
        while (system := self._rng.randrange(256)) == self.system:
            pass
        return self.packet(self._rng.choice(_HEARD), self._words(), system, self._rng.randrange(256))

    def _command(self) -> bytes:
        """Commands for tilefix: a hint elsewhere, silence, a hand-over; from the vehicle's ids and from a ground
        station's."""
        rng, target = self._rng, (self.system, self.tilefix)
        sender = rng.choice([(self.system, 1), (255, 190)])
        if rng.random() < 0.5:
            params = struct.pack("<4fiif", 0.0, 0.0, 10.0, 0.0, 470_100_000, 80_100_000, float("nan"))
            body = params + struct.pack("<HBBBBB", 43003, *target, 0, 0, 0)
            return self.packet(mavlink.MAVLINK_MSG_ID_COMMAND_INT, body, *sender)
        body = struct.pack("<7fHBBB", *(0.0,) * 7, rng.choice((31010, 31011)), *target, 0)
        return self.packet(mavlink.MAVLINK_MSG_ID_COMMAND_LONG, body, *sender)

    def _missigned(self) -> bytes:
        """Signed with a key that is not the link's, or with none, at any time."""
        rng = self._rng
        packet = self.packet(rng.choice(_HEARD), self._words(), self.system, 1, signed=True)
        stamp = rng.choice((0, LAST_STAMP, rng.randrange(LAST_STAMP)))
        packet += bytes((rng.randrange(256),)) + stamp.to_bytes(6, "little")
        return packet + (rng.randbytes(6) if rng.random() < 0.5 else signature(rng.randbytes(32), packet))

    def _version_1(self) -> bytes:
        number = self._rng.choice([one for one in _HEARD if one < 256])
        payload = self._words()[: KNOWN[number].payload_bytes]
        body = bytes((len(payload), 0, self.system, 1, number)) + payload
        return b"\xfe" + body + checksum(body, KNOWN[number].extra).to_bytes(2, "little")

    def _unknown(self) -> bytes:
        body = self._rng.randbytes(self._rng.randrange(1, 255))
        return bytes((0xFD, len(body), 0, 0, 0, self.system, 1, 0xFF, 0xFF, 0x7F)) + body + b"\0\0"

    def _flood(self) -> bytes:
        """What costs a reader most: markers all over, false headers of known messages, many packets in one."""
        whole = self.packet(mavlink.MAVLINK_MSG_ID_HEARTBEAT, struct.pack("<IBBBBB", 0, 2, 3, 0, 4, 3), self.system, 1)
        return self._rng.choice(
            (b"\xfd" * 1400, b"\xfe\x14" * 700, b"\xfd\x03\x00\x00\x00\x07\x01\x1e\x00\x00" * 140, whole * 60)
        )
