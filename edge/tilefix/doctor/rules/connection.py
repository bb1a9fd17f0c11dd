"""ArduPilot: the companion's port, and the clock."""

from __future__ import annotations

from tilefix.doctor.case import Case
from tilefix.doctor.rules.rule import Effect, Rule
from tilefix.doctor.rules.wants import Bits, Is, Want
from tilefix.links.messages import Route

# SERIALn_BAUD counts in thousands, with these names for the usual speeds.
_BAUD_CODES = {57600: 57, 111100: 111, 115200: 115, 230400: 230, 256000: 256, 460800: 460, 500000: 500, 921600: 921}
_SLOW_BAUD = 115200


def _speed_known(case: Case) -> bool:
    return case.baud is not None


def _speed(case: Case) -> Want:
    baud = case.baud or 921600
    return Is(_BAUD_CODES.get(baud, baud // 1000))


def _slow(case: Case) -> bool:
    return case.baud is not None and case.baud < _SLOW_BAUD


def _only_receiver(case: Case) -> bool:
    return case.gps_id == 0


RULES = (
    Rule(
        "SERIAL{port}_PROTOCOL",
        Is(2),
        "the companion's port has to speak MAVLink 2",
        effect=Effect.AT_BOOT,
    ),
    Rule("SERIAL{port}_BAUD", _speed, "not the speed of [link] url", when=_speed_known, effect=Effect.AT_BOOT),
    Rule(
        "SERIAL{port}_BAUD",
        Is(921),
        "attitude at 40 Hz beside everything else needs a fast port; change [link] url as well",
        when=_slow,
        effect=Effect.AT_BOOT,
        advice=True,
    ),
    Rule(
        "BRD_RTC_TYPES",
        Bits(on=2),
        "no receiver tells the time: with bit 1 a ground station may, for logs and signing",
        routes=(Route.GPS_INPUT,),
        when=_only_receiver,
        advice=True,
    ),
)
