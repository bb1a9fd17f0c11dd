"""Whatever the belief does: variances turn back into the error, stamps rise, and only jumps are counted."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clocks import ManualClock
from support.mavlink import PEER, Autopilot, FakeTransport, decoded
from support.publishing import EXTERNAL_NAV, S, autopilot, denied_vehicle, fix, fly_on, identity, position
from tilefix.geodesy import moved
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.messages import AutopilotKind, Origin, Parameter
from tilefix.publishing.covariance import VarianceRule, rule_of, taken_sigma_m, variances
from tilefix.publishing.origin import north_east_m
from tilefix.publishing.publisher import Publisher
from tilefix.publishing.resets import ResetCounter
from tilefix.publishing.sender import Sender
from tilefix.publishing.settings import PublishSettings
from tilefix.types import NoFix, Reason

SIGMAS = st.floats(0.2, 100.0)


@given(SIGMAS, st.sampled_from([VarianceRule.CUBE_ROOT, VarianceRule.SQUARE_ROOT]))
def test_the_autopilot_takes_the_error_that_is_meant(sigma_m: float, rule: VarianceRule) -> None:
    written = variances(sigma_m, (1.0, 2.0, 3.0), rule)
    assert taken_sigma_m(written, rule) == pytest.approx(sigma_m, rel=1e-6)


@given(SIGMAS)
def test_where_the_rule_is_not_known_the_error_is_never_taken_for_smaller(sigma_m: float) -> None:
    written = variances(sigma_m, (1.0, 2.0, 3.0), VarianceRule.EITHER)
    taken = [taken_sigma_m(written, rule) for rule in (VarianceRule.CUBE_ROOT, VarianceRule.SQUARE_ROOT)]
    assert min(taken) == pytest.approx(sigma_m, rel=1e-6)
    # What that costs: at 10 m less than 1.5 times.
    assert sigma_m > 10.0 or max(taken) < 1.5 * max(sigma_m, 1.0)


def test_by_hand() -> None:
    """Flown: c0 = c6 = c11 = 6.45 stated 5 m to ArduPilot 4.7-dev of commit 90700977c5."""
    assert variances(5.0, (0.0, 0.0, 0.0), VarianceRule.CUBE_ROOT) == pytest.approx([6.455] * 3, abs=0.001)
    assert variances(5.0, (0.0, 0.0, 0.0), VarianceRule.SQUARE_ROOT) == pytest.approx([25.0 / 3.0] * 3)
    assert variances(5.0, (1.0, 2.0, 3.0), VarianceRule.EACH) == (1.0, 2.0, 3.0)
    assert taken_sigma_m((6.455, 6.455, 6.455), VarianceRule.CUBE_ROOT) == pytest.approx(5.0, abs=0.001)


@pytest.mark.parametrize(
    ("one", "rule"),
    [
        (identity(version=(4, 6, 9)), VarianceRule.CUBE_ROOT),
        (identity(version=(4, 7, 0)), VarianceRule.SQUARE_ROOT),
        (identity(version=(4, 7, 0), development=True), VarianceRule.EITHER),
        (identity(version=(4, 8, 0), development=True), VarianceRule.SQUARE_ROOT),
        (identity(version=None), VarianceRule.EITHER),
        (identity(AutopilotKind.PX4, version=(1, 16, 0)), VarianceRule.EACH),
    ],
)
def test_the_rule_follows_the_version(one: object, rule: VarianceRule) -> None:
    assert rule_of(autopilot(one)) is rule  # type: ignore[arg-type]


@given(
    st.sampled_from(list(AutopilotKind)),
    st.floats(-80.0, 80.0),
    st.floats(-180.0, 180.0),
    st.floats(-0.1, 0.1),
    st.floats(-0.1, 0.1),
)
def test_metres_from_the_origin_point_the_right_way(
    kind: AutopilotKind, lat_deg: float, lon_deg: float, north_deg: float, east_deg: float
) -> None:
    there = (lat_deg + north_deg, (lon_deg + east_deg + 180.0) % 360.0 - 180.0)
    north_m, east_m = north_east_m(kind, Origin(0, lat_deg, lon_deg, 0.0), *there)
    middle = math.radians(lat_deg + 0.5 * north_deg)
    assert north_m == pytest.approx(north_deg * 111_250.0, rel=3e-3, abs=25.0)
    assert east_m == pytest.approx(east_deg * 111_250.0 * math.cos(middle), rel=3e-3, abs=25.0)


def test_the_origins_arithmetic_by_hand() -> None:
    """ArduPilot: 1e-7 degrees are 0.011131884502145034 m; PX4: a radius of 6371 km. 0.01 degrees each way from 47 N."""
    origin = Origin(0, 47.0, 8.0, 0.0)
    north_m, east_m = north_east_m(AutopilotKind.ARDUPILOT, origin, 47.01, 8.01)
    assert north_m == pytest.approx(1113.1885, abs=1e-3)
    assert east_m == pytest.approx(1113.1885 * math.cos(math.radians(47.005)), abs=1e-3)
    north_m, east_m = north_east_m(AutopilotKind.PX4, origin, 47.01, 8.0)
    assert (north_m, east_m) == (pytest.approx(6_371_000.0 * math.radians(0.01), abs=1e-3), pytest.approx(0.0))
    assert north_east_m(AutopilotKind.PX4, origin, 47.0, 8.0) == (0.0, 0.0)


@settings(max_examples=50)
@given(st.floats(0.5, 20.0), st.integers(0, 2**31), st.floats(0.05, 3.0))
def test_corrections_that_the_error_explains_are_never_counted(sigma_m: float, seed: int, step_s: float) -> None:
    """A filter's corrections: each drawn from what the position before said it may be wrong by."""
    rng = np.random.default_rng([seed])
    counter = ResetCounter()
    lat_deg, lon_deg = 47.0, 8.0
    for index in range(50):
        one = position(round(index * step_s * S), lat_deg, lon_deg, sigma_m)
        counter.take(one, jumped=counter.would_jump(one))
        north_m, east_m = rng.normal(0.0, sigma_m, 2).clip(-3.0 * sigma_m, 3.0 * sigma_m)
        lat_deg += north_m / 111_195.0
        lon_deg += east_m / (111_195.0 * math.cos(math.radians(lat_deg)))
    assert counter.value == 0


