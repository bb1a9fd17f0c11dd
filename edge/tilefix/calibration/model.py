"""Where on the map a ray of the camera should meet the ground, and how that depends on what may be wrong."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilefix.camera import CameraModel, Mount, camera_to_ned
from tilefix.flights.flight import FlightRow
from tilefix.geodesy import LocalFrame
from tilefix.types import BoolArray, Float64Array, IntArray

# Errors that change from frame to frame: of roll, pitch, yaw (degrees), log height, east, north (metres), and how the
# ground rises eastwards and northwards (metres a metre): seen from one heading, a slope looks like a tilt of the mount.
EFFECTS = 8
# Between two rows the attitude shakes in ways that the log does not hold. A rate taken from those rows is correlated
# with what they miss, which would pull the time towards the rows; a rate over two seconds is not.
RATE_REACH_S = 1.0
_STEPS = (1e-3, 1e-3, 1e-3, 1e-5, RATE_REACH_S, 1e-3, 1e-3)  # of the numerical derivatives, by parameter
_EFFECT_STEPS = (1e-3, 1e-3, 1e-3, 1e-5, 1e-3, 1e-3, 1e-4, 1e-4)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is estimated.

    `roll_deg`, `pitch_deg`, `yaw_deg`: of the mount. `log_focal`: logarithm of the true focal length over the one
    configured. `time_s`: from a picture's time in the log to the time of the log's state that belongs to it; negative
    when pictures are stamped late. `east_m`, `north_m`: to add to a position read off the map.
    """

    roll_deg: float
    pitch_deg: float
    yaw_deg: float
    log_focal: float = 0.0
    time_s: float = 0.0
    east_m: float = 0.0
    north_m: float = 0.0

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """In the order of `vector`."""
        return tuple(one.name for one in dataclasses.fields(cls))

    @classmethod
    def of(cls, mount: Mount) -> Parameters:
        """What the configuration says."""
        return cls(mount.roll_deg, mount.pitch_deg, mount.yaw_deg)

    @property
    def vector(self) -> Float64Array:
        """(7,)"""
        return np.array(dataclasses.astuple(self))

    def moved(self, step: Float64Array) -> Parameters:
        """With a step (7,) added."""
        return Parameters(*(self.vector + step))

    @property
    def mount(self) -> Mount:
        """The mount."""
        return Mount(self.roll_deg, self.pitch_deg, self.yaw_deg)

    def camera(self, camera: CameraModel) -> CameraModel:
        """The configured camera with the focal length that is meant."""
        stretch = math.exp(self.log_focal)
        return dataclasses.replace(camera, fx=camera.fx * stretch, fy=camera.fy * stretch)


@dataclass(frozen=True, eq=False)
class Series:
    """What the log says over time: `times_s` (n,), and (n, 6) roll, pitch, yaw (unwrapped, degrees), height above
    ground, east and north (metres, the map's frame)."""

    times_s: Float64Array
    values: Float64Array

    @classmethod
    def of(cls, rows: Sequence[FlightRow], frame: LocalFrame) -> Series:
        """Of the rows that hold everything."""
        times, values = [], []
        for row in rows:
            state = row.state
            known = (state.roll_deg, state.pitch_deg, state.yaw_deg, state.agl_m)
            if row.truth is not None and None not in known:
                times.append(row.time_s)
                values.append((*known, *frame.to_local(*row.truth)))
        table = np.array(values, dtype=np.float64).reshape(-1, 6)
        table[:, 2] = np.degrees(np.unwrap(np.radians(table[:, 2])))
        return cls(np.array(times, dtype=np.float64), table)

    def at(self, times_s: Float64Array) -> Float64Array:
        """(m, 6), linear between rows; beyond the ends, the end's."""
        return np.stack([np.interp(times_s, self.times_s, column) for column in self.values.T], axis=1)

    def surrounds(self, times_s: Float64Array, reach_s: float, gap_s: float) -> BoolArray:
        """True where the log goes on `reach_s` to both sides without a gap longer than `gap_s`."""
        inside = (times_s >= self.times_s[0] + reach_s) & (times_s <= self.times_s[-1] - reach_s)
        gaps = np.flatnonzero(np.diff(self.times_s) > gap_s)
        for first in gaps:
            inside &= (times_s <= self.times_s[first] - reach_s) | (times_s >= self.times_s[first + 1] + reach_s)
        return np.asarray(inside)


@dataclass(frozen=True, eq=False)
class Sightings:
    """Where rays of the camera meet the map: `frame` (k,) number of the frame among `times_s` (f,); `rays` (k, 2)
    x / z and y / z in camera axes at the configured focal length; `places_m` (k, 2) east and north read off the map;
    `covariance_m2` (k, 2, 2) by the shape of the correlation peak."""

    times_s: Float64Array
    frame: IntArray
    rays: Float64Array
    places_m: Float64Array
    covariance_m2: Float64Array


def predicted(
    guess: Parameters, series: Series, seen: Sightings, effects: Sequence[float] = (0.0,) * EFFECTS
) -> Float64Array:
    """(k, 2) east and north at which each ray should be read off the map; `effects`: errors added to the log."""
    states = series.at(seen.times_s + guess.time_s) + np.array([*effects[:3], 0.0, *effects[4:6]])
    axes = np.stack([camera_to_ned(roll, pitch, yaw, guess.mount) for roll, pitch, yaw in states[:, :3].tolist()])
    rays = np.concatenate([seen.rays * math.exp(-guess.log_focal), np.ones((len(seen.rays), 1))], axis=1)
    down = np.einsum("kij,kj->ki", axes[seen.frame], rays)
    agl_m = states[seen.frame, 3] * math.exp(effects[3])
    ground = down[:, 1::-1] / down[:, 2:] * agl_m[:, None]
    ground *= 1.0 - (ground @ np.array(effects[6:]) / agl_m)[:, None]
    return np.asarray(states[seen.frame, 4:] + ground - np.array([guess.east_m, guess.north_m]))


def residuals(guess: Parameters, series: Series, seen: Sightings) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Predicted minus seen (k, 2), its derivatives by the parameters (k, 2, 7) and by the frame's errors (k, 2, 8).

    The derivative by time is the mean over `RATE_REACH_S` to both sides.
    """
    here = predicted(guess, series, seen)
    by_parameter = np.empty((*here.shape, len(_STEPS)))
    for number, step in enumerate(_STEPS):
        move = np.zeros(len(_STEPS))
        move[number] = step
        ahead, behind = (predicted(guess.moved(sign * move), series, seen) for sign in (1.0, -1.0))
        by_parameter[..., number] = (ahead - behind) / (2.0 * step)
    by_effect = np.empty((*here.shape, EFFECTS))
    for number, step in enumerate(_EFFECT_STEPS):
        error = [0.0] * EFFECTS
        error[number] = step
        by_effect[..., number] = (predicted(guess, series, seen, error) - here) / step
    return here - seen.places_m, by_parameter, by_effect
