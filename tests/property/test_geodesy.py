"""Places near each other, anywhere on earth: against the ellipsoid, and over 180 degrees of longitude."""

from __future__ import annotations

import math

import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilefix.geodesy import apart_m, between, moved, offset_m

_LAT_DEG = st.floats(-80.0, 80.0)
_LON_DEG = st.one_of(st.floats(-180.0, 180.0), st.floats(179.999, 180.0), st.floats(-180.0, -179.999))
_METRES = st.floats(-500.0, 500.0)
_ELLIPSOID = pyproj.Geod(ellps="WGS84")


@given(_LAT_DEG, _LON_DEG, _METRES, _METRES)
def test_a_place_that_moved_lies_there(lat_deg: float, lon_deg: float, east_m: float, north_m: float) -> None:
    there = moved(lat_deg, lon_deg, east_m, north_m)
    assert -180.0 <= there[1] <= 180.0
    assert offset_m(*there, lat_deg, lon_deg) == pytest.approx((east_m, north_m), abs=1e-6)
    _, _, metres = _ELLIPSOID.inv(lon_deg, lat_deg, there[1], there[0])
    assert apart_m(*there, lat_deg, lon_deg) == pytest.approx(metres, rel=0.007, abs=0.01)


@given(_LAT_DEG, _LON_DEG, _METRES, _METRES, st.floats(0.0, 1.0))
def test_between_two_places_lies_on_the_way(
    lat_deg: float, lon_deg: float, east_m: float, north_m: float, share: float
) -> None:
    there = moved(lat_deg, lon_deg, east_m, north_m)
    place = between(lat_deg, lon_deg, *there, share)
    assert offset_m(*place, lat_deg, lon_deg) == pytest.approx((share * east_m, share * north_m), abs=1e-6)


def test_a_place_at_a_pole_is_still_one() -> None:
    assert all(map(math.isfinite, moved(90.0, 0.0, 10.0, 0.0)))
