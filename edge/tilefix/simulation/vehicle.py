"""A simulated aircraft: moves as it is steered, in wind, with an attitude that fits its accelerations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilefix.geodesy import Grid
from tilefix.simulation.noise import rng_for

GRAVITY_MPS2 = 9.80665


@dataclass(frozen=True, slots=True)
class Airframe:
    """How an aircraft answers. `banks`: turns by rolling, nose into the airflow (a plane); else it tilts (a copter)."""

    max_acceleration_mps2: float
    lag_s: float
    drag_per_s: float
    max_yaw_rate_dps: float
    banks: bool


COPTER = Airframe(max_acceleration_mps2=2.0, lag_s=0.3, drag_per_s=0.12, max_yaw_rate_dps=35.0, banks=False)
PLANE = Airframe(max_acceleration_mps2=4.0, lag_s=0.5, drag_per_s=0.03, max_yaw_rate_dps=25.0, banks=True)


@dataclass(frozen=True, slots=True)
class Weather:
    """Steady wind (towards east and north) and the standard deviation of its gusts."""

    wind_east_mps: float = 2.0
    wind_north_mps: float = -1.5
    gust_mps: float = 0.8


@dataclass(frozen=True, slots=True)
class Motion:
    """The true state at one instant; local metres, NED attitude of the body in degrees."""

    at_s: float
    east_m: float
    north_m: float
    agl_m: float
    east_mps: float
    north_mps: float
    climb_mps: float
    roll_deg: float
    pitch_deg: float
    yaw_deg: float
    east_mps2: float = 0.0
    north_mps2: float = 0.0


class Drift:
    """A random walk that is pulled back to zero: standard deviation `sigma`, correlated over `time_s`."""

    def __init__(self, rng: np.random.Generator, sigma: float, time_s: float) -> None:
        self._rng, self._sigma, self._time_s = rng, sigma, time_s
        self.value = float(rng.normal(0.0, sigma))

    def step(self, dt_s: float) -> float:
        keep = math.exp(-dt_s / self._time_s)
        self.value = keep * self.value + self._sigma * math.sqrt(1.0 - keep * keep) * float(self._rng.normal())
        return self.value


class SimulatedVehicle:
    """Integrates an aircraft in fixed steps; the same seed and commands give the same flight."""

    def __init__(
        self,
        east_m: float,
        north_m: float,
        agl_m: float,
        *,
        seed: int,
        yaw_deg: float = 0.0,
        speed_mps: float = 0.0,
        airframe: Airframe = COPTER,
        weather: Weather | None = None,
    ) -> None:
        """`speed_mps`: over ground, along `yaw_deg`, at the start."""
        self.airframe = airframe
        self._weather = weather or Weather()
        rng = rng_for(seed, "vehicle")
        self._gusts = [Drift(rng, self._weather.gust_mps, 2.5) for _ in range(2)]
        self._height = Drift(rng, 1.5, 15.0)
        self._shake = [Drift(rng, sigma_deg, 0.25) for sigma_deg in (0.35, 0.35, 0.25)]
        self._hold_m = agl_m - self._height.value
        course = math.radians(yaw_deg)
        velocity = (speed_mps * math.sin(course), speed_mps * math.cos(course))
        self._yaw_deg = yaw_deg
        self.motion = Motion(0.0, east_m, north_m, agl_m, *velocity, 0.0, 0.0, 0.0, yaw_deg)

    def step(self, dt_s: float, east_mps2: float, north_mps2: float, climb_mps: float, course_deg: float) -> Motion:
        """Moves on by `dt_s` under a commanded acceleration and climb, nose turning towards `course_deg`."""
        before, frame = self.motion, self.airframe
        size = math.hypot(east_mps2, north_mps2)
        limit = min(1.0, frame.max_acceleration_mps2 / size) if size > 0.0 else 1.0
        answer = min(1.0, dt_s / frame.lag_s)
        gust_east, gust_north = (frame.drag_per_s * gust.step(dt_s) for gust in self._gusts)
        a_east = before.east_mps2 + answer * (east_mps2 * limit + gust_east - before.east_mps2)
        a_north = before.north_mps2 + answer * (north_mps2 * limit + gust_north - before.north_mps2)
        v_east, v_north = before.east_mps + a_east * dt_s, before.north_mps + a_north * dt_s
        self._hold_m += climb_mps * dt_s
        # Height is held by a critically damped spring (1 rad/s) around a hold that wanders.
        wanted_m = self._hold_m + self._height.step(dt_s)
        climb = before.climb_mps + (wanted_m - before.agl_m - 2.0 * before.climb_mps) * dt_s
        agl_m = before.agl_m + climb * dt_s
        air_east, air_north = v_east - self._weather.wind_east_mps, v_north - self._weather.wind_north_mps
        if frame.banks and math.hypot(air_east, air_north) > 1.0:
            course_deg = math.degrees(math.atan2(air_east, air_north))
        turn = (course_deg - self._yaw_deg + 180.0) % 360.0 - 180.0
        most = frame.max_yaw_rate_dps * dt_s
        self._yaw_deg += max(-most, min(most, turn))
        push_east, push_north = a_east + frame.drag_per_s * air_east, a_north + frame.drag_per_s * air_north
        roll_deg, pitch_deg = self._tilt(push_east, push_north, a_east, a_north)
        roll_shake, pitch_shake, yaw_shake = (shake.step(dt_s) for shake in self._shake)
        self.motion = Motion(
            before.at_s + dt_s,
            before.east_m + 0.5 * (before.east_mps + v_east) * dt_s,
            before.north_m + 0.5 * (before.north_mps + v_north) * dt_s,
            agl_m,
            v_east,
            v_north,
            climb,
            roll_deg + roll_shake,
            pitch_deg + pitch_shake,
            (self._yaw_deg + yaw_shake) % 360.0,
            a_east,
            a_north,
        )
        return self.motion

    def _tilt(self, push_east: float, push_north: float, a_east: float, a_north: float) -> tuple[float, float]:
        """(roll_deg, pitch_deg): a copter leans its thrust into what it pushes against, a plane banks to turn."""
        yaw = math.radians(self._yaw_deg)
        c, s = math.cos(yaw), math.sin(yaw)
        if self.airframe.banks:
            return math.degrees(math.atan2(-s * a_north + c * a_east, GRAVITY_MPS2)), 2.0
        forward, right = c * push_north + s * push_east, -s * push_north + c * push_east
        pitch = -math.atan2(forward, GRAVITY_MPS2)
        return math.degrees(math.atan2(right * math.cos(pitch), GRAVITY_MPS2)), math.degrees(pitch)


def between(earlier: Motion, later: Motion, at_s: float) -> Motion:
    """The motion at an instant between two others, linear, angles the short way round."""
    share = (at_s - earlier.at_s) / (later.at_s - earlier.at_s) if later.at_s > earlier.at_s else 0.0
    values = []
    for name in Motion.__slots__:
        a, b = getattr(earlier, name), getattr(later, name)
        step = (b - a + 180.0) % 360.0 - 180.0 if name.endswith("_deg") else b - a
        values.append(a + share * step)
    return Motion(*values)


def wander(
    seed: int, grid: Grid, *, margin_m: float, length_m: float, leg_m: tuple[float, float] = (180.0, 520.0)
) -> list[tuple[float, float]]:
    """Waypoints (east_m, north_m) of a path of at least `length_m` that stays `margin_m` inside the grid.

    Legs of random length and turns of up to 100 degrees, so that a flight sees much of the map. Raises `ValueError`
    when the grid has no room.
    """
    rng = rng_for(seed, "wander")
    west, east = grid.west_m + margin_m, grid.east_m - margin_m
    south, north = grid.south_m + margin_m, grid.north_m - margin_m
    if east - west < leg_m[0] or north - south < leg_m[0]:
        raise ValueError(f"no room for legs of {leg_m[0]:g} m within {margin_m:g} m of the imagery's edge")
    here = (float(rng.uniform(west, east)), float(rng.uniform(south, north)))
    course = float(rng.uniform(0.0, 2.0 * math.pi))
    path, flown_m = [here], 0.0
    while flown_m < length_m:
        for attempt in range(200):
            reach = float(rng.uniform(*leg_m))
            turn = float(rng.uniform(-1.75, 1.75)) if attempt < 100 else float(rng.uniform(-math.pi, math.pi))
            there = (here[0] + reach * math.sin(course + turn), here[1] + reach * math.cos(course + turn))
            if west <= there[0] <= east and south <= there[1] <= north:
                break
        else:
            there = (0.5 * (west + east), 0.5 * (south + north))
            turn = math.atan2(there[0] - here[0], there[1] - here[1]) - course
            reach = math.hypot(there[0] - here[0], there[1] - here[1])
        course += turn
        path.append(there)
        flown_m += reach
        here = there
    return path


class Course:
    """Follows a path of waypoints: what velocity to fly at a (believed) position."""

    def __init__(self, waypoints: Sequence[tuple[float, float]], speed_mps: float) -> None:
        if len(waypoints) < 2:
            raise ValueError("a course needs two waypoints")
        self._path = list(waypoints)
        self._speed_mps = speed_mps
        self._leg = 0

    def velocity(self, east_m: float, north_m: float) -> tuple[float, float]:
        """(east_mps, north_mps) to fly now: towards a point on the leg a few seconds ahead; zero at the end."""
        while True:
            if self._leg >= len(self._path) - 1:
                return 0.0, 0.0
            (e0, n0), (e1, n1) = self._path[self._leg], self._path[self._leg + 1]
            length = math.hypot(e1 - e0, n1 - n0)
            along = ((east_m - e0) * (e1 - e0) + (north_m - n0) * (n1 - n0)) / length
            if along > length - 2.0 * self._speed_mps:
                self._leg += 1
                continue
            ahead = min(length, max(0.0, along) + 4.0 * self._speed_mps)
            to_east = e0 + (e1 - e0) * ahead / length - east_m
            to_north = n0 + (n1 - n0) * ahead / length - north_m
            scale = self._speed_mps / max(math.hypot(to_east, to_north), 1e-6)
            return to_east * scale, to_north * scale
