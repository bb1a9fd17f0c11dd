"""The camera's own motion, added up: a place in a frame of its own, the velocity, and the attitude's error.

Camera motion alone, without the map: the map fixes only where that frame lies (`tilefix.localization.mapoffset`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tilefix.localization.manoeuvres import Manoeuvres
from tilefix.localization.settings import LocalizerSettings
from tilefix.types import Covariance, Float64Array

# Share of the newest innovation in the running estimate of the attitude's noise: about the last twenty frames count.
NOISE_MEMORY = 0.05
USUAL_WHITE_SHARE = 0.25
ATTITUDE_WANDERS_S = 30.0  # most of an attitude's error is slow: it wanders in about this time
# Of the variance of that error: what turns with the body, as a sensor's does. The rest keeps its direction on the
# ground, as what an estimator took from wrong velocities does.
BODY_SHARE = 0.5
# Of the view's side: on the way that long, what errs alike over one ground becomes another ground's.
ALIKE_SHARE = 0.12
OWN_SHARE = 0.4  # of what a picture tells wrongly of its tilt, which it does not share with the one before
# Slope over a view, for each metre of height's standard deviation and of the view's side: of heights that wander over
# half a view.
SLOPE = 1.5
PLAUSIBLE2 = 16.0  # squared Mahalanobis distance of what it tells
KNOWN_MPS = 20.0  # standard deviation of a velocity whose innovations tell of a lag, not of its start
MANOEUVRE_MPS2 = 2.0  # that may begin at any moment
DOUBTED = 25.0  # squared Mahalanobis distance of a motion that a vehicle cannot make

# Parts of the filter's state, east and north each.
_PLACE, _VELOCITY, _GROUND, _ALIKE = slice(0, 2), slice(2, 4), slice(6, 8), slice(8, 10)
_BODY = slice(4, 6)  # roll and pitch
_TILT = slice(4, 8)
_SIZE = 10


@dataclass(frozen=True, slots=True)
class Throw:
    """What small errors of the attitude do to a picture. `body`: (2, 2), radians to the east and north that one of roll
    and pitch turns the view; `metres`: (2, 2), that a radian to the east and north throws what is seen."""

    body: Float64Array
    metres: Float64Array


class Odometry:
    """Position and velocity from the camera's motion: a Kalman filter over them and over the attitude's error.

    State: east, north (metres since the start) and their velocities, under white acceleration; the error of the
    attitude, a part that turns with the body and one that does not (radians); and how far pictures of the present
    ground tell it wrongly. `raw` is the plain sum of motions: the place, and what the attitude throws it.

    The attitude's error wanders (Gauss-Markov, first order); what jumps from picture to picture is white noise on it,
    estimated from the innovations (Mehra, *On the identification of variances and adaptive Kalman filtering*, 1970),
    never above what is stated. What a picture tells of its tilt errs alike over the same ground: coloured noise, taken
    into the state (Bryson and Johansen, *Linear filtering for time-varying systems using measurements containing
    colored noise*, 1965).
    """

    def __init__(self, settings: LocalizerSettings) -> None:
        self._manoeuvres = Manoeuvres(settings.acceleration_mps2)
        tilt_rad = math.radians(math.hypot(settings.attitude_sigma_deg, settings.mount_sigma_deg))
        self._tilt_rad2 = tilt_rad**2 * np.repeat([BODY_SHARE, 1.0 - BODY_SHARE], 2)
        self._white_rad2 = math.radians(settings.attitude_sigma_deg) ** 2
        self._surface_m = settings.surface_sigma_m
        self._white_share = USUAL_WHITE_SHARE  # of the stated attitude variance
        self._innovations = 0
        self.raw_east_m = self.raw_north_m = 0.0
        self._state = np.zeros(_SIZE)
        self._covariance = np.diag([0.0, 0.0, 900.0, 900.0, *self._tilt_rad2, 0.0, 0.0])
        self._throw = Throw(np.eye(2), np.zeros((2, 2)))
        self._way_m = math.inf  # since a picture told its tilt
        self.has_velocity = False

    def begin(self, throw: Throw) -> None:
        """Counts from a first picture, which the attitude throws so."""
        self._throw = throw
        self._refer()

    def _refer(self) -> None:
        """Makes the raw position the reference: it is the place and what the attitude throws it, exactly."""
        to_place = np.eye(_SIZE)
        to_place[_PLACE, _PLACE] = 0.0
        to_place[_PLACE, _TILT] = -_shown(self._throw)[:, _TILT]
        self._state = to_place @ self._state
        self._state[_PLACE] += (self.raw_east_m, self.raw_north_m)
        self._covariance = to_place @ self._covariance @ to_place.T

    def lean(self, forward_mps2: float, right_mps2: float, turn_rps: float, seconds: float) -> None:
        """Takes in how the vehicle leans, g times the tangent of pitch and roll, and how fast it turns its nose."""
        self._manoeuvres.lean(forward_mps2, right_mps2, turn_rps, math.hypot(*self.velocity_mps), seconds)

    def expect(self, acceleration_mps2: float) -> None:
        """Takes the vehicle to accelerate by so much while nothing is seen, but no less than usual."""
        self._manoeuvres.expect(acceleration_mps2)

    def propagate(self, seconds: float) -> None:
        """Moves the filter on in time."""
        self._state, self._covariance = self._ahead(seconds, self._manoeuvres.mps2)

    def _ahead(self, seconds: float, acceleration_mps2: float) -> tuple[Float64Array, Float64Array]:
        transition, noise = np.eye(_SIZE), np.zeros((_SIZE, _SIZE))
        transition[_PLACE, _VELOCITY] = seconds * np.eye(2)
        q = acceleration_mps2**2 * np.eye(2)
        noise[_PLACE, _PLACE], noise[_VELOCITY, _VELOCITY] = q * seconds**3 / 3.0, q * seconds
        noise[_PLACE, _VELOCITY] = noise[_VELOCITY, _PLACE] = q * seconds**2 / 2.0
        kept = math.exp(-seconds / ATTITUDE_WANDERS_S)
        transition[_TILT, _TILT] *= kept
        noise[_TILT, _TILT] = (1.0 - kept * kept) * np.diag(self._tilt_rad2)
        return transition @ self._state, transition @ self._covariance @ transition.T + noise

    def believes(self, east_m: float, north_m: float, seconds: float, throw: Throw, sigma_m: float) -> bool:
        """False for a motion over the next `seconds` that no vehicle with this velocity makes."""
        if not self.has_velocity:
            return True
        state, covariance = self._ahead(seconds, self._manoeuvres.mps2)
        shown = _shown(throw)
        off = np.array([self.raw_east_m + east_m, self.raw_north_m + north_m]) - shown @ state
        # Any manoeuvre may begin just now, and a picture's attitude may be off as far as it is stated to be.
        spread = shown @ covariance @ shown.T + self._white_m2(throw)
        spread += (sigma_m**2 + (0.5 * MANOEUVRE_MPS2 * seconds**2) ** 2) * np.eye(2)
        return float(off @ np.linalg.solve(spread, off)) <= DOUBTED

    def _white_m2(self, throw: Throw) -> Float64Array:
        return np.asarray(min(self._white_share, 1.0) * self._white_rad2 * throw.metres @ throw.metres.T)

    def turn(self, turn_deg: float) -> None:
        """The heading that motions were measured under was too small by that: all but the raw position turns clockwise
        about it, with how the attitude throws the picture that it stands for."""
        c, s = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
        clockwise = np.array([[c, s], [-s, c]])
        whole = np.eye(_SIZE)
        for part in (_PLACE, _VELOCITY, _GROUND, _ALIKE):
            whole[part, part] = clockwise
        raw_m = np.array([self.raw_east_m, self.raw_north_m])
        self._state[_PLACE] -= raw_m
        self._state = whole @ self._state
        self._state[_PLACE] += raw_m
        self._covariance = whole @ self._covariance @ whole.T
        self._throw = Throw(clockwise @ self._throw.body, clockwise @ self._throw.metres @ clockwise.T)

    def doubt(self) -> None:
        """Forgets the velocity: what the camera shows contradicts it."""
        self._covariance[_VELOCITY, :] = self._covariance[:, _VELOCITY] = 0.0
        self._covariance[_VELOCITY, _VELOCITY] = 900.0 * np.eye(2)
        self._manoeuvres.forget()

    def observe(self, east_m: float, north_m: float, throw: Throw, motion_sigma_m: float, seconds: float = 0.0) -> None:
        """Adds one camera motion over the last `seconds`. `throw`: of the picture that ends it."""
        self.raw_east_m += east_m
        self.raw_north_m += north_m
        self._way_m += math.hypot(east_m, north_m)
        self._throw = throw
        self._covariance[_PLACE, _PLACE] += motion_sigma_m**2 * np.eye(2)
        shown = _shown(throw)
        innovation = np.array([self.raw_east_m, self.raw_north_m]) - shown @ self._state
        spread = shown @ self._covariance @ shown.T
        if self.has_velocity:
            stated_m2 = self._white_rad2 * float(np.trace(throw.metres @ throw.metres.T))
            share = min(max(float(innovation @ innovation - np.trace(spread)) / max(stated_m2, 1e-12), 0.0), 4.0)
            # The first few count for more: what is taken at the start is a guess worth four of them.
            self._innovations += 1
            memory = max(NOISE_MEMORY, 1.0 / (self._innovations + 4.0))
            self._white_share += memory * (share - self._white_share)
        gain = self._covariance @ shown.T @ np.linalg.inv(spread + self._white_m2(throw) + 1e-6 * np.eye(2))
        if self._covariance[2, 2] < KNOWN_MPS**2 and seconds > 0.0:
            self._manoeuvres.lag(innovation, float(gain[2, 0]), seconds)
        self._take(innovation, gain, shown)
        self.has_velocity = True

    def observe_tilt(self, rad: Float64Array, covariance: Float64Array, side_m: float) -> None:
        """Takes in what the newest picture tells of the attitude's error: radians that it turns the view to the east
        and north, (2,), with the covariance (2, 2). `side_m`: of its view."""
        covariance = covariance + (SLOPE * self._surface_m / side_m) ** 2 * np.eye(2)
        alike = math.exp(-self._way_m / (ALIKE_SHARE * side_m))
        self._way_m = 0.0
        self._state[_ALIKE] *= alike
        self._covariance[_ALIKE, :] *= alike
        self._covariance[:, _ALIKE] *= alike
        self._covariance[_ALIKE, _ALIKE] += (1.0 - alike * alike) * covariance
        told = np.zeros((2, _SIZE))
        told[:, _BODY], told[:, _GROUND], told[:, _ALIKE] = self._throw.body, np.eye(2), np.eye(2)
        innovation = rad - told @ self._state
        spread = told @ self._covariance @ told.T + OWN_SHARE**2 * covariance
        if float(innovation @ np.linalg.solve(spread, innovation)) <= PLAUSIBLE2:
            self._take(innovation, self._covariance @ told.T @ np.linalg.inv(spread), told)

    def _take(self, innovation: Float64Array, gain: Float64Array, measured: Float64Array) -> None:
        self._state = self._state + gain @ innovation
        covariance = self._covariance - gain @ measured @ self._covariance
        self._covariance = 0.5 * (covariance + covariance.T)

    def skip(self, throw: Throw | None = None) -> float:
        """Accepts the predicted position where no motion could be measured; returns its standard deviation, metres.
        `throw`: of the picture that the next motion counts from, where there is one.

        What is returned in a row belongs to one error of velocity: it adds up linearly (`MapOffset.drift`).
        """
        if throw is not None:
            self._throw = throw
        shown = _shown(self._throw)
        spread = shown @ self._covariance @ shown.T
        east_m, north_m = (shown @ self._state).tolist()
        self._way_m += math.hypot(east_m - self.raw_east_m, north_m - self.raw_north_m)
        self.raw_east_m, self.raw_north_m = east_m, north_m
        # The doubt passes to the offset: from here on this point is the reference.
        self._refer()
        return float(np.sqrt(max(spread[0, 0], spread[1, 1])))

    def at(self, seconds_ahead: float) -> tuple[Float64Array, Float64Array]:
        """Place and velocity (4,) and their covariance (4, 4) that many seconds ahead."""
        state, covariance = self._state, self._covariance
        if seconds_ahead > 0.0:
            state, covariance = self._ahead(seconds_ahead, self._manoeuvres.most_mps2)
        return state[:4].copy(), covariance[:4, :4].copy()

    @property
    def velocity_mps(self) -> tuple[float, float]:
        """East and north velocity."""
        return float(self._state[2]), float(self._state[3])

    def velocity_covariance(self) -> Covariance:
        """Covariance of the velocity, m2/s2."""
        c = self._covariance
        return Covariance(float(c[2, 2]), float(c[2, 3]), float(c[3, 3]))


def _shown(throw: Throw) -> Float64Array:
    """(2, state): the raw position as the state makes it."""
    shown = np.zeros((2, _SIZE))
    shown[:, _PLACE], shown[:, _BODY], shown[:, _GROUND] = np.eye(2), throw.metres @ throw.body, throw.metres
    return shown
