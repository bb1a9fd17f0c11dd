"""What the vehicle's GNSS receiver said, and whether it has a fix. Pure.

A loss counts at once; a receiver is back only after it was good for a while.
"""

from __future__ import annotations

from collections import deque

from tilefix.geodesy import between
from tilefix.links.messages import GnssReceiver

# The receiver is asked for 5 Hz; two seconds of silence is a loss. It must then be good this long to be back.
GNSS_SILENCE_NS = 2_000_000_000
GNSS_BACK_NS = 5_000_000_000
_KEPT = 50


class GnssHistory:
    """The last messages of one receiver. `has_fix`: as of the newest of them, however old that is."""

    def __init__(self) -> None:
        self.has_fix = False
        self._said: deque[GnssReceiver] = deque(maxlen=_KEPT)
        self._good_since_ns: int | None = None
        self._good_until_ns: int | None = None

    def take(self, message: GnssReceiver) -> None:
        """Takes in a message."""
        first = not self._said
        self._said.append(message)
        if not message.good:
            self._good_since_ns = None
            self.has_fix = False
            return
        silent = self._good_until_ns is not None and message.at_ns - self._good_until_ns > GNSS_SILENCE_NS
        if self._good_since_ns is None or silent:
            self.has_fix = self.has_fix and not silent
            self._good_since_ns = message.at_ns
        self._good_until_ns = message.at_ns
        # One that is good when tilefix begins to listen was so before.
        if first or message.at_ns - self._good_since_ns >= GNSS_BACK_NS:
            self.has_fix = True

    def available(self, now_ns: int) -> bool:
        """True while it has a fix and is heard."""
        heard_ns = self._good_until_ns
        return self.has_fix and heard_ns is not None and now_ns - heard_ns <= GNSS_SILENCE_NS

    @property
    def last_good(self) -> GnssReceiver | None:
        """Its last good position, however old."""
        return next((one for one in reversed(self._said) if one.good), None)

    @property
    def newest(self) -> GnssReceiver | None:
        """What it said last, `None` when that was no good position."""
        newest = self._said[-1] if self._said else None
        return newest if newest is not None and newest.good else None

    def at(self, at_ns: int) -> tuple[float, float] | None:
        """(lat_deg, lon_deg) interpolated at an instant; `None` without good fixes on both sides of it at most two
        seconds apart."""
        earlier: GnssReceiver | None = None
        for later in self._said:
            if later.at_ns >= at_ns:
                if earlier is None or not (earlier.good and later.good):
                    return None
                return _between(earlier, later, at_ns)
            earlier = later
        return None


def _between(earlier: GnssReceiver, later: GnssReceiver, at_ns: int) -> tuple[float, float] | None:
    if later.at_ns - earlier.at_ns > GNSS_SILENCE_NS or later.at_ns == earlier.at_ns:
        return None
    if earlier.lat_deg is None or later.lat_deg is None or earlier.lon_deg is None or later.lon_deg is None:
        return None
    share = (at_ns - earlier.at_ns) / (later.at_ns - earlier.at_ns)
    return between(earlier.lat_deg, earlier.lon_deg, later.lat_deg, later.lon_deg, share)
