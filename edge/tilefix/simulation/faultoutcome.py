"""What a fault did to a flight's answers: counted before, while and after it lasts, and each wrong position."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tilefix.errors import TilefixError
from tilefix.evaluation.scoring import Answer
from tilefix.simulation.faultyflight import FaultyFlight


@dataclass(frozen=True, slots=True)
class Phase:
    """Answers counted over a part of a flight. `reasons`: how often each was given."""

    frames: int
    fixes: int
    coasts: int
    reasons: dict[str, int]

    @property
    def availability(self) -> float | None:
        """Share of `fix`; `None` without any frame."""
        return self.fixes / self.frames if self.frames else None


@dataclass(frozen=True, slots=True)
class FalseAnswer:
    """A position that was wrong and claimed not to be."""

    frame: str
    at_s: float
    kind: str
    error_m: float
    sigma_m: float
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault did. `before` counts from the first `fix` on; `recovery_s`: from the fault's end to the first
    `fix` that is right, `None` when none came; `false`: all false fixes and false coasts."""

    fault: str
    seed: int
    first_fix_s: float | None
    before: Phase
    during: Phase
    after: Phase
    recovery_s: float | None
    false: tuple[FalseAnswer, ...]


def outcome_of(flight: FaultyFlight, answers: Sequence[Answer], seed: int) -> Outcome:
    """What the answers of that flight come to, before, during and after its fault."""
    if len(answers) != len(flight.arrives_s):
        raise TilefixError(f"{len(answers)} answers to a flight of {len(flight.arrives_s)} frames")
    timed = list(zip(flight.arrives_s, answers, strict=True))
    window = flight.window
    first_s = next((at_s for at_s, one in timed if one.kind == "fix"), None)
    right = (at_s for at_s, one in timed if at_s >= window.end_s and one.kind == "fix" and not one.false_fix)
    recovered_s = next(right, None)
    since_s = math.inf if first_s is None else first_s
    return Outcome(
        "NONE" if flight.fault is None else flight.fault.name,
        seed,
        first_s,
        _phase([one for at_s, one in timed if since_s <= at_s < window.start_s]),
        _phase([one for at_s, one in timed if window.holds(at_s)]),
        _phase([one for at_s, one in timed if at_s >= window.end_s]),
        None if recovered_s is None else recovered_s - window.end_s,
        tuple(_false(at_s, one) for at_s, one in timed if one.false_fix),
    )


def _phase(answers: Sequence[Answer]) -> Phase:
    kinds = Counter(one.kind for one in answers)
    reasons = Counter(one.position.reason.name for one in answers if one.position.reason is not None)
    return Phase(len(answers), kinds["fix"], kinds["coast"], dict(reasons.most_common()))


def _false(at_s: float, answer: Answer) -> FalseAnswer:
    fix, error_m = answer.fix, answer.distance_m
    assert fix is not None and error_m is not None  # noqa: PT018
    reason = "" if fix.reason is None else fix.reason.name
    return FalseAnswer(answer.frame, at_s, answer.kind, error_m, fix.sigma_m, reason)
