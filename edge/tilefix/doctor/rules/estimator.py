"""ArduPilot: the estimator that positions go to."""

from __future__ import annotations

from tilefix.doctor.rules.rule import Effect, Rule
from tilefix.doctor.rules.wants import Is

RULES = (
    Rule(
        "AHRS_EKF_TYPE",
        Is(3),
        "the vehicle flies by EKF3, which positions are for; 10 is the simulator's own truth, which ignores them",
    ),
    Rule("EK3_ENABLE", Is(1), "EKF3 does not run", effect=Effect.AT_BOOT),
)
