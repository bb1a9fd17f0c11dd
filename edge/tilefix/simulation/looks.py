"""Looks: in which season, under which sun and through which sensor a generated world is seen."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tilefix.simulation.noise import rng_for

Triple = tuple[float, float, float]


class Season(enum.IntEnum):
    """Time of year on the northern hemisphere; winters are without snow."""

    SPRING = 0
    SUMMER = 1
    AUTUMN = 2
    WINTER = 3


@dataclass(frozen=True, slots=True)
class Look:
    """One acquisition of a world.

    `moved_seed` decides everything that changes between acquisitions: crops, cars, fresh soil and grass texture, the
    few buildings and trees that are not there. `mixing`: rows of the sensor's 3 x 3 colour response. `haze`: light
    added before gamma. `blur_m`: standard deviation of the point spread. `noise`: of full scale 1. `lean_*`: metres
    that a roof is displaced per metre of its height (the sensor's tilt). `jpeg_quality` 0 means uncompressed.
    """

    season: Season
    sun_azimuth_deg: float
    sun_elevation_deg: float
    moved_seed: int
    mixing: tuple[Triple, Triple, Triple] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    gain: Triple = (1.0, 1.0, 1.0)
    haze: Triple = (0.0, 0.0, 0.0)
    gamma: float = 1.0
    blur_m: float = 0.25
    noise: float = 0.01
    lean_east: float = 0.0
    lean_north: float = 0.0
    jpeg_quality: int = 0


def _draw(seed: int, name: str, blur_m: tuple[float, float], haze: float, lean: float, jpeg: tuple[int, int]) -> Look:
    rng = rng_for(seed, name)
    season = Season(int(rng.choice(4, p=[0.25, 0.35, 0.22, 0.18])))
    highest = {Season.SPRING: 55.0, Season.SUMMER: 62.0, Season.AUTUMN: 42.0, Season.WINTER: 30.0}[season]

    def row(i: int) -> Triple:
        weights = [float(rng.uniform(0.0, 0.16)) for _ in range(3)]
        weights[i] = 1.0 - sum(weights) + weights[i]
        return weights[0], weights[1], weights[2]

    def triple(low: float, high: float) -> Triple:
        return float(rng.uniform(low, high)), float(rng.uniform(low, high)), float(rng.uniform(low, high))

    exposure = float(rng.uniform(0.85, 1.2))
    red, green, blue = triple(0.94, 1.06)
    veil = float(rng.uniform(0.0, haze))
    return Look(
        season=season,
        sun_azimuth_deg=float(rng.uniform(95.0, 265.0)),
        sun_elevation_deg=float(rng.uniform(0.55, 1.0) * highest),
        moved_seed=int(rng.integers(1, 2**31)),
        mixing=(row(0), row(1), row(2)),
        gain=(exposure * red, exposure * green, exposure * blue),
        haze=(0.7 * veil, 0.85 * veil, veil),
        gamma=float(rng.uniform(0.8, 1.25)),
        blur_m=float(rng.uniform(*blur_m)),
        noise=float(rng.uniform(0.006, 0.02)),
        lean_east=float(rng.normal(0.0, lean)),
        lean_north=float(rng.normal(0.0, lean)),
        jpeg_quality=int(rng.integers(*jpeg)),
    )


def satellite_look(seed: int) -> Look:
    """A satellite or aerial survey's look: blurrier, hazier, tilted, compressed; drawn from the seed."""
    return _draw(seed, "satellite look", (0.35, 0.6), 0.12, 0.12, (70, 92))


def drone_look(seed: int) -> Look:
    """A drone camera's look, another day and season than `satellite_look` of the same seed would draw."""
    return _draw(seed, "drone look", (0.2, 0.35), 0.04, 0.03, (88, 97))
