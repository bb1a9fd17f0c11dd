"""An attitude that the stand-in's estimator corrects together with its velocity, as an EKF does. Pure.

To an EKF a velocity that was wrong in one direction is an acceleration that was laid out wrongly, and thus an attitude
that leans too little that way: both are corrected at once, and the acceleration is laid out by the new attitude from
then on. With positions that owe nothing to the attitude this settles; with those of pictures that were laid on the
ground by it, it is a loop of its own (`tilefix.links.steady`).
"""

from __future__ import annotations

import math

from tilefix.simulation.estimator import Pair
from tilefix.simulation.vehicle import GRAVITY_MPS2, Motion

# A correction beyond this is the velocity taken over anew, which says nothing of the attitude.
_MOST_MPS = 2.0


class CorrectedLean:
    """The error that corrections left in the attitude. `per_mps_deg`: degrees for each m/s of correction."""

    def __init__(self, per_mps_deg: float) -> None:
        self._per_mps_deg = per_mps_deg
        self._east_deg = self._north_deg = 0.0

    def corrected(self, before: Pair, after: Pair) -> None:
        """The velocity was corrected from the one to the other."""
        east_mps, north_mps = after[0] - before[0], after[1] - before[1]
        if math.hypot(east_mps, north_mps) > _MOST_MPS:
            return
        self._east_deg += self._per_mps_deg * east_mps
        self._north_deg += self._per_mps_deg * north_mps

    @property
    def push_mps2(self) -> Pair:
        """What the accelerations, laid out by that attitude, are off by."""
        east, north = (math.tan(math.radians(one)) for one in (self._east_deg, self._north_deg))
        return GRAVITY_MPS2 * east, GRAVITY_MPS2 * north

    def roll_pitch_deg(self, true: Motion) -> tuple[float, float]:
        """The error of roll and pitch for a vehicle with that heading."""
        yaw = math.radians(true.yaw_deg)
        right = self._east_deg * math.cos(yaw) - self._north_deg * math.sin(yaw)
        ahead = self._east_deg * math.sin(yaw) + self._north_deg * math.cos(yaw)
        return right, -ahead
