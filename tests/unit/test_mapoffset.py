"""The offset from odometry to the map, against what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from tilefix.localization.mapoffset import MapOffset
from tilefix.types import Covariance


def test_offset_weighs_matches_and_drifts_linearly() -> None:
    offset = MapOffset(0.0, 0.0, Covariance(4.0, 0.0, 4.0))
    offset.observe(2.0, -2.0, Covariance(4.0, 0.0, 4.0))
    assert (offset.east_m, offset.north_m) == pytest.approx((1.0, -1.0))
    assert offset.covariance_m2 == pytest.approx(2.0 * np.eye(2))
    for _ in range(10):
        offset.drift(0.5)
    assert offset.covariance_m2 == pytest.approx((2.0 + 5.0**2) * np.eye(2))
    offset.jump(3.0)
    assert offset.covariance_m2 == pytest.approx((27.0 + 9.0) * np.eye(2))
    assert offset.distance2(1.0 + 6.0, -1.0, Covariance(0.0, 0.0, 0.0)) == pytest.approx(1.0)
    offset.observe(1.0, -1.0, Covariance(1.0, 0.0, 1.0))
    assert offset.covariance_m2[0, 0] == pytest.approx(36.0 / 37.0)


def test_a_sharp_match_counts_along_its_sharp_axis() -> None:
    offset = MapOffset(0.0, 0.0, Covariance(9.0, 0.0, 9.0))
    offset.observe(3.0, 3.0, Covariance(0.01, 0.0, 900.0))
    assert offset.east_m == pytest.approx(3.0, abs=0.02)
    assert offset.north_m == pytest.approx(0.03, abs=0.02)
