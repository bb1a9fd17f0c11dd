"""MAVLink 2 signing: which packets are trusted, and the stamps of one's own. No clock, thread or file.

Stamps count 10 us since 2015. A stamp is used once: each stream, (system, component, link), must rise, a new one may
not begin more than a minute behind. For restarts it is written down (`Book`) up to where one's own stamps may go, and
how far each stream came: at once after a command, else every few seconds. No machine's clock is asked: the trusted
stamps of others carry one's own along, and between them it runs on for half a minute, no further, because an autopilot
without GNSS counts packets, not time, and must not be left behind. Source: MAVLink message signing.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from tilefix.links.packets import Packet

KEY_BYTES = 32
TICK_NS = 10_000
_TICKS_PER_S = 100_000
LAST_STAMP = (1 << 48) - 1
MAX_AGE_TICKS = 60 * _TICKS_PER_S
_RUNS_ON_NS = 30_000_000_000
# Only who holds the key opens streams; a network has a handful.
MAX_STREAMS = 64
# How far ahead stamps of one's own are written down, and how often the book is written: after half of it.
AHEAD_TICKS = 5 * _TICKS_PER_S
_WRITE_EVERY_NS = 2_500_000_000
# What a telemetry radio puts in between the two ends, without the key: RADIO and RADIO_STATUS.
UNSIGNED_ALLOWED = frozenset({109, 166})

Stream = tuple[int, int, int]


class Trust(enum.Enum):
    """What a packet's signature says of it."""

    SIGNED = "signed with the key, in time, and new"
    UNSIGNED = "not signed, and need not be"
    NOT_SIGNED = "not signed"
    FORGED = "signed with another key, or altered"
    REPLAYED = "was there before"
    TOO_OLD = "new, and more than a minute behind"

    @property
    def accepted(self) -> bool:
        """True for a packet that may be listened to."""
        return self in (Trust.SIGNED, Trust.UNSIGNED)


@dataclass(frozen=True)
class Book:
    """What a restart has to know. `sent_before`: below it tilefix may have used any stamp; `heard`: each stream's last
    one."""

    sent_before: int
    heard: Mapping[Stream, int] = field(default_factory=dict)


class Signing:
    """Signs and checks with one key. The one who owns it writes down `due` and then calls `written`."""

    def __init__(self, key: bytes, book: Book, now_ns: int, *, required: bool = True, link_id: int = 0) -> None:
        """`key`: 32 bytes. `book`: as written down before. `required`: what is not signed is refused."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self.required = required
        self.link_id = link_id
        self._written = book
        self._last_sent = book.sent_before - 1
        self._streams = dict(book.heard)
        self._urgent, self._due_ns = False, now_ns
        self._base = (book.sent_before, now_ns)
        self.counts = dict.fromkeys(Trust, 0)

    @property
    def key(self) -> bytes:
        """The secret."""
        return self._key

    def stamp(self, now_ns: int) -> int:
        """The stamp that now has: it runs on from the highest one that is known."""
        stamp, at_ns = self._base
        return min(stamp + min(max(now_ns - at_ns, 0), _RUNS_ON_NS) // TICK_NS, LAST_STAMP)

    def next_stamp(self, now_ns: int) -> int | None:
        """A stamp for one packet, above every one before; `None` while none that is written down is left."""
        stamp = max(self.stamp(now_ns), self._last_sent + 1)
        if stamp >= self._written.sent_before:
            return None
        self._last_sent = stamp
        return stamp

    def check(self, packet: Packet, now_ns: int) -> Trust:
        """Whether the packet may be listened to. A packet is trusted at most once; one that is refused leaves nothing
        behind but its count."""
        trust = self._check(packet, now_ns)
        self.counts[trust] += 1
        return trust

    def _check(self, packet: Packet, now_ns: int) -> Trust:
        if not packet.signed:
            unsigned = not self.required or packet.number in UNSIGNED_ALLOWED
            return Trust.UNSIGNED if unsigned else Trust.NOT_SIGNED
        raw = packet.raw
        # First of all: a forged packet must not move the times by which true ones are judged.
        if not hmac.compare_digest(signature(self._key, raw[:-6]), raw[-6:]):
            return Trust.FORGED
        stamp = int.from_bytes(raw[-12:-6], "little")
        stream = (packet.system, packet.component, raw[-13])
        last = self._streams.get(stream)
        if last is not None and stamp <= last:
            return Trust.REPLAYED
        if last is None and stamp < self.stamp(now_ns) - MAX_AGE_TICKS:
            return Trust.TOO_OLD
        self._streams[stream] = stamp
        if len(self._streams) > MAX_STREAMS:
            del self._streams[min(self._streams, key=self._streams.__getitem__)]
        if stamp > self.stamp(now_ns):
            self._base = (stamp, now_ns)
        return Trust.SIGNED

    def keep(self) -> None:
        """Has the streams written down at once: a command was trusted, and shall not be a second time."""
        self._urgent = True

    def due(self, now_ns: int) -> Book | None:
        """The book to write down now; `None` while the one that is written reaches far enough."""
        enough = self._written.sent_before - self._own(now_ns) >= AHEAD_TICKS // 2
        fresh = now_ns - self._due_ns < _WRITE_EVERY_NS or self._streams == self._written.heard
        if enough and fresh and not self._urgent:
            return None
        self._urgent, self._due_ns = False, now_ns
        return self._book(now_ns, AHEAD_TICKS)

    def last(self, now_ns: int) -> Book:
        """The book to write down at the end: not a stamp more than was used."""
        return self._book(now_ns, 1)

    def written(self, book: Book) -> None:
        """Notes that `book`, which `due` gave, is on the disk."""
        self._written = book

    def _book(self, now_ns: int, ahead: int) -> Book:
        return Book(min(self._own(now_ns) + ahead, LAST_STAMP), dict(self._streams))

    def _own(self, now_ns: int) -> int:
        return max(self.stamp(now_ns), self._last_sent)


def signature(key: bytes, packet: bytes) -> bytes:
    """The 6 bytes that close a signed packet, of all its bytes before them."""
    return hashlib.sha256(key + packet).digest()[:6]
