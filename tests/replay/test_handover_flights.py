"""Whole flights against the simulated autopilot: arming, denial, spoofing, canary, veto, and back."""

from __future__ import annotations

import math

import pytest

from support.handoverflights import HandoverFlight
from tilefix.handover.machine import State
from tilefix.handover.scoring import Verdict
from tilefix.handover.settings import HandoverSettings
from tilefix.simulation.acceptance.verdicts import Verdict as Taken


def test_it_arms_by_the_mirror_flies_without_gnss_and_hands_back() -> None:
    one = HandoverFlight(armed=False)
    one.camera_dead = True  # on the ground the lens is covered
    one.fly(50.0)
    one.arm()
    one.fly(1.0)
    assert one.flight.armed, [message.text for message in one.heard if message.get_type() == "STATUSTEXT"]
    one.camera_dead = False
    one.fly(30.0)
    assert (one.state, one.hand.judge.score.verdict) == (State.SHADOW, Verdict.CONSISTENT)
    one.flight.gnss_denied = True
    before = len(one.states)
    errors = one.fly(40.0)
    assert one.states[before:].index(State.DENIED) < 2 * 20
    assert one.localizer.resets == 0
    assert not one.flight.landing
    assert max(errors) < 8.0
    one.flight.gnss_denied = False
    errors = one.fly(25.0)
    assert one.state is State.SHADOW
    assert max(errors) < 8.0
    assert [state for k, state in enumerate(one.states) if k == 0 or state is not one.states[k - 1]] == [
        State.SHADOW, State.DENIED, State.RETURNING, State.SHADOW,
    ]  # fmt: skip
    assert one.flight.tally.verdicts[Taken.UNHEALTHY] == 0


def test_a_ramp_is_noticed_before_25_m_and_not_followed() -> None:
    one = HandoverFlight()
    one.fly(35.0)
    one.flight.own.spoof(60.0, 80.0, 60.0)
    pulled_m = 0.0
    while one.state is not State.SPOOFED:
        one.fly(0.5)
        pulled_m = math.hypot(*one.flight.own.spoofed_m)
        assert pulled_m < 25.0
    parameters = one.flight.parameters
    one.fly(2.0)
    assert (parameters.effective("GPS_AUTO_SWITCH", 1.0), parameters.effective("GPS_PRIMARY", 0.0)) == (0.0, 1.0)
    one.fly(10.0)
    errors = one.fly(50.0)
    assert max(errors) < 10.0
    assert any("GNSS spoofed" in text for text in one.texts)
    one.flight.own.clear()
    one.fly(75.0)
    assert one.state is State.SHADOW
    assert (parameters.effective("GPS_AUTO_SWITCH", 0.0), parameters.effective("GPS_PRIMARY", 1.0)) == (1.0, 0.0)


def test_a_step_is_not_believed_and_not_repeated() -> None:
    one = HandoverFlight()
    one.fly(35.0)
    one.flight.own.spoof(222.0, 0.0, 0.0)
    one.fly(1.5)
    assert one.state is State.SPOOFED
    errors = one.fly(20.0)
    # The autopilot itself rejects a step for ten seconds; by then it uses vision.
    assert max(errors) < 10.0


def test_a_canary_is_caught_by_the_score_and_told() -> None:
    one = HandoverFlight()
    one.fly(35.0)
    one.localizer.bias_m = (9.0, 12.0)
    one.fly(20.0)
    assert one.hand.judge.score.verdict is Verdict.BIASED
    assert one.state is State.SHADOW
    assert any(text.startswith("tilefix: vision biased") for text in one.texts)
    # GNSS is lost with a biased belief: it is made anew, and what is sent says how far it may be off.
    one.flight.gnss_denied = True
    one.fly(8.0)
    assert one.localizer.resets == 1
    assert one.hand.state is State.DENIED
    sigma_m = next(m.value for m in reversed(_values(one, "TF_SIGMA")))
    assert sigma_m > 12.0


def _values(one: HandoverFlight, name: str) -> list[object]:
    return [value for value in one.told if value.name == name]


def test_a_jammed_receiver_is_denial_and_a_calm_one_is_handed_back_to() -> None:
    one = HandoverFlight()
    one.fly(35.0)
    one.flight.own.jam()
    errors = one.fly(30.0)
    assert one.state in (State.DENIED, State.SPOOFED)
    assert max(errors[60:]) < 15.0
    assert not one.flight.landing
    one.flight.own.clear()
    one.fly(90.0)
    assert one.state is State.SHADOW


def test_the_operator_holds_vision_back_by_switch_and_by_command() -> None:
    one = HandoverFlight(handover=HandoverSettings(veto_channel=7))
    one.fly(35.0)
    one.autopilot.telemetry.rc_pwm_us[6] = 1900
    one.fly(1.0)
    assert one.state is State.VETOED
    one.flight.gnss_denied = True
    fused = one.flight.tally.verdicts[Taken.FUSED]
    one.fly(4.0)
    assert one.flight.tally.verdicts[Taken.FUSED] == fused
    one.autopilot.telemetry.rc_pwm_us[6] = 1100
    one.fly(2.0)
    assert one.state is State.DENIED
    assert one.flight.tally.verdicts[Taken.FUSED] > fused
    one.order(0.0)
    one.fly(0.5)
    assert one.state is State.VETOED
    one.order(2.0)
    one.fly(0.5)
    assert (one.state, one.hand.cause) == (State.DENIED, "ordered")


@pytest.mark.parametrize("fault", ["link", "camera"])
def test_a_link_or_camera_that_is_gone_for_ten_seconds_changes_no_trust(fault: str) -> None:
    one = HandoverFlight()
    one.fly(35.0)
    setattr(one, "link_cut" if fault == "link" else "camera_dead", True)
    one.fly(10.0)
    setattr(one, "link_cut" if fault == "link" else "camera_dead", False)
    one.fly(15.0)
    assert set(one.states) == {State.SHADOW}
    one.flight.gnss_denied = True
    one.fly(5.0)
    assert one.localizer.resets == 0


def test_an_autopilot_that_reboots_while_gnss_is_spoofed_is_held_to_vision() -> None:
    one = HandoverFlight()
    one.fly(35.0)
    one.flight.own.spoof(0.0, 60.0, 0.0)
    one.fly(5.0)
    assert one.state is State.SPOOFED
    one.autopilot.restart()
    one.fly(30.0)
    assert one.state is State.SPOOFED
    parameters = one.flight.parameters
    assert (parameters.effective("GPS_AUTO_SWITCH", 1.0), parameters.effective("GPS_PRIMARY", 0.0)) == (0.0, 1.0)
