"""Which lines reach the pilot, and when: changes soon, but no chatter of reasons that take turns. Pure."""

from __future__ import annotations

_EVERY_NS = 1_000_000_000
_AGAIN_NS, _LASTS_NS = 30_000_000_000, 5_000_000_000
_CHARS = 50


class Telling:
    """At most one line a second, and only another than was told last. A line that came too soon is told when its second
    is over, if it still holds. A reason for silence is not told again within half a minute unless it lasts."""

    def __init__(self) -> None:
        self._told: str | None = None
        self._told_ns: int | None = None
        self._holds: str | None = None
        self._since_ns = 0
        self._reasons_ns: dict[str, int] = {}  # when each was told, since there was something else last

    def due(self, line: str, now_ns: int, *, reason: bool) -> str | None:
        """The line that holds now, cut to what a STATUSTEXT takes, when it is to be told. `reason`: it says why nothing
        is sent; any other is told each time, and so is every reason that follows it."""
        line = line[:_CHARS]
        if line != self._holds:
            self._holds, self._since_ns = line, now_ns
        if line == self._told or (self._told_ns is not None and now_ns - self._told_ns < _EVERY_NS):
            return None
        if not reason:
            self._reasons_ns.clear()
        elif now_ns - self._since_ns < _LASTS_NS and now_ns - self._reasons_ns.get(line, -_AGAIN_NS) < _AGAIN_NS:
            return None
        else:
            self._reasons_ns[line] = now_ns
        self._told, self._told_ns = line, now_ns
        return line
