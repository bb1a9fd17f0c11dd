"""What the pilot and the log are told of a hand-over. Pure."""

from __future__ import annotations

import math
from collections import deque

from tilefix.handover.machine import State
from tilefix.handover.scoring import Score, Verdict
from tilefix.links.messages import Severity

_EVERY_NS = 1_000_000_000
_MOST = 8  # lines that wait
_CHARS = 50
_PREFIX = "tilefix: "
Line = tuple[Severity, str]


class Announcer:
    """Lines on changes, at most one a second; figures whenever asked."""

    def __init__(self) -> None:
        self._waiting: deque[Line] = deque(maxlen=_MOST)
        self._told_ns: int | None = None
        self._verdict = Verdict.NOT_ENOUGH

    def state(self, state: State, cause: str, distance_m: float | None) -> None:
        """The state changed. `distance_m`: between vision and receiver, where they were compared."""
        off = "" if distance_m is None else f", {distance_m:.0f} m off"
        line = {
            State.SHADOW: (Severity.NOTICE, "GNSS in use, vision stands by"),
            State.DENIED: (Severity.WARNING, f"{cause}, vision takes over"),
            State.SPOOFED: (Severity.ERROR, f"GNSS spoofed{off}, vision in use"),
            State.RETURNING: (Severity.NOTICE, "GNSS is back, compared with vision"),
            State.VETOED: (Severity.WARNING, "vision held back by the operator"),
        }[state]
        self.say(*line)

    def score(self, score: Score) -> None:
        """The verdict may have changed; that there is not enough to go by is no news."""
        verdict = score.verdict
        if verdict is self._verdict or verdict is Verdict.NOT_ENOUGH:
            return
        self._verdict = verdict
        if verdict is Verdict.CONSISTENT:
            self.say(Severity.INFO, f"vision agrees with GNSS, {score.median_m:.1f} m")
        elif verdict is Verdict.BIASED:
            east_m, north_m = score.bias_east_m, score.bias_north_m
            self.say(Severity.WARNING, f"vision biased: {east_m:+.0f} m east {north_m:+.0f} north")
        else:
            self.say(Severity.WARNING, f"vision errs {score.stretch:.1f} times more than stated")

    def say(self, severity: Severity, line: str) -> None:
        """Leaves a line for its turn."""
        self._waiting.append((severity, (_PREFIX + line)[:_CHARS]))

    def next_line(self, now_ns: int) -> Line | None:
        """The line to send now, if any."""
        if not self._waiting or (self._told_ns is not None and now_ns - self._told_ns < _EVERY_NS):
            return None
        self._told_ns = now_ns
        return self._waiting.popleft()


def figures(state: State, score: Score, level: float) -> list[tuple[str, float]]:
    """What is logged once a second: names of at most ten characters. Of a score without comparisons there is none."""
    told = [("TF_STATE", float(state.value)), ("TF_SPOOF", level)]
    if not math.isnan(score.median_m):
        told += [("TF_SHADOW", score.median_m), ("TF_BIAS", score.bias_m), ("TF_STRETCH", score.stretch)]
    return told
