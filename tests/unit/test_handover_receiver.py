"""How the receiver is said to be, and how the autopilot is made to change over."""

from __future__ import annotations

import dataclasses

import pytest

from support.handovers import SPEED_MPS, S, receiver
from tilefix.handover.handover import Handover
from tilefix.handover.receiver import Condition, ReceiverWatch
from tilefix.handover.selection import (
    SET_EKF_SOURCE_SET,
    Command,
    Read,
    ReceiverChoice,
    Set,
    SourceChoice,
    choice_for,
)
from tilefix.handover.settings import HandoverSettings
from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import Airframe, AutopilotKind, CommandResult, Identity, Parameter, Rebooted
from tilefix.links.reports import Route


def _watch(until_s: float = 10.0, **more: object) -> tuple[ReceiverWatch, float]:
    watch, at_s = ReceiverWatch(), 0.0
    while at_s < until_s:
        watch.hear(receiver(at_s, **more))  # type: ignore[arg-type]
        at_s += 0.2
    return watch, at_s


def _ns(at_s: float) -> int:
    return round(at_s * S)


def test_a_receiver_is_unheard_good_and_lost() -> None:
    assert ReceiverWatch().condition(0) is Condition.UNHEARD
    watch, at_s = _watch()
    assert watch.condition(_ns(at_s)) is Condition.GOOD
    assert watch.present(_ns(at_s))
    watch.hear(receiver(at_s, fix_type=1))
    assert not watch.present(_ns(at_s))
    assert watch.condition(_ns(at_s + 0.4)) is Condition.GOOD
    assert watch.condition(_ns(at_s + 0.6)) is Condition.LOST
    silent, at_s = _watch()
    assert not silent.present(_ns(at_s + 0.6))
    assert silent.condition(_ns(at_s + 1.5)) is Condition.GOOD
    assert silent.condition(_ns(at_s + 2.5)) is Condition.LOST
    never = ReceiverWatch()
    never.hear(receiver(0.0, fix_type=1))
    assert never.condition(S) is Condition.UNHEARD


@pytest.mark.parametrize("poor", [{"satellites": 5}, {"hdop": 5.0}, {"sigma_m": 12.0}])
def test_a_poor_receiver_is_degraded_after_a_while(poor: dict[str, float]) -> None:
    watch, at_s = _watch(**poor)
    assert watch.condition(_ns(2.0)) is Condition.GOOD
    assert watch.condition(_ns(at_s)) is Condition.DEGRADED
    watch.hear(receiver(at_s))
    assert watch.condition(_ns(at_s)) is Condition.GOOD


def test_what_a_receiver_does_not_tell_is_not_held_against_it() -> None:
    watch, at_s = _watch(satellites=None, hdop=None)
    assert watch.condition(_ns(at_s)) is Condition.GOOD


@pytest.mark.parametrize(("off_m", "condition"), [(15.0, Condition.GOOD), (50.0, Condition.JUMPED)])
def test_a_jump_is_told_from_the_way_it_flies(off_m: float, condition: Condition) -> None:
    watch, at_s = _watch()
    watch.hear(receiver(at_s, north_m=off_m))
    assert watch.condition(_ns(at_s)) is condition
    assert watch.present(_ns(at_s)) is (condition is Condition.GOOD)
    distrust_s = HandoverSettings().distrust_s
    for _ in range(round(distrust_s * 5) + 5):
        at_s += 0.2
        watch.hear(receiver(at_s, north_m=off_m))
    assert watch.condition(_ns(at_s)) is Condition.GOOD


def test_a_fast_aircraft_does_not_jump() -> None:
    watch = ReceiverWatch()
    for k in range(50):
        at_s = k * 0.2
        fast = receiver(at_s, east_m=30.0 * at_s, speed_mps=30.0)
        watch.hear(fast)
    assert watch.condition(_ns(10.0)) is Condition.GOOD
    # Without a velocity it is given the benefit of 60 m/s.
    slow = ReceiverWatch()
    for k in range(50):
        one = receiver(k * 0.2, east_m=30.0 * k * 0.2)
        slow.hear(dataclasses.replace(one, velocity_east_mps=None, velocity_north_mps=None))
    assert slow.condition(_ns(10.0)) is Condition.GOOD
    assert SPEED_MPS < 30.0


