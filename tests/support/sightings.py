"""A flight that exists in numbers only, and where its rays of light meet the map."""

from __future__ import annotations

import numpy as np

from tilefix.calibration.model import Parameters, Series, Sightings, predicted
from tilefix.types import Float64Array

LEG_S = 25.0


def series_of(
    *, seconds: float = 200.0, straight: bool = False, step_s: float = 0.25, lean_deg: float = -4.0
) -> Series:
    """A flight at 120 m, legs of 25 s with turns of 90 degrees, or straight ahead at one speed."""
    times = np.arange(0.0, seconds + 0.5 * step_s, step_s)
    wanted = np.zeros_like(times) if straight else 90.0 * np.floor(times / LEG_S) * np.where(times < 120.0, 1.0, -1.0)
    course = np.empty_like(times)
    course[0] = wanted[0]
    for k in range(1, len(times)):
        course[k] = course[k - 1] + np.clip(wanted[k] - course[k - 1], -20.0 * step_s, 20.0 * step_s)
    speed = np.full_like(times, 10.0) if straight else 10.0 + 3.0 * np.sin(times / 13.0)
    east = np.cumsum(speed * np.sin(np.radians(course))) * step_s
    north = np.cumsum(speed * np.cos(np.radians(course))) * step_s
    zero = np.zeros_like(times)
    return Series(times, np.stack([zero, zero + lean_deg, course, zero + 120.0, east, north], axis=1))


def slow_error(rng: np.random.Generator, count: int, step_s: float, sigma: float, time_s: float = 30.0) -> Float64Array:
    """An Ornstein-Uhlenbeck process."""
    keep = float(np.exp(-step_s / time_s))
    out = np.empty(count)
    out[0] = rng.normal(0.0, sigma)
    for k in range(1, count):
        out[k] = keep * out[k - 1] + sigma * np.sqrt(1.0 - keep * keep) * rng.normal()
    return out


def sightings_of(
    truth: Parameters, series: Series, rng: np.random.Generator, *, every_s: float = 2.0, noise_m: float = 0.4,
    wild: float = 0.0, width: float = 1.0,
) -> Sightings:  # fmt: skip
    """Twelve parts of a picture every so many seconds, as the true parameters show them; `wild`: share anywhere."""
    times = np.arange(2.0, series.times_s[-1] - 2.0, every_s)
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 4), np.linspace(-0.38, 0.38, 3))
    rays = width * np.tile(np.stack([x.ravel(), y.ravel()], axis=1), (len(times), 1))
    frame = np.repeat(np.arange(len(times)), x.size)
    covariance = np.tile(np.eye(2), (len(rays), 1, 1))
    seen = Sightings(times, frame, rays, np.zeros_like(rays), covariance)
    places = predicted(truth, series, seen) + rng.normal(0.0, noise_m, rays.shape)
    lost = rng.random(len(rays)) < wild
    places[lost] += rng.uniform(-12.0, 12.0, (int(lost.sum()), 2))
    return Sightings(times, frame, rays, places, covariance)


def with_errors(series: Series, rng: np.random.Generator, *, tilt_deg: float = 0.35, yaw_deg: float = 1.0) -> Series:
    """What an autopilot would have logged of it."""
    step_s = float(series.times_s[1] - series.times_s[0])
    values = series.values.copy()
    for column, sigma in ((0, tilt_deg), (1, tilt_deg), (2, yaw_deg)):
        values[:, column] += slow_error(rng, len(values), step_s, sigma)
    return Series(series.times_s, values)
