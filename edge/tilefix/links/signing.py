"""MAVLink 2 signing: which packets are trusted, and the stamps of one's own. No clock, thread or file.

Stamps count 10 us since 2015. A stamp is used once: each stream, (system, component, link), must rise, none may lie
more than a minute behind, and what may be sent or accepted is written down ahead (`Book`), so that neither a stamp of
one's own nor a packet of another is used twice across a restart, whatever the machine's clock says. The stamps of
others that are trusted carry one's own along; the machine's clock is asked only when there is no book yet.
Source: MAVLink message signing.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from tilefix.links.packets import Packet

KEY_BYTES = 32
EPOCH_UNIX_S = 1_420_070_400
TICK_NS = 10_000
_TICKS_PER_S = 100_000
LAST_STAMP = (1 << 48) - 1
MAX_AGE_TICKS = 60 * _TICKS_PER_S
# After a crash the link is deaf for at most this long, and the book is written every half of it.
AHEAD_TICKS = 5 * _TICKS_PER_S
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
    TOO_OLD = "more than a minute behind"
    NOT_WRITTEN = "ahead of what is written down"

    @property
    def accepted(self) -> bool:
        """True for a packet that may be listened to."""
        return self in (Trust.SIGNED, Trust.UNSIGNED)


@dataclass(frozen=True)
class Book:
    """What a restart has to know: stamps below these were, or may have been, used. `sent_before`: by tilefix itself;
    `heard_before`: by each stream."""

    sent_before: int
    heard_before: Mapping[Stream, int] = field(default_factory=dict)


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
        self._streams = {stream: before - 1 for stream, before in book.heard_before.items()}
        self._ahead: dict[Stream, int] = {}
        self._base = (book.sent_before, now_ns)
        self.counts = dict.fromkeys(Trust, 0)

    @property
    def key(self) -> bytes:
        """The secret."""
        return self._key

    def stamp(self, now_ns: int) -> int:
        """The stamp that now has: it runs on from the highest one that is known."""
        stamp, at_ns = self._base
        return min(stamp + max(now_ns - at_ns, 0) // TICK_NS, LAST_STAMP)

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
        if stamp <= self._streams.get(stream, -1):
            return Trust.REPLAYED
        if stamp < self.stamp(now_ns) - MAX_AGE_TICKS:
            return Trust.TOO_OLD
        # Used up, trusted or not: else whoever repeats a packet that came too early would be taken for its sender.
        self._streams[stream] = stamp
        if stamp >= self._written.heard_before.get(stream, 0):
            self._ahead[stream] = stamp
            return Trust.NOT_WRITTEN
        if stamp > self.stamp(now_ns):
            self._base = (stamp, now_ns)
        return Trust.SIGNED

    def due(self, now_ns: int) -> Book | None:
        """The book to write down now; `None` while the one that is written reaches far enough."""
        enough = AHEAD_TICKS // 2
        written = self._written
        if (
            not self._ahead
            and written.sent_before - self._own(now_ns) >= enough
            and all(written.heard_before.get(stream, 0) - last >= enough for stream, last in self._live(now_ns).items())
        ):
            return None
        return self._book(now_ns, AHEAD_TICKS)

    def last(self, now_ns: int) -> Book:
        """The book to write down at the end: not a stamp more than was used."""
        return self._book(now_ns, 1)

    def written(self, book: Book) -> None:
        """Notes that `book`, which `due` gave, is on the disk."""
        self._written = book
        self._ahead = {
            stream: stamp for stream, stamp in self._ahead.items() if stamp >= book.heard_before.get(stream, 0)
        }

    def _book(self, now_ns: int, ahead: int) -> Book:
        heard = self._live(now_ns)
        before = {stream: min(stamp + ahead, LAST_STAMP) for stream, stamp in heard.items()}
        return Book(min(max(self._own(now_ns), *heard.values(), 0) + ahead, LAST_STAMP), before)

    def _own(self, now_ns: int) -> int:
        return max(self.stamp(now_ns), self._last_sent)

    def _live(self, now_ns: int) -> dict[Stream, int]:
        """The streams that still say something: what lies a minute behind is refused without being remembered."""
        oldest = self.stamp(now_ns) - MAX_AGE_TICKS
        self._streams = {stream: last for stream, last in self._streams.items() if last >= oldest}
        return dict(self._streams)


def signature(key: bytes, packet: bytes) -> bytes:
    """The 6 bytes that close a signed packet, of all its bytes before them."""
    return hashlib.sha256(key + packet).digest()[:6]
