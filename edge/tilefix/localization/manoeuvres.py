"""How hard a vehicle accelerates: as steady flight does, and more when its lean or its camera tells so. Pure."""

from __future__ import annotations

import numpy as np

from tilefix.types import Float64Array

LEAN_MEMORY_S = 4.0  # a lean that lasts is one against wind and drag, one that comes and goes accelerates
STEADY_SHARE = 0.05  # of the usual acceleration, while the lean is steady and the motion as predicted
LEAN_SHARE = 0.5  # of the acceleration that a change of lean tells
LAG_MEMORY_S = 1.5  # of the mean innovation: what lasts longer is no noise, but a velocity that lags behind


class Manoeuvres:
    """The white acceleration of a constant-velocity filter. `mps2`: of now, the square root of its spectral density;
    `most_mps2`: what may begin at any moment.

    A long turn of a vehicle that leans against its drag shows in nothing but the mean of the filter's innovations.
    """

    def __init__(self, usual_mps2: float) -> None:
        self._usual_mps2 = self.mps2 = usual_mps2
        self._usual_lean: Float64Array | None = None
        self._mean_innovation = np.zeros(2)
        self._shown_mps2 = 0.0  # acceleration that it takes to make that mean

    @property
    def most_mps2(self) -> float:
        """Steady as it may fly now, a manoeuvre may begin."""
        return max(self.mps2, self._usual_mps2)

    def lean(self, forward_mps2: float, right_mps2: float, turn_rps: float, speed_mps: float, seconds: float) -> None:
        """Takes in how the vehicle leans, g times the tangent of pitch and roll, and how fast it turns its nose."""
        now = np.array([forward_mps2, right_mps2])
        if self._usual_lean is None:
            self._usual_lean = now
        self._usual_lean = self._usual_lean + min(1.0, seconds / LEAN_MEMORY_S) * (now - self._usual_lean)
        # What flies where its nose points accelerates sideways for as long as it turns.
        change_mps2 = max(float(np.hypot(*(now - self._usual_lean))), abs(turn_rps) * speed_mps)
        self.mps2 = max(STEADY_SHARE * self._usual_mps2, LEAN_SHARE * change_mps2, self._shown_mps2)

    def expect(self, mps2: float) -> None:
        """Takes the vehicle to accelerate by so much while nothing is seen, but no less than usual."""
        self.mps2 = max(mps2, self._usual_mps2)

    def lag(self, innovation_m: Float64Array, velocity_gain: float, seconds: float) -> None:
        """Takes in how far the filter was off after that time. `velocity_gain`: what of it went into the velocity, per
        second."""
        share = min(1.0, seconds / LAG_MEMORY_S)
        self._mean_innovation = self._mean_innovation + share * (innovation_m - self._mean_innovation)
        # A filter of these gains that lags behind a constant acceleration settles at that innovation.
        self._shown_mps2 = float(np.hypot(*self._mean_innovation) * velocity_gain) / seconds

    def forget(self) -> None:
        """The velocity begins anew."""
        self._mean_innovation = np.zeros(2)
