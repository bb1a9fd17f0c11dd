"""The autopilot stand-in's own estimate of position and velocity: dead reckoning, corrected by receivers. Pure.

A Kalman filter over position and velocity per axis with one covariance for both, fed with accelerations that drift, as
an inertial sensor's do. Receivers' positions are taken to be `delay_s` old, as ArduPilot takes them.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from tilefix.types import Float64Array

_ACCELERATION_SIGMA_MPS2 = 0.35
_GATE_SIGMAS = 5.0
_GATE_RESET_S = 10.0
_MIN_POSITION_SIGMA_M, _MIN_VELOCITY_SIGMA_MPS = 0.5, 0.3
_HISTORY_S = 1.0


class Estimator:
    """Position and velocity in local metres, as the autopilot believes them."""

    def __init__(self, east_m: float, north_m: float, east_mps: float, north_mps: float) -> None:
        self._state: Float64Array = np.array([[east_m, north_m], [east_mps, north_mps]])
        self._covariance: Float64Array = np.diag([4.0, 0.25])
        self._history: deque[tuple[float, float, float]] = deque()
        self._now_s = 0.0
        self.fed_s = 0.0  # when a receiver last gave a position, accepted or not
        self._fused_s = 0.0
        self._source: str | None = None

    @property
    def position(self) -> tuple[float, float]:
        """(east_m, north_m)."""
        return float(self._state[0, 0]), float(self._state[0, 1])

    @property
    def velocity(self) -> tuple[float, float]:
        """(east_mps, north_mps)."""
        return float(self._state[1, 0]), float(self._state[1, 1])

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
        self._history.append((now_s, *self.position))
        while self._history[0][0] < now_s - _HISTORY_S:
            self._history.popleft()

    def fuse(
        self,
        source: str,
        position: tuple[float, float],
        velocity: tuple[float, float],
        position_sigma_m: float,
        velocity_sigma_mps: float,
        delay_s: float,
    ) -> bool:
        """Corrects by a receiver's position of `delay_s` ago; False when it was rejected as contradicting.

        The first position from another source than before is taken as it is, without a gate.
        """
        self.fed_s = self._now_s
        then = self._position_at(self._now_s - delay_s)
        difference = np.array([position, velocity]) - np.array([then, self.velocity])
        if source != self._source:
            self._source = source
            self._reset(difference, velocity, position_sigma_m, velocity_sigma_mps)
            return True
        noise = (
            max(position_sigma_m, _MIN_POSITION_SIGMA_M) ** 2,
            max(velocity_sigma_mps, _MIN_VELOCITY_SIGMA_MPS) ** 2,
        )
        # Position and velocity pass gates of their own: a velocity still helps while a position is rejected.
        passed = [
            math.hypot(*difference[i]) <= _GATE_SIGMAS * math.sqrt(self._covariance[i, i] + noise[i]) for i in (0, 1)
        ]
        if not passed[0] and self._now_s - self._fused_s > _GATE_RESET_S:
            self._reset(difference, velocity, position_sigma_m, velocity_sigma_mps)
            return True
        for i in (0, 1):
            if passed[i]:
                gain = self._covariance[:, i] / (self._covariance[i, i] + noise[i])
                self._shift(np.outer(gain, difference[0] if i == 0 else np.array(velocity) - self._state[1]))
                self._covariance = self._covariance - np.outer(gain, self._covariance[i])
        if passed[0]:
            self._fused_s = self._now_s
        return passed[0]

    def _reset(
        self, difference: Float64Array, velocity: tuple[float, float], sigma_m: float, velocity_sigma_mps: float
    ) -> None:
        self._shift(np.array([difference[0], [0.0, 0.0]]))
        self._state[1] = velocity
        self._covariance = np.diag([max(sigma_m, 1.0) ** 2, max(velocity_sigma_mps, 0.5) ** 2])
        self._fused_s = self._now_s

    def _shift(self, by: Float64Array) -> None:
        self._state += by
        self._history = deque((at, east + by[0, 0], north + by[0, 1]) for at, east, north in self._history)

    def _position_at(self, at_s: float) -> tuple[float, float]:
        best = min(self._history, key=lambda entry: abs(entry[0] - at_s), default=None)
        return self.position if best is None else best[1:]
