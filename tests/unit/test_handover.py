"""A hand-over in flight: mirror and score, denial, spoofing, return, and the operator's word."""

from __future__ import annotations

import dataclasses

import pytest

from support.handovers import Flight, S, fix, receiver
from tilefix.handover.handover import Handover
from tilefix.handover.machine import Feed, Machine, Sight, State
from tilefix.handover.receiver import Condition
from tilefix.handover.scoring import Verdict
from tilefix.handover.selection import ReceiverChoice, Set
from tilefix.handover.settings import HandoverSettings
from tilefix.links.messages import Order, Parameter, RcChannels, Rebooted, Severity
from tilefix.types import Fix, NoFix, Reason


def _order(value: float, at_s: float = 0.0) -> Order:
    return Order(round(at_s * S), 31010, (value, 0, 0, 0, 0, 0, 0), (7, 190))


def test_while_gnss_is_good_it_is_mirrored_and_vision_scored() -> None:
    flight = Flight()
    turn = flight.fly(30.0)
    assert turn.state is State.SHADOW
    assert turn.feeds == (Feed.MIRROR, Feed.VISION)
    assert flight.handover.judge.score.verdict is Verdict.CONSISTENT
    assert flight.texts == [f"tilefix: vision agrees with GNSS, {flight.handover.judge.score.median_m:.1f} m"]
    assert not any(one.lost for one in flight.turns)


def test_at_a_loss_vision_takes_over_within_two_seconds_and_its_belief_holds() -> None:
    flight = Flight()
    flight.fly(30.0)
    before = len(flight.turns)
    flight.fly(2.0, gnss=False)
    states = [one.state for one in flight.turns[before:]]
    assert states.index(State.DENIED) < 20  # a second of turns
    losses = [one for one in flight.turns[before:] if one.lost]
    assert len(losses) == 1
    assert losses[0].belief_holds
    assert flight.turns[-1].feeds == (Feed.VISION,)
    assert flight.texts[-1] == "tilefix: GNSS lost, vision takes over"


def test_at_a_loss_vision_that_was_never_seen_to_agree_does_not_hold() -> None:
    flight = Flight()
    flight.fly(30.0, vision=False)
    flight.fly(2.0, gnss=False, vision=False)
    assert [one.belief_holds for one in flight.turns if one.lost] == [False]


def test_a_silent_receiver_is_lost_and_a_silent_autopilot_is_not() -> None:
    flight = Flight()
    flight.fly(20.0)
    flight.fly(5.0, silent=True, heard=False)
    assert flight.handover.state is State.SHADOW
    flight.fly(3.0, silent=True)
    assert flight.handover.state is State.DENIED


def test_a_dropout_shorter_than_loss_s_changes_no_state() -> None:
    flight = Flight()
    flight.fly(20.0)
    flight.fly(0.4, gnss=False)
    flight.fly(5.0)
    assert {one.state for one in flight.turns} == {State.SHADOW}


def test_fewer_satellites_are_denial_only_where_vision_is_at_hand() -> None:
    flight = Flight()
    flight.fly(20.0)
    flight.fly(5.0, satellites=4)
    assert flight.handover.state is State.DENIED
    assert flight.handover.cause == "GNSS degraded"
    blind = Flight()
    blind.fly(20.0, vision=False)
    blind.fly(10.0, satellites=4, vision=False)
    assert blind.handover.state is State.SHADOW


def test_gnss_that_is_back_and_agrees_is_handed_back_after_return_s() -> None:
    flight = Flight()
    flight.fly(25.0)
    flight.fly(20.0, gnss=False)
    flight.fly(5.0)
    assert flight.handover.state is State.RETURNING
    assert flight.turns[-1].feeds == (Feed.VISION, Feed.MIRROR)
    flight.fly(7.0)
    assert flight.handover.state is State.SHADOW
    assert flight.texts[-2:] == [
        "tilefix: GNSS is back, compared with vision",
        "tilefix: GNSS in use, vision stands by",
    ]


