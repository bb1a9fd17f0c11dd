"""How old imagery is."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilefix.mapcheck.age import age_warning, age_years, imagery_date

TODAY = datetime.date(2024, 6, 30)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2015", (2015, 12, 31)),
        ("2015-02", (2015, 2, 28)),
        ("2015-07-03", (2015, 7, 3)),
        ("20150703", (2015, 7, 3)),
        ("2015:07:03 10:20:00", (2015, 7, 3)),
        ("2014-05-01/2014-09-30", (2014, 5, 1)),
        ("summer of 2015", (2015, 12, 31)),
        ("2015-02-31", (2015, 2, 28)),
    ],
)
def test_dates_in_many_forms(text: str, date: tuple[int, int, int]) -> None:
    assert imagery_date(text) == datetime.date(*date)


@pytest.mark.parametrize("text", ["", "unknown", "12345678", "0315", "120151"])
def test_texts_without_a_date(text: str) -> None:
    assert imagery_date(text) is None
    assert age_warning(text, TODAY) == "the age of the map's imagery is unknown"


def test_only_old_imagery_is_warned_of() -> None:
    assert age_warning("2022-01", TODAY) is None
    assert age_warning("2022-01", TODAY, 2.0) == "map imagery is 2 years old, over 2"
    assert age_warning("2015-06-30", TODAY) == "map imagery is 9 years old, over 3"
    assert age_years("2030", TODAY) == 0.0


@given(st.text(alphabet="0123456789-:/. x", max_size=20))
def test_any_text_is_a_date_or_none(text: str) -> None:
    years = age_years(text, TODAY)
    assert years is None or 0.0 <= years < 130.0
