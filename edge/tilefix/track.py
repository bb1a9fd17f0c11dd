"""Where the vehicle is once the belief is settled: camera odometry, and its offset on the map.

The camera's own motion, added up, is a position in a frame of its own (*odometry*); the map fixes only the offset
between that frame and the map. An attitude error moves a picture's odometry and its match alike, so their difference
is free of it: the offset is filtered from the difference, velocity from the odometry alone.
"""

from __future__ import annotations

import numpy as np

from tilefix.types import Covariance, Float64Array

# Share of the newest innovation in the running estimate of the attitude's noise: about the last twenty frames count.
NOISE_MEMORY = 0.05


class Odometry:
    """Position and velocity from the camera's motion: a constant-velocity Kalman filter with white acceleration.

    State: east, north (metres since the start), and their velocities. `raw` is the plain sum of motions. The attitude
    noise is estimated from the innovations (Mehra, *On the identification of variances and adaptive Kalman filtering*,
    1970), never above what is stated: a steadier attitude than stated makes velocity sharper, a turn never blunter.
    """

    def __init__(self, acceleration_mps2: float) -> None:
        self._usual_mps2 = self._acceleration_mps2 = acceleration_mps2
        self._attitude_share = 1.0  # of the stated attitude variance
        self.raw_east_m = self.raw_north_m = 0.0
        self._state = np.zeros(4)
        self._covariance = np.diag([0.0, 0.0, 900.0, 900.0])
        self.has_velocity = False

    def expect(self, acceleration_mps2: float) -> None:
        """Takes the vehicle to accelerate by so much from here on, but no less than usual."""
        self._acceleration_mps2 = max(acceleration_mps2, self._usual_mps2)

    def propagate(self, seconds: float) -> None:
        """Moves the filter on in time."""
        self._state, self._covariance = self._ahead(seconds)

    def _ahead(self, seconds: float) -> tuple[Float64Array, Float64Array]:
        transition = np.eye(4)
        transition[0, 2] = transition[1, 3] = seconds
        q = self._acceleration_mps2**2
        noise = np.zeros((4, 4))
        for axis in (0, 1):
            noise[axis, axis] = q * seconds**3 / 3.0
            noise[axis, axis + 2] = noise[axis + 2, axis] = q * seconds**2 / 2.0
            noise[axis + 2, axis + 2] = q * seconds
        return transition @ self._state, transition @ self._covariance @ transition.T + noise

    def observe(self, east_m: float, north_m: float, attitude_sigma_m: float, motion_sigma_m: float) -> None:
        """Adds one camera motion. `attitude_sigma_m`: how far attitude noise throws one picture."""
        self.raw_east_m += east_m
        self.raw_north_m += north_m
        measured = np.array([self.raw_east_m, self.raw_north_m])
        innovation = measured - self._state[:2]
        if self.has_velocity:
            predicted_m2 = 0.5 * float(np.trace(self._covariance[:2, :2])) + motion_sigma_m**2
            surplus_m2 = 0.5 * float(innovation @ innovation) - predicted_m2
            share = min(max(surplus_m2 / max(attitude_sigma_m, 1e-6) ** 2, 0.0), 4.0)
            self._attitude_share += NOISE_MEMORY * (share - self._attitude_share)
        noise = (min(self._attitude_share, 1.0) * attitude_sigma_m**2 + motion_sigma_m**2) * np.eye(2)
        gain = self._covariance[:, :2] @ np.linalg.inv(self._covariance[:2, :2] + noise)
        self._state = self._state + gain @ innovation
        covariance = self._covariance - gain @ self._covariance[:2, :]
        self._covariance = 0.5 * (covariance + covariance.T)
        self.has_velocity = True

    def skip(self) -> float:
        """Accepts the predicted position where no motion could be measured; returns its standard deviation, metres.

        What is returned in a row belongs to one error of velocity: it adds up linearly (`MapOffset.drift`).
        """
        self.raw_east_m, self.raw_north_m = float(self._state[0]), float(self._state[1])
        sigma_m = float(np.sqrt(max(self._covariance[0, 0], self._covariance[1, 1])))
        # The doubt passes to the offset: from here on this point is the reference.
        self._covariance[:2, :] = 0.0
        self._covariance[:, :2] = 0.0
        return sigma_m

    def at(self, seconds_ahead: float) -> tuple[Float64Array, Float64Array]:
        """State (4,) and covariance (4, 4) that many seconds ahead."""
        return self._ahead(seconds_ahead) if seconds_ahead > 0.0 else (self._state, self._covariance)

    @property
    def velocity_mps(self) -> tuple[float, float]:
        """East and north velocity."""
        return float(self._state[2]), float(self._state[3])

    def velocity_covariance(self) -> Covariance:
        """Covariance of the velocity, m2/s2."""
        c = self._covariance
        return Covariance(float(c[2, 2]), float(c[2, 3]), float(c[3, 3]))


class MapOffset:
    """Offset from odometry to local map metres: a Kalman filter that the odometry's drift widens.

    Drift is a scale and heading error of the odometry, the same from one frame to the next, so the doubt since the
    last match grows with the distance, not with its square root.
    """

    def __init__(self, east_m: float, north_m: float, covariance_m2: Covariance) -> None:
        self.east_m, self.north_m = east_m, north_m
        self._settled = _matrix(covariance_m2)
        self._drift_m = 0.0
        self._jumps_m2 = 0.0

    @property
    def covariance_m2(self) -> Float64Array:
        """(2, 2), over east and north."""
        return np.asarray(self._settled + (self._drift_m**2 + self._jumps_m2) * np.eye(2))

    def drift(self, sigma_m: float) -> None:
        """Adds the drift of a measured motion: it adds up linearly until the next match."""
        self._drift_m += sigma_m

    def jump(self, sigma_m: float) -> None:
        """Adds the error of a motion that was not measured."""
        self._jumps_m2 += sigma_m * sigma_m

    def distance2(self, east_m: float, north_m: float, noise: Covariance) -> float:
        """Squared Mahalanobis distance of a measured offset."""
        c = self.covariance_m2 + _matrix(noise)
        return Covariance(c[0, 0], c[0, 1], c[1, 1]).mahalanobis2(east_m - self.east_m, north_m - self.north_m)

    def observe(self, east_m: float, north_m: float, noise: Covariance) -> None:
        """Takes in a measured offset."""
        prior = self.covariance_m2
        gain = prior @ np.linalg.inv(prior + _matrix(noise))
        step = gain @ np.array([east_m - self.east_m, north_m - self.north_m])
        self.east_m += float(step[0])
        self.north_m += float(step[1])
        settled = (np.eye(2) - gain) @ prior
        self._settled = 0.5 * (settled + settled.T)
        self._drift_m = self._jumps_m2 = 0.0


def _matrix(covariance: Covariance) -> Float64Array:
    return np.array([[covariance.ee, covariance.en], [covariance.en, covariance.nn]])