def test_a_return_that_breaks_off_starts_anew() -> None:
    flight = Flight()
    flight.fly(25.0)
    flight.fly(10.0, gnss=False)
    flight.fly(8.0)
    assert flight.handover.state is State.RETURNING
    flight.fly(1.0, gnss=False)
    assert flight.handover.state is State.DENIED
    flight.fly(8.0)
    assert flight.handover.state is State.RETURNING


def test_without_vision_gnss_takes_longer_to_come_back() -> None:
    flight = Flight()
    flight.fly(20.0)
    flight.fly(10.0, gnss=False, vision=False)
    flight.fly(25.0, vision=False)
    assert flight.handover.state is State.RETURNING
    flight.fly(7.0, vision=False)
    assert flight.handover.state is State.SHADOW


def test_a_ramp_is_called_spoofing_before_twenty_five_metres() -> None:
    flight = Flight()
    flight.fly(40.0)
    begun_s = flight.now_s
    while flight.handover.state is not State.SPOOFED:
        flight.fly(0.05, offset_m=(flight.now_s - begun_s) * 100.0 / 60.0)
        assert flight.now_s - begun_s < 15.0
    assert (flight.now_s - begun_s) * 100.0 / 60.0 < 25.0
    assert flight.turns[-1].feeds == (Feed.VISION,)
    flight.fly(1.5, offset_m=60.0)
    severity, line = flight.lines[-1]
    assert severity is Severity.ERROR
    assert "GNSS spoofed" in line


def test_after_spoofing_a_receiver_returns_only_when_it_agrees_for_long() -> None:
    flight = Flight()
    flight.fly(40.0)
    flight.fly(10.0, offset_m=60.0)
    assert flight.handover.state is State.SPOOFED
    flight.fly(120.0, offset_m=60.0)
    assert flight.handover.state is State.SPOOFED
    # The spoofer ends: the receiver jumps back, is not believed for a while, then compared.
    flight.fly(55.0)
    assert flight.handover.state is State.RETURNING
    flight.fly(15.0)
    assert flight.handover.state is State.SHADOW


def test_without_credit_a_contradiction_is_no_spoofing() -> None:
    flight = Flight()
    flight.fly(60.0, bias_m=40.0)
    assert {one.state for one in flight.turns} == {State.SHADOW}
    assert flight.handover.judge.score.verdict is Verdict.BIASED
    assert [line for line in flight.texts if "biased" in line] == ["tilefix: vision biased: +0 m east +40 north"]


def test_vision_that_jumps_loses_its_credit_and_is_called_biased_not_gnss() -> None:
    flight = Flight()
    flight.fly(40.0)
    assert flight.handover.judge.credit
    flight.fly(30.0, bias_m=15.0)
    assert {one.state for one in flight.turns} == {State.SHADOW}
    assert flight.handover.judge.score.verdict is Verdict.BIASED
    assert not flight.handover.judge.credit


def test_vision_that_is_biased_at_the_loss_is_sent_with_that_much_more_error() -> None:
    flight = Flight()
    flight.fly(40.0, bias_m=15.0)
    estimate = fix(flight.now_s, 0.0, 15.0)
    while_scored = flight.handover.widened(estimate)
    flight.fly(2.0, gnss=False, bias_m=15.0)
    wide = flight.handover.widened(estimate)
    assert isinstance(wide, Fix)
    assert wide == while_scored
    assert wide.sigma_m == pytest.approx(15.1, abs=0.8)
    assert (wide.lat_deg, wide.lon_deg) == (estimate.lat_deg, estimate.lon_deg)
    refusal = NoFix(0, Reason.NO_MATCH)
    assert flight.handover.widened(refusal) is refusal
    honest = Flight()
    honest.fly(40.0)
    honest.fly(2.0, gnss=False)
    assert honest.handover.widened(estimate) is estimate


