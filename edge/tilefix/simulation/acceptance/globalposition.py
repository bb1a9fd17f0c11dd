"""Positions from maps and the like, as PX4's EKF2 takes them: GLOBAL_POSITION_SENSOR, from 1.18. Pure.

The first message decides for good which slot the link feeds: the one whose EKF2_AGPn_ID was its id when PX4 started,
else one that is off, where everything ends. A slot fuses where EKF2_AGPn_CTRL has bit 0. Every message counts as true
EKF2_AGPn_DELAY before it arrived: its own stamp, processing time, flags and addressee are not looked at, nor that its
degrees are none. Where that is older than the estimator's horizon by 100 ms it is never fused. The gate is
EKF2_AGPn_GATE sigmas; after seven seconds without a fusion, or at the start, the estimate is reset to it, if nothing
else tells a position (EKF2_AGPn_MODE 1: nothing else tells anything horizontal), or the slot stops. Five seconds of
silence stop it too. The height is not used.
Source: PX4 aux_global_position.cpp, aux_global_position_control.cpp, mavlink_receiver.cpp, TimestampedRingBuffer.hpp of
commit 02e73e3b6f, and that program in its simulator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tilefix.simulation.acceptance.parameters import Parameters
from tilefix.simulation.acceptance.verdicts import Flaw, Verdict
from tilefix.simulation.estimator import Estimator, Pair

SLOTS = 4
_HORIZONTAL = 1
_DEAD_RECKONING_ONLY = 1
_HORIZON_MS, _TOLERANCE_S = 200.0, 0.1
_RESET_S, _STOPPED_S = 7.0, 5.0
_LEAST_M = 0.01


@dataclass(frozen=True, slots=True)
class GlobalPosition:
    """What PX4 reads of one message: degrees as 1e7 integers, the error one sigma."""

    sensor: int
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

    @property
    def sensor(self) -> int:
        """The id of the messages that it is for, 0 while it is off."""
        return int(self._value("ID", 0.0))

    def watch(self, now_s: float) -> None:
        """Stops after a silence."""
        if now_s - self._heard_s > _STOPPED_S:
            self.active = False

    def take(
        self, given: GlobalPosition, now_s: float, place: Callable[[float, float], Pair], *, alone: bool
    ) -> tuple[Verdict, tuple[Flaw, ...]]:
        """Judges one message that arrives now. `place`: degrees to local metres; `alone`: nothing else tells what this
        slot's mode asks to be alone with."""
        if not int(self._value("CTRL", 0.0)) & _HORIZONTAL:
            return Verdict.NOT_SET_UP, ()
        age_s = self._value("DELAY", 0.0) / 1000.0
        horizon_s = self._parameters.effective("EKF2_DELAY_MAX", _HORIZON_MS) / 1000.0
        if age_s >= horizon_s + _TOLERANCE_S:
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
