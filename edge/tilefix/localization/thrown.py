"""How far errors of attitude throw what a picture shows on the ground. Pure."""

from __future__ import annotations

import math

import numpy as np

from tilefix.camera import rotation_deg
from tilefix.localization.gates import has_attitude
from tilefix.localization.look import Look
from tilefix.localization.odometry import Throw
from tilefix.types import VehicleState

STAMP_SIGMA_S = 0.01  # between the stamps of a picture and of its attitude: rolling shutter, links, interpolation
# Attitude errors that throw a picture this much further than those of a level vehicle are what leaning does to it.
LEANED_RATIO = 1.2


def throw_of(seen: Look) -> Throw:
    """For that frame. A roll to the right throws what is seen to the left, a nose that rises throws it ahead."""
    yaw = math.radians((seen.state.yaw_deg or 0.0) + seen.turn_deg)
    ahead = np.array(seen.offset_m) / seen.view.agl_m
    return Throw(
        np.array([[-math.cos(yaw), math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]),
        seen.view.agl_m * (np.eye(2) + np.outer(ahead, ahead)),
    )


def turned_rad(before: VehicleState | None, now: VehicleState) -> float:
    """The angle between two attitudes; 0 where one is not known."""
    if before is None or not (has_attitude(before, heading=True) and has_attitude(now, heading=True)):
        return 0.0
    then, there = (rotation_deg(one.roll_deg or 0.0, one.pitch_deg or 0.0, one.yaw_deg or 0.0) for one in (before, now))
    return math.acos(max(-1.0, min(1.0, 0.5 * (float(np.trace(then.T @ there)) - 1.0))))


def thrown_m(before: Look, now: Look, rate_rps: float) -> float:
    """Standard deviation of the motion between two pictures by what their attitudes err, metres. `rate_rps`: how fast
    the camera turned, at either.

    An angle moves what is seen straight ahead of a camera by height over the squared cosine of its tilt, and an
    attitude that is dated wrongly errs by the rate at which it turned.
    """
    late_m = now.view.agl_m * rate_rps * STAMP_SIGMA_S
    upright = min(float(before.view.to_ned[2, 2]), float(now.view.to_ned[2, 2]))
    return math.sqrt(2.0) * math.hypot(now.attitude_sigma_m, late_m) / upright**2
