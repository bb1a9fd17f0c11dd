"""Positions in metres from the EKF's origin, as ArduPilot's visual odometry driver takes them. Pure.

VISION_POSITION_ESTIMATE, GLOBAL_VISION_POSITION_ESTIMATE (local metres too, whatever its name) and ODOMETRY. The driver
exists only with VISO_TYPE = 1 at power-up. Of three variances it makes one error: before 4.7's first beta the cube root
of the sum of their squares (so 25 m2 twice are 10.8 m), since then the root of their sum. Something heard within 300 ms
is healthy, whatever its quality. Source: ArduPilot GCS_MAVLINK::handle_odometry, AP_VisualOdom_MAV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.parameters import Parameters
from tilefix.simulation.acceptance.verdicts import Verdict

_BY_MAVLINK = 1
_HEALTHY_S = 0.3
_CLOSEST_S = 0.02
_MOST_M = 100.0
_OLD_DELAY_S = 0.001
_LOCAL_FRD, _BODY_FRD = 20, 12  # MAV_FRAME


@dataclass(frozen=True, slots=True)
class LocalPosition:
    """One of these messages. `stamp_s` by the sender's clock; `variances`: of north, east and down as they came, `None`
    for not told; `frames`: of an ODOMETRY, position's and velocity's; `velocity`: (east, north) m/s once turned, and
    `velocity_variances` as they came; `estimator`: an ODOMETRY's MAV_ESTIMATOR_TYPE; ArduPilot leaves both aside."""

    stamp_s: float
    north_m: float
    east_m: float
    down_m: float
    variances: tuple[float, float, float] | None
    reset_counter: int = 0
    quality: int = 0
    frames: tuple[int, int] | None = None
    velocity: tuple[float, float] | None = None
    velocity_variances: tuple[float, float, float] | None = None
    estimator: int = 0


class VisualOdometry:
    """The driver. `heard_s`: when it last got something."""

    def __init__(self, firmware: Firmware, parameters: Parameters) -> None:
        self.heard_s: float | None = None
        self._firmware = firmware
        self._parameters = parameters
        self._counter = 0
        self._stamp_s = -1.0

    @property
    def present(self) -> bool:
        """True when the autopilot was started with the driver."""
        return int(self._parameters.effective("VISO_TYPE", 0.0)) == _BY_MAVLINK

    def healthy(self, now_s: float) -> bool:
        """True when something was heard lately: asked before arming."""
        return self.heard_s is not None and now_s - self.heard_s < _HEALTHY_S

    def refusal(self, given: LocalPosition, at_s: float, now_s: float) -> Verdict | None:
        """Why a message does not reach the estimator, if it does not. `at_s`: its stamp by the autopilot's clock."""
        if not self.present:
            return Verdict.NOT_SET_UP
        if given.frames not in (None, (_LOCAL_FRD, _BODY_FRD)):
            return Verdict.WRONG_FRAME
        self.heard_s = now_s
        if given.quality < self._parameters.effective("VISO_QUAL_MIN", 0.0):
            return Verdict.UNHEALTHY
        error_m = self.sigma_m(given.variances)
        if not all(map(math.isfinite, (given.north_m, given.east_m, given.down_m, error_m))):
            return Verdict.NOT_FINITE
        if at_s - self._stamp_s < _CLOSEST_S:
            return Verdict.TOO_CLOSE
        self._stamp_s = at_s
        return None

    def jumped(self, given: LocalPosition) -> bool:
        """True when the sender says that its own estimate jumped since its last message."""
        jumped, self._counter = given.reset_counter != self._counter, given.reset_counter
        return jumped

    def sigma_m(self, variances: tuple[float, float, float] | None) -> float:
        """The error that the estimator takes for a position with these variances."""
        least_m = self._parameters.effective("VISO_POS_M_NSE", 0.2)
        if variances is None:
            return least_m
        if self._firmware.adds_variances:
            error_m = math.sqrt(max(sum(variances), 0.0))
        else:
            error_m = sum(one * one for one in variances) ** (1.0 / 3.0)
        return error_m if math.isnan(error_m) else min(max(error_m, least_m), _MOST_M)

    def delay_s(self) -> float:
        """How late positions are taken to be: VISO_DELAY_MS."""
        if not self._firmware.declares_vision_delay:
            return _OLD_DELAY_S
        return self._parameters.effective("VISO_DELAY_MS", 10.0) / 1000.0
