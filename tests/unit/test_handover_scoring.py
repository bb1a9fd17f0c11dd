"""Fixes beside the receiver: the comparison, the score, and the watch for spoofing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from support.handovers import LAT_DEG, SPEED_MPS, S, fix, receiver
from tilefix.handover.compare import Comparer, Comparison
from tilefix.handover.judge import Judge
from tilefix.handover.scoring import BIAS_M, OVERCONFIDENT, Calibration, ShadowScore, Verdict
from tilefix.handover.spoofing import SpoofWatch
from tilefix.types import Covariance, FixKind, NoFix, Reason


def _compare(at_s: float, *heard: object, delay_ms: float = 100.0, **off: float) -> Comparison | None:
    comparer = Comparer(delay_ms)
    for one in heard:
        comparer.take(one)  # type: ignore[arg-type]
    return comparer.compare(fix(at_s, **off))


def test_a_fix_is_compared_with_the_receiver_of_its_own_instant() -> None:
    # Heard a tenth of a second late, the receiver told of the instant of the fix between two of its words.
    one = _compare(10.0, receiver(10.0), receiver(10.2), east_m=3.0, north_m=-4.0)
    assert one is not None
    assert (one.east_m, one.north_m) == (pytest.approx(3.0, abs=0.01), pytest.approx(-4.0, abs=0.01))
    assert one.distance_m == pytest.approx(5.0, abs=0.01)
    assert (one.east_mps, one.north_mps) == (pytest.approx(0.0), pytest.approx(0.0))
    # Taken for fresh it would seem a metre behind, at 10 m/s.
    late = _compare(10.0, receiver(9.9), receiver(10.1), delay_ms=0.0)
    assert late is not None
    assert late.east_m == pytest.approx(1.0, abs=0.01)


def test_a_receiver_is_carried_ahead_a_little_and_not_far() -> None:
    one = _compare(10.2, receiver(10.0))
    assert one is not None
    assert one.distance_m == pytest.approx(0.0, abs=0.01)
    assert _compare(10.5, receiver(10.0)) is None


def test_between_a_loss_and_a_gap_nothing_is_compared() -> None:
    assert _compare(10.0) is None
    assert _compare(10.0, receiver(9.9), receiver(10.0, fix_type=1)) is None
    assert _compare(10.0, receiver(9.0), receiver(11.0)) is None
    assert _compare(10.0, receiver(10.2)) is None


def test_numbers_that_are_none_are_not_compared() -> None:
    comparer = Comparer()
    comparer.take(receiver(10.0))
    comparer.take(receiver(10.2))
    good = fix(10.1)
    assert comparer.compare(good) is not None
    for bad in ({"lat_deg": math.nan}, {"covariance_m2": Covariance(math.inf, 0.0, 1.0)}):
        assert comparer.compare(dataclasses.replace(good, **bad)) is None  # type: ignore[arg-type]
    without = comparer.compare(dataclasses.replace(good, velocity_east_mps=None))
    assert without is not None
    assert without.east_mps is None


def test_the_age_of_a_position_makes_it_doubtful_along_the_way_only() -> None:
    one = _compare(10.0, receiver(10.0), receiver(10.2))
    assert one is not None
    assert one.receiver.ee - one.receiver.nn == pytest.approx((0.08 * SPEED_MPS) ** 2, abs=0.01)


def test_a_flight_over_180_degrees_agrees_with_a_receiver_there() -> None:
    comparer = Comparer()
    for at_s, lon_deg in ((10.0, 179.999999), (10.2, -179.999999)):
        comparer.take(dataclasses.replace(receiver(at_s), lon_deg=lon_deg))
    for lon_deg in (179.9999999, -179.9999999):
        one = comparer.compare(dataclasses.replace(fix(10.1), lat_deg=LAT_DEG, lon_deg=lon_deg))
        assert one is not None
        assert abs(one.east_m) < 0.02


def _scored(
    seconds: float,
    *,
    sigma_m: float = 2.0,
    true_m: float = 2.0,
    bias_m: float = 0.0,
    seed: int = 1,
    memory_s: float = 8.0,
) -> ShadowScore:
    """A minute of comparisons whose errors last for a while, as those of fixes do."""
    rng = np.random.default_rng([seed, 9])
    score, error = ShadowScore(), rng.normal(0.0, true_m, 2)
    keep = math.exp(-0.5 / memory_s)
    for k in range(round(seconds * 2)):
        error = keep * error + math.sqrt(1.0 - keep * keep) * rng.normal(0.0, true_m, 2)
        vision = Covariance(sigma_m**2, 0.0, sigma_m**2)
        receiver_m2 = Covariance(1.0, 0.0, 1.0)
        score.add(Comparison(k * S // 2, float(error[0]), float(error[1]) + bias_m, vision, receiver_m2))
    return score


def test_a_verdict_waits_for_enough() -> None:
    assert _scored(10.0).score.verdict is Verdict.NOT_ENOUGH
    assert math.isnan(ShadowScore().score.median_m)


@pytest.mark.parametrize("seed", range(8))
def test_honest_errors_are_consistent_and_fifteen_metres_are_a_bias(seed: int) -> None:
    honest = _scored(60.0, seed=seed).score
    assert honest.verdict is Verdict.CONSISTENT
    biased = _scored(60.0, seed=seed, bias_m=15.0).score
    assert biased.verdict is Verdict.BIASED
    assert biased.bias_north_m == pytest.approx(15.0, abs=5.0)
    assert biased.bias_m > BIAS_M


def test_errors_far_beyond_their_sigmas_are_overconfident() -> None:
    score = _scored(60.0, sigma_m=0.5, true_m=5.0, memory_s=1.0).score
    assert score.verdict is Verdict.OVERCONFIDENT
    assert score.stretch > OVERCONFIDENT
    assert score.within[2] < 0.9


def test_figures_are_those_of_the_window() -> None:
    score = ShadowScore()
    wide, narrow = Covariance(4.0, 0.0, 4.0), Covariance(5.0, 0.0, 5.0)
    for k in range(200):
        # 80 s far off, then 20 s beyond the window's reach of them at 3-4-5.
        off_m = (30.0, 40.0) if k < 40 else (3.0, 4.0)
        score.add(Comparison(k * S // 2, *off_m, wide, narrow))
    told = score.score
    assert (told.median_m, told.p95_m) == (pytest.approx(5.0), pytest.approx(5.0))
    assert (told.bias_east_m, told.bias_north_m) == (3.0, 4.0)
    assert told.seconds == pytest.approx(40.0, abs=1.1)
    # 25 / 9 is the squared distance, two degrees of freedom.
    assert told.stretch == pytest.approx(math.sqrt(25.0 / 9.0 / 2.0))
    assert told.within == (0.0, 1.0, 1.0)


def test_a_bias_grows_surer_with_time_but_never_surer_than_the_receiver() -> None:
    score = ShadowScore()
    vision, receiver_m2 = Covariance(9.0, 0.0, 9.0), Covariance(4.0, 0.0, 4.0)
    sigmas = [score.add(Comparison(k * S, 6.0, 0.0, vision, receiver_m2)).bias_sigmas for k in range(41)]
    # Within twice the errors' memory of 12 s there is one independent fix; over 40 s there are 40 / 24.
    assert sigmas[20] == pytest.approx(6.0 / math.sqrt(9.0 + 4.0))
    assert sigmas[40] == pytest.approx(6.0 / math.sqrt(9.0 * 24.0 / 40.0 + 4.0))


def test_comparisons_out_of_order_or_too_close_count_once() -> None:
    score = ShadowScore()
    one = Comparison(10 * S, 1.0, 0.0, Covariance(4.0, 0.0, 4.0), Covariance(1.0, 0.0, 1.0))
    for at_ns in (10 * S, 10 * S, 9 * S, 10 * S + 1000):
        score.add(dataclasses.replace(one, at_ns=at_ns))
    assert score.score.count == 1


def _calibrated(off_m: float, seconds: int) -> float:
    calibration = Calibration()
    for k in range(seconds + 1):
        calibration.note(Comparison(k * S, off_m, 0.0, Covariance(4.0, 0.0, 4.0), Covariance(1.0, 0.0, 1.0)))
    return calibration.stretch


def test_calibration_learns_over_minutes_and_within_bounds() -> None:
    # 25 / 5 is the squared distance, 2.5 times what it should be: half of the way after as much as the prior.
    assert _calibrated(5.0, 20) == pytest.approx(1.0 + 1.5 * 0.5, abs=0.05)
    assert _calibrated(5.0, 600) == pytest.approx(2.5, abs=0.15)
    assert _calibrated(0.1, 600) == 1.0
    assert _calibrated(50.0, 600) == Calibration.MOST
    assert _calibrated(5.0, 0) == 1.0


def _watched(*pulls_m: float, every_s: float = 0.5, **more: float) -> SpoofWatch:
    watch = SpoofWatch()
    for k, pull_m in enumerate(pulls_m):
        vision, receiver_m2 = Covariance(4.0, 0.0, 4.0), Covariance(3.0, 0.0, 3.0)
        watch.add(Comparison(round(k * every_s * S), pull_m, 0.0, vision, receiver_m2, **more))  # type: ignore[arg-type]
    return watch


def test_a_large_difference_alarms_within_two_seconds_and_one_wild_fix_does_not() -> None:
    assert _watched(0.0, 40.0, 40.0, 40.0).alarmed
    assert not _watched(0.0, 400.0, 0.0, 0.0).alarmed
    assert not _watched(*([8.0] * 100)).alarmed


def test_a_difference_that_stays_moderate_alarms_later() -> None:
    watch = _watched(*([10.0] * 8))
    assert not watch.alarmed
    assert _watched(*([10.0] * 60)).alarmed


def test_after_a_long_pause_the_sum_begins_anew() -> None:
    pulled = Comparison(60 * S, 12.0, 0.0, Covariance(4.0, 0.0, 4.0), Covariance(3.0, 0.0, 3.0))
    watch = _watched(*([40.0] * 20))
    watch.add(pulled)
    assert not watch.alarmed
    watch = _watched(*([40.0] * 20))
    watch.add(dataclasses.replace(pulled, at_ns=12 * S))
    assert watch.alarmed


def test_an_alarm_ends_when_they_agree_again() -> None:
    assert not _watched(*([40.0] * 20), *([0.0] * 20)).alarmed
    assert _watched(*([40.0] * 20), *([0.0] * 20)).agrees_for_s(round(20.0 * S)) == pytest.approx(9.5)


def test_the_rate_of_fixes_does_not_change_what_seconds_say() -> None:
    slow, fast = _watched(*([11.0] * 11), every_s=0.5), _watched(*([11.0] * 51), every_s=0.1)
    assert slow.level == pytest.approx(fast.level)


def test_velocities_that_contradict_alarm_though_places_agree() -> None:
    moving = {"east_mps": 30.0, "north_mps": 0.0, "speed_sigma_mps": 1.0}
    assert not _watched(*([0.0] * 5), **moving).alarmed
    assert _watched(*([0.0] * 10), **moving).alarmed
    turning = {"east_mps": 12.0, "north_mps": 0.0, "speed_sigma_mps": 1.0}
    assert not _watched(*([0.0] * 30), **turning).alarmed


def _judge(seconds: float, **off: float) -> tuple[Judge, float]:
    judge = Judge()
    for k in range(round(seconds * 4)):
        at_s = k / 4
        judge.hear(receiver(at_s + 0.05))
        judge.hear(receiver(at_s + 0.2))
        judge.saw(fix(at_s, **off), gnss_good=True)
    return judge, seconds


def test_credit_is_earned_by_agreement_and_lost_by_a_jump() -> None:
    judge, at_s = _judge(30.0)
    assert judge.credit
    assert judge.steady(round(at_s * S))
    judge.saw(fix(at_s, north_m=20.0), gnss_good=True)
    assert not judge.credit
    assert judge.score.verdict is Verdict.NOT_ENOUGH


def test_a_correction_that_fixes_make_is_no_jump() -> None:
    judge, at_s = _judge(30.0)
    judge.saw(fix(at_s, north_m=4.0), gnss_good=True)
    assert judge.credit


def test_vision_that_broke_off_for_long_has_to_earn_it_anew() -> None:
    judge, at_s = _judge(30.0)
    judge.saw(fix(at_s + 10.0), gnss_good=True)
    assert judge.credit
    judge.saw(fix(at_s + 35.0), gnss_good=True)
    assert not judge.credit


def test_vision_is_steady_while_most_answers_are_sure_fixes() -> None:
    judge, at_s = _judge(30.0)
    now_ns = round(at_s * S)
    assert judge.steady(now_ns)
    assert not judge.steady(now_ns + 3 * S)
    for k in range(30):
        judge.saw(NoFix(now_ns + k * S // 4, Reason.NO_MATCH), gnss_good=True)
    judge.saw(fix(at_s + 7.5), gnss_good=True)
    assert not judge.steady(round((at_s + 7.5) * S))
    unsure, at_s = _judge(30.0, sigma_m=12.0)
    assert not unsure.steady(round(at_s * S))


def test_while_a_contradiction_is_held_against_gnss_it_does_not_score_vision() -> None:
    judge, at_s = _judge(30.0)
    before = judge.score
    for _ in range(40):
        at_s += 0.25
        judge.hear(receiver(at_s + 0.05, north_m=60.0))
        judge.hear(receiver(at_s + 0.2, north_m=60.0))
        judge.saw(fix(at_s), gnss_good=True)
    assert judge.spoofed(round(at_s * S))
    assert judge.score.verdict is Verdict.CONSISTENT
    assert judge.score.count - before.count <= 2


def test_what_only_coasts_is_not_compared() -> None:
    judge = Judge()
    judge.hear(receiver(0.9))
    judge.hear(receiver(1.2))
    judge.saw(dataclasses.replace(fix(1.0), kind=FixKind.COAST), gnss_good=True)
    assert judge.comparison is None


def test_a_contradiction_by_vision_that_no_longer_comes_is_not_held_against_gnss() -> None:
    judge, at_s = _judge(30.0)
    for k in range(12):
        now_s = at_s + k / 4
        judge.hear(receiver(now_s + 0.05, north_m=60.0))
        judge.hear(receiver(now_s + 0.2, north_m=60.0))
        judge.saw(fix(now_s), gnss_good=True)
    now_ns = round((at_s + 3.0) * S)
    assert judge.spoofed(now_ns)
    assert judge.contradicts
    assert not judge.spoofed(now_ns + 3 * S)
    assert judge.contradicts