def test_a_fix_that_comes_and_goes_is_jamming_until_it_is_calm() -> None:
    watch, at_s = _watch()
    for _ in range(3):
        watch.hear(receiver(at_s, fix_type=1))
        watch.hear(receiver(at_s + 0.2))
        at_s += 0.4
    assert watch.condition(_ns(at_s)) is Condition.JAMMED
    for _ in range(60):
        at_s += 0.2
        watch.hear(receiver(at_s))
    assert watch.condition(_ns(at_s)) is Condition.GOOD


def test_a_receiver_that_never_had_a_fix_does_not_jam() -> None:
    watch = ReceiverWatch()
    for k in range(20):
        watch.hear(receiver(k * 0.2, fix_type=1))
    watch.hear(receiver(4.0))
    assert watch.condition(_ns(4.0)) is Condition.GOOD


def _known(*values: float) -> ReceiverChoice:
    choice = ReceiverChoice(1)
    for name, value in zip(("GPS_AUTO_SWITCH", "GPS_PRIMARY"), values, strict=True):
        choice.hear(Parameter(0, name, value))
    return choice


def test_what_is_set_is_read_first_and_asked_again_while_no_answer_comes() -> None:
    choice = ReceiverChoice(1)
    assert choice.step(0, force=False) == [Read("GPS_AUTO_SWITCH"), Read("GPS_PRIMARY")]
    assert choice.step(S // 2, force=False) == []
    assert choice.step(S, force=False) != []
    assert ReceiverChoice(1).step(0, force=True) == [Read("GPS_AUTO_SWITCH"), Read("GPS_PRIMARY")]
    assert not choice.failed


def test_only_what_differs_is_set_and_put_back() -> None:
    choice = _known(0.0, 0.0)
    assert choice.step(0, force=True) == [Set("GPS_PRIMARY", 1.0)]
    assert not choice.holds
    choice.hear(Parameter(0, "GPS_PRIMARY", 1.0))
    assert choice.holds
    assert choice.step(2 * S, force=True) == []
    assert choice.step(3 * S, force=False) == [Set("GPS_PRIMARY", 0.0)]
    choice.hear(Parameter(0, "GPS_PRIMARY", 0.0))
    assert choice.step(5 * S, force=False) == []


def test_what_was_before_is_what_is_put_back_though_asked_twice() -> None:
    choice = _known(4.0, 0.0)
    choice.step(0, force=True)
    choice.hear(Parameter(0, "GPS_AUTO_SWITCH", 0.0))
    choice.hear(Parameter(0, "GPS_PRIMARY", 1.0))
    choice.step(2 * S, force=False)
    # Before it was put back the spoofer returns.
    choice.step(3 * S, force=True)
    assert set(choice.step(4 * S, force=False)) == {Set("GPS_AUTO_SWITCH", 4.0), Set("GPS_PRIMARY", 0.0)}


def test_after_a_reboot_what_holds_is_read_anew() -> None:
    choice = _known(1.0, 0.0)
    choice.step(0, force=True)
    choice.hear(Rebooted(S))
    assert choice.step(2 * S, force=True) == [Read("GPS_AUTO_SWITCH"), Read("GPS_PRIMARY")]


def test_left_over_is_only_what_was_forced_before_it_was_asked() -> None:
    assert _known(0.0, 1.0).left_over
    choice = _known(1.0, 0.0)
    choice.step(0, force=True)
    choice.hear(Parameter(0, "GPS_AUTO_SWITCH", 0.0))
    choice.hear(Parameter(0, "GPS_PRIMARY", 1.0))
    assert choice.holds
    assert not choice.left_over


def test_what_was_left_over_is_nothing_to_put_back() -> None:
    choice = _known(0.0, 1.0)
    assert choice.step(0, force=True) == []
    assert choice.release() == []
    assert choice.step(2 * S, force=False) == []


def test_a_set_of_sources_is_selected_where_external_navigation_gives_its_position() -> None:
    choice = SourceChoice(2)
    assert choice.step(0, force=True) == [Read("EK3_SRC2_POSXY")]
    choice.hear(Parameter(0, "EK3_SRC2_POSXY", 6.0))
    assert choice.step(2 * S, force=True) == [Command(SET_EKF_SOURCE_SET, (2.0,))]
    assert choice.step(3 * S, force=True) != []
    choice.hear(CommandResult(0, SET_EKF_SOURCE_SET, 0))
    assert choice.holds
    assert choice.step(6 * S, force=True) == []
    assert choice.step(7 * S, force=False) == [Command(SET_EKF_SOURCE_SET, (1.0,))]
    choice.hear(CommandResult(0, SET_EKF_SOURCE_SET, 0))
    assert choice.step(9 * S, force=False) == []
    choice.hear(Rebooted(0))
    assert choice.step(11 * S, force=True) == [Command(SET_EKF_SOURCE_SET, (2.0,))]


def test_a_set_that_is_something_else_is_left_alone_and_told_of() -> None:
    choice = SourceChoice(2)
    choice.hear(Parameter(0, "EK3_SRC2_POSXY", 3.0))
    assert choice.step(0, force=True) == []
    assert choice.failed
    refused = SourceChoice(2)
    refused.hear(Parameter(0, "EK3_SRC2_POSXY", 6.0))
    for second in range(8):
        refused.step(second * S, force=True)
        refused.hear(CommandResult(0, SET_EKF_SOURCE_SET, 4))
    assert refused.failed
    assert not refused.holds


def _autopilot(**parameters: float) -> KnownAutopilot:
    known = KnownAutopilot()
    known.take(Identity(0, AutopilotKind.ARDUPILOT, Airframe.COPTER, (4, 6, 0)))
    for name, value in parameters.items():
        known.take(Parameter(0, name, value))
    return known


def test_the_route_says_how_the_autopilot_is_made_to_use_vision() -> None:
    assert choice_for(Route.GPS_INPUT, 1, _autopilot()) == (ReceiverChoice, 1)
    assert choice_for(Route.GPS_INPUT, 0, _autopilot()) is None
    assert choice_for(Route.VISION, 1, _autopilot()) is None
    assert choice_for(Route.VISION, 1, _autopilot(EK3_SRC1_POSXY=3.0, EK3_SRC3_POSXY=6.0)) == (SourceChoice, 3)
    assert choice_for(Route.ODOMETRY, 1, _autopilot(EK3_SRC1_POSXY=6.0, EK3_SRC2_POSXY=6.0)) is None
    assert choice_for(Route.EXTERNAL_ESTIMATE, 1, _autopilot()) is None
    px4 = KnownAutopilot()
    px4.take(Identity(0, AutopilotKind.PX4, Airframe.COPTER, (1, 18, 0)))
    assert choice_for(Route.GLOBAL_POSITION, 1, px4) is None


def test_a_route_that_changes_does_not_forget_what_is_to_be_put_back() -> None:
    handover = Handover()
    handover.attend(Route.GPS_INPUT, 1, _autopilot())
    choice = handover._choice
    assert isinstance(choice, ReceiverChoice)
    for name, value in (("GPS_AUTO_SWITCH", 1.0), ("GPS_PRIMARY", 0.0)):
        handover.hear(Parameter(0, name, value))
    choice.step(0, force=True)
    handover.attend(None, 1, _autopilot())
    assert handover._choice is choice
    assert set(handover.release()) == {Set("GPS_AUTO_SWITCH", 1.0), Set("GPS_PRIMARY", 0.0)}
    choice.step(S, force=False)
    handover.attend(None, 1, _autopilot())
    assert handover._choice is None