def test_doubtful_vision_does_not_keep_a_good_receiver_out() -> None:
    flight = Flight()
    flight.fly(40.0, bias_m=40.0)
    flight.fly(10.0, gnss=False, bias_m=40.0)
    flight.fly(28.0, bias_m=40.0)
    assert flight.handover.state is State.DENIED
    flight.fly(5.0, bias_m=40.0)
    assert flight.handover.state is State.SHADOW
    assert flight.handover.cause == "GNSS good, vision in doubt"


def test_a_flight_without_any_receiver_is_vision_from_the_start_and_no_loss() -> None:
    flight = Flight()
    flight.fly(5.0, gnss=False)
    assert flight.handover.state is State.DENIED
    assert not any(one.lost for one in flight.turns)
    alone = Flight(Handover(only_receiver=True))
    alone.fly(5.0)
    assert alone.handover.state is State.DENIED


def test_the_first_gnss_after_power_up_is_taken_at_once_unless_vision_flew_before() -> None:
    cold = Flight()
    cold.fly(40.0, gnss=False, vision=False)
    assert cold.handover.state is State.DENIED
    cold.fly(0.5, vision=False)
    assert cold.handover.state is State.SHADOW
    # Lost once, it has to prove itself.
    cold.fly(5.0, gnss=False, vision=False)
    cold.fly(5.0, vision=False)
    assert cold.handover.state is State.RETURNING
    flown = Flight()
    flown.fly(40.0, gnss=False)
    flown.fly(5.0)
    assert flown.handover.state is State.RETURNING
    flown.fly(7.0)
    assert flown.handover.state is State.SHADOW


def test_the_operator_vetoes_takes_it_back_and_asks_for_vision() -> None:
    flight = Flight()
    flight.fly(20.0)
    flight.hear(_order(0.0))
    flight.fly(5.0, gnss=False)
    assert flight.handover.state is State.VETOED
    assert flight.turns[-1].feeds == ()
    assert flight.fly(1.0).feeds == (Feed.MIRROR,)
    flight.hear(_order(1.0))
    flight.fly(1.0, gnss=False)
    assert flight.handover.state is State.DENIED
    flight.fly(60.0)
    assert flight.handover.state is State.SHADOW
    flight.hear(_order(2.0))
    flight.fly(60.0)
    assert (flight.handover.state, flight.handover.cause) == (State.DENIED, "ordered")
    flight.hear(_order(1.0))
    flight.fly(1.0)
    assert flight.handover.state is State.SHADOW


@pytest.mark.parametrize("params", [(), (3.0,), (-1.0,), (float("nan"),), (0.5,)])
def test_an_order_that_is_none_changes_nothing(params: tuple[float, ...]) -> None:
    flight = Flight()
    flight.fly(20.0)
    flight.hear(dataclasses.replace(_order(0.0), params=params))
    flight.hear(dataclasses.replace(_order(0.0), command=31011))
    flight.fly(1.0)
    assert flight.handover.state is State.SHADOW


def test_the_switch_vetoes_while_it_is_high() -> None:
    flight = Flight(Handover(HandoverSettings(veto_channel=7)))

    def switch(pwm_us: int) -> State:
        flight.hear(RcChannels(0, (1500,) * 6 + (pwm_us,)))
        return flight.fly(0.5).state

    flight.fly(5.0)
    assert switch(1100) is State.SHADOW
    assert switch(1900) is State.VETOED
    assert switch(1500) is State.VETOED
    assert switch(0) is State.VETOED
    assert switch(1100) is State.SHADOW
    # A command after it holds until the switch is moved again.
    assert switch(1900) is State.VETOED
    flight.hear(_order(1.0))
    assert switch(1900) is State.SHADOW
    assert switch(1100) is State.SHADOW
    assert switch(1900) is State.VETOED


def test_a_switch_that_is_not_configured_or_not_there_does_nothing() -> None:
    flight = Flight()
    flight.hear(RcChannels(0, (1900,) * 16))
    assert flight.fly(0.5).state is State.SHADOW
    missing = Flight(Handover(HandoverSettings(veto_channel=18)))
    missing.hear(RcChannels(0, (1900,) * 16))
    assert missing.fly(0.5).state is State.SHADOW


