"""Which of the autopilot's parameters to ask for, and when: answers get lost, some names do not exist. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tilefix.links.known import KnownAutopilot

_AGAIN_NS = 1_000_000_000
_TRIES = 5
_SELDOM_NS = 30_000_000_000
# Parameters change in flight: each is read again after this long.
_REFRESH_NS = 60_000_000_000
_AT_ONCE = 4


class Asking:
    """Remembers what was asked for. A reboot begins it anew."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = {}
        self._asked_ns: dict[str, int] = {}
        self._reboots = 0

    def due(self, names: Sequence[str], autopilot: KnownAutopilot, now_ns: int) -> list[str]:
        """Those of `names` to ask for now, a few at a time."""
        if autopilot.reboots != self._reboots:
            self._reboots = autopilot.reboots
            self._tries.clear()
            self._asked_ns.clear()
        due = [name for name in names if self._is_due(name, autopilot, now_ns)][:_AT_ONCE]
        for name in due:
            self._asked_ns[name] = now_ns
            self._tries[name] = self._tries.get(name, 0) + 1
        return due

    def _is_due(self, name: str, autopilot: KnownAutopilot, now_ns: int) -> bool:
        asked_ns, read_ns = self._asked_ns.get(name), autopilot.read_ns(name)
        if asked_ns is None:
            return read_ns is None or now_ns - read_ns >= _REFRESH_NS
        if read_ns is not None and read_ns >= asked_ns:
            self._tries.pop(name, None)
            return now_ns - read_ns >= _REFRESH_NS
        return now_ns - asked_ns >= (_AGAIN_NS if self._tries.get(name, 0) < _TRIES else _SELDOM_NS)

    def in_vain(self, name: str) -> bool:
        """True when a parameter was asked for often enough to say that it does not exist."""
        return self._tries.get(name, 0) >= _TRIES
