"""Positions from maps and the like, as PX4's EKF2 takes them: GLOBAL_POSITION_SENSOR, from 1.18. Pure.

A slot (EKF2_AGPn_ID, 0 = off) takes messages of its own id only, and fuses them where EKF2_AGPn_CTRL has bit 0. What is
older than the estimator's horizon by 100 ms, or younger than now, is never fused. The gate is EKF2_AGPn_GATE sigmas;
after seven seconds without a fusion the estimate is reset, if nothing else tells a position (EKF2_AGPn_MODE 1: nothing
else tells anything horizontal), or the slot stops. Five seconds of silence stop it too. The height is not used.
Source: PX4 aux_global_position_control.cpp, TimestampedRingBuffer.hpp; the flag as MAVLink defines it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tilefix.simulation.acceptance.parameters import Parameters
from tilefix.simulation.acceptance.verdicts import Flaw, Verdict
from tilefix.simulation.estimator import Estimator, Pair

SLOTS = 4
_UNHEALTHY = 1
_HORIZONTAL = 1
_DEAD_RECKONING_ONLY = 1
_UNKNOWN_DEGREES = 2147483647
_HORIZON_MS, _TOLERANCE_S = 200.0, 0.1
_CLOCK_S = 0.01  # what TIMESYNC may be off by
_RESET_S, _STOPPED_S = 7.0, 5.0
_LEAST_M = 0.01


@dataclass(frozen=True, slots=True)
class GlobalPosition:
    """One message: degrees as 1e7 integers, errors one sigma; `stamp_s` by the sender's clock, of the transmission;
    `processing_s` how much earlier it held."""

    sensor: int
    stamp_s: float
    processing_s: float
    flags: int
    lat_1e7: int
    lon_1e7: int
    horizontal_m: float


class GlobalPositionSlot:
    """One of the four slots. `active`: it tells the estimator where it is."""

    def __init__(self, number: int, parameters: Parameters, estimator: Estimator) -> None:
        self.active = False
        self._number = number
        self._parameters = parameters
        self._estimator = estimator
        self._heard_s = 0.0
        self._fused_s = 0.0

    def _value(self, name: str, default: float) -> float:
        return self._parameters.effective(f"EKF2_AGP{self._number}_{name}", default)

    def takes(self, sensor: int) -> bool:
        """True when the slot is for messages of that id."""
        return sensor != 0 and int(self._value("ID", 0.0)) == sensor

    def watch(self, now_s: float) -> None:
        """Stops after a silence."""
        if now_s - self._heard_s > _STOPPED_S:
            self.active = False

    def take(
        self, given: GlobalPosition, age_s: float, now_s: float, place: Callable[[float, float], Pair], *, alone: bool
    ) -> tuple[Verdict, tuple[Flaw, ...]]:
        """Judges one message of `age_s` ago. `place`: degrees to local metres; `alone`: nothing else tells what this
        slot's mode asks to be alone with."""
        if not int(self._value("CTRL", 0.0)) & _HORIZONTAL:
            return Verdict.NOT_SET_UP, ()
        refusal = unusable(given)
        if refusal is not None:
            return refusal, ()
        age_s += self._value("DELAY", 0.0) / 1000.0
        horizon_s = self._parameters.effective("EKF2_DELAY_MAX", _HORIZON_MS) / 1000.0
        if not -_CLOCK_S <= age_s < horizon_s + _TOLERANCE_S:
            return Verdict.OUT_OF_TIME, ()
        self._heard_s = now_s
        flaws = (Flaw.NO_ACCURACY,) if math.isnan(given.horizontal_m) else ()
        least_m = max(self._value("NOISE", 1.0), _LEAST_M)
        sigma_m = least_m if math.isnan(given.horizontal_m) else max(given.horizontal_m, least_m)
        position = place(given.lat_1e7 / 1e7, given.lon_1e7 / 1e7)
        gate = max(self._value("GATE", 3.0), 1.0)
        if self._estimator.axis_ratio(position, sigma_m, age_s, gate) < 1.0:
            self._estimator.fuse_position(position, sigma_m, age_s)
        elif (self.active and now_s - self._fused_s <= _RESET_S) or not alone:
            if self.active and now_s - self._fused_s > _RESET_S:
                self.active = False
            return Verdict.GATED, flaws
        else:
            self._estimator.reset_position(position, age_s, sigma_m)
        self.active, self._fused_s = True, now_s
        return Verdict.FUSED, flaws

    @property
    def asks_for_dead_reckoning(self) -> bool:
        """True when it may reset the estimate only while nothing else tells anything horizontal."""
        return int(self._value("MODE", 0.0)) == _DEAD_RECKONING_ONLY


def unusable(given: GlobalPosition) -> Verdict | None:
    """Why nobody takes this message, if nobody does."""
    if given.flags & _UNHEALTHY:
        return Verdict.UNHEALTHY
    if _UNKNOWN_DEGREES in (given.lat_1e7, given.lon_1e7):
        return Verdict.NOT_FINITE
    return Verdict.NOT_FINITE if abs(given.lat_1e7) > 900_000_000 or abs(given.lon_1e7) > 1_800_000_000 else None
