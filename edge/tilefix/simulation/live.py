"""Runs the autopilot stand-in in real time, over UDP on the loopback interface."""

from __future__ import annotations

import contextlib
import socket
import threading

from tilefix.ports import Clock
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.vehicle import Motion

_WAIT_S = 0.004


class LiveAutopilot:
    """A thread that flies `core` by the clock and exchanges its packets with `peer`, (host, port)."""

    def __init__(self, core: SimulatedAutopilot, clock: Clock, peer: tuple[str, int]) -> None:
        self.core = core
        self.lock = threading.Lock()
        self._clock = clock
        self._peer = peer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="autopilot", daemon=True)

    def start(self) -> None:
        """Begins to fly."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the flight; may be called twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    @property
    def alive(self) -> bool:
        """True while it flies."""
        return self._thread.is_alive()

    def truth_at(self, at_ns: int) -> Motion:
        """The true motion at an instant, clipped to what was flown."""
        with self.lock:
            return self.core.flight.truth_at(at_ns)

    def deny_gnss(self) -> None:
        """Takes the receiver's fix away."""
        with self.lock:
            self.core.flight.gnss_denied = True

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            udp.settimeout(_WAIT_S)
            while not self._stop.is_set():
                with self.lock:
                    packets = self.core.step(self._clock.now_ns())
                with contextlib.suppress(OSError):  # nobody listens yet
                    for packet in packets:
                        udp.sendto(packet, self._peer)
                try:
                    data = udp.recv(65535)
                except OSError:  # nothing came in time, or the port that was sent to is closed
                    continue
                now_ns = self._clock.now_ns()
                with self.lock:
                    self.core.receive(data, now_ns)
