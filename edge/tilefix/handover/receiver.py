"""How the GNSS receiver is, from what it says alone: lost, degraded, jammed, or jumping. Pure."""

from __future__ import annotations

import enum
import math
from collections import deque

from tilefix.geodesy import apart_m
from tilefix.handover.compare import carried
from tilefix.handover.settings import HandoverSettings
from tilefix.links.messages import GnssReceiver

# A position repeated to the autopilot must not be older.
PRESENT_NS = 500_000_000
# Losses and jumps within so long that make it jammed, and how long without any it takes to be well again.
_JAMMED_EVENTS, _JAMMED_NS, _CALM_NS = 3, 20_000_000_000, 10_000_000_000
# What a receiver with a velocity may still be off by, beside its accuracy: a manoeuvre between two words of it.
_MANOEUVRE_MPS2 = 20.0
_UNKNOWN_SPEED_MPS = 60.0
_GAP_NS = 5_000_000_000


class Condition(enum.Enum):
    """How the receiver is; the value is what a pilot reads."""

    UNHEARD = "no GNSS"
    GOOD = "GNSS good"
    DEGRADED = "GNSS degraded"
    JUMPED = "GNSS jumped"
    JAMMED = "GNSS jammed"
    LOST = "GNSS lost"


class ReceiverWatch:
    """Follows the autopilot's first receiver."""

    def __init__(self, settings: HandoverSettings | None = None) -> None:
        self._settings = settings or HandoverSettings()
        self._good: GnssReceiver | None = None
        self._heard_ns: int | None = None
        self._bad_since_ns: int | None = None
        self._poor_since_ns: int | None = None
        self._distrusted_until_ns: int | None = None
        self._events: deque[int] = deque()

    def hear(self, receiver: GnssReceiver) -> None:
        """Takes in what it said."""
        self._heard_ns = receiver.at_ns
        if not receiver.good:
            if self._bad_since_ns is None:
                self._bad_since_ns = receiver.at_ns
                if self._good is not None:
                    self._note(receiver.at_ns)
            return
        if self._jumped(receiver):
            self._note(receiver.at_ns)
            self._distrusted_until_ns = receiver.at_ns + round(self._settings.distrust_s * 1e9)
        self._bad_since_ns = None
        self._good = receiver
        if not self._poor(receiver):
            self._poor_since_ns = None
        elif self._poor_since_ns is None:
            self._poor_since_ns = receiver.at_ns

    def _note(self, at_ns: int) -> None:
        self._events.append(at_ns)
        while at_ns - self._events[0] > _JAMMED_NS:
            self._events.popleft()

    def _jumped(self, receiver: GnssReceiver) -> bool:
        before = self._good
        if before is None or not 0 < receiver.at_ns - before.at_ns <= _GAP_NS:
            return False
        assert receiver.lat_deg is not None
        assert receiver.lon_deg is not None
        seconds = (receiver.at_ns - before.at_ns) / 1e9
        allowed_m = self._settings.jump_m + 3.0 * (receiver.horizontal_sigma_m or 0.0)
        east_mps, north_mps = before.velocity_east_mps, before.velocity_north_mps
        if east_mps is None or north_mps is None:
            east_mps = north_mps = 0.0
            allowed_m += _UNKNOWN_SPEED_MPS * seconds
        else:
            allowed_m += 0.5 * _MANOEUVRE_MPS2 * seconds * seconds
        there = carried(before, east_mps, north_mps, receiver.at_ns)
        return apart_m(receiver.lat_deg, receiver.lon_deg, *there) > allowed_m

    def _poor(self, receiver: GnssReceiver) -> bool:
        settings = self._settings
        return (
            (receiver.satellites is not None and receiver.satellites < settings.min_satellites)
            or (receiver.hdop is not None and receiver.hdop > settings.max_hdop)
            or (receiver.horizontal_sigma_m or 0.0) > settings.max_accuracy_m
        )

    @property
    def last(self) -> GnssReceiver | None:
        """The last good position, however old."""
        return self._good

    def present(self, now_ns: int) -> bool:
        """True while its newest word is a fresh position that is believed."""
        if self._good is None or self._bad_since_ns is not None or now_ns - self._good.at_ns > PRESENT_NS:
            return False
        return self._distrusted_until_ns is None or now_ns >= self._distrusted_until_ns

    def condition(self, now_ns: int) -> Condition:
        """How it is at an instant. Ask only while the autopilot itself is heard."""
        settings = self._settings
        if self._good is None or self._heard_ns is None:
            return Condition.UNHEARD
        bad_s = 0.0 if self._bad_since_ns is None else (now_ns - self._bad_since_ns) / 1e9
        if bad_s > settings.loss_s or now_ns - self._good.at_ns > settings.silence_s * 1e9:
            return Condition.LOST
        if len(self._events) >= _JAMMED_EVENTS and now_ns - self._events[-1] < _CALM_NS:
            return Condition.JAMMED
        if self._distrusted_until_ns is not None and now_ns < self._distrusted_until_ns:
            return Condition.JUMPED
        poor_s = 0.0 if self._poor_since_ns is None else (now_ns - self._poor_since_ns) / 1e9
        return Condition.DEGRADED if poor_s > settings.degraded_s else Condition.GOOD


def finite(receiver: GnssReceiver) -> bool:
    """True when all that it says is a number."""
    told = (receiver.lat_deg, receiver.lon_deg, receiver.amsl_m, receiver.horizontal_sigma_m,
            receiver.velocity_north_mps, receiver.velocity_east_mps, receiver.hdop)  # fmt: skip
    return all(one is None or math.isfinite(one) for one in told)
