"""The attitude at an exposure."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilefix.links.attitude import MAX_GAP_NS, MAX_HOLD_NS, AttitudeHistory, between_deg
from tilefix.links.messages import Attitude

MS = 1_000_000


def _history(*samples: Attitude) -> AttitudeHistory:
    history = AttitudeHistory()
    for sample in samples:
        history.add(sample)
    return history


def test_between_two_samples_angles_go_the_short_way() -> None:
    history = _history(Attitude(0, -2.0, 4.0, 350.0), Attitude(100 * MS, 2.0, 8.0, 10.0))
    between = history.at(25 * MS)
    assert between is not None
    assert (between.roll_deg, between.pitch_deg, between.yaw_deg % 360.0) == pytest.approx((-1.0, 5.0, 355.0))


def test_samples_out_of_order_find_their_place() -> None:
    history = _history(Attitude(0, 0.0, 0.0, 0.0), Attitude(100 * MS, 10.0, 0.0, 0.0), Attitude(50 * MS, 1.0, 0.0, 0.0))
    middle = history.at(50 * MS)
    assert middle is not None
    assert middle.roll_deg == 1.0


def test_it_is_held_briefly_and_never_before_its_first_sample() -> None:
    history = _history(Attitude(1000 * MS, 1.0, 2.0, 3.0))
    assert history.at(1000 * MS + MAX_HOLD_NS) == Attitude(1000 * MS, 1.0, 2.0, 3.0)
    assert history.at(1000 * MS + MAX_HOLD_NS + 1) is None
    assert history.at(1000 * MS - 1) is None
    assert AttitudeHistory().at(0) is None


def test_a_gap_is_not_bridged() -> None:
    history = _history(Attitude(0, 0.0, 0.0, 0.0), Attitude(MAX_GAP_NS + 1, 0.0, 0.0, 0.0))
    assert history.at(MAX_GAP_NS // 2) is None


def test_what_is_not_finite_is_dropped_and_memory_is_bounded() -> None:
    history = _history(Attitude(0, math.nan, 0.0, 0.0), Attitude(0, 0.0, math.inf, 0.0))
    assert history.newest_ns is None
    for index in range(5000):
        history.add(Attitude(index * 20 * MS, 0.0, 0.0, 0.0))
    assert history.at(0) is None
    assert history.newest_ns == 4999 * 20 * MS
    history.clear()
    assert history.newest_ns is None


@given(st.floats(-720, 720), st.floats(-720, 720), st.floats(0, 1))
def test_an_angle_between_lies_on_the_short_way(left: float, right: float, share: float) -> None:
    whole = abs((right - left + 180.0) % 360.0 - 180.0)
    between = between_deg(left, right, share)
    assert -180.0 <= between <= 180.0
    assert abs((between - left + 180.0) % 360.0 - 180.0) == pytest.approx(share * whole, abs=1e-6)
