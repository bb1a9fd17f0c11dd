"""How old a map's imagery is, from the date that it states in whatever form."""

from __future__ import annotations

import calendar
import datetime
import re

DAYS_PER_YEAR = 365.25
MAX_AGE_YEARS = 3.0  # what is usually built, felled and ploughed by then is told; not a limit
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)(?:[-:/.]?(0[1-9]|1[0-2])(?:[-:/.]?(0[1-9]|[12]\d|3[01]))?)?(?!\d)")


def imagery_date(text: str) -> datetime.date | None:
    """The first date in a text such as 2015, 2015-07, 20150731, 2015:07:31 10:20:00 or 2014-05-01/2014-09-30; a year
    or month alone counts from its last day, so that an age is never overstated. `None` without one."""
    found = _DATE.search(text)
    if found is None:
        return None
    year, month = int(found[1]), int(found[2] or 12)
    last = calendar.monthrange(year, month)[1]
    return datetime.date(year, month, min(int(found[3] or last), last))


def age_years(text: str, today: datetime.date) -> float | None:
    """Years since then, at least 0; `None` where the text holds no date."""
    date = imagery_date(text)
    return None if date is None else max(0.0, (today - date).days / DAYS_PER_YEAR)


def age_warning(text: str, today: datetime.date, max_years: float = MAX_AGE_YEARS) -> str | None:
    """A line for people where the imagery is older than `max_years` or tells no date, or `None`."""
    years = age_years(text, today)
    if years is None:
        return "the age of the map's imagery is unknown"
    if years <= max_years:
        return None
    return f"map imagery is {years:.0f} years old, over {max_years:g}"
