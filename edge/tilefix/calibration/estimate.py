"""From a flight and a map to the estimate: coarse search, then least squares over finer and finer parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tilefix.calibration.coarse import first_guess, reach_m
from tilefix.calibration.model import Parameters, Sightings
from tilefix.calibration.pictures import FEWEST, Pictures
from tilefix.calibration.sight import FINE, MIDDLE, WHOLE, Raster, Sighter
from tilefix.calibration.solve import Solution, solve
from tilefix.errors import FlightError
from tilefix.maps.package import MapPackage
from tilefix.types import Float64Array

EARLY_FRAMES = 60
# What is known beforehand: next to nothing.
OPEN_SIGMA = Parameters(30.0, 30.0, 60.0, 0.3, 0.7, 30.0, 30.0)
HEIGHT_SIGMA = 0.01  # relative, of the recorded height above ground, with which the focal length goes
# Whole pictures, one place each, tell neither turn nor scale.
WHOLE_SIGMA = Parameters(12.0, 12.0, 0.0, 0.0, 0.5, 15.0, 15.0)
# What no flight averages out: lens, shadows that fall elsewhere on the map, roofs that lean.
SYSTEMATIC = Parameters(0.05, 0.05, 0.05, 0.001, 0.005, 0.4, 0.4)
SYSTEMATIC_PX = 0.5  # of the map, of its offset
MAX_ROUNDS = 3
SETTLED_SIGMAS = 0.3
MIN_FRAMES_SHARE = 0.3
MAX_SCATTER = 0.45  # of parts about the solution, of the distance within which they were looked for: chance gives 0.75

Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Estimate:
    """`solution` with `sigma` (7,), systematic errors included; `parts`: how many were looked for."""

    configured: Parameters
    solution: Solution
    sigma: Float64Array
    covariance: Float64Array
    seen: Sightings
    pictures: Pictures
    parts: int
    score: float


def estimate(
    package: MapPackage,
    pictures: Pictures,
    configured: Parameters,
    *,
    height_sigma: float = HEIGHT_SIGMA,
    progress: Progress | None = None,
) -> Estimate:
    """Raises `FlightError` when the pictures are not found on the map."""

    def tell(what: str, share: float) -> None:
        if progress is not None:
            progress(what, share)

    sighter = Sighter(package, pictures)
    tell("first guess", 0.0)
    guess, score = first_guess(sighter, configured)
    agl_m = float(np.median(pictures.series.values[:, 3]))
    gsd_m = package.grid.gsd_m
    everything = range(len(pictures.images))
    some = sorted({round(k) for k in np.linspace(0, len(everything) - 1, EARLY_FRAMES)})
    expected = replace(configured, yaw_deg=guess.yaw_deg)

    def look(frames: list[int], raster: Raster, within_m: float, sigma: Parameters) -> tuple[Solution, Sightings]:
        seen = sighter.sightings(frames, guess, raster, within_m)
        wanted = max(FEWEST // 2, MIN_FRAMES_SHARE * len(frames))
        if len(seen.times_s) < wanted:
            raise _not_found(pictures, len(seen.times_s), len(frames))
        centre = guess if raster is WHOLE else expected
        return solve(guess, pictures.series, seen, expected=centre, expected_sigma=sigma.vector), seen

    tell("whole pictures", 0.2)
    guess = look(some, WHOLE, reach_m(sighter), WHOLE_SIGMA)[0].parameters
    tell("parts", 0.4)
    guess = look(some, MIDDLE, max(16.0 * gsd_m, 0.15 * agl_m), OPEN_SIGMA)[0].parameters
    near_m = max(12.0 * gsd_m, 0.06 * agl_m)
    for number in range(MAX_ROUNDS):
        tell("fine parts", 0.5 + 0.5 * number / MAX_ROUNDS)
        before = guess
        solution, seen = look(list(everything), FINE, near_m, OPEN_SIGMA)
        guess = solution.parameters
        if (np.abs(guess.vector - before.vector) < SETTLED_SIGMAS * solution.sigma).all():
            break
    scatter_m = float(np.median(np.hypot(*solution.residuals_m.T)))
    if scatter_m > MAX_SCATTER * near_m:
        raise _not_found(pictures, 0, len(everything))
    # A picture shows the ratio of height to focal length; a tilt shows the height, but only as well as it is known.
    focal = math.hypot(SYSTEMATIC.log_focal, height_sigma)
    floor_m = math.hypot(SYSTEMATIC_PX * gsd_m, SYSTEMATIC.east_m)
    floor = replace(SYSTEMATIC, log_focal=focal, east_m=floor_m, north_m=floor_m).vector
    covariance = solution.covariance + np.diag(floor**2)
    parts = len(everything) * FINE.across * FINE.down
    return Estimate(configured, solution, np.sqrt(np.diag(covariance)), covariance, seen, pictures, parts, score)


def _not_found(pictures: Pictures, found: int, looked: int) -> FlightError:
    first, last = pictures.times_s[0], pictures.times_s[-1]
    return FlightError(
        f"{found} of {looked} pictures between {first:.0f} s and {last:.0f} s are found on the map",
        mend="check that map and flight are of one place, that heading and height are in the log, and that mount and "
        "field of view are right to about 15 degrees and 20 %",
    )
