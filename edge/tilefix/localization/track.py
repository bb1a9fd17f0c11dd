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
USUAL_WHITE_SHARE = 0.25
# Most of an attitude's error is slow: it wanders in about this time, and is no noise of one picture.
ATTITUDE_WANDERS_S = 30.0
LEAN_MEMORY_S = 4.0  # a lean that lasts is one against wind and drag, one that comes and goes accelerates
STEADY_SHARE = 0.05  # of the usual acceleration, while the lean is steady and the motion as predicted
LEAN_SHARE = 0.5  # of the acceleration that a change of lean tells
LAG_MEMORY_S = 1.5  # of the mean innovation: what lasts longer is no noise, but a velocity that lags behind
KNOWN_MPS = 20.0  # standard deviation of a velocity whose innovations tell of a lag, not of its start
MANOEUVRE_MPS2 = 2.0  # that may begin at any moment
DOUBTED = 25.0  # squared Mahalanobis distance of a motion that a vehicle cannot make


class Odometry:
    """Position and velocity from the camera's motion: a constant-velocity Kalman filter with white acceleration.

    State: east, north (metres since the start), and their velocities. `raw` is the plain sum of motions. An attitude
    error that wanders moves the raw position like a random walk; what jumps from picture to picture is white noise on
    it, estimated from the innovations (Mehra, *On the identification of variances and adaptive Kalman filtering*,
    1970), never above what is stated. Acceleration is that of steady flight, and more when the lean changes or the
    innovations have a mean: a long turn of a vehicle that leans against its drag shows in nothing else.
    """

    def __init__(self, acceleration_mps2: float) -> None:
        self._usual_mps2 = self._acceleration_mps2 = acceleration_mps2
        self._attitude_share = USUAL_WHITE_SHARE  # of the stated attitude variance
        self._innovations = 0
        self._mean_innovation = np.zeros(2)
        self._shown_mps2 = 0.0  # acceleration that it takes to make that mean
        self._usual_lean: Float64Array | None = None
        self.raw_east_m = self.raw_north_m = 0.0
        self._state = np.zeros(4)
        self._covariance = np.diag([0.0, 0.0, 900.0, 900.0])
        self.has_velocity = False

    def lean(self, forward_mps2: float, right_mps2: float, turn_rps: float, seconds: float) -> None:
        """Takes in how the vehicle leans, g times the tangent of pitch and roll, and how fast it turns its nose."""
        now = np.array([forward_mps2, right_mps2])
        if self._usual_lean is None:
            self._usual_lean = now
        self._usual_lean = self._usual_lean + min(1.0, seconds / LEAN_MEMORY_S) * (now - self._usual_lean)
        change_mps2 = float(np.hypot(*(now - self._usual_lean)))
        # What flies where its nose points accelerates sideways for as long as it turns.
        change_mps2 = max(change_mps2, abs(turn_rps) * float(np.hypot(*self._state[2:])))
        self._acceleration_mps2 = max(STEADY_SHARE * self._usual_mps2, LEAN_SHARE * change_mps2, self._shown_mps2)

    def expect(self, acceleration_mps2: float) -> None:
        """Takes the vehicle to accelerate by so much while nothing is seen, but no less than usual."""
        self._acceleration_mps2 = max(acceleration_mps2, self._usual_mps2)

    def propagate(self, seconds: float) -> None:
        """Moves the filter on in time."""
        self._state, self._covariance = self._ahead(seconds, self._acceleration_mps2)

    def _ahead(self, seconds: float, acceleration_mps2: float) -> tuple[Float64Array, Float64Array]:
        transition = np.eye(4)
        transition[0, 2] = transition[1, 3] = seconds
        q = acceleration_mps2**2
        noise = np.zeros((4, 4))
        for axis in (0, 1):
            noise[axis, axis] = q * seconds**3 / 3.0
            noise[axis, axis + 2] = noise[axis + 2, axis] = q * seconds**2 / 2.0
            noise[axis + 2, axis + 2] = q * seconds
        return transition @ self._state, transition @ self._covariance @ transition.T + noise

    def believes(self, east_m: float, north_m: float, seconds: float, attitude_sigma_m: float, sigma_m: float) -> bool:
        """False for a motion over the next `seconds` that no vehicle with this velocity makes."""
        if not self.has_velocity:
            return True
        state, covariance = self._ahead(seconds, self._acceleration_mps2)
        off = np.array([self.raw_east_m + east_m, self.raw_north_m + north_m]) - state[:2]
        # Any manoeuvre may begin just now, and a picture's attitude may be off as far as it is stated to be.
        spread = covariance[:2, :2] + (
            sigma_m**2 + _wander_m2(attitude_sigma_m, seconds) + self._white_m2(attitude_sigma_m)
            + (0.5 * MANOEUVRE_MPS2 * seconds**2) ** 2
        ) * np.eye(2)  # fmt: skip
        return float(off @ np.linalg.solve(spread, off)) <= DOUBTED

    def _white_m2(self, attitude_sigma_m: float) -> float:
        return min(self._attitude_share, 1.0) * attitude_sigma_m**2

    def turn(self, turn_deg: float) -> None:
        """The heading that motions were measured under was too small by that: the velocity turns clockwise."""
        c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
        whole = np.kron(np.diag([0.0, 1.0]), np.array([[c, s], [-s, c]])) + np.diag([1.0, 1.0, 0.0, 0.0])
        self._state = whole @ self._state
        self._covariance = whole @ self._covariance @ whole.T

    def doubt(self) -> None:
        """Forgets the velocity: what the camera shows contradicts it."""
        self._covariance[2:, 2:] = 900.0 * np.eye(2)
        self._mean_innovation = np.zeros(2)

    def observe(
        self, east_m: float, north_m: float, attitude_sigma_m: float, motion_sigma_m: float, seconds: float = 0.0
    ) -> None:
        """Adds one camera motion over the last `seconds`. `attitude_sigma_m`: how far the attitude's error throws a
        picture."""
        self.raw_east_m += east_m
        self.raw_north_m += north_m
        self._covariance[:2, :2] += (motion_sigma_m**2 + _wander_m2(attitude_sigma_m, seconds)) * np.eye(2)
        innovation = np.array([self.raw_east_m, self.raw_north_m]) - self._state[:2]
        predicted_m2 = 0.5 * float(np.trace(self._covariance[:2, :2]))
        if self.has_velocity:
            found_m2 = 0.5 * float(innovation @ innovation)
            share = min(max((found_m2 - predicted_m2) / max(attitude_sigma_m, 1e-6) ** 2, 0.0), 4.0)
            # The first few count for more: what is taken at the start is a guess worth four of them.
            self._innovations += 1
            memory = max(NOISE_MEMORY, 1.0 / (self._innovations + 4.0))
            self._attitude_share += memory * (share - self._attitude_share)
        noise = (self._white_m2(attitude_sigma_m) + 1e-6) * np.eye(2)
        gain = self._covariance[:, :2] @ np.linalg.inv(self._covariance[:2, :2] + noise)
        if self._covariance[2, 2] < KNOWN_MPS**2 and seconds > 0.0:
            share = min(1.0, seconds / LAG_MEMORY_S)
            self._mean_innovation = self._mean_innovation + share * (innovation - self._mean_innovation)
            # A filter of these gains that lags behind a constant acceleration settles at that innovation.
            self._shown_mps2 = float(np.hypot(*self._mean_innovation) * gain[2, 0]) / seconds
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
        if seconds_ahead <= 0.0:
            return self._state, self._covariance
        # Steady as it may fly now, a manoeuvre may begin.
        return self._ahead(seconds_ahead, max(self._acceleration_mps2, self._usual_mps2))

    @property
    def velocity_mps(self) -> tuple[float, float]:
        """East and north velocity."""
        return float(self._state[2]), float(self._state[3])

    def velocity_covariance(self) -> Covariance:
        """Covariance of the velocity, m2/s2."""
        c = self._covariance
        return Covariance(float(c[2, 2]), float(c[2, 3]), float(c[3, 3]))


def _wander_m2(attitude_sigma_m: float, seconds: float) -> float:
    """Variance that a wandering attitude error adds to a motion over that time (Gauss-Markov, first order)."""
    return 2.0 * attitude_sigma_m**2 * min(seconds / ATTITUDE_WANDERS_S, 1.0)


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