def _forcing(on_spoofing: str = "force") -> Flight:
    flight = Flight(Handover(HandoverSettings(on_spoofing=on_spoofing), choice=ReceiverChoice(1)))
    flight.fly(0.5)
    flight.hear(Parameter(0, "GPS_AUTO_SWITCH", 1.0))
    flight.hear(Parameter(0, "GPS_PRIMARY", 0.0))
    flight.fly(40.0)
    return flight


def test_when_spoofed_the_second_receiver_is_forced_and_put_back_afterwards() -> None:
    flight = _forcing()
    assert not [one for one in flight.requests if isinstance(one, Set)]
    flight.fly(5.0, offset_m=60.0)
    assert Set("GPS_AUTO_SWITCH", 0.0) in flight.requests
    assert Set("GPS_PRIMARY", 1.0) in flight.requests
    flight.hear(Parameter(0, "GPS_AUTO_SWITCH", 0.0))
    flight.hear(Parameter(0, "GPS_PRIMARY", 1.0))
    flight.requests.clear()
    flight.fly(5.0, offset_m=60.0)
    assert flight.requests == []
    # An autopilot that reboots keeps them; it is asked again.
    flight.hear(Rebooted(0))
    flight.fly(1.5, offset_m=60.0)
    flight.hear(Parameter(0, "GPS_AUTO_SWITCH", 0.0))
    flight.hear(Parameter(0, "GPS_PRIMARY", 1.0))
    flight.requests.clear()
    flight.fly(90.0)
    assert flight.handover.state is State.SHADOW
    assert {one for one in flight.requests if isinstance(one, Set)} == {
        Set("GPS_AUTO_SWITCH", 1.0),
        Set("GPS_PRIMARY", 0.0),
    }


def test_under_jamming_the_second_receiver_is_forced_until_it_is_over() -> None:
    flight = _forcing()
    for _ in range(4):
        flight.fly(1.5, gnss=False)
        flight.fly(0.5)
    assert (flight.handover.state, flight.handover.cause) == (State.DENIED, "GNSS jammed")
    assert Set("GPS_PRIMARY", 1.0) in flight.requests
    assert "tilefix: GNSS jammed, vision takes over" in flight.texts
    flight.hear(Parameter(0, "GPS_AUTO_SWITCH", 0.0))
    flight.hear(Parameter(0, "GPS_PRIMARY", 1.0))
    flight.requests.clear()
    flight.fly(40.0)
    assert flight.handover.state is State.SHADOW
    assert Set("GPS_PRIMARY", 0.0) in flight.requests


def test_where_it_may_only_announce_nothing_is_set() -> None:
    flight = _forcing("announce")
    flight.fly(10.0, offset_m=60.0)
    assert flight.handover.state is State.SPOOFED
    assert not [one for one in flight.requests if isinstance(one, Set)]


def test_an_order_of_vision_is_carried_out_where_spoofing_is_only_announced() -> None:
    flight = _forcing("announce")
    flight.hear(_order(2.0))
    flight.fly(2.0)
    assert Set("GPS_AUTO_SWITCH", 0.0) in flight.requests
    assert Set("GPS_PRIMARY", 1.0) in flight.requests
    flight.hear(Parameter(0, "GPS_AUTO_SWITCH", 0.0))
    flight.hear(Parameter(0, "GPS_PRIMARY", 1.0))
    flight.requests.clear()
    flight.hear(_order(1.0))
    flight.fly(2.0)
    assert {one for one in flight.requests if isinstance(one, Set)} == {
        Set("GPS_AUTO_SWITCH", 1.0),
        Set("GPS_PRIMARY", 0.0),
    }


def test_an_autopilot_that_does_not_obey_is_told_of() -> None:
    flight = _forcing()
    flight.fly(12.0, offset_m=60.0)
    assert flight.texts[-1] == "tilefix: autopilot does not change over, do it now"
    assert len([one for one in flight.requests if one == Set("GPS_PRIMARY", 1.0)]) == 5


