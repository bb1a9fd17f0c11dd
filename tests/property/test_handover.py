"""What holds of a hand-over whatever happens."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.handovers import Flight, S, receiver
from tilefix.handover.compare import Comparison
from tilefix.handover.handover import Handover
from tilefix.handover.machine import Feed, Machine, Sight, State, Wish
from tilefix.handover.receiver import Condition
from tilefix.handover.scoring import ShadowScore
from tilefix.handover.selection import ReceiverChoice
from tilefix.handover.settings import HandoverSettings
from tilefix.handover.spoofing import SpoofWatch
from tilefix.links.messages import CommandResult, GnssReceiver, Order, Parameter, RcChannels, Rebooted
from tilefix.types import Covariance

FLAGS = st.booleans()
STEPS = st.lists(
    st.tuples(
        st.sampled_from(Condition), FLAGS, FLAGS, st.floats(0.0, 60.0), FLAGS, FLAGS, st.sampled_from(Wish),
        st.floats(0.05, 20.0),
    ),
    min_size=1,
    max_size=40,
)  # fmt: skip


@settings(deadline=None)
@given(STEPS)
def test_no_state_gives_what_it_must_not(steps) -> None:
    machine, now_ns = Machine(), 0
    for condition, spoofed, contradicts, agrees_s, compared, steady, wish, seconds in steps:
        now_ns += round(seconds * S)
        before = machine.state
        machine.wish = wish
        # A claim of spoofing is a contradiction.
        sight = Sight(now_ns, condition, spoofed, contradicts or spoofed, agrees_s, compared, steady)
        changed = machine.step(sight)
        assert changed or machine.state is before
        assert machine.feeds
        if wish is Wish.VETO:
            assert machine.state is State.VETOED
            assert machine.feeds == (Feed.MIRROR,)
        if machine.state in (State.DENIED, State.SPOOFED):
            assert Feed.MIRROR not in machine.feeds
        if machine.state is State.SPOOFED and changed and before is not State.RETURNING:
            assert spoofed
        if machine.state is State.SHADOW and changed and before is State.RETURNING:
            assert condition is Condition.GOOD
            assert not contradicts
        if machine.forces:
            jammed = (machine.state, machine.cause) == (State.DENIED, Condition.JAMMED.value)
            assert machine.state in (State.SPOOFED, State.RETURNING) or wish is Wish.VISION or jammed


@pytest.mark.parametrize("flags", list(itertools.product((False, True), repeat=4)))
@pytest.mark.parametrize("condition", Condition)
@pytest.mark.parametrize("before", [(), (Condition.LOST,), (Condition.GOOD, Condition.LOST), (Condition.GOOD, None)])
def test_what_does_not_change_ends_in_one_state(before, condition, flags) -> None:
    """A hundred turns of the same sight lead on, never to and fro. `None` among what came before: spoofing."""
    machine, now_ns = Machine(), 0
    for one in before:
        now_ns += 60 * S
        spoofed = one is None
        machine.step(Sight(now_ns, one or Condition.GOOD, spoofed, spoofed, 0.0, True, True))
    spoofed, contradicts, compared, steady = flags
    contradicts = contradicts or spoofed
    begun_ns, states = now_ns, [machine.state]
    for _ in range(100):
        now_ns += S
        agrees_s = 0.0 if contradicts else (now_ns - begun_ns) / S
        machine.step(Sight(now_ns, condition, spoofed, contradicts, agrees_s, compared, steady))
        if machine.state is not states[-1]:
            states.append(machine.state)
    assert len(states) <= 3, states


@settings(deadline=None)
@given(STEPS)
def test_a_receiver_that_is_not_good_is_never_handed_back_to(steps) -> None:
    machine, now_ns = Machine(), 0
    for _, spoofed, contradicts, agrees_s, compared, steady, _, seconds in steps:
        now_ns += round(seconds * S)
        machine.step(Sight(now_ns, Condition.LOST, spoofed, contradicts, agrees_s, compared, steady))
        assert machine.state is State.DENIED


def _comparisons(seed: int, count: int, east_m: float, north_m: float) -> list[Comparison]:
    rng = np.random.default_rng([seed, 5])
    errors = rng.normal(0.0, 1.5, (count, 2))
    wide, receiver_m2 = Covariance(4.0, 0.0, 4.0), Covariance(3.0, 0.0, 3.0)
    return [
        Comparison(k * S // 2, float(e) + east_m, float(n) + north_m, wide, receiver_m2)
        for k, (e, n) in enumerate(errors)
    ]


def _turned(one: Comparison, angle: float) -> Comparison:
    c, s = math.cos(angle), math.sin(angle)
    return Comparison(
        one.at_ns, c * one.east_m - s * one.north_m, s * one.east_m + c * one.north_m, one.vision, one.receiver
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 40.0), st.sampled_from((0.0, 0.5, 1.0, 1.5)))
def test_quarter_turns_change_no_verdict(seed: int, bias_m: float, quarter: float) -> None:
    plain, turned = ShadowScore(), ShadowScore()
    for one in _comparisons(seed, 60, bias_m, 0.0):
        plain.add(one)
        turned.add(_turned(one, quarter * math.pi))
    assert plain.score.verdict is turned.score.verdict
    assert plain.score.median_m == np.float64(plain.score.median_m)
    assert math.isclose(plain.score.median_m, turned.score.median_m, rel_tol=1e-9)
    assert math.isclose(plain.score.stretch, turned.score.stretch, rel_tol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 30.0), st.floats(1.0, 2.0))
def test_who_is_led_away_farther_is_never_noticed_later(seed: int, pull_m: float, times: float) -> None:
    less, more = SpoofWatch(), SpoofWatch()
    for one in _comparisons(seed, 40, 0.0, 0.0):
        near = Comparison(one.at_ns, pull_m, 0.0, one.vision, one.receiver)
        far = Comparison(one.at_ns, times * pull_m, 0.0, one.vision, one.receiver)
        less.add(near)
        more.add(far)
        assert more.level >= less.level


NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(-180.0, 180.0))
RECEIVERS = st.builds(
    GnssReceiver, at_ns=st.integers(0, 100 * S), fix_type=st.integers(0, 8), lat_deg=NUMBERS, lon_deg=NUMBERS,
    amsl_m=NUMBERS, horizontal_sigma_m=NUMBERS, vertical_sigma_m=NUMBERS, velocity_north_mps=NUMBERS,
    velocity_east_mps=NUMBERS, satellites=st.one_of(st.none(), st.integers(0, 255)), hdop=NUMBERS,
)  # fmt: skip
MESSAGES = st.one_of(
    RECEIVERS,
    st.builds(Parameter, st.integers(0, S), st.sampled_from(("GPS_AUTO_SWITCH", "GPS_PRIMARY", "X")), st.floats()),
    st.builds(CommandResult, st.integers(0, S), st.integers(0, 65535), st.integers(0, 9)),
    st.builds(Order, st.integers(0, S), st.sampled_from((31010, 1)), st.lists(st.floats(), max_size=7).map(tuple),
              st.just((1, 1))),
    st.builds(RcChannels, st.integers(0, S), st.lists(st.integers(0, 65535), max_size=18).map(tuple)),
    st.builds(Rebooted, st.integers(0, S)),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(MESSAGES, max_size=30))
def test_nothing_that_is_heard_stops_it(messages) -> None:
    flight = Flight(Handover(HandoverSettings(veto_channel=3), choice=ReceiverChoice(1)))
    flight.fly(1.0)
    for message in messages:
        flight.hear(message)
        flight.fly(0.1)
    assert all(len(line.encode()) <= 50 for line in flight.texts)
    assert all(math.isfinite(value) for _, value in flight.handover.figures())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.6, 10.0), st.floats(0.0, 2.0 * math.pi))
def test_a_ramp_is_noticed_and_vision_never_follows_it(seed: int, rate_mps: float, direction: float) -> None:
    rng = np.random.default_rng([seed, 6])
    flight = Flight()
    flight.fly(20.0 + float(rng.uniform(0.0, 5.0)))
    pulled_m = 0.0
    while flight.handover.state is not State.SPOOFED:
        pulled_m += rate_mps / 20.0
        flight.handover.hear(
            receiver(flight.now_s + 0.05, pulled_m * math.sin(direction), pulled_m * math.cos(direction))
        )
        flight.fly(0.05, silent=True)
        assert pulled_m < 16.0 + 2.0 * rate_mps
    assert Feed.MIRROR not in flight.turns[-1].feeds
