"""What commands for tilefix ask for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilefix.links.commands import Command, Hint, choice_of, command_of, hint_of
from tilefix.links.messages import Order


def _order(*params: float, command: int = 43003) -> Order:
    return Order(0, command, (*params, *(0.0,) * (7 - len(params))), (255, 190))


def test_commands_are_known_by_their_number() -> None:
    assert [command_of(_order(command=one.value)) for one in Command] == list(Command)
    assert command_of(_order(command=400)) is None


def test_a_hint_is_a_place_with_a_sigma() -> None:
    assert hint_of(_order(0.0, 0.0, 30.0, 0.0, 47.0, 8.0)) == Hint(47.0, 8.0, 30.0)


@pytest.mark.parametrize(
    ("lat_deg", "lon_deg", "sigma_m"),
    [
        (math.nan, 8.0, 30.0),
        (47.0, math.nan, 30.0),
        (47.0, 8.0, math.nan),
        (90.0, 8.0, 30.0),
        (47.0, 181.0, 30.0),
        (47.0, 8.0, 0.0),
        (47.0, 8.0, math.inf),
        (47.0, 8.0, -30.0),
    ],
)
def test_what_is_no_place_is_no_hint(lat_deg: float, lon_deg: float, sigma_m: float) -> None:
    assert hint_of(_order(0.0, 0.0, sigma_m, 0.0, lat_deg, lon_deg)) is None


@given(st.floats(width=32))
def test_a_choice_is_a_whole_number_within_its_range(value: float) -> None:
    expected = int(value) if value in (0.0, 1.0, 2.0) else None
    assert choice_of(_order(value), 2) == expected
