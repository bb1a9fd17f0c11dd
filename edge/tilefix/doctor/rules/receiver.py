"""ArduPilot, GPS_INPUT: tilefix as one of the autopilot's receivers."""

from __future__ import annotations

import math

from tilefix.doctor.case import Case
from tilefix.doctor.rules.rule import Effect, Rule
from tilefix.doctor.rules.wants import Is, NoneOf, OneOf, Want, Within
from tilefix.links.messages import Route
from tilefix.publishing.latency import LARGEST_MS, TOLERANCE_MS
from tilefix.publishing.parameters import RECEIVER_DELAY_MS

_ROUTE = (Route.GPS_INPUT,)
_OTHERS = (Route.VISION, Route.ODOMETRY, Route.EXTERNAL_ESTIMATE)
_NEW_NAMES = (4, 6, 0)
_MAVLINK = 14


def _second(case: Case) -> bool:
    return case.gps_id == 1


def _configured(case: Case) -> bool:
    return case.delay_ms is not None


def _delay(case: Case) -> Want:
    delay_ms = RECEIVER_DELAY_MS if case.delay_ms is None else case.delay_ms
    return OneOf((delay_ms, 0.0)) if delay_ms == RECEIVER_DELAY_MS else Is(delay_ms)


def _measured(case: Case) -> bool:
    return case.delay_ms is None and case.latency_ms is not None


def _long_enough(case: Case) -> Want:
    """Zero stands for 200 ms; a latency beyond what the buffer holds is as long as it can be."""
    latency_ms = min(case.latency_ms or 0.0, LARGEST_MS)
    least_ms = max(latency_ms - TOLERANCE_MS, 0.0)
    enough = Within(least_ms, LARGEST_MS, min(10.0 * math.ceil(latency_ms / 10.0), LARGEST_MS))
    return enough if least_ms > RECEIVER_DELAY_MS else _ZeroOr(enough)


class _ZeroOr:
    """Zero, or what another demand allows."""

    def __init__(self, other: Want) -> None:
        self._other = other

    def holds(self, value: float) -> bool:
        return value == 0.0 or self._other.holds(value)

    def mended(self, value: float) -> float | None:
        return self._other.mended(value)


_TYPE_WHY = "tilefix speaks to the autopilot as a receiver of type 14, MAVLink"
_FIRST_WHY = (
    "the first receiver must be a real one: before GNSS is lost tilefix repeats it, and the vehicle arms only when "
    "both agree (a vehicle without any has gps_id = 0 in [publish])"
)
_DELAY_WHY = "[publish] delay_ms says how late positions come; by any difference they are wrong by speed times time"
_LATENCY_WHY = "pictures take longer than this to become positions, so that each has to be predicted"
_UNFED_WHY = (
    "by this route nothing feeds a receiver of type 14, and the vehicle arms only when every receiver has a fix"
)
_UNFED = (
    ("GPS1_TYPE", 1, True),
    ("GPS2_TYPE", 0, True),
    ("GPS_TYPE", 1, False),
    ("GPS_TYPE2", 0, False),
)

RULES = (
    Rule(
        "GPS{receiver}_TYPE",
        Is(_MAVLINK),
        _TYPE_WHY,
        routes=_ROUTE,
        since=_NEW_NAMES,
        effect=Effect.AT_BOOT_IF_RUNNING,
        essential=True,
    ),
    Rule(
        "GPS_TYPE{old_receiver}",
        Is(_MAVLINK),
        _TYPE_WHY,
        routes=_ROUTE,
        before=_NEW_NAMES,
        effect=Effect.AT_BOOT_IF_RUNNING,
        essential=True,
    ),
    Rule(
        "GPS1_TYPE",
        NoneOf((0, _MAVLINK), 1),
        _FIRST_WHY,
        routes=_ROUTE,
        since=_NEW_NAMES,
        when=_second,
        effect=Effect.AT_BOOT_IF_RUNNING,
    ),
    Rule(
        "GPS_TYPE",
        NoneOf((0, _MAVLINK), 1),
        _FIRST_WHY,
        routes=_ROUTE,
        before=_NEW_NAMES,
        when=_second,
        effect=Effect.AT_BOOT_IF_RUNNING,
    ),
    Rule(
        "GPS_AUTO_SWITCH",
        OneOf((1, 4)),
        "1 and 4 go over to tilefix when the receiver loses its fix, and back; 0 never does, 2 mixes the two",
        routes=_ROUTE,
        when=_second,
    ),
    Rule("GPS_PRIMARY", Is(0), "the real receiver comes first, tilefix stands by", routes=_ROUTE, when=_second),
    Rule(
        "GPS{receiver}_DELAY_MS",
        _delay,
        _DELAY_WHY,
        routes=_ROUTE,
        since=_NEW_NAMES,
        when=_configured,
        effect=Effect.AT_BOOT,
    ),
    Rule(
        "GPS_DELAY_MS{old_receiver}",
        _delay,
        _DELAY_WHY,
        routes=_ROUTE,
        before=_NEW_NAMES,
        when=_configured,
        effect=Effect.AT_BOOT,
    ),
    Rule(
        "GPS{receiver}_DELAY_MS",
        _long_enough,
        _LATENCY_WHY,
        routes=_ROUTE,
        since=_NEW_NAMES,
        when=_measured,
        effect=Effect.AT_BOOT,
        advice=True,
    ),
    Rule(
        "GPS_DELAY_MS{old_receiver}",
        _long_enough,
        _LATENCY_WHY,
        routes=_ROUTE,
        before=_NEW_NAMES,
        when=_measured,
        effect=Effect.AT_BOOT,
        advice=True,
    ),
    *(
        Rule(
            name,
            NoneOf((_MAVLINK,), instead),
            _UNFED_WHY,
            routes=_OTHERS,
            since=_NEW_NAMES if is_new else (0, 0, 0),
            before=(999, 0, 0) if is_new else _NEW_NAMES,
            effect=Effect.AT_BOOT_IF_RUNNING,
        )
        for name, instead, is_new in _UNFED
    ),
)
