"""The hand-over between GNSS and vision as one thing: takes what was heard and seen, says what to do. Pure.

Without clock, socket or thread: the daemon gives the time, sends what is asked for, and calls under its own lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tilefix.handover.announce import Announcer, Line, figures
from tilefix.handover.judge import Judge
from tilefix.handover.machine import Feed, Machine, Sight, State, Wish
from tilefix.handover.receiver import Condition, ReceiverWatch, finite
from tilefix.handover.scoring import Score, Verdict
from tilefix.handover.selection import ReceiverChoice, Request, SourceChoice, choice_for
from tilefix.handover.settings import HandoverSettings
from tilefix.handover.veto import Operator
from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import (
    CommandResult,
    GnssReceiver,
    LinkMessage,
    Order,
    Parameter,
    RcChannels,
    Rebooted,
    Severity,
)
from tilefix.links.reports import Route
from tilefix.types import Covariance, Fix, NoFix

_MAX_WIDENING = 16.0  # of variances
_DOUBTED = (Verdict.BIASED, Verdict.OVERCONFIDENT)


@dataclass(frozen=True, slots=True)
class Turn:
    """What follows from one turn. `feeds`: what to give the autopilot, the first that can be had, none of them where
    nothing is to be sent. `lost`: GNSS was lost this turn, so that the belief has to be settled; `belief_holds`: vision
    was seen to agree with GNSS, so that it may be kept; `receiver_held`: the receiver's last position was believed.
    `requests`: to send to the autopilot."""

    state: State
    feeds: tuple[Feed, ...]
    lost: bool = False
    belief_holds: bool = False
    receiver_held: bool = True
    requests: Sequence[Request] = ()


class Handover:
    """Follows one flight."""

    def __init__(
        self,
        settings: HandoverSettings | None = None,
        *,
        only_receiver: bool = False,
        choice: ReceiverChoice | SourceChoice | None = None,
    ) -> None:
        """`only_receiver`: the autopilot has no receiver of its own, so that vision is all there is. `choice`: how the
        autopilot is made to use vision, where it has to be."""
        self.settings = settings or HandoverSettings()
        self.receiver = ReceiverWatch(self.settings)
        self.judge = Judge(self.settings)
        self._machine = Machine(self.settings)
        self._operator = Operator(self.settings.veto_channel)
        self._announcer = Announcer()
        self._only_receiver = only_receiver
        self._choice = choice
        self._chosen: object = None
        self._choice_failed = self._left_over_told = False
        self._had_gnss = False
        self._condition = Condition.UNHEARD
        self._widening: Score | None = None

    @property
    def state(self) -> State:
        """Who gives the position."""
        return self._machine.state

    @property
    def gnss_trusted(self) -> bool:
        """True while nothing speaks against what the receiver says."""
        return self.state in (State.SHADOW, State.VETOED)

    @property
    def cause(self) -> str:
        """Why."""
        return self._machine.cause

    def hear(self, message: LinkMessage) -> None:
        """Takes in a message of the link."""
        if isinstance(message, GnssReceiver):
            if not self._only_receiver and finite(message):
                self.receiver.hear(message)
                self.judge.hear(message)
        elif isinstance(message, RcChannels):
            self._operator.hear(message)
        elif self._choice is not None and isinstance(message, (Parameter, CommandResult, Rebooted)):
            self._choice.hear(message)

    def hear_order(self, order: Order) -> bool:
        """Takes in an order of somebody who may give it (`tilefix.links.gate`); False when it means nothing."""
        return self._operator.hear(order)

    def attend(self, route: Route | None, gps_id: int, autopilot: KnownAutopilot) -> None:
        """Settles how the autopilot is made to use what comes by a route; for once a second or so."""
        chosen = choice_for(route, gps_id, autopilot)
        if chosen == self._chosen or self._machine.forces or self.release():
            return  # what was changed has to be put back first
        self._chosen = chosen
        self._choice = None if chosen is None else chosen[0](chosen[1])

    def release(self) -> Sequence[Request]:
        """What puts the autopilot back as it was, for the end of a run."""
        return () if self._choice is None else self._choice.release()

    def saw(self, estimate: Fix | NoFix) -> None:
        """Takes in vision's answer to a frame."""
        if self._only_receiver:
            return
        shadow = self.state in (State.SHADOW, State.VETOED)
        self.judge.saw(estimate, gnss_good=shadow and self._condition is Condition.GOOD)
        self._announcer.score(self.judge.score)

    def began_anew(self) -> None:
        """Vision's belief was made anew: what it was worth before no longer counts."""
        self.judge.distrust()

    def turn(self, now_ns: int, *, heard: bool) -> Turn:
        """Goes on to an instant. `heard`: the autopilot speaks; while it is silent nothing is known of its receiver and
        nothing changes."""
        changed, before = False, self.state
        self._machine.wish = self._operator.wish
        if heard:
            self._condition = self.receiver.condition(now_ns)
            self._had_gnss = self._had_gnss or self._condition is Condition.GOOD
            changed = self._machine.step(self._sight(now_ns))
        lost = changed and self.state in (State.DENIED, State.SPOOFED)
        lost = lost and self._had_gnss and before in (State.SHADOW, State.VETOED)
        holds = self.judge.credit or (self.judge.steady(now_ns) and self.judge.agrees_for_s(now_ns) > 0.0)
        if changed:
            self._change(lost=lost)
        feeds = self._machine.feeds
        if not self.receiver.present(now_ns):
            feeds = tuple(feed for feed in feeds if feed is not Feed.MIRROR)
        held = self._condition not in (Condition.JUMPED, Condition.JAMMED) and self.state is not State.SPOOFED
        return Turn(self.state, feeds, lost, holds, held, self._requests(now_ns, heard=heard))

    def _sight(self, now_ns: int) -> Sight:
        judge = self.judge
        return Sight(
            now_ns,
            self._condition,
            spoofed=judge.spoofed(now_ns),
            contradicts=judge.contradicts,
            agrees_s=judge.agrees_for_s(now_ns),
            compared=judge.compared_lately(now_ns),
            steady=judge.steady(now_ns),
        )

    def _change(self, *, lost: bool) -> None:
        if self.state is State.SHADOW:
            self._widening = None
        elif lost and self.judge.score.verdict in _DOUBTED:
            self._widening = self.judge.score
        comparison = self.judge.comparison
        self._announcer.state(self.state, self.cause, None if comparison is None else comparison.distance_m)

    def _requests(self, now_ns: int, *, heard: bool) -> Sequence[Request]:
        choice = self._choice
        if choice is None or not heard:
            return ()
        # To announce only is about what tilefix does of itself: an order is carried out.
        allowed = self.settings.on_spoofing == "force" or self._machine.wish is Wish.VISION
        force = self._machine.forces and allowed
        if isinstance(choice, SourceChoice):
            # Vision in another set of sources is not taken at all unless that is selected.
            force = Feed.MIRROR not in self._machine.feeds or self.state is State.RETURNING
        requests = choice.step(now_ns, force=force)
        if choice.failed != self._choice_failed:
            self._choice_failed = choice.failed
            if choice.failed:
                self._announcer.say(Severity.ERROR, "autopilot does not change over, do it now")
        if isinstance(choice, ReceiverChoice) and choice.left_over and not self._left_over_told:
            self._left_over_told = True
            self._announcer.say(Severity.WARNING, "GPS_AUTO_SWITCH, GPS_PRIMARY left forced")
        return requests

    def widened(self, estimate: Fix | NoFix) -> Fix | NoFix:
        """The estimate with the error that vision is seen to have, or was when GNSS was lost: what it is off by on top
        of what it states. Its place stays: a bias against GNSS may be GNSS's."""
        score = self.judge.score if self.state in (State.SHADOW, State.VETOED) else self._widening
        if score is None or score.verdict not in _DOUBTED or isinstance(estimate, NoFix):
            return estimate
        stretch = min(score.stretch**2, _MAX_WIDENING) if score.verdict is Verdict.OVERCONFIDENT else 1.0
        east_m, north_m = score.bias_east_m, score.bias_north_m
        if score.verdict is not Verdict.BIASED:
            east_m = north_m = 0.0
        c = estimate.covariance_m2
        wide = Covariance(
            stretch * c.ee + east_m * east_m, stretch * c.en + east_m * north_m, stretch * c.nn + north_m * north_m
        )
        return replace(estimate, covariance_m2=wide)

    def next_line(self, now_ns: int) -> Line | None:
        """A line for the pilot, if one is due."""
        return self._announcer.next_line(now_ns)

    def figures(self) -> list[tuple[str, float]]:
        """What is logged once a second, by name."""
        return figures(self.state, self.judge.score, self.judge.level)
