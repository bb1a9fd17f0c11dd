"""How PX4 maps a companion's stamps to its own clock: by the answers to its TIMESYNC questions. Pure.

Only round trips below 10 ms count. Until 500 of them are in, at ten questions a second, everything is dated by its
arrival; from then on by a slowly following offset. More than ten answers in a row that are 100 ms off start it anew.
Source: PX4 Timesync.cpp, commit 02e73e3b6f.
"""

from __future__ import annotations

_LEARNED = 500
_LONGEST_NS = 10_000_000
_FAR_S = 0.1
_PATIENCE = 10
_FIRST_GAIN, _LAST_GAIN = 0.05, 0.003


class CompanionClock:
    """`offset_s`: added to a stamp of the companion gives the autopilot's own time; `None` while it is not known."""

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._offset_s, self._count, self._far = 0.0, 0, 0

    @property
    def offset_s(self) -> float | None:
        """The offset, once enough answers came."""
        return self._offset_s if self._count >= _LEARNED else None

    def answered(self, asked_ns: int, told_ns: int, now_ns: int) -> None:
        """Takes the companion's `told_ns` for a question of `asked_ns` that was answered at `now_ns`, both of the
        autopilot's clock."""
        if not 0 <= now_ns - asked_ns < _LONGEST_NS:
            return
        offset_s = ((asked_ns + now_ns) // 2 - told_ns) / 1e9
        learned = self._count >= _LEARNED
        if learned and abs(offset_s - self._offset_s) > _FAR_S:
            self._far += 1
            if self._far > _PATIENCE:
                self._restart()
            return
        gain = 1.0 if self._count == 0 else _LAST_GAIN if learned else _FIRST_GAIN
        self._offset_s += gain * (offset_s - self._offset_s)
        self._count, self._far = self._count + 1, 0
