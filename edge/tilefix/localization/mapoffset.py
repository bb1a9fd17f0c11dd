"""Where the odometry's frame lies on the map.

An attitude error moves a picture's odometry and its match alike, so that their difference is free of it: the offset is
filtered from the difference.
"""

from __future__ import annotations

import numpy as np

from tilefix.types import Covariance, Float64Array


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
