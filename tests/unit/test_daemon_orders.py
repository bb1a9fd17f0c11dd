"""Commands for tilefix: what the daemon does with them."""

from __future__ import annotations

import itertools
import math

import pytest

from support.clocks import ManualClock
from support.daemons import FakeFrames, FakeLink, FakeLocalizer, S, frame
from tilefix.links.commands import Command, Result
from tilefix.links.messages import Order
from tilefix.publishing.publisher import Publisher
from tilefix.publishing.settings import PublishSettings
from tilefix.service.daemon import Daemon


class Rig:
    def __init__(self) -> None:
        self.clock, self.localizer, self.link = ManualClock(), FakeLocalizer(), FakeLink()
        publisher = Publisher(PublishSettings(mirror_gnss=False))
        self.daemon = Daemon(self.localizer, FakeFrames([]), self.link, publisher, clock=self.clock)
        self._sequence = itertools.count()

    def fly(self, seconds: float) -> int:
        """Flies on with frames at 5 Hz; how many positions went out."""
        before = len(self.link.positions)
        for tick in range(round(seconds * 20)):
            self.clock.advance_s(0.05)
            self.link.telemetry(self.clock.now_ns())
            self.daemon.turn()
            if tick % 4 == 0:
                self.daemon.look(frame(self.clock.now_ns() - 20_000_000, next(self._sequence)))
        return len(self.link.positions) - before

    def order(self, command: int, *params: float) -> Result:
        self.link.incoming.append(Order(self.clock.now_ns(), command, (*params, *(0.0,) * (7 - len(params))), (255, 1)))
        self.daemon.turn()
        answered, result = self.link.answers[-1]
        assert answered == command
        return result


def test_a_hint_reaches_the_localizer_and_makes_the_belief_anew() -> None:
    rig = Rig()
    rig.fly(1.0)
    assert rig.order(Command.HINT.value, 0.0, 0.0, 30.0, 0.0, 47.25, 8.5) is Result.ACCEPTED
    rig.fly(0.5)
    assert rig.localizer.calls == ["hint 47.2500 8.5000 30"]


def test_what_vision_was_worth_before_a_hint_does_not_count_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, told = Rig(), []
    monkeypatch.setattr(rig.daemon._handover, "began_anew", lambda: told.append(rig.clock.now_ns()))
    rig.fly(1.0)
    assert told == []
    rig.order(Command.HINT.value, 0.0, 0.0, 30.0, 0.0, 47.25, 8.5)
    assert told == [rig.clock.now_ns()]


def test_a_hint_that_is_no_place_is_denied() -> None:
    rig = Rig()
    assert rig.order(Command.HINT.value, 0.0, 0.0, 30.0, 0.0, math.nan, 8.5) is Result.DENIED
    rig.fly(0.5)
    assert rig.localizer.calls == []


def test_positions_are_stopped_and_started() -> None:
    rig = Rig()
    assert rig.fly(2.0) > 10
    assert rig.order(Command.PUBLISH.value, 0.0) is Result.ACCEPTED
    before = rig.daemon._publisher._sent_ns
    assert rig.fly(2.0) == 0
    assert rig.daemon._publisher._sent_ns == before
    assert rig.link.texts[-1][1] == "tilefix: stopped by command"
    assert rig.order(Command.PUBLISH.value, 0.5) is Result.DENIED
    assert rig.fly(1.0) == 0
    assert rig.order(Command.PUBLISH.value, 1.0) is Result.ACCEPTED
    assert rig.fly(2.0) > 10


def test_what_it_does_not_know_is_answered_too() -> None:
    rig = Rig()
    assert rig.order(400, 1.0) is Result.UNSUPPORTED


def test_an_order_is_no_sign_of_the_autopilot() -> None:
    rig = Rig()
    rig.fly(1.0)
    for _ in range(100):
        rig.clock.advance_s(0.1)
        rig.order(400)
    assert not rig.daemon._vehicle.connected(rig.clock.now_ns())


def test_orders_that_nobody_carries_out_do_not_pile_up() -> None:
    rig = Rig()
    for number in range(100):
        rig.clock.advance_s(1.0)
        rig.order(Command.HINT.value, 0.0, 0.0, 30.0 + number, 0.0, 47.0, 8.0)
    assert len(rig.daemon._orders) <= 8
    rig.daemon.look(frame(rig.clock.now_ns() - S // 50, 1))
    assert rig.localizer.calls[-1] == "hint 47.0000 8.0000 129"
