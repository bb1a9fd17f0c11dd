"""How well pictures still match, against the start."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.embedders import ThumbnailEmbedder
from support.scenes import flight_over, small_map
from tilefix.flights.flight import open_flight
from tilefix.localization.drift import SETTLE_S, MatchDrift
from tilefix.localization.localizer import Localizer
from tilefix.maps.tileindex import TileIndex
from tilefix.types import Fix

S = 1_000_000_000


def flown(*spans: tuple[float, float], rate_hz: float = 4.0) -> MatchDrift:
    """After (seconds, correlation) spans."""
    drift, at_ns = MatchDrift(), 0
    for seconds, correlation in spans:
        for _ in range(round(seconds * rate_hz)):
            at_ns += round(S / rate_hz)
            drift.note(at_ns, correlation)
    return drift


def test_nothing_is_said_before_the_start_is_known() -> None:
    drift = flown((SETTLE_S / 2, 0.4), (SETTLE_S / 4, 0.01))
    assert not drift.settled
    assert not drift.low
    assert drift.share_of_start == 1.0
    assert MatchDrift().share_of_start == 1.0


def test_a_map_that_ends_in_older_imagery_is_noticed_and_a_better_one_too() -> None:
    assert not flown((90, 0.4), (600, 0.3)).low
    fallen = flown((90, 0.4), (300, 0.15))
    assert fallen.low
    assert fallen.share_of_start == pytest.approx(0.375, abs=0.01)
    assert not flown((90, 0.4), (300, 0.15), (300, 0.4)).low


def test_a_dark_patch_of_wood_is_no_warning() -> None:
    assert not flown((90, 0.4), (15, 0.1), (60, 0.4)).low


def test_between_the_two_limits_a_warning_stays_and_none_begins() -> None:
    assert not flown((90, 0.4), (600, 0.29)).low
    assert flown((90, 0.4), (300, 0.1), (600, 0.29)).low


def test_the_rate_of_matches_does_not_matter_nor_does_a_pause() -> None:
    shares = [flown((90, 0.4), (60, 0.2), rate_hz=rate_hz).share_of_start for rate_hz in (1.0, 4.0, 10.0)]
    assert max(shares) - min(shares) < 0.02
    drift = flown((90, 0.4))
    drift.note(10_000 * S, 0.1)
    assert drift.share_of_start > 0.95


def test_a_localizer_tells_what_its_matches_correlate(tmp_path: Path) -> None:
    package = small_map(tmp_path / "map", ThumbnailEmbedder())
    flight = open_flight(flight_over(package, tmp_path / "flight"))
    localizer = Localizer(package, TileIndex.open(package), ThumbnailEmbedder(), flight.camera, flight.mount)
    assert localizer.usual_correlation is None
    localizer.hint(*package.frame.to_geodetic(-40.0, 20.0), 10.0)
    found = []
    for row, frame in flight.frames():
        estimate = localizer.process(frame, row.state)
        found.append((isinstance(estimate, Fix) and estimate.reason is None, localizer.usual_correlation))
    assert found[-1][0]
    assert all((usual is not None) for matched, usual in found if matched)
    assert 0.5 < (found[-1][1] or 0.0) <= 1.0


@given(st.lists(st.tuples(st.integers(-(10**12), 10**13), st.floats())))
def test_whatever_is_noted_gives_a_finite_share(notes: list[tuple[int, float]]) -> None:
    drift = MatchDrift()
    for at_ns, correlation in notes:
        drift.note(at_ns, correlation)
    assert math.isfinite(drift.share_of_start)
    assert drift.share_of_start > 0.0
    assert not drift.low or drift.settled
