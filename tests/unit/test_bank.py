"""Which wrong headings and heights are looked under."""

from __future__ import annotations

import math

import pytest

from tilefix.localization.bank import SCALE_STEP, TURN_STEP_DEG, errors_to_try


@pytest.mark.parametrize(("heading_deg", "height"), [(25.0, 0.17), (12.0, 0.08), (180.0, 0.17), (4.0, 0.3)])
def test_no_error_within_the_bounds_is_further_than_half_a_step(heading_deg: float, height: float) -> None:
    table = errors_to_try(heading_deg, height)
    for turn_deg in (-heading_deg, -0.4 * heading_deg, 0.0, 0.7 * heading_deg, heading_deg):
        for scale in (1.0 / (1.0 + height), 1.0, 1.0 + 0.6 * height, 1.0 + height):
            away = min(
                max(
                    abs((errors.turn_deg - turn_deg + 180.0) % 360.0 - 180.0) / TURN_STEP_DEG,
                    abs(math.log(errors.scale / scale)) / math.log(SCALE_STEP),
                )
                for errors in table
            )
            assert away <= 0.5 + 1e-9


def test_the_likeliest_come_first_and_none_twice() -> None:
    table = errors_to_try(180.0, 0.17)
    assert (table[0].turn_deg, table[0].scale) == (0.0, 1.0)
    assert len({(errors.turn_deg % 360.0, errors.scale) for errors in table}) == len(table) == 72 * 5
    assert abs(table[1].turn_deg) == 5.0
    assert errors_to_try(0.0, 0.0) == table[:1]