@settings(max_examples=50)
@given(st.floats(0.5, 10.0), st.floats(0.0, 360.0), st.integers(1, 300))
def test_a_jump_is_counted_once(sigma_m: float, bearing_deg: float, before: int) -> None:
    counter = ResetCounter()
    far_m = 12.0 * sigma_m + 10.0
    north_m, east_m = far_m * math.cos(math.radians(bearing_deg)), far_m * math.sin(math.radians(bearing_deg))
    counted = []
    for index in range(before + 40):
        there = index >= before
        lat_deg = 47.0 + there * north_m / 111_195.0
        lon_deg = 8.0 + there * east_m / (111_195.0 * math.cos(math.radians(47.0)))
        one = position(index * S // 10, lat_deg, lon_deg, sigma_m)
        jumped = counter.would_jump(one)
        counter.take(one, jumped=jumped)
        counted.append(jumped)
    assert counted.index(True) == before
    assert sum(counted) == counter.value == 1


@given(st.floats(3.0, 10.0), st.floats(0.0, 360.0))
def test_from_the_receiver_to_a_picture_the_errors_of_both_explain_a_step(sigma_m: float, bearing_deg: float) -> None:
    north_m, east_m = (4.0 * sigma_m * f(math.radians(bearing_deg)) for f in (math.cos, math.sin))
    there = moved(47.0, 8.0, east_m, north_m)
    receiver = replace(position(0, 47.0, 8.0, 0.5), mirrored=True)
    counter = ResetCounter()
    counter.take(receiver, jumped=False)
    assert not counter.would_jump(position(S // 10, *there, sigma_m))
    counter.take(replace(receiver, mirrored=False), jumped=False)
    assert counter.would_jump(position(S // 10, *there, sigma_m))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["gps_input", "vision", "odometry"]),
    st.lists(
        st.tuples(st.integers(1, 400), st.sampled_from(["fix", "none", "mirror"]), st.floats(-0.5, 0.5)),
        min_size=5,
        max_size=40,
    ),
    st.lists(st.floats(0.0, 300.0), min_size=1, max_size=5),
)
def test_stamps_on_a_link_only_rise(route: str, steps: list[tuple[int, str, float]], delays_ms: list[float]) -> None:
    """Turns of any length, estimates of instants beside the one asked for, delay parameters that change in flight."""
    clock, transport = ManualClock(2 * S), FakeTransport()
    link = MavlinkLink(transport, clock)
    transport.incoming.append((Autopilot().heartbeat(), PEER))
    link.poll()
    publisher = Publisher(PublishSettings(route=route))
    vehicle, sender = denied_vehicle(parameters=EXTERNAL_NAV, fix_type=3), Sender(publisher, link)
    delays = itertools.cycle(delays_ms)
    for index, (step_ms, what, off_s) in enumerate(steps):
        clock.advance_s(step_ms / 1000.0)
        now_ns = clock.now_ns()
        fly_on(vehicle, now_ns, fix_type=3)
        if index % 7 == 0:
            for name in ("GPS2_DELAY_MS", "VISO_DELAY_MS"):
                vehicle.take(Parameter(now_ns, name, next(delays)))
        instant_ns = sender.instant_ns(now_ns, vehicle)
        estimate = NoFix(instant_ns, Reason.NO_MATCH) if what != "fix" else fix(instant_ns + round(off_s * S))
        sender.send(publisher.decide(estimate, vehicle, instant_ns), now_ns, now_ns)
    kinds = {"gps_input": "GPS_INPUT", "vision": "VISION_POSITION_ESTIMATE", "odometry": "ODOMETRY"}
    stamps = [
        one.usec if route == "vision" else one.time_usec for one in decoded(transport) if one.get_type() == kinds[route]
    ]
    assert stamps == sorted(set(stamps))
