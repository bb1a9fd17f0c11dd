"""The autopilot's boot time mapped to this process's monotonic clock. Pure.

Two kinds of evidence: round trips (MAVLink TIMESYNC), of which the one with the shortest round trip in a sliding
window counts, and one-way arrivals, of which the earliest relative to its stamp counts. Round trips win as soon as
there is one. Source: Cristian, "Probabilistic clock synchronization" (1989), minimum round trip.
"""

from __future__ import annotations

from collections import deque

# Round trips are asked for about once a second; a window of 60 keeps the drift of a 50 ppm crystal under 3 ms.
ROUND_TRIPS_KEPT = 60
ARRIVALS_KEPT = 500
# A round trip longer than this says too little about when the other side looked at its clock.
MAX_ROUND_TRIP_NS = 200_000_000
# Time that goes back by more than this is a reboot, not the jitter of out-of-order datagrams.
REBOOT_STEP_NS = 1_000_000_000


class BootTime:
    """Maps nanoseconds since the autopilot's boot to local monotonic nanoseconds."""

    def __init__(self) -> None:
        self._round_trips: deque[tuple[int, int]] = deque(maxlen=ROUND_TRIPS_KEPT)
        self._arrivals: deque[int] = deque(maxlen=ARRIVALS_KEPT)
        self._latest_boot_ns: int | None = None

    def reset(self) -> None:
        """Forgets everything: the autopilot rebooted."""
        self._round_trips.clear()
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
        took_ns = arrived_ns - sent_ns
        if 0 <= took_ns <= MAX_ROUND_TRIP_NS:
            self._round_trips.append((took_ns, sent_ns + took_ns // 2 - boot_ns))

    @property
    def transit_ns(self) -> int:
        """Half the shortest round trip kept; 0 before any."""
        return min(self._round_trips)[0] // 2 if self._round_trips else 0

    def to_local_ns(self, boot_ns: int) -> int | None:
        """Local monotonic time of a boot time; `None` before any evidence."""
        if self._round_trips:
            return boot_ns + min(self._round_trips)[1]
        if self._arrivals:
            return boot_ns + min(self._arrivals)
        return None
