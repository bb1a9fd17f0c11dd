"""What a receiver must state, without a break, before ArduPilot's EKF3 starts from it. Pure.

Limits are scaled by EK3_CHECK_SCALE per cent (100 on copters and rovers, 150 on planes) and by 1.3 once passed; ten
seconds without a failure pass, five without a success fail again. Source: NavEKF3_core::calcGpsGoodToAlign; a single
precision comparison there refuses an error of exactly the limit, as flown.
"""

from __future__ import annotations

from typing import Protocol

from tilefix.simulation.acceptance.parameters import Parameters

_PASS_S, _FAIL_S = 10.0, 5.0
_HYSTERESIS = 1.3
_HORIZONTAL_M, _VERTICAL_M, _SPEED_MPS, _SATELLITES, _HDOP = 5.0, 7.5, 1.0, 6, 2.5
_DRIFT_M, _DRIFT_S = 3.0, 10.0
# Bits of EK3_GPS_CHECK.
_SATELLITES_BIT, _HDOP_BIT, _SPEED_BIT, _POSITION_BIT, _DRIFT_BIT = 1, 2, 4, 8, 32
_ALL_USUAL = 31


class Stated(Protocol):
    """What a receiver states of itself: one sigma each, unitless dilution of precision."""

    @property
    def satellites(self) -> int: ...

    @property
    def hdop(self) -> float: ...

    @property
    def horizontal_m(self) -> float: ...

    @property
    def vertical_m(self) -> float: ...

    @property
    def speed_mps(self) -> float: ...


class AlignmentChecks:
    """`good`: the estimator may start from the receiver; `failure`: why not, in ArduPilot's words."""

    def __init__(self) -> None:
        self.good = False
        self.failure = "EKF starting GPS checks"
        self._failed_s: float | None = None
        self._passed_s = 0.0
        self._moved_m = 0.0
        self._checked_s = 0.0

    def check(self, stated: Stated, now_s: float, parameters: Parameters, moved_m: float | None) -> None:
        """Takes one sample. `moved_m`: how far the receiver's position moved since the one before, on the ground;
        `None` in flight, where that tells nothing."""
        scale = parameters.effective("EK3_CHECK_SCALE", 100.0) / 100.0 * (_HYSTERESIS if self.good else 1.0)
        bits = int(parameters.effective("EK3_GPS_CHECK", _ALL_USUAL))
        step_s = min(max(now_s - self._checked_s, 0.01), _DRIFT_S)
        self._checked_s = now_s
        self._moved_m = min((self._moved_m + (moved_m or 0.0)) * (1.0 - step_s / _DRIFT_S), 10.0)
        failure = self._failure(stated, scale, bits, on_ground=moved_m is not None)
        self.failure = failure or ""
        if failure is not None or self._failed_s is None:
            self._failed_s = now_s
        if failure is None:
            self._passed_s = now_s
        if not self.good and now_s - self._failed_s > _PASS_S:
            self.good = True
        elif self.good and now_s - self._passed_s > _FAIL_S:
            self.good = False

    def _failure(self, stated: Stated, scale: float, bits: int, *, on_ground: bool) -> str | None:
        position, vertical, speed = _HORIZONTAL_M * scale, _VERTICAL_M * scale, _SPEED_MPS * scale
        if stated.satellites < _SATELLITES and bits & _SATELLITES_BIT:
            return f"GPS numsats {stated.satellites} (needs {_SATELLITES})"
        if stated.hdop > _HDOP and bits & _HDOP_BIT:
            return f"GPS HDOP {stated.hdop:.1f} (needs {_HDOP})"
        if stated.speed_mps > speed and bits & _SPEED_BIT:
            return f"GPS speed error {stated.speed_mps:.1f} (needs < {speed:.1f})"
        if stated.vertical_m > vertical and bits & _POSITION_BIT:
            return f"GPS vert error {stated.vertical_m:.1f}m (needs < {vertical:.1f})"
        if stated.horizontal_m >= position and bits & _POSITION_BIT:
            return f"GPS horiz error {stated.horizontal_m:.1f}m (needs {position:.1f})"
        if on_ground and self._moved_m > _DRIFT_M * scale and bits & _DRIFT_BIT:
            return f"GPS drift {self._moved_m:.1f}m (needs {_DRIFT_M * scale:.1f})"
        return None
