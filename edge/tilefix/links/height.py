"""Height above mean sea level from air pressure, anchored while GNSS was good. Pure.

The International Standard Atmosphere gives a height from a pressure; weather shifts it. The shift is the median
difference to the GNSS receiver's own height, and stays as it was when GNSS went. Source: ICAO Doc 7488/3 (1993),
troposphere: h = T0/L (1 - (p/p0)^(R L / g)).
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass

_SEA_LEVEL_HPA = 1013.25
_TEMPERATURE_K = 288.15
_LAPSE_K_PER_M = 0.0065
_EXPONENT = 287.05287 * _LAPSE_K_PER_M / 9.80665
# Outside this the sensor is broken or the aircraft is no longer below 9 km.
PRESSURE_RANGE_HPA = (300.0, 1100.0)
# One minute at the 5 Hz asked for: long enough to average the receiver's noise, short enough to follow weather.
ANCHORS_KEPT = 300
MIN_ANCHORS = 5
# A pressure counts this long; older, the height is unknown.
MAX_AGE_NS = 1_500_000_000
_CLIMB_WINDOW_NS = 1_000_000_000
_CLIMB_MIN_SPAN_NS = 400_000_000
# Weather alone moves the pressure by up to about 1 hPa an hour, 8.3 m near sea level.
_WEATHER_M_PER_S = 8.3 / 3600.0


def isa_altitude_m(pressure_hpa: float) -> float:
    """Height in the standard atmosphere for a static pressure; raises `ValueError` outside the sensor's range."""
    if not PRESSURE_RANGE_HPA[0] <= pressure_hpa <= PRESSURE_RANGE_HPA[1]:
        raise ValueError(f"pressure {pressure_hpa} hPa")
    return _TEMPERATURE_K / _LAPSE_K_PER_M * (1.0 - float((pressure_hpa / _SEA_LEVEL_HPA) ** _EXPONENT))


@dataclass(frozen=True, slots=True)
class Anchor:
    """How far the standard atmosphere lay below the height above sea level at `at_ns`, with its one sigma."""

    at_ns: int
    shift_m: float
    sigma_m: float


class PressureAltitude:
    """Height above mean sea level and climb rate, from pressures and anchors as they come."""

    def __init__(self) -> None:
        self._isa_m: deque[tuple[int, float]] = deque(maxlen=100)
        self._anchors: deque[tuple[float, float]] = deque(maxlen=ANCHORS_KEPT)
        self._anchored_ns = 0

    def add_pressure(self, at_ns: int, pressure_hpa: float) -> None:
        """Notes a pressure; one out of range, not finite or out of order is dropped."""
        if math.isfinite(pressure_hpa) and PRESSURE_RANGE_HPA[0] <= pressure_hpa <= PRESSURE_RANGE_HPA[1]:
            if self._isa_m and at_ns <= self._isa_m[-1][0]:
                return
            self._isa_m.append((at_ns, isa_altitude_m(pressure_hpa)))

    def restart(self) -> None:
        """The autopilot's clock started anew: drops the pressures, keeps the anchor (the air is the same)."""
        self._isa_m.clear()

    def anchor(self, at_ns: int, amsl_m: float, sigma_m: float) -> None:
        """Notes that the height above mean sea level was `amsl_m`; dropped without a fresh pressure."""
        isa_m = self._isa_at(at_ns)
        if isa_m is not None and math.isfinite(amsl_m) and math.isfinite(sigma_m):
            self._anchors.append((amsl_m - isa_m, max(sigma_m, 0.0)))
            self._anchored_ns = at_ns

    @property
    def anchored_by(self) -> Anchor | None:
        """What ties pressure to sea level now; `None` before."""
        if not self.anchored:
            return None
        shift_m = statistics.median(shift for shift, _ in self._anchors)
        return Anchor(self._anchored_ns, shift_m, statistics.median(sigma for _, sigma in self._anchors))

    def restore(self, anchor: Anchor) -> None:
        """Takes up the anchor of a process before this one, where there is none yet."""
        if not self.anchored:
            self._anchors.extend([(anchor.shift_m, anchor.sigma_m)] * MIN_ANCHORS)
            self._anchored_ns = anchor.at_ns

    @property
    def anchored(self) -> bool:
        """True once enough anchors came for a median."""
        return len(self._anchors) >= MIN_ANCHORS

    def amsl_m(self, at_ns: int) -> float | None:
        """Height above mean sea level; `None` without an anchor or a fresh pressure."""
        isa_m = self._isa_at(at_ns)
        if isa_m is None or not self.anchored:
            return None
        return isa_m + statistics.median(shift for shift, _ in self._anchors)

    def sigma_m(self, at_ns: int) -> float | None:
        """One sigma of `amsl_m`: the anchors' own, widened for the weather since. `None` without an anchor."""
        if not self.anchored:
            return None
        age_s = max(at_ns - self._anchored_ns, 0) / 1e9
        return math.hypot(statistics.median(sigma for _, sigma in self._anchors), 1.0 + _WEATHER_M_PER_S * age_s)

    def climb_mps(self, at_ns: int) -> float | None:
        """Climb rate: least-squares slope over the last second of pressures; `None` when they are too few."""
        recent = [(ns, m) for ns, m in self._isa_m if at_ns - MAX_AGE_NS <= ns <= at_ns]
        recent = [(ns, m) for ns, m in recent if ns >= recent[-1][0] - _CLIMB_WINDOW_NS]
        if len(recent) < 3 or recent[-1][0] - recent[0][0] < _CLIMB_MIN_SPAN_NS:
            return None
        seconds = [(ns - recent[0][0]) / 1e9 for ns, _ in recent]
        slope, _ = statistics.linear_regression(seconds, [m for _, m in recent])
        return slope

    def _isa_at(self, at_ns: int) -> float | None:
        """Standard-atmosphere height at an instant: between samples, or held until too old."""
        later: tuple[int, float] | None = None
        for ns, isa_m in reversed(self._isa_m):
            if ns <= at_ns:
                if later is not None and later[0] - ns <= MAX_AGE_NS:
                    return isa_m + (later[1] - isa_m) * (at_ns - ns) / (later[0] - ns)
                return isa_m if at_ns - ns <= MAX_AGE_NS else None
            later = (ns, isa_m)
        return later[1] if later is not None and later[0] - at_ns <= MAX_AGE_NS else None
