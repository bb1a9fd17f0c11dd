"""Reads off the map where parts of a picture lie, under parameters that are nearly right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilefix.calibration.model import Parameters, Sightings
from tilefix.calibration.pictures import Pictures
from tilefix.localization.rectify import PreparedFrame, Rectifier, View
from tilefix.localization.register import MAX_TEMPLATE_PX, MapCorrelator, Peak, Template, background_spread, refine_peak
from tilefix.maps.package import MapPackage
from tilefix.types import Float64Array

MIN_Z_SCORE = 5.0
MAX_FACTOR = 32
RIM_PX = 2  # a peak this near the edge of its window is no peak


@dataclass(frozen=True, slots=True)
class Raster:
    """How a picture is cut: `across` x `down` squares of `part` of the footprint's side each, at a level where the
    footprint has about `side_px` a side."""

    across: int
    down: int
    part: float
    side_px: int


WHOLE = Raster(1, 1, 1.0, 96)
MIDDLE = Raster(3, 3, 0.45, 176)
FINE = Raster(4, 3, 0.36, 320)


@dataclass(frozen=True, eq=False)
class Match:
    """One part of a picture on the map. `ray`: of its centre, as in `Sightings`."""

    ray: tuple[float, float]
    peak: Peak


class Sighter:
    """Cuts pictures into parts and finds each on the map."""

    def __init__(self, package: MapPackage, pictures: Pictures) -> None:
        self._package = package
        self.pictures = pictures
        self._correlators: dict[int, MapCorrelator] = {}
        self._rectifier: tuple[Parameters, Rectifier] | None = None

    def matches(
        self, number: int, guess: Parameters, raster: Raster, reach_m: float, min_z_score: float = MIN_Z_SCORE
    ) -> list[Match]:
        """The parts of one picture that are found within `reach_m` of where they are expected."""
        pictures = self.pictures
        state = pictures.series.at(pictures.times_s[number : number + 1] + guess.time_s)[0]
        rectifier = self._rectifier_of(guess)
        agl_m = float(state[3])
        view = rectifier.view(float(state[0]), float(state[1]), float(state[2]), agl_m)
        if view is None:
            return []
        side_m = math.sqrt(view.area_m2)
        correlator = self._correlator(side_m / raster.side_px)
        gsd_m = correlator.level.gsd_m
        prepared = rectifier.prepare(pictures.images[number], agl_m, gsd_m)
        size_px = min(2 * round(0.5 * raster.part * side_m / gsd_m) + 1, MAX_TEMPLATE_PX)
        if size_px < 24:
            return []
        vehicle = float(state[4]) - guess.east_m, float(state[5]) - guess.north_m
        found = []
        for ray in _rays(rectifier, raster):
            down = view.to_ned @ np.array([*ray, 1.0])
            place = float(down[1] / down[2] * agl_m), float(down[0] / down[2] * agl_m)
            peak = _peak(correlator, prepared, view, size_px, place, vehicle, reach_m)
            if peak is not None and peak.z_score >= min_z_score:
                stretch = math.exp(guess.log_focal)
                found.append(Match((ray[0] * stretch, ray[1] * stretch), peak))
        return found

    def sightings(self, numbers: Sequence[int], guess: Parameters, raster: Raster, reach_m: float) -> Sightings:
        """The parts found in all those pictures; the frames without any are left out."""
        times: list[float] = []
        frame: list[int] = []
        rays: list[tuple[float, float]] = []
        places: list[tuple[float, float]] = []
        covariances: list[tuple[tuple[float, float], tuple[float, float]]] = []
        for number in numbers:
            matches = self.matches(number, guess, raster, reach_m)
            for match in matches:
                frame.append(len(times))
                rays.append(match.ray)
                places.append((match.peak.east_m, match.peak.north_m))
                c = match.peak.covariance_m2
                covariances.append(((c.ee, c.en), (c.en, c.nn)))
            if matches:
                times.append(float(self.pictures.times_s[number]))
        return Sightings(
            np.array(times),
            np.array(frame, np.int64),
            np.array(rays).reshape(-1, 2),
            np.array(places).reshape(-1, 2),
            np.array(covariances).reshape(-1, 2, 2),
        )

    def _rectifier_of(self, guess: Parameters) -> Rectifier:
        if self._rectifier is None or self._rectifier[0] != guess:
            self._rectifier = guess, Rectifier(guess.camera(self.pictures.camera), guess.mount)
        return self._rectifier[1]

    def _correlator(self, wanted_gsd_m: float) -> MapCorrelator:
        """Of the level whose sampling is nearest to the wanted one."""
        factor = 1
        while factor < MAX_FACTOR and math.sqrt(2.0) * factor * self._package.grid.gsd_m <= wanted_gsd_m:
            factor *= 2
        if factor not in self._correlators:
            package = self._package
            self._correlators[factor] = MapCorrelator(package.imagery, package.coverage, package.grid, factor)
        return self._correlators[factor]


def _rays(rectifier: Rectifier, raster: Raster) -> list[tuple[float, float]]:
    """x / z and y / z of the parts' centres, evenly over the picture without its rim."""
    camera = rectifier.camera

    def spread(count: int, length: int, centre: float, focal: float) -> Float64Array:
        reach = 0.5 * length * (1.0 - 0.8 * math.sqrt(raster.part**2 / 2.0)) if count > 1 else 0.0
        return np.linspace(-reach, reach, count) / focal + ((length - 1) / 2.0 - centre) / focal

    xs = spread(raster.across, camera.width, camera.cx, camera.fx)
    ys = spread(raster.down, camera.height, camera.cy, camera.fy)
    return [(float(x), float(y)) for y in ys for x in xs]


def _peak(
    correlator: MapCorrelator, prepared: PreparedFrame, view: View, size_px: int,
    place: tuple[float, float], vehicle: tuple[float, float], reach_m: float,
) -> Peak | None:  # fmt: skip
    level = correlator.level
    template = Template(prepared.patch(view, gsd_m=level.gsd_m, size_px=size_px, centre_m=place))
    if template.count < 0.5 * size_px * size_px:
        return None
    column, row = (round(v) for v in level.to_pixel(vehicle[0] + place[0], vehicle[1] + place[1]))
    reach = max(12, math.ceil(reach_m / level.gsd_m))
    surface = correlator.search(template, column - reach, row - reach, 2 * reach + 1, 2 * reach + 1)
    values = surface.values
    if not values.size or not np.isfinite(values).any():
        return None
    row, column = divmod(int(np.nanargmax(values)), values.shape[1])
    if not (RIM_PX <= row < values.shape[0] - RIM_PX and RIM_PX <= column < values.shape[1] - RIM_PX):
        return None
    return refine_peak(surface, row, column, background_spread(values))
