"""Height from air pressure."""

from __future__ import annotations

import math

import pytest

from tilefix.links.height import MAX_AGE_NS, MIN_ANCHORS, PressureAltitude, isa_altitude_m

S = 1_000_000_000


@pytest.mark.parametrize(
    ("pressure_hpa", "altitude_m"), [(1013.25, 0.0), (954.61, 500.0), (898.745, 1000.0), (540.2, 5000.0)]
)
def test_the_standard_atmosphere_matches_the_published_table(pressure_hpa: float, altitude_m: float) -> None:
    assert isa_altitude_m(pressure_hpa) == pytest.approx(altitude_m, abs=0.6)


@pytest.mark.parametrize("pressure_hpa", [0.0, -1.0, 299.0, 1101.0, math.nan, math.inf])
def test_a_pressure_that_no_drone_meets_is_refused(pressure_hpa: float) -> None:
    with pytest.raises(ValueError, match="pressure"):
        isa_altitude_m(pressure_hpa)


def _anchored(shift_m: float = 40.0) -> PressureAltitude:
    altitude = PressureAltitude()
    for index in range(10):
        altitude.add_pressure(index * S // 10, 954.61)
        altitude.anchor(index * S // 10, isa_altitude_m(954.61) + shift_m, 1.5)
    return altitude


def test_the_anchor_carries_over_the_loss_of_gnss() -> None:
    altitude = _anchored()
    altitude.add_pressure(600 * S, 898.745)
    assert altitude.amsl_m(600 * S) == pytest.approx(1040.0, abs=0.6)
    at_loss, later = altitude.sigma_m(1 * S), altitude.sigma_m(3600 * S)
    assert at_loss is not None
    assert later is not None
    assert at_loss < 2.5
    assert later == pytest.approx(9.4, abs=0.3)


def test_one_wild_receiver_height_does_not_move_the_anchor() -> None:
    altitude = _anchored()
    altitude.anchor(9 * S // 10, 9000.0, 1.5)
    assert altitude.amsl_m(9 * S // 10) == pytest.approx(540.0, abs=1.0)


def test_without_anchor_or_fresh_pressure_the_height_is_unknown() -> None:
    altitude = PressureAltitude()
    altitude.anchor(0, 500.0, 1.0)
    assert not altitude.anchored
    for index in range(MIN_ANCHORS - 1):
        altitude.add_pressure(index, 954.61)
        altitude.anchor(index, 540.0, 1.0)
    assert altitude.amsl_m(MIN_ANCHORS) is None
    assert altitude.sigma_m(MIN_ANCHORS) is None
    anchored = _anchored()
    assert anchored.amsl_m(9 * S // 10 + MAX_AGE_NS) is not None
    assert anchored.amsl_m(9 * S // 10 + MAX_AGE_NS + 1) is None
    anchored.restart()
    assert anchored.amsl_m(9 * S // 10) is None
    anchored.add_pressure(5 * S, 954.61)
    assert anchored.amsl_m(5 * S) == pytest.approx(540.0, abs=0.6)


def test_broken_pressures_and_anchors_change_nothing() -> None:
    altitude = _anchored()
    before = altitude.amsl_m(9 * S // 10)
    for pressure in (math.nan, 0.0, 5000.0):
        altitude.add_pressure(S, pressure)
    altitude.add_pressure(0, 700.0)
    altitude.anchor(9 * S // 10, math.nan, 1.0)
    assert altitude.amsl_m(9 * S // 10) == before


def test_a_height_between_two_pressures_is_interpolated() -> None:
    altitude = _anchored(0.0)
    altitude.add_pressure(2 * S, 898.745)
    middle = (isa_altitude_m(954.61) + isa_altitude_m(898.745)) / 2.0
    assert altitude.amsl_m(9 * S // 10 + 11 * S // 20) == pytest.approx(middle, abs=0.01)


def test_the_climb_rate_is_the_slope_of_the_last_second() -> None:
    altitude = PressureAltitude()
    for index in range(11):
        # 2 m/s: near 500 m one hectopascal is about 8.8 m.
        target_m = 500.0 + 0.2 * index
        pressure_hpa = 1013.25 * (1.0 - target_m * 0.0065 / 288.15) ** (1.0 / 0.190263)
        altitude.add_pressure(index * S // 10, pressure_hpa)
    assert altitude.climb_mps(S) == pytest.approx(2.0, abs=0.01)
    assert altitude.climb_mps(4 * S) is None
    assert PressureAltitude().climb_mps(0) is None
