"""Local positions, VISION_POSITION_ESTIMATE and ODOMETRY, as PX4's EKF2 takes them. Pure.

They start once two come within 200 ms, of at least EKF2_EV_QMIN in quality, and stop after 400 ms without one. Beside a
GNSS that is used only their changes count: the difference to the estimate is kept as a bias. When GNSS ends, or when
the reset counter changes without it, the estimate is reset to them; so it is after a second of positions that
contradict it by more than EKF2_EVP_GATE sigmas, in flight five times, and then they stop.
Source: PX4 ev_control.cpp, ev_pos_control.cpp of commit 02e73e3b6f.
"""

from __future__ import annotations

from tilefix.simulation.acceptance.externalnav import LocalPosition
from tilefix.simulation.acceptance.parameters import Parameters
from tilefix.simulation.acceptance.verdicts import Verdict
from tilefix.simulation.estimator import Estimator, Pair

_LONGEST_S = 0.2
_SILENT_S = 0.4
_FAILING_S = 1.0
_RESETS = 5


class ExternalVision:
    """Its position. `active`: it is fused."""

    def __init__(self, parameters: Parameters, estimator: Estimator) -> None:
        self.active = False
        self._parameters = parameters
        self._estimator = estimator
        self._bias: Pair | None = None
        self._previous_s = self._fused_s = float("-inf")
        self._counter: int | None = None
        self._resets = _RESETS

    def watch(self, now_s: float) -> None:
        """Stops after a silence."""
        if now_s - self._previous_s > _SILENT_S:
            self.active = False

    def sigma_m(self, given: LocalPosition, *, gnss: bool) -> float:
        """The error that counts: never less than EKF2_EVP_NOISE, nor beside GNSS than EKF2_GPS_P_NOISE."""
        least_m = self._parameters.effective("EKF2_EVP_NOISE", 0.1)
        if gnss:
            least_m = max(least_m, self._parameters.effective("EKF2_GPS_P_NOISE", 0.5))
        told = given.variances if self._parameters.effective("EKF2_EV_NOISE_MD", 0.0) == 0 else None
        return least_m if told is None else max(max(told[:2]) ** 0.5, least_m)

    def take(
        self, given: LocalPosition, position: Pair, age_s: float, now_s: float, *, gnss: bool, flying: bool
    ) -> Verdict:
        """Judges one `position` of `age_s` ago and fuses it where it passes. `gnss`: GNSS is in use beside it."""
        least = self._parameters.effective("EKF2_EV_QMIN", 0.0)
        if least > 0 and given.quality < least:
            return Verdict.UNHEALTHY
        at_s = now_s - age_s
        starts = at_s - self._previous_s < _LONGEST_S
        told = self._counter is not None and given.reset_counter != self._counter
        self._previous_s, self._counter = at_s, given.reset_counter
        sigma_m = self.sigma_m(given, gnss=gnss)
        changed = gnss is not (self._bias is not None)
        if not self.active:
            if not starts:
                return Verdict.TOO_SLOW
            self.active, self._resets = True, _RESETS
            return self._restart(position, age_s, sigma_m, now_s, gnss=gnss)
        if told or changed:
            return self._restart(position, age_s, sigma_m, now_s, gnss=gnss)
        east_m, north_m = self._bias or (0.0, 0.0)
        apart = (position[0] - east_m, position[1] - north_m)
        gate = max(self._parameters.effective("EKF2_EVP_GATE", 5.0), 1.0)
        if self._estimator.axis_ratio(apart, sigma_m, age_s, gate) < 1.0:
            self._estimator.fuse_position(apart, sigma_m, age_s)
            self._fused_s = now_s
            return Verdict.FUSED
        if now_s - self._fused_s <= _FAILING_S:
            return Verdict.GATED
        if self._resets == 0:
            self.active = False
            return Verdict.GATED
        self._resets -= flying
        return self._restart(position, age_s, sigma_m, now_s, gnss=gnss)

    def _restart(self, position: Pair, age_s: float, sigma_m: float, now_s: float, *, gnss: bool) -> Verdict:
        """Takes the difference for a bias beside GNSS, and the position for the estimate without."""
        self._fused_s = now_s
        if gnss:
            east_m, north_m = self._estimator.position_ago(age_s)
            self._bias = (position[0] - east_m, position[1] - north_m)
        else:
            self._bias = None
            self._estimator.reset_position(position, age_s, sigma_m)
        return Verdict.FUSED
