"""How late ArduPilot takes its first receiver to be where that one's delay parameter is 0. Pure.

Source: ArduPilot 4.5.5 and 4.7-dev, AP_GPS::get_lag and that of its drivers; one without an own takes GPS_Backend's.
"""

from __future__ import annotations

from typing import NamedTuple


class Lag(NamedTuple):
    """A receiver's delay, milliseconds, and what kind of receiver has it."""

    ms: float
    of: str


# AP_GPS_UBLOX goes by generations, which GPS1_TYPE does not tell: a 6 or older counts for 220 ms. What fits into a
# buffer for 120 fits into that, too.
_UBLOX = Lag(120.0, "u-blox 7 or newer")
_BASELINE, _UNICORE = Lag(160.0, "u-blox moving baseline"), Lag(140.0, "Unicore")
_NMEA, _SEPTENTRIO = Lag(200.0, "NMEA"), Lag(80.0, "Septentrio")
_BY_TYPE = {
    0: Lag(0.0, "none"),
    1: _UBLOX,  # whatever is found, which mostly is one
    2: _UBLOX,
    5: _NMEA,
    10: _SEPTENTRIO,
    14: Lag(200.0, "MAVLink"),
    16: _NMEA,
    17: _BASELINE,
    18: _BASELINE,
    19: Lag(110.0, "MSP"),
    20: _NMEA,
    21: Lag(110.0, "external AHRS"),
    24: _UNICORE,
    25: _UNICORE,
    26: _SEPTENTRIO,
}


def lag_of(kind: float | None) -> Lag:
    """The lag by GPS1_TYPE (4.5: GPS_TYPE); one that was not told is taken for a u-blox."""
    return _UBLOX if kind is None else _BY_TYPE.get(int(kind), Lag(200.0, f"type {kind:g}"))
