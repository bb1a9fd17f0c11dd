"""An attitude that our own positions cannot move while the autopilot navigates by them. Pure.

An autopilot corrects its attitude by the positions and velocities that it is given. A picture is laid on the ground by
that attitude: an error of 1 degree throws what it shows by 2 m from 120 m of height, and one that grows by 1 degree a
second is 2 m/s of false velocity, which the autopilot again takes for its attitude's fault. From about 60 m of height
this loop is unstable in ArduPilot's EKF3 at its defaults (flown: from 0.5 to 10 m of error within 5 s).

The turn rates do not take part in it, so the attitude follows them, and what the autopilot says only in the long run:
a complementary filter. Source: Mahony, Hamel, Pflimlin, *Nonlinear complementary filters on the special orthogonal
group*, IEEE Transactions on Automatic Control, 2008 (its passive form, without the bias, which the autopilot's rates
are free of).
"""

from __future__ import annotations

import math

import numpy as np

from tilefix.camera import rotation_deg
from tilefix.links.messages import Attitude
from tilefix.types import Float64Array

# While a receiver that is not us holds the autopilot's attitude, that is followed as fast as its own steps are.
TRUSTED_S = 1.0
# Else: slow against the 2 to 10 s in which the autopilot corrects its attitude, fast against a rate's last error.
ALONE_S = 30.0
# Over a longer gap the rates say nothing: the attitude turns by as much as the autopilot's did.
MAX_STEP_NS = 100_000_000
# Further from the autopilot's than this it follows at once: a filter that was started anew, or lost.
MAX_APART_RAD = math.radians(20.0)


class SteadyAttitude:
    """Takes the autopilot's attitudes in order, gives each as it is to be used."""

    def __init__(self) -> None:
        self._told: Attitude | None = None
        self._used: Float64Array | None = None

    def restart(self) -> None:
        """Forgets everything: the autopilot rebooted."""
        self._told = self._used = None

    def take(self, told: Attitude, *, trusted: bool) -> Attitude | None:
        """The attitude to use at the same instant; `None` for one that is not finite or comes after a later one: by
        then it could only be taken at its word, and would stand between followed ones as a jump. `trusted`: the
        autopilot's own rests on something else than us."""
        angles = (told.roll_deg, told.pitch_deg, told.yaw_deg)
        if not all(map(math.isfinite, angles)):
            return None
        now = rotation_deg(*angles)
        before, used = self._told, self._used
        if before is not None and told.at_ns <= before.at_ns:
            return None
        self._told = told
        if before is None or used is None or told.rates_dps is None or before.rates_dps is None:
            self._used = now
            return told
        step_ns = told.at_ns - before.at_ns
        if step_ns > MAX_STEP_NS:
            turned = rotation_deg(before.roll_deg, before.pitch_deg, before.yaw_deg).T @ now
        else:
            mean_dps = 0.5 * (np.array(told.rates_dps) + np.array(before.rates_dps))
            turned = _turned(np.radians(mean_dps) * (step_ns / 1e9))
        used = used @ turned
        # The rotation that is left to what the autopilot says, in the body's axes.
        left = _vector(used.T @ now)
        share = 1.0 - math.exp(-step_ns / 1e9 / (TRUSTED_S if trusted else ALONE_S))
        if float(np.linalg.norm(left)) > MAX_APART_RAD:
            share = 1.0
        self._used = used = used @ _turned(share * left)
        return Attitude(told.at_ns, *_angles_deg(used), rates_dps=told.rates_dps)


def _turned(vector: Float64Array) -> Float64Array:
    """The rotation about a vector by its length, radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    first = math.sin(angle) / angle if angle > 1e-9 else 1.0
    second = (1.0 - math.cos(angle)) / angle**2 if angle > 1e-4 else 0.5
    return np.asarray(np.eye(3) + first * cross + second * cross @ cross)


def _vector(rotation: Float64Array) -> Float64Array:
    """The vector of a rotation, radians; of half a turn some axis."""
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    sine, cosine = 0.5 * float(np.linalg.norm(axis)), 0.5 * (float(np.trace(rotation)) - 1.0)
    if sine < 1e-9:
        return np.zeros(3) if cosine > 0.0 else np.array([math.pi, 0.0, 0.0])
    return np.asarray(axis * (math.atan2(sine, cosine) / (2.0 * sine)))


def _angles_deg(rotation: Float64Array) -> tuple[float, float, float]:
    """(roll, pitch, yaw) of body to north-east-down."""
    roll = math.atan2(rotation[2, 1], rotation[2, 2])
    pitch = -math.asin(max(-1.0, min(1.0, float(rotation[2, 0]))))
    yaw = math.atan2(rotation[1, 0], rotation[0, 0])
    return math.degrees(roll), math.degrees(pitch), math.degrees(yaw)