def test_what_an_earlier_run_left_forced_is_told() -> None:
    flight = Flight(Handover(choice=ReceiverChoice(1)))
    flight.hear(Parameter(0, "GPS_AUTO_SWITCH", 0.0))
    flight.hear(Parameter(0, "GPS_PRIMARY", 1.0))
    flight.fly(3.0)
    assert flight.texts == ["tilefix: GPS_AUTO_SWITCH, GPS_PRIMARY left forced"]


def test_figures_have_names_that_fit() -> None:
    flight = Flight()
    flight.fly(30.0)
    told = dict(flight.handover.figures())
    assert all(len(name) <= 10 for name in told)
    assert told["TF_STATE"] == State.SHADOW.value
    assert told["TF_SHADOW"] == pytest.approx(0.5, abs=0.4)


def test_lines_fit_and_come_at_most_once_a_second() -> None:
    flight = Flight()
    for gnss in (True, False) * 6:
        flight.fly(4.0, gnss=gnss)
    assert flight.lines
    assert all(len(line.encode()) <= 50 for line in flight.texts)


def test_a_receiver_that_jumps_is_not_present_for_a_while() -> None:
    flight = Flight()
    flight.fly(20.0)
    assert flight.handover.receiver.present(round(flight.now_s * S))
    flight.fly(5.0, offset_m=222.0)
    assert not flight.handover.receiver.present(round(flight.now_s * S))
    assert flight.handover.state is State.SPOOFED
    steady = Flight()
    steady.fly(20.0)
    steady.fly(5.0, offset_m=10.0)
    assert steady.handover.receiver.present(round(steady.now_s * S))


def test_numbers_that_are_none_are_dropped() -> None:
    flight = Flight()
    flight.fly(20.0)
    bad = dataclasses.replace(receiver(flight.now_s), lat_deg=float("nan"))
    flight.hear(bad)
    flight.fly(5.0)
    assert flight.handover.state is State.SHADOW


def test_gnss_that_is_neither_agreed_with_nor_contradicted_is_not_handed_back_to() -> None:
    machine = Machine()
    machine.step(Sight(0, Condition.GOOD))
    machine.step(Sight(1 * S, Condition.LOST))
    assert machine.state is State.DENIED
    for second in range(2, 90):
        machine.step(Sight(second * S, Condition.GOOD, compared=True))
        assert machine.state is State.DENIED
    machine.step(Sight(90 * S, Condition.GOOD, compared=True, contradicts=True))
    assert (machine.state, machine.cause) == (State.SHADOW, "GNSS good, vision in doubt")


def _returning_from_spoofing() -> Flight:
    flight = _forcing()
    flight.fly(15.0, offset_m=60.0)
    assert flight.handover.state is State.SPOOFED
    while flight.handover.state is not State.RETURNING:
        flight.fly(0.05)
        assert flight.now_s < 200.0
    return flight


def test_vision_that_ends_after_gnss_agreed_with_it_hands_back_before_the_autopilot_gives_up() -> None:
    flight = _returning_from_spoofing()
    flight.fly(12.0)
    assert flight.handover.state is State.RETURNING
    flight.fly(3.0, vision=False)
    assert (flight.handover.state, flight.handover.cause) == (State.SHADOW, "GNSS agreed until vision ended")
    assert flight.turns[-1].feeds == (Feed.MIRROR, Feed.VISION)


def test_vision_that_ends_before_gnss_agreed_with_it_for_long_hands_nothing_back() -> None:
    machine = Machine()
    for second, spoofed in ((0, False), (1, True)):
        machine.step(Sight(second * S, Condition.GOOD, spoofed, spoofed, 0.0, compared=True, steady=True))
    machine.step(Sight(2 * S, Condition.GOOD, agrees_s=1.0, compared=True, steady=True))
    assert machine.state is State.RETURNING
    for second in range(3, 90):
        machine.step(Sight(second * S, Condition.GOOD, agrees_s=9.0 if second < 10 else 0.0, compared=second < 10))
        assert machine.state is State.RETURNING
