"""What became of a position that came from outside, whatever its route."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field


class Verdict(enum.Enum):
    """What became of one message."""

    FUSED = "fused"
    SPARE = "good, but another source is used"
    NOT_SET_UP = "the parameters do not let it in"
    WRONG_RECEIVER = "for another receiver"
    WRONG_FRAME = "in a frame that is dropped unread"
    WRONG_SENSOR = "of a sensor that the parameters do not name"
    UNSUPPORTED = "a message that this autopilot does not know"
    DENIED = "a command of a form that is refused"
    UNHEALTHY = "says itself that it is bad"
    NO_FIX = "states no 3D fix"
    NOT_FINITE = "holds a number that is none"
    OUT_OF_TIME = "too old, or of the future: never fused"
    TOO_CLOSE = "too soon after the one before"
    TOO_SLOW = "too long after the one before to start with"
    NOT_ALIGNED = "not accurate enough for long enough to start from"
    NO_ORIGIN = "the estimator has no origin yet"
    POSITION_FRESH = "the estimator has a position of its own"
    STOPPED_AIDING = "the estimator gave its position up"
    GATED = "contradicts the estimate"


class Flaw(enum.Enum):
    """What is wrong with one that is taken all the same."""

    NO_VELOCITY = "velocity ignored: fused as the last one, or as standing still"
    NO_ALTITUDE = "altitude ignored: taken as zero"
    LATE = "later than the estimator's buffer reaches back: taken for younger than it is"
    SLOW = "comes too slowly or irregularly: the vehicle does not arm with it"
    NO_ACCURACY = "states no error of its own: taken for as good as allowed"
    MISDATED = "its time stamp does not fit the others of the link"
    VELOCITY_GATED = "its velocity contradicts the estimate"


@dataclass
class Tally:
    """The count of verdicts and flaws of one route."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    flaws: Counter[Flaw] = field(default_factory=Counter)

    def note(self, verdict: Verdict, *flaws: Flaw) -> Verdict:
        """Counts one message and gives its verdict back."""
        self.verdicts[verdict] += 1
        self.flaws.update(flaws)
        return verdict
