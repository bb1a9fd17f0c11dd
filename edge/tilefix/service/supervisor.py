"""What systemd is told of the service: ready, alive, stopping. Source: sd_notify(3), the protocol of NOTIFY_SOCKET.

Only a completed turn of the loop of a daemon whose parts work feeds the watchdog; no thread or timer does. A hung loop,
a hung engine and frames that fail one after the other all end in silence, and systemd starts the service anew.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping

from tilefix.links.messages import HealthState

# systemd kills what it has not heard of for WATCHDOG_USEC; a third leaves room for two lost turns.
_FEEDS_PER_PERIOD = 3
PROVED_AFTER_NS = 30_000_000_000


class Supervisor:
    """Tells systemd, where there is one: without NOTIFY_SOCKET every call does nothing."""

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, proved: Callable[[], None] | None = None
    ) -> None:
        """`environment`: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read; the process's by default.
        `proved`: called once, when the service looked at pictures for `PROVED_AFTER_NS` without a fault."""
        told = os.environ if environment is None else environment
        self._address = _address(told.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        ours = told.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period_us = told.get("WATCHDOG_USEC", "") if ours else ""
        self.period_ns = int(period_us) * 1000 if period_us.isdigit() else 0
        self._fed_ns: int | None = None
        self._state: HealthState | None = None
        self._proved = proved
        self._serving_since_ns: int | None = None

    def turned(self, now_ns: int, state: HealthState) -> None:
        """A turn of the loop is complete: ready with the first one, the watchdog fed when due, a new state told."""
        lines = [] if self._state is not None else ["READY=1"]
        if state is not self._state:
            lines.append(f"STATUS={state.value}")
        due = self._fed_ns is None or now_ns - self._fed_ns >= self.period_ns // _FEEDS_PER_PERIOD
        feed = bool(self.period_ns) and due and state is not HealthState.CRITICAL
        if feed:
            lines.append("WATCHDOG=1")
        if lines and self._tell(lines):
            self._state = state
            self._fed_ns = now_ns if feed else self._fed_ns
        self._prove(now_ns, serving=state in (HealthState.STANDBY, HealthState.ACTIVE))

    def _prove(self, now_ns: int, *, serving: bool) -> None:
        if not serving or self._serving_since_ns is None:
            self._serving_since_ns = now_ns if serving else None
        elif self._proved is not None and now_ns - self._serving_since_ns >= PROVED_AFTER_NS:
            proved, self._proved = self._proved, None
            proved()

    def stopping(self) -> None:
        """The service was told to stop, or has nothing left to look at."""
        self._tell(["STOPPING=1"])

    def close(self) -> None:
        """Releases the socket; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, lines: list[str]) -> bool:
        """False when nobody listens, or its queue is full: the next turn tries again."""
        if self._socket is None:
            return False
        with contextlib.suppress(OSError):
            self._socket.sendto("\n".join(lines).encode(), self._address)
            return True
        return False


def _address(name: str) -> str:
    """A path, or a name in Linux' abstract namespace; nothing for anything else."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else ""
