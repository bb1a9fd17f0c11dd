"""What EKF3 does with a position or velocity that agrees with its estimate, and with one that does not. Pure.

A position within EK3_POS_I_GATE per cent of a sigma is fused. One outside is rejected until the position counts as lost
(seven seconds, ten while a velocity or an airspeed helps); then the estimate is reset to it, where something helps only
if the receiver's checks are passed as well. A velocity is judged as a good one, whatever error it states, and is never
reset to while positions agree. Source: NavEKF3_core::FuseVelPosNED.
"""

from __future__ import annotations

import math

from tilefix.simulation.acceptance.aiding import Aiding
from tilefix.simulation.acceptance.alignment import AlignmentChecks
from tilefix.simulation.acceptance.parameters import Parameters
from tilefix.simulation.acceptance.verdicts import Verdict
from tilefix.simulation.estimator import Estimator, Pair

_USUAL_GATE, _USUAL_GLITCH_M = 5.0, 25.0
LEAST_SPEED_MPS = 0.3


class Gates:
    """`position_test`, `velocity_test`: how far the last one lay off, against its gate."""

    def __init__(self, estimator: Estimator, aiding: Aiding, checks: AlignmentChecks, parameters: Parameters) -> None:
        self.position_test = self.velocity_test = 0.0
        self._estimator = estimator
        self._aiding = aiding
        self._checks = checks
        self._parameters = parameters

    def take_velocity(self, velocity: Pair, sigma_mps: float, age_s: float, now_s: float) -> None:
        """Fuses a velocity that agrees."""
        gate = self._parameters.effective("EK3_VEL_I_GATE", 100.0 * _USUAL_GATE) / 100.0
        ratio = self._estimator.velocity_ratio(velocity, LEAST_SPEED_MPS, age_s, gate)
        self.velocity_test = math.sqrt(ratio)
        if ratio < 1.0:
            self._estimator.fuse_velocity(velocity, sigma_mps, age_s)
            self._aiding.velocity_passed(now_s)

    def take_position(
        self, position: Pair, sigma_m: float, age_s: float, now_s: float, *, velocity: tuple[Pair, float] | None
    ) -> Verdict:
        """Fuses a position that agrees, or is reset to it: `FUSED`, else `GATED`. `velocity`: what a reset takes along,
        with its sigma."""
        aiding, estimator = self._aiding, self._estimator
        gate = self._parameters.effective("EK3_POS_I_GATE", 100.0 * _USUAL_GATE) / 100.0
        glitch_m = self._parameters.effective("EK3_GLITCH_RAD", _USUAL_GLITCH_M)
        ratio = estimator.position_ratio(position, sigma_m, age_s, gate)
        self.position_test, passed = math.sqrt(ratio), ratio < 1.0
        lost, helped = aiding.position_lost, aiding.helped(now_s)
        if not passed and not lost:
            return Verdict.GATED
        vague = glitch_m > 0.0 and math.sqrt(2.0) * estimator.sigma_m > glitch_m
        if (lost or vague) and (not helped or self._checks.good):
            estimator.reset_position(position, age_s, 0.5 * glitch_m)
            if lost and velocity is not None and not helped:
                estimator.reset_velocity(velocity[0], max(velocity[1], LEAST_SPEED_MPS))
            aiding.position_passed(now_s)
        else:
            estimator.fuse_position(position, sigma_m, age_s)
            if passed:
                aiding.position_passed(now_s)
        return Verdict.FUSED
