"""Stands between SITL and tilefix: passes every byte on, notes what tilefix says, and can cut the link."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from link_clock import LinkClock
from tilefix.links.dialect import KNOWN, message_of
from tilefix.links.packets import Framer
from tilefix.links.transport import Address, Transport
from tilefix.ports import Clock

_TURN_S = 0.002
_ARDUPILOT_M_PER_DEG = 111_318.84502145034  # its own metre (`Location::get_distance_NE`), which it turns back by


@dataclass(frozen=True)
class Sent:
    """One position that tilefix sent: when it passed, the instant it holds for (both monotonic), and what it says.

    tilefix stamps with its own clock, this machine's monotonic one less the moment that its link was opened; the
    requests for the time that it sends tell that moment. Local positions are dated by as much later as the autopilot
    takes them to be late by (VISO_DELAY_MS).
    """

    passed_ns: int
    at_ns: int
    message: str
    lat_deg: float
    lon_deg: float
    sigma_m: float
    amsl_m: float | None = None


@dataclass
class Notes:
    """What tilefix said. `texts`, `values`: with the monotonic time they passed."""

    positions: list[Sent] = field(default_factory=list)
    texts: list[tuple[int, int, str]] = field(default_factory=list)
    values: list[tuple[int, str, float]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    states: list[tuple[int, int]] = field(default_factory=list)


class Relay:
    """A thread between two transports; `cut` stops it passing anything."""

    def __init__(self, autopilot: Transport, companion: Transport, clock: Clock) -> None:
        self._autopilot, self._companion, self._clock = autopilot, companion, clock
        self._peer: Address | None = None
        self._framer = Framer(KNOWN, KNOWN)
        self._link_clock = LinkClock()
        # Of the autopilot's EKF, degrees: what local positions count from. Set from outside once it is known.
        self.origin: tuple[float, float] | None = None
        # What the autopilot takes off the stamp of a local position: its VISO_DELAY_MS. Set from outside, too.
        self.vision_delay_ns = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self.cut = threading.Event()
        self.notes = Notes()
        self.lock = threading.Lock()

    def start(self) -> None:
        """Begins to pass bytes on."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while it passes bytes on."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends it and closes both ends; may be called twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._autopilot.close()
        self._companion.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.turn()
            time.sleep(_TURN_S)

    def turn(self) -> None:
        """Passes on what is there."""
        cut = self.cut.is_set()
        for data, peer in self._autopilot.read():
            self._peer = peer
            if not cut:
                self._companion.write(data, None)
        for data, _ in self._companion.read():
            if not cut:
                self._autopilot.write(data, self._peer)
                self._listen(data)

    def _listen(self, data: bytes) -> None:
        now_ns = self._clock.now_ns()
        with self.lock:
            for packet in self._framer.feed(data):
                message = message_of(packet)
                kind = message.get_type()
                self.notes.counts[kind] = self.notes.counts.get(kind, 0) + 1
                self._note(kind, message, now_ns)

    def _note(self, kind: str, message: Any, now_ns: int) -> None:
        notes = self.notes
        self._link_clock.hear(message, now_ns)
        epoch_ns = self._link_clock.epoch_ns
        if kind == "GPS_INPUT" and epoch_ns is not None:
            at_ns = message.time_usec * 1000 + epoch_ns
            place = (message.lat / 1e7, message.lon / 1e7, message.horiz_accuracy, message.alt)
            notes.positions.append(Sent(now_ns, at_ns, kind, *place))
        elif kind in ("VISION_POSITION_ESTIMATE", "ODOMETRY") and None not in (epoch_ns, self.origin):
            stamp_ns = getattr(message, "usec", getattr(message, "time_usec", 0)) * 1000
            at_ns = stamp_ns + (epoch_ns or 0) - self.vision_delay_ns
            lat_deg, lon_deg = self.origin or (0.0, 0.0)
            north_m, east_m = message.x, message.y
            covariance = message.covariance if kind == "VISION_POSITION_ESTIMATE" else message.pose_covariance
            north_deg = north_m / _ARDUPILOT_M_PER_DEG
            across = max(math.cos(math.radians(lat_deg + 0.5 * north_deg)), 1e-6)
            lat_deg, lon_deg = lat_deg + north_deg, lon_deg + east_m / _ARDUPILOT_M_PER_DEG / across
            # The autopilot adds the variances up by rules of its own; here it is what each axis states.
            notes.positions.append(Sent(now_ns, at_ns, kind, lat_deg, lon_deg, math.sqrt(max(covariance[0], 0.0))))
        elif kind == "COMMAND_INT" and message.command == mavlink.MAV_CMD_EXTERNAL_POSITION_ESTIMATE:
            at_ns = now_ns - round(1e9 * max(message.param2, 0.0))
            notes.positions.append(Sent(now_ns, at_ns, "43003", message.x / 1e7, message.y / 1e7, message.param3))
        elif kind == "STATUSTEXT":
            notes.texts.append((now_ns, message.severity, message.text))
        elif kind == "NAMED_VALUE_FLOAT":
            notes.values.append((now_ns, message.name, message.value))
        elif kind == "HEARTBEAT" and (not notes.states or notes.states[-1][1] != message.system_status):
            notes.states.append((now_ns, message.system_status))
