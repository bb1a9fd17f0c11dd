"""The stage timer: what it measures, forgets and refuses."""

from __future__ import annotations

import contextlib

import pytest

from support.clocks import ManualClock
from tilefix.timing import EMBED_PARTS, MonotonicClock, StageTimer, part


def _timed(timer: StageTimer, clock: ManualClock, name: str, seconds: float) -> None:
    with timer.stage(name):
        clock.advance_s(seconds)


def test_percentiles_of_known_durations() -> None:
    clock = ManualClock()
    timer = StageTimer(clock)
    for milliseconds in range(1, 102):
        _timed(timer, clock, "embed", milliseconds / 1e3)
    summary = timer.percentiles_ms()["embed"]
    assert summary.count == 101
    assert summary.p50_ms == pytest.approx(51.0)
    assert summary.p90_ms == pytest.approx(91.0)
    assert summary.p95_ms == pytest.approx(96.0)
    assert summary.p99_ms == pytest.approx(100.0)
    assert summary.max_ms == pytest.approx(101.0)


def test_only_stages_that_ran_stand_in_the_summary_in_pipeline_order() -> None:
    clock = ManualClock()
    timer = StageTimer(clock)
    _timed(timer, clock, "track", 0.001)
    _timed(timer, clock, "rectify", 0.001)
    assert list(timer.percentiles_ms()) == ["rectify", "track"]


def test_memory_is_bounded_and_the_oldest_is_forgotten() -> None:
    clock = ManualClock()
    timer = StageTimer(clock, keep=2)
    for seconds in (9.0, 0.001, 0.002):
        _timed(timer, clock, "search", seconds)
    summary = timer.percentiles_ms()["search"]
    assert (summary.count, summary.max_ms) == (2, pytest.approx(2.0))


def test_a_stage_that_raises_is_recorded() -> None:
    clock = ManualClock()
    timer = StageTimer(clock)
    with contextlib.suppress(RuntimeError), timer.stage("register"):
        clock.advance_s(0.004)
        raise RuntimeError
    assert timer.percentiles_ms()["register"].max_ms == pytest.approx(4.0)


def test_parts_count_within_the_stage_around_them_and_nowhere_else() -> None:
    clock, other = ManualClock(), ManualClock()
    timer, twice = StageTimer(clock), StageTimer(other)
    with part("engine"):
        clock.advance_s(9.0)
    with timer.stage("embed"), twice.stage("embed"):
        for name, seconds in zip(EMBED_PARTS, (0.001, 0.005, 0.002), strict=True):
            with part(name):
                clock.advance_s(seconds)
                other.advance_s(2.0 * seconds)
    with part("engine"):
        clock.advance_s(9.0)
    took = {name: summary.max_ms for name, summary in timer.percentiles_ms().items()}
    assert took == pytest.approx({"embed": 8.0, "copy_in": 1.0, "engine": 5.0, "copy_out": 2.0})
    assert twice.percentiles_ms()["engine"].max_ms == pytest.approx(10.0)


def test_draining_gives_the_sums_once() -> None:
    clock = ManualClock()
    timer = StageTimer(clock)
    for seconds in (0.001, 0.002):
        _timed(timer, clock, "track", seconds)
    _timed(timer, clock, "rectify", 0.004)
    assert timer.drain_ns() == {"rectify": 4_000_000, "track": 3_000_000}
    assert timer.drain_ns() == {}


def test_an_unknown_stage_is_refused() -> None:
    timer = StageTimer(ManualClock())
    with pytest.raises(ValueError, match="lunch"), timer.stage("lunch"):
        pass
    with pytest.raises(ValueError, match="keep"):
        StageTimer(ManualClock(), keep=0)


def test_the_process_clock_never_goes_back() -> None:
    clock = MonotonicClock()
    assert clock.now_ns() <= clock.now_ns()
