"""What is sent, what is not, and what the pilot is told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tilefix.handover.machine import Feed
from tilefix.links.messages import AutopilotTime, GnssReceiver, Pressure, Severity
from tilefix.links.vehicle import Vehicle
from tilefix.publishing.publisher import STOPPED, Decision, Publisher
from tilefix.publishing.settings import PublishSettings
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason

S = 1_000_000_000
FIX = Fix(
    at_ns=2 * S,
    kind=FixKind.FIX,
    lat_deg=47.1,
    lon_deg=8.2,
    east_m=0.0,
    north_m=0.0,
    covariance_m2=Covariance(9.0, 0.0, 4.0),
    match_age_s=0.1,
    velocity_east_mps=4.0,
    velocity_north_mps=-3.0,
    velocity_covariance=Covariance(0.25, 0.0, 0.16),
)


def _vehicle(*, fix_type: int = 3, climb_hpa: float = 0.0) -> Vehicle:
    """Two seconds with GNSS at 540 m; then `fix_type`."""
    vehicle = Vehicle()
    for tick in range(21):
        at_ns = tick * S // 10
        vehicle.take(Pressure(at_ns, 954.61 - climb_hpa * tick))
        vehicle.take(GnssReceiver(at_ns, 3, 47.0, 8.0, 540.0, 0.9, 1.5, 3.0, 4.0))
    vehicle.take(GnssReceiver(2 * S, fix_type, 47.0, 8.0, 540.0, 0.9, 1.5, 3.0, 4.0))
    return vehicle


DENIED = 1


def test_a_fix_becomes_a_complete_report() -> None:
    vehicle = _vehicle(fix_type=DENIED)
    vehicle.take(AutopilotTime(2 * S, 1_767_225_600 * S))
    decision = Publisher().decide(FIX, vehicle)
    report = decision.report
    assert report is not None
    assert (decision.refusal, decision.mirrored) == (None, False)
    assert (report.at_ns, report.lat_deg, report.lon_deg) == (2 * S, 47.1, 8.2)
    assert report.amsl_m == pytest.approx(540.0, abs=0.5)
    assert (report.velocity_north_mps, report.velocity_east_mps) == (-3.0, 4.0)
    assert report.velocity_down_mps == pytest.approx(0.0, abs=1e-9)
    assert report.horizontal_sigma_m == pytest.approx(3.0)
    assert report.speed_sigma_mps == pytest.approx(0.5)
    assert 1.5 < report.vertical_sigma_m < 3.0
    assert (report.gps_id, report.satellites) == (1, 8)
    assert (report.gps_week, report.gps_week_ms) == (2399, (4 * 86400 + 18) * 1000)


def test_the_vertical_velocity_is_the_barometers() -> None:
    # 0.0235 hPa every tenth of a second is 2.1 m/s near 500 m.
    report = Publisher().decide(FIX, _vehicle(fix_type=DENIED, climb_hpa=0.0235)).report
    assert report is not None
    assert report.velocity_down_mps == pytest.approx(-2.1, abs=0.1)


@pytest.mark.parametrize(
    ("estimate", "why"),
    [
        (NoFix(2 * S, Reason.AMBIGUOUS), "picture fits several places"),
        (replace(FIX, velocity_east_mps=None), "no velocity"),
        (replace(FIX, velocity_covariance=None), "no velocity"),
        (replace(FIX, covariance_m2=Covariance(26.0**2, 0.0, 1.0)), "uncertain"),
        (replace(FIX, lat_deg=math.nan), "not finite"),
        (replace(FIX, velocity_north_mps=math.inf), "not finite"),
        (replace(FIX, covariance_m2=Covariance(math.nan, 0.0, 1.0)), "not finite"),
    ],
)
def test_what_is_incomplete_is_not_sent(estimate: Fix | NoFix, why: str) -> None:
    decision = Publisher().decide(estimate, _vehicle(fix_type=DENIED))
    assert decision.report is None
    assert decision.refusal is not None
    assert why in decision.refusal


def test_without_a_height_nothing_is_sent() -> None:
    decision = Publisher().decide(FIX, Vehicle())
    assert (decision.report, decision.refusal) == (None, "no height above sea level")


def test_coasting_has_a_limit_of_its_own() -> None:
    publisher = Publisher(PublishSettings(max_coast_sigma_m=2.0))
    vehicle = _vehicle(fix_type=DENIED)
    assert publisher.decide(FIX, vehicle).report is not None
    assert publisher.decide(replace(FIX, kind=FixKind.COAST, at_ns=2 * S + S // 10), vehicle).report is None


def test_sigmas_are_never_claimed_smaller_than_the_floor() -> None:
    sure = replace(FIX, covariance_m2=Covariance(1e-6, 0.0, 1e-6), velocity_covariance=Covariance(0.0, 0.0, 0.0))
    report = Publisher().decide(sure, _vehicle(fix_type=DENIED)).report
    assert report is not None
    assert report.horizontal_sigma_m == 0.5
    assert report.speed_sigma_mps >= 0.2


def test_while_gnss_is_good_and_nothing_better_is_known_it_is_repeated() -> None:
    nothing = NoFix(2 * S + S // 5, Reason.NO_MATCH)
    decision = Publisher().decide(nothing, _vehicle())
    report = decision.report
    assert report is not None
    assert decision.mirrored
    # 3 m/s north for 0.2 s is 0.6 m.
    assert (report.lat_deg - 47.0) * 111_195.0 == pytest.approx(0.6, abs=0.01)
    assert (report.velocity_north_mps, report.velocity_east_mps, report.horizontal_sigma_m) == (3.0, 4.0, 0.9)
    assert Publisher(PublishSettings(mirror_gnss=False)).decide(nothing, _vehicle()).report is None
    assert Publisher().decide(NoFix(3 * S, Reason.NO_MATCH), _vehicle()).report is None
    assert not Publisher().decide(FIX, _vehicle()).mirrored


def test_what_is_repeated_is_dated_by_when_the_receiver_measured_it() -> None:
    publisher = Publisher()
    publisher.gnss_delay_ns = S // 10
    report = publisher.decide(NoFix(2 * S, Reason.NO_MATCH), _vehicle()).report
    assert report is not None
    # Heard at this instant, a tenth of a second old: 0.3 m north and 0.4 m east from there.
    assert (report.lat_deg - 47.0) * 111_195.0 == pytest.approx(0.3, abs=0.01)
    assert (report.lon_deg - 8.0) * 111_195.0 * math.cos(math.radians(47.0)) == pytest.approx(0.4, abs=0.01)


def test_a_receiver_without_velocity_is_not_repeated() -> None:
    vehicle = _vehicle()
    vehicle.take(GnssReceiver(2 * S + 1, 3, 47.0, 8.0, 540.0, 0.9, 1.5))
    assert Publisher().decide(NoFix(2 * S + 1, Reason.NO_MATCH), vehicle).report is None


def test_what_may_be_sent_is_sent_in_its_order() -> None:
    mirror_first, vision_only, mirror_only = (Feed.MIRROR, Feed.VISION), (Feed.VISION,), (Feed.MIRROR,)
    assert Publisher().decide(FIX, _vehicle(), feeds=mirror_first).mirrored
    assert not Publisher().decide(FIX, _vehicle(), feeds=vision_only).mirrored
    nothing = NoFix(2 * S, Reason.NO_MATCH)
    assert Publisher().decide(nothing, _vehicle(), feeds=vision_only).report is None
    denied = _vehicle(fix_type=DENIED)
    # The last good word of the receiver is old by then.
    late = replace(FIX, at_ns=3 * S)
    assert Publisher().decide(late, denied, feeds=mirror_first).report is not None
    held = Publisher().decide(late, denied, feeds=mirror_only)
    assert (held.report, held.refusal) == (None, "vision held back by the operator")
    assert Publisher().decide(FIX, _vehicle(), feeds=()).report is None


def test_the_instant_is_the_delay_that_the_autopilot_assumes() -> None:
    assert Publisher().instant_ns(S, Vehicle()) == S - 200_000_000
    assert Publisher(PublishSettings(delay_ms=0.0)).instant_ns(S, Vehicle()) == S


def test_no_instant_is_sent_twice_and_none_before_an_earlier_one() -> None:
    publisher, vehicle = Publisher(), _vehicle(fix_type=DENIED)
    decision = publisher.decide(FIX, vehicle)
    assert decision.report is not None
    assert publisher.decide(FIX, vehicle) == decision  # nothing has left yet
    publisher.sent(decision)
    for at_ns in (2 * S, 2 * S - S // 10):
        assert publisher.decide(FIX, vehicle, at_ns) == Decision(None, None)
    assert publisher.decide(FIX, vehicle, 2 * S + 1).report is not None


def test_an_estimate_of_another_instant_is_carried_to_the_one_asked_for() -> None:
    report = Publisher().decide(FIX, _vehicle(fix_type=DENIED), 2 * S - S // 5).report
    assert report is not None
    assert report.at_ns == 2 * S - S // 5
    # 3 m/s south and 4 m/s east, 0.2 s earlier.
    assert (report.lat_deg - FIX.lat_deg) * 111_195.0 == pytest.approx(0.6, abs=0.01)
    assert (report.lon_deg - FIX.lon_deg) * 111_195.0 * math.cos(math.radians(47.1)) == pytest.approx(-0.8, abs=0.01)
    late = Publisher().decide(FIX, _vehicle(fix_type=DENIED), 2 * S + 6 * S // 10)
    assert (late.report, late.refusal) == (None, "position holds for another time")


def test_the_pilot_is_told_of_changes_at_most_once_a_second() -> None:
    publisher = Publisher()
    none, found = Decision(None, "picture fits nowhere on the map"), Decision(object(), None)  # type: ignore[arg-type]
    assert publisher.text(none, 0) == (Severity.WARNING, "tilefix: picture fits nowhere on the map")
    assert publisher.text(none, 5 * S) is None
    assert publisher.text(found, 6 * S) == (Severity.NOTICE, "tilefix: position found")
    assert publisher.text(none, 6 * S + S // 2) is None
    assert publisher.text(none, 7 * S) == (Severity.WARNING, "tilefix: picture fits nowhere on the map")
    flicker = [publisher.text(found if tick % 2 else none, 7 * S + tick * S // 10) for tick in range(1, 10)]
    assert flicker == [None] * 9
    mirrored = Decision(object(), "x", mirrored=True)  # type: ignore[arg-type]
    assert publisher.text(mirrored, 9 * S) == (Severity.INFO, "tilefix: repeating GNSS")


def test_reasons_that_take_turns_are_told_once_in_half_a_minute() -> None:
    publisher = Publisher()
    reasons = [Decision(None, "no height"), Decision(None, "out of scale")]
    lines = [publisher.text(reasons[second // 2 % 2], second * S) for second in range(40)]
    told = [(second, line[1]) for second, line in enumerate(lines) if line is not None]
    assert [second for second, _ in told] == [0, 2, 32, 34]
    assert [line for _, line in told] == ["tilefix: no height", "tilefix: out of scale"] * 2
    # One that stays is told before that.
    lines = [publisher.text(reasons[0], (40 + second) * S) for second in range(10)]
    assert [second for second, line in enumerate(lines) if line is not None] == [5]
    # After a position a loss is news, whatever was told before.
    assert publisher.text(Decision(None, None), 51 * S) is not None
    assert publisher.text(reasons[1], 53 * S) == (Severity.WARNING, "tilefix: out of scale")


def test_what_an_operator_does_is_told_each_time() -> None:
    publisher = Publisher()
    decisions = [Decision(None, STOPPED), Decision(None, "no height")]
    lines = [publisher.text(decisions[second % 2], second * S) for second in range(6)]
    assert [line[1] for line in lines if line is not None] == ["tilefix: stopped by command", "tilefix: no height"] * 3


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_fits_a_statustext_whole(reason: Reason) -> None:
    publisher = Publisher()
    decision = publisher.decide(NoFix(0, reason), Vehicle())
    line = publisher.text(decision, 0)
    assert line is not None
    assert len(line[1].encode()) <= 50
    assert line[1] in (f"tilefix: {reason.value}", f"tilefix: {reason.name.replace('_', ' ').lower()}")
