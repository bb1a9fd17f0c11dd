"""The states of a hand-over and what leads from one to another. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tilefix.handover.receiver import Condition
from tilefix.handover.settings import HandoverSettings


class State(enum.Enum):
    """Who gives the position; the value is what NAMED_VALUE_FLOAT `TF_STATE` carries."""

    SHADOW = 0
    DENIED = 1
    SPOOFED = 2
    RETURNING = 3
    VETOED = 4


class Wish(enum.Enum):
    """What the operator ordered; the value is the first parameter of MAV_CMD_USER_1."""

    VETO = 0
    AUTOMATIC = 1
    VISION = 2


class Feed(enum.Enum):
    """What the autopilot is given: the receiver's own position, or vision's."""

    MIRROR = "mirror"
    VISION = "vision"


_FEEDS = {
    State.SHADOW: (Feed.MIRROR, Feed.VISION),
    State.DENIED: (Feed.VISION,),
    State.SPOOFED: (Feed.VISION,),
    State.RETURNING: (Feed.VISION,),
    State.VETOED: (Feed.MIRROR,),
}
_OPERATOR = "ordered"
_GONE = (Condition.UNHEARD, Condition.LOST, Condition.JAMMED)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the machine goes by. `spoofed`: the contradiction is held against the receiver; `contradicts`: there is one,
    whoever is wrong; `agrees_s`: for how long there was none; `compared`: fixes are being laid beside the receiver;
    `steady`: sure fixes come."""

    now_ns: int
    condition: Condition
    spoofed: bool = False
    contradicts: bool = False
    agrees_s: float = 0.0
    compared: bool = False
    steady: bool = False


class Machine:
    """Follows the sights and the operator's wishes."""

    def __init__(self, settings: HandoverSettings | None = None) -> None:
        self._settings = settings or HandoverSettings()
        self.state = State.SHADOW
        self.cause = "start"
        self.wish = Wish.AUTOMATIC
        self.since_ns: int | None = None
        self._begun_ns: int | None = None
        self._returns_from = State.DENIED
        self._agreed_s = 0.0  # at most, while returning
        self._good_since_ns: int | None = None
        self._had_good = False

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """What to give the autopilot, the first that can be had."""
        if self.state is State.RETURNING and self._returns_from is State.DENIED:
            return (Feed.VISION, Feed.MIRROR)
        return _FEEDS[self.state]

    @property
    def forces(self) -> bool:
        """True while the autopilot has to be made to use vision though its receiver has a fix."""
        returning = self.state is State.RETURNING and self._returns_from is State.SPOOFED
        # Jamming lets the receiver have a fix now and then, anywhere.
        denied = self.state is State.DENIED
        jammed = denied and self.cause == Condition.JAMMED.value
        return self.state is State.SPOOFED or returning or jammed or (denied and self.wish is Wish.VISION)

    def step(self, sight: Sight) -> bool:
        """Goes on to an instant; True when the state changed, or a denial turned out to be jamming."""
        if self._begun_ns is None:
            self._begun_ns = self.since_ns = sight.now_ns
        if sight.condition is not Condition.GOOD:
            self._good_since_ns = None
        elif self._good_since_ns is None:
            self._good_since_ns = sight.now_ns
        state, cause = self._next(sight)
        self._had_good = self._had_good or (state is State.SHADOW and sight.condition is Condition.GOOD)
        if state is self.state and (cause == self.cause or cause != Condition.JAMMED.value):
            return False
        if state is State.RETURNING:
            self._returns_from, self._agreed_s = self.state, 0.0
        self.state, self.cause, self.since_ns = state, cause, sight.now_ns
        return True

    def _next(self, sight: Sight) -> tuple[State, str]:
        if self.wish is Wish.VETO:
            return State.VETOED, _OPERATOR
        if self.wish is Wish.VISION:
            return State.DENIED, _OPERATOR
        if self.state is State.VETOED or self.cause == _OPERATOR:
            return self._afresh(sight)
        if self.state is State.SHADOW:
            return self._of_shadow(sight)
        if self.state is State.RETURNING:
            return self._of_returning(sight)
        return self._of_denial(sight)

    def _afresh(self, sight: Sight) -> tuple[State, str]:
        """After an order: as if it had begun now."""
        lost = sight.condition is not Condition.GOOD
        return (State.DENIED, sight.condition.value) if lost else (State.SHADOW, sight.condition.value)

    def _of_shadow(self, sight: Sight) -> tuple[State, str]:
        assert self._begun_ns is not None
        if sight.spoofed and sight.condition not in _GONE:
            return State.SPOOFED, "GNSS contradicts vision"
        if sight.condition is Condition.UNHEARD:
            # A receiver may take a moment to be heard at all.
            waited = sight.now_ns - self._begun_ns > self._settings.silence_s * 1e9
            return (State.DENIED if waited else State.SHADOW), sight.condition.value
        if sight.condition in (Condition.LOST, Condition.JAMMED, Condition.JUMPED):
            return State.DENIED, sight.condition.value
        if sight.condition is Condition.DEGRADED and sight.steady:
            return State.DENIED, sight.condition.value
        return State.SHADOW, self.cause

    def _of_denial(self, sight: Sight) -> tuple[State, str]:
        """Of DENIED and SPOOFED."""
        if sight.spoofed and sight.condition not in _GONE:
            return State.SPOOFED, "GNSS contradicts vision"
        if sight.condition is not Condition.GOOD:
            jammed = self.state is State.DENIED and sight.condition is Condition.JAMMED
            return self.state, (sight.condition.value if jammed else self.cause)
        if sight.compared and sight.agrees_s > 0.0 and not sight.contradicts:
            return State.RETURNING, self.cause
        if self.state is State.SPOOFED:
            return self.state, self.cause
        # Without vision nothing speaks against a receiver that is back; and vision that is itself in doubt does not for
        # long.
        if not (sight.compared or sight.steady or self._had_good):
            return State.SHADOW, "first GNSS"
        if not sight.compared and not sight.contradicts:
            return State.RETURNING, self.cause
        assert self._good_since_ns is not None
        waited_s = (sight.now_ns - self._good_since_ns) / 1e9
        if sight.contradicts and waited_s >= self._settings.return_spoofed_s:
            return State.SHADOW, "GNSS good, vision in doubt"
        return self.state, self.cause

    def _of_returning(self, sight: Sight) -> tuple[State, str]:
        if sight.spoofed and sight.condition not in _GONE:
            return State.SPOOFED, "GNSS contradicts vision"
        if sight.condition is not Condition.GOOD or sight.contradicts:
            return self._returns_from, self.cause if sight.condition is Condition.GOOD else sight.condition.value
        assert self.since_ns is not None
        assert self._good_since_ns is not None
        good_s = (sight.now_ns - max(self.since_ns, self._good_since_ns)) / 1e9
        settings = self._settings
        after_denial = self._returns_from is State.DENIED
        needed_s = settings.return_s if after_denial else settings.return_spoofed_s
        if good_s >= needed_s and sight.agrees_s >= needed_s:
            return State.SHADOW, "GNSS agrees with vision"
        # Vision often ends while it returns: the aircraft lands. What it agreed with is better than nothing.
        self._agreed_s = max(self._agreed_s, sight.agrees_s)
        if not sight.compared and min(good_s, self._agreed_s) >= settings.return_s:
            return State.SHADOW, "GNSS agreed until vision ended"
        if after_denial and not sight.compared and good_s >= settings.return_spoofed_s:
            return State.SHADOW, "GNSS good, no vision to compare"
        return State.RETURNING, self.cause
