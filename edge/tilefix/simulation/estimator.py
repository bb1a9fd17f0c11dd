"""The autopilot stand-in's own estimate of position and velocity: dead reckoning, corrected from outside. Pure.

A Kalman filter over position and velocity per axis with one covariance for both, fed with accelerations that drift, as
an inertial sensor's do. A measurement is compared with where the estimate was at its own time, `age_s` ago, as EKF3
does behind its buffer.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from tilefix.types import Float64Array

_ACCELERATION_SIGMA_MPS2 = 0.35
_HISTORY_S = 1.0
Pair = tuple[float, float]


class Estimator:
    """Position and velocity in local metres, as the autopilot believes them; pairs are (east, north)."""

    def __init__(self, east_m: float, north_m: float, east_mps: float, north_mps: float) -> None:
        self._state: Float64Array = np.array([[east_m, north_m], [east_mps, north_mps]])
        self._covariance: Float64Array = np.diag([4.0, 0.25])
        self._history: deque[tuple[float, Float64Array]] = deque()
        self._now_s = 0.0

    @property
    def position(self) -> Pair:
        """(east_m, north_m)."""
        return float(self._state[0, 0]), float(self._state[0, 1])

    @property
    def velocity(self) -> Pair:
        """(east_mps, north_mps)."""
        return float(self._state[1, 0]), float(self._state[1, 1])

    def position_ago(self, age_s: float) -> Pair:
        """(east_m, north_m) as they are believed of `age_s` ago."""
        east_m, north_m = self._at(age_s)[0]
        return float(east_m), float(north_m)

    @property
    def sigma_m(self) -> float:
        """One sigma of the position, one axis."""
        return math.sqrt(float(self._covariance[0, 0]))

    def predict(self, now_s: float, east_mps2: float, north_mps2: float) -> None:
        """Carries the estimate on to `now_s` by a measured acceleration."""
        dt = now_s - self._now_s
        if dt <= 0.0:
            return
        self._now_s = now_s
        acceleration = np.array([east_mps2, north_mps2])
        self._state[0] += self._state[1] * dt + 0.5 * acceleration * dt * dt
        self._state[1] += acceleration * dt
        move = np.array([[1.0, dt], [0.0, 1.0]])
        push = np.array([0.5 * dt * dt, dt]) * _ACCELERATION_SIGMA_MPS2
        # One second is about how long an acceleration error stays the same.
        self._covariance = move @ self._covariance @ move.T + np.outer(push, push) / max(dt, 1e-3)
        self._history.append((now_s, self._state.copy()))
        while self._history[0][0] < now_s - _HISTORY_S:
            self._history.popleft()

    def position_ratio(self, position: Pair, sigma_m: float, age_s: float, gate_sigmas: float) -> float:
        """How far a position of `age_s` ago lies off, against the gate: below 1 it passes."""
        return self._ratio(0, position, sigma_m, age_s, gate_sigmas)

    def axis_ratio(self, position: Pair, sigma_m: float, age_s: float, gate_sigmas: float) -> float:
        """The same for the axis that is further off, as PX4 tests it."""
        off = np.abs(np.array(position) - self._at(age_s)[0]).max()
        variance = self._covariance[0, 0] + sigma_m * sigma_m
        return float(off * off / (gate_sigmas * gate_sigmas * variance))

    def velocity_ratio(self, velocity: Pair, sigma_mps: float, age_s: float, gate_sigmas: float) -> float:
        """The same of a velocity."""
        return self._ratio(1, velocity, sigma_mps, age_s, gate_sigmas)

    def _ratio(self, row: int, measured: Pair, sigma: float, age_s: float, gate_sigmas: float) -> float:
        off = np.array(measured) - self._at(age_s)[row]
        variance = 2.0 * (self._covariance[row, row] + sigma * sigma)
        return float(off @ off / (gate_sigmas * gate_sigmas * variance))

    def fuse_position(self, position: Pair, sigma_m: float, age_s: float) -> None:
        """Corrects by a position of `age_s` ago, whatever it says."""
        self._fuse(0, position, sigma_m, age_s)

    def fuse_velocity(self, velocity: Pair, sigma_mps: float, age_s: float) -> None:
        """Corrects by a velocity of `age_s` ago, whatever it says."""
        self._fuse(1, velocity, sigma_mps, age_s)

    def _fuse(self, row: int, measured: Pair, sigma: float, age_s: float) -> None:
        gain = self._covariance[:, row] / (self._covariance[row, row] + sigma * sigma)
        self._shift(np.outer(gain, np.array(measured) - self._at(age_s)[row]))
        self._covariance = self._covariance - np.outer(gain, self._covariance[row])

    def reset_position(self, position: Pair, age_s: float, sigma_m: float | None = None) -> None:
        """Takes a position of `age_s` ago over as it is; with `sigma_m` its error as well."""
        self._shift(np.array([np.array(position) - self._at(age_s)[0], [0.0, 0.0]]))
        if sigma_m is not None:
            self._forget(0, sigma_m)

    def reset_velocity(self, velocity: Pair, sigma_mps: float) -> None:
        """Takes a velocity over as it is."""
        self._shift(np.array([[0.0, 0.0], np.array(velocity) - self._state[1]]))
        self._forget(1, sigma_mps)

    def _forget(self, row: int, sigma: float) -> None:
        self._covariance[row, :] = self._covariance[:, row] = 0.0
        self._covariance[row, row] = sigma * sigma

    def _shift(self, by: Float64Array) -> None:
        self._state = self._state + by
        self._history = deque((at, state + by) for at, state in self._history)

    def _at(self, age_s: float) -> Float64Array:
        at_s = self._now_s - age_s
        return min(self._history, key=lambda entry: abs(entry[0] - at_s), default=(0.0, self._state))[1]
