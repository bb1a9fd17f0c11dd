"""Whether GNSS is being led away: the difference to vision over time, with both covariances. Pure.

A cumulative sum (Page, *Continuous inspection schemes*, 1954) of how far the squared Mahalanobis distance exceeds what
honest errors show: a difference that stays a little too large alarms later, a large one within a second or two. Errors
are correlated, so the sum grows with time, not with the number of fixes. No baseline is subtracted: a receiver that is
led away however slowly is noticed at the same distance.
"""

from __future__ import annotations

import math

from tilefix.handover.compare import Comparison

# Per axis, what honest differences may reach beyond their stated covariances: map distortion, terrain, slow attitude.
FLOOR_M = 2.0
EXPECTED2 = 7.0  # of the squared distance, that honest excursions may reach for long
ALARM = 20.0  # of the excess, times seconds
_CAP2 = 40.0  # one wild fix must not alarm
_GAP_S = 1.0  # a pause counts as this much
_FORGET_S = 10.0  # without a comparison for this long the sum begins anew
CALM2 = 6.0  # below it a comparison agrees
# Velocities contradict beyond so much and so many sigmas, for so long: a camera's lags in turns.
_SPEED_MPS, _SPEED_SIGMAS, _SPEED_S = 15.0, 5.0, 3.0


class SpoofWatch:
    """Follows the difference between vision and the receiver."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._at_ns: int | None = None
        self._agrees_since_ns: int | None = None
        self._speed_since_ns: int | None = None
        self._velocity_contradicts = False

    def clear(self) -> None:
        """Forgets everything."""
        self.__init__()  # type: ignore[misc]

    def add(self, comparison: Comparison, stretch: float = 1.0) -> None:
        """Takes in a comparison. `stretch`: how many times larger than stated vision's variances are known to be."""
        at_ns = comparison.at_ns
        if self._at_ns is not None and at_ns <= self._at_ns:
            return
        since_s = 0.0 if self._at_ns is None else (at_ns - self._at_ns) / 1e9
        if since_s > _FORGET_S:
            self.clear()
        self._at_ns = at_ns
        distance2 = self.distance2(comparison, stretch)
        self._sum = max(0.0, self._sum + min(since_s, _GAP_S) * (min(distance2, _CAP2) - EXPECTED2))
        self._sum = min(self._sum, 2.0 * ALARM)
        if distance2 > CALM2:
            self._agrees_since_ns = None
        elif self._agrees_since_ns is None:
            self._agrees_since_ns = at_ns
        self._add_velocity(comparison)

    def _add_velocity(self, comparison: Comparison) -> None:
        east_mps, north_mps, sigma_mps = comparison.east_mps, comparison.north_mps, comparison.speed_sigma_mps
        if east_mps is None or north_mps is None or sigma_mps is None:
            return
        if math.hypot(east_mps, north_mps) <= _SPEED_MPS + _SPEED_SIGMAS * sigma_mps:
            self._speed_since_ns, self._velocity_contradicts = None, False
        elif self._speed_since_ns is None:
            self._speed_since_ns = comparison.at_ns
        else:
            self._velocity_contradicts = comparison.at_ns - self._speed_since_ns >= _SPEED_S * 1e9

    @staticmethod
    def distance2(comparison: Comparison, stretch: float = 1.0) -> float:
        """Squared Mahalanobis distance of the difference, with the floor."""
        c = comparison.total(stretch)
        widened = type(c)(c.ee + FLOOR_M**2, c.en, c.nn + FLOOR_M**2)
        return widened.mahalanobis2(comparison.east_m, comparison.north_m)

    @property
    def level(self) -> float:
        """The sum, 1 at the alarm."""
        return self._sum / ALARM

    @property
    def alarmed(self) -> bool:
        """True while position or velocity contradict vision."""
        return self._sum >= ALARM or self._velocity_contradicts

    def agrees_for_s(self, now_ns: int) -> float:
        """Seconds for which every comparison agreed; 0 while one does not, or none came lately."""
        if self._agrees_since_ns is None or self._at_ns is None or now_ns - self._at_ns > _GAP_S * 2e9:
            return 0.0
        return max(0.0, (self._at_ns - self._agrees_since_ns) / 1e9)
