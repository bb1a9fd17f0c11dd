"""ArduPilot, GPS_INPUT: tilefix as one of the autopilot's receivers."""

from __future__ import annotations

from tilefix.doctor.case import Case
from tilefix.doctor.rules.rule import Effect, Rule
from tilefix.doctor.rules.wants import Is, NoneOf, OneOf
from tilefix.links.messages import Route

_ROUTE = (Route.GPS_INPUT,)
_OTHERS = (Route.VISION, Route.ODOMETRY, Route.EXTERNAL_ESTIMATE)
_NEW_NAMES = (4, 6, 0)
_MAVLINK = 14


def _second(case: Case) -> bool:
    return case.gps_id == 1


_TYPE_WHY = "tilefix speaks to the autopilot as a receiver of type 14, MAVLink"
_FIRST_WHY = (
    "the first receiver must be a real one: before GNSS is lost tilefix repeats it, and the vehicle arms only when "
    "both agree (a vehicle without any has gps_id = 0 in [publish])"
)
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
