"""When a copter lands because its EKF lost itself. Pure.

Ten failures in a row at 10 Hz, each without a position, with a velocity that contradicts by more than twice
FS_EKF_THRESH, or with position and compass beyond it. Source: ArduPilot Copter ekf_check.
"""

from __future__ import annotations

from tilefix.simulation.acceptance.parameters import Parameters

PERIOD_S = 0.1
_FAILURES = 10
_REPORT_ONLY = 0
_FILTER_HZ = 5.0


class EkfCheck:
    """`failed`: the failsafe holds."""

    def __init__(self) -> None:
        self.failed = False
        self._count = 0
        self._velocity = 0.0
        self._passed_ever = False

    def update(self, *, has_position: bool, velocity_ratio: float, parameters: Parameters) -> list[str]:
        """One check; gives the lines that it tells. `velocity_ratio`: innovation over its gate."""
        limit = parameters.effective("FS_EKF_THRESH", 0.8)
        if limit <= 0.0:
            self.failed, self._count = False, 0
            return []
        share = PERIOD_S / (PERIOD_S + 1.0 / (6.2832 * _FILTER_HZ))
        self._velocity += share * (velocity_ratio - self._velocity)
        passed = has_position and self._velocity < 2.0 * limit
        self._passed_ever = self._passed_ever or passed
        if not self._passed_ever:
            return []
        if not passed and not self.failed:
            self._count += 1
            if self._count >= _FAILURES:
                self.failed = True
                return ["EKF variance"]
        elif passed and self._count > 0:
            self._count -= 1
            if self.failed and self._count == 0:
                self.failed = False
                return ["EKF Failsafe Cleared"]
        return []


def lands(parameters: Parameters) -> bool:
    """True when the failsafe changes the mode; FS_EKF_ACTION 0 only tells (from 4.7)."""
    return int(parameters.effective("FS_EKF_ACTION", 1.0)) != _REPORT_ONLY
