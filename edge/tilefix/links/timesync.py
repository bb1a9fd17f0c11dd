"""The autopilot's boot time mapped to this process's monotonic clock. Pure.

Two kinds of evidence: round trips (MAVLink TIMESYNC), of which the one with the shortest round trip in a sliding
window counts, and one-way arrivals, of which the earliest relative to its stamp counts. Round trips win as soon as
there is one. Each bounds the difference of the clocks: when a new one's bounds shut an earlier one's out, a clock
stepped or stood still, and what came before no longer counts. Source: Cristian, "Probabilistic clock synchronization"
(1989), minimum round trip and bounds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# Round trips are asked for about once a second; a window of 60 keeps the drift of a 50 ppm crystal under 3 ms.
ROUND_TRIPS_KEPT = 60
ARRIVALS_KEPT = 500
# A round trip longer than this says too little about when the other side looked at its clock.
MAX_ROUND_TRIP_NS = 200_000_000
# What bounds may part by and still be of one pair of clocks: stamps of a millisecond, and drift with time.
_STAMP_NS = 1_000_000
_DRIFT = 500e-6
# Time that goes back by more than this is a reboot, not the jitter of out-of-order datagrams.
REBOOT_STEP_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _RoundTrip:
    """`least_ns`, `most_ns`: bounds of local time minus boot time, at `arrived_ns`."""

    arrived_ns: int
    least_ns: int
    most_ns: int

    @property
    def took_ns(self) -> int:
        return self.most_ns - self.least_ns

    @property
    def offset_ns(self) -> int:
        return self.least_ns + self.took_ns // 2

    def agrees(self, later: _RoundTrip) -> bool:
        """True when steady clocks explain both."""
        slack_ns = _STAMP_NS + _DRIFT * (later.arrived_ns - self.arrived_ns)
        return max(self.least_ns, later.least_ns) - min(self.most_ns, later.most_ns) <= slack_ns


class BootTime:
    """Maps nanoseconds since the autopilot's boot to local monotonic nanoseconds."""

    def __init__(self) -> None:
        self._round_trips: deque[_RoundTrip] = deque(maxlen=ROUND_TRIPS_KEPT)
        self._shortest: _RoundTrip | None = None  # of those kept, the newest of equals
        self._arrivals: deque[int] = deque(maxlen=ARRIVALS_KEPT)
        self._latest_boot_ns: int | None = None

    def reset(self) -> None:
        """Forgets everything: the autopilot rebooted."""
        self._round_trips.clear()
        self._shortest = None
        self._arrivals.clear()
        self._latest_boot_ns = None

    def heard(self, boot_ns: int, arrived_ns: int) -> bool:
        """Notes a stamp and when it arrived. True when the stamp shows that the autopilot rebooted (the old
        mapping is then forgotten)."""
        rebooted = self._latest_boot_ns is not None and boot_ns < self._latest_boot_ns - REBOOT_STEP_NS
        if rebooted:
            self.reset()
        self._latest_boot_ns = boot_ns if self._latest_boot_ns is None else max(self._latest_boot_ns, boot_ns)
        self._arrivals.append(arrived_ns - boot_ns)
        return rebooted

    def round_trip(self, sent_ns: int, boot_ns: int, arrived_ns: int) -> None:
        """Notes that the autopilot's clock showed `boot_ns` some time between `sent_ns` and `arrived_ns`."""
        if not 0 <= arrived_ns - sent_ns <= MAX_ROUND_TRIP_NS:
            return
        new = _RoundTrip(arrived_ns, sent_ns - boot_ns, arrived_ns - boot_ns)
        if not all(one.agrees(new) for one in self._round_trips):
            self._round_trips.clear()
        self._round_trips.append(new)
        # Kept, for it is asked for with every message.
        self._shortest = min(self._round_trips, key=lambda one: (one.took_ns, -one.arrived_ns))

    @property
    def transit_ns(self) -> int:
        """Half the shortest round trip kept; 0 before any."""
        return 0 if self._shortest is None else self._shortest.took_ns // 2

    def to_local_ns(self, boot_ns: int) -> int | None:
        """Local monotonic time of a boot time; `None` before any evidence."""
        if self._shortest is not None:
            return boot_ns + self._shortest.offset_ns
        if self._arrivals:
            return boot_ns + min(self._arrivals)
        return None
