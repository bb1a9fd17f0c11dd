"""How well an autopilot is heard: rates, ages and round trips of what flying needs. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from tilefix.links.messages import (
    Attitude,
    AutopilotKind,
    AutopilotTime,
    EkfFlags,
    GnssReceiver,
    LinkMessage,
    Origin,
    Pressure,
    Route,
)

# Attitude is interpolated between samples: below this a turn between two of them is lost.
_LEAST_ATTITUDE_HZ = 20.0
# An attitude that comes later than this after its instant keeps frames waiting.
_OLD_MS = 100.0
_SLOW_ROUND_TRIP_MS = 100.0
_NEEDED: dict[type[LinkMessage], str] = {
    Attitude: "attitude",
    Pressure: "air pressure",
    GnssReceiver: "GNSS receiver",
    AutopilotTime: "clock",
}


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of message: how often it came, and how old it was then (median and oldest)."""

    name: str
    rate_hz: float
    age_ms: float | None = None
    oldest_ms: float | None = None


@dataclass(frozen=True, slots=True)
class LinkHealth:
    """What was heard over `seconds`. `complaints`: one line for each thing that flying would suffer from."""

    seconds: float
    streams: tuple[Stream, ...]
    round_trip_ms: float | None
    complaints: tuple[str, ...]


class LinkTally:
    """Counts what comes between `start` and `health`."""

    def __init__(self) -> None:
        self._start_ns = 0
        self._ages_ns: dict[type[LinkMessage], list[int]] = defaultdict(list)

    def start(self, now_ns: int) -> None:
        """Begins to count."""
        self._start_ns = now_ns
        self._ages_ns.clear()

    def take(self, message: LinkMessage, now_ns: int) -> None:
        """Counts one that came now."""
        self._ages_ns[type(message)].append(now_ns - message.at_ns)

    def health(self, now_ns: int, kind: AutopilotKind, route: Route, round_trip_ns: int | None) -> LinkHealth:
        """The tally, and what is amiss for that route."""
        seconds = max((now_ns - self._start_ns) / 1e9, 1e-3)
        streams = {kind: self._stream(kind, name, seconds) for kind, name in _NEEDED.items()}
        complaints = []
        attitude = streams[Attitude]
        if attitude.rate_hz == 0.0:
            complaints.append("no attitude comes: no picture can be used")
        elif attitude.rate_hz < _LEAST_ATTITUDE_HZ:
            complaints.append(
                f"attitude comes {attitude.rate_hz:.0f} times a second, 40 were asked for: is the link too slow?"
            )
        if attitude.age_ms is not None and attitude.age_ms > _OLD_MS:
            complaints.append(f"attitude is {attitude.age_ms:.0f} ms old when it comes")
        if streams[Pressure].rate_hz == 0.0:
            complaints.append("no air pressure comes: there is no height above sea level")
        if streams[GnssReceiver].rate_hz == 0.0:
            complaints.append(
                "nothing comes of the GNSS receiver: its loss cannot be noticed, nor its position repeated"
            )
        if round_trip_ns is None:
            complaints.append("the autopilot does not answer TIMESYNC: ages of its messages are guesses")
        elif round_trip_ns / 1e6 > _SLOW_ROUND_TRIP_MS:
            complaints.append(f"an answer takes {round_trip_ns / 1e6:.0f} ms at best")
        if route in (Route.VISION, Route.ODOMETRY) and not self._ages_ns[Origin]:
            complaints.append("the autopilot has no origin yet, which local positions count from")
        if kind is AutopilotKind.ARDUPILOT and not self._ages_ns[EkfFlags]:
            complaints.append("EKF_STATUS_REPORT does not come")
        round_trip_ms = None if round_trip_ns is None else round_trip_ns / 1e6
        return LinkHealth(seconds, tuple(streams.values()), round_trip_ms, tuple(complaints))

    def _stream(self, kind: type[LinkMessage], name: str, seconds: float) -> Stream:
        ages_ns = self._ages_ns[kind]
        rate_hz = len(ages_ns) / seconds
        # A receiver's word carries no boot time of its own: its age is not known.
        if not ages_ns or kind is GnssReceiver:
            return Stream(name, rate_hz)
        return Stream(name, rate_hz, statistics.median(ages_ns) / 1e6, max(ages_ns) / 1e6)
