"""ArduPilot, GPS_INPUT: how accurate a receiver must say it is before EKF3 starts from it.

Below 5 m times EK3_CHECK_SCALE, for ten seconds, while bit 3 of EK3_GPS_CHECK is set. It counts where no other receiver
gives the start: with tilefix alone, after a loss with JammingExpected (bit 0 of EK3_OPTIONS), and on a plane after
a gap; a copter in flight takes what comes.
"""

from __future__ import annotations

from tilefix.doctor.case import Case
from tilefix.doctor.rules.rule import Rule
from tilefix.doctor.rules.wants import Want, Within
from tilefix.links.messages import Airframe, Route

_LIMIT_M = 5.0
_LARGEST_SCALE = 200.0
_POSITION_ERROR, _JAMMING_EXPECTED = 3, 0
_WHY = (
    "EKF3 starts from a receiver only below 5 m times this (in %); fixes on a map say up to 10 m (the other way is to "
    "clear bit 3 of EK3_GPS_CHECK)"
)


def _checked(case: Case) -> bool:
    return case.has_bit("EK3_GPS_CHECK", _POSITION_ERROR)


def _counts(case: Case) -> bool:
    alone = case.gps_id == 0 or case.airframe is Airframe.PLANE
    return _checked(case) and (alone or case.has_bit("EK3_OPTIONS", _JAMMING_EXPECTED))


def _may_count(case: Case) -> bool:
    return _checked(case) and not _counts(case)


def _scale(case: Case) -> Want:
    """The limit itself is not enough: at 5.0 m and 100 % no start was ever seen."""
    return Within(min(100.0 * case.start_sigma_m / _LIMIT_M + 1.0, _LARGEST_SCALE), 1e6, _LARGEST_SCALE)


RULES = (
    Rule("EK3_CHECK_SCALE", _scale, _WHY, routes=(Route.GPS_INPUT,), when=_counts),
    Rule("EK3_CHECK_SCALE", _scale, _WHY, routes=(Route.GPS_INPUT,), when=_may_count, advice=True),
)
# Read for the sake of the rules above.
ALSO_READ = ("EK3_GPS_CHECK",)
ALSO_READ_FROM_4_6 = ("EK3_OPTIONS",)
