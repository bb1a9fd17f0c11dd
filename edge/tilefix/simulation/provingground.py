"""Where faults are tried: a generated world with its map, a flight over it, and what a fault does to the answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.evaluation.replay import Hint, Replay, replay
from tilefix.flights.flight import Flight, FlightRow
from tilefix.geodesy import Grid
from tilefix.localization.belief import Belief
from tilefix.localization.localizer import Localizer, LocalizerSettings
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.simulation.camera import Exposure
from tilefix.simulation.faultground import ROLL_DEG, Place, around, mixed, orchard, swapped, wrong_season
from tilefix.simulation.faultoutcome import Outcome, outcome_of
from tilefix.simulation.faults import Fault, Window
from tilefix.simulation.faultyflight import FaultyFlight, faulty
from tilefix.simulation.flights import FlightPlan, exposure_of, flown, footprint_m
from tilefix.simulation.sight import Scenery, picture_of
from tilefix.simulation.vehicle import Motion
from tilefix.simulation.world import World, drone_look, generate_world, satellite_look
from tilefix.timing import MonotonicClock
from tilefix.types import Frame, UInt8Array

GSD_M = 0.5
HINT_AWAY_M, HINT_SIGMA_M = 2000.0, 50.0
HINT_STEPS = 24  # places along each side of the map that a wrong hint may name
SOIL_RGB, CROWN_RGB = ((168, 150, 120), (70, 84, 52)), ((150, 140, 116), (88, 98, 60))  # of drone, of satellite


@dataclass(frozen=True)
class Scene:
    """A world, a map and a flight to try faults on. `window`: when they last, `length_s`: of the flight that is
    replayed; it is flown on for as long as a kidnapped vehicle needs."""

    seed: int
    size_m: float
    camera: CameraModel
    agl_m: float
    speed_mps: float
    rate_hz: float
    window: Window
    length_s: float
    patch_m: float
    stride_m: float

    @property
    def plan(self) -> FlightPlan:
        """The flight."""
        return FlightPlan(
            agl_m=self.agl_m,
            speed_mps=self.speed_mps,
            rate_hz=self.rate_hz,
            duration_s=self.length_s + self.window.start_s,
            seed=self.seed,
            camera=self.camera,
            exposure=Exposure(gain=0.97, blur_px=0.4, noise=0.012, vignette=0.2),
        )


def quick_scene(seed: int) -> Scene:
    """A village and half a minute of flight with a small camera: a fault takes two seconds."""
    camera = CameraModel.from_hfov(240, 180, 60.0)
    return Scene(seed, 620.0, camera, 90.0, 12.0, 2.0, Window(14.0, 24.0), 36.0, 80.0, 40.0)


def full_scene(seed: int) -> Scene:
    """4.4 km2 and two minutes of flight."""
    camera = CameraModel.from_hfov(640, 480, 70.0)
    return Scene(seed, 2100.0, camera, 120.0, 11.0, 2.0, Window(30.0, 50.0), 80.0, 120.0, 60.0)


@dataclass(frozen=True)
class GeneratedFlight(Flight):
    """A flight whose pictures are taken when they are read."""

    motions: Mapping[str, Motion] = field(repr=False)
    scenery: Scenery = field(repr=False)
    plan: FlightPlan

    def frames(self, limit: int | None = None) -> Iterator[tuple[FlightRow, Frame]]:
        """Each row with its picture; one of a name is the same whatever rows are left."""
        for sequence, row in enumerate(self.rows[:limit]):
            motion = self.motions[row.frame]
            exposure, number = exposure_of(self.plan, motion), int(row.frame.partition(".")[0])
            image = picture_of(self.scenery, self.camera, self.mount, motion, exposure, self.plan.seed, number)
            yield row, Frame(image, row.state.at_ns, sequence)


class ProvingGround:
    """A scene made once, on which any fault is tried. Map packages stand in `folder`."""

    def __init__(
        self, scene: Scene, embedder: Embedder, folder: Path, settings: LocalizerSettings | None = None
    ) -> None:
        self.scene, self._embedder, self._folder = scene, embedder, folder
        self._settings = settings or LocalizerSettings()
        self.world: World = generate_world(scene.seed, size_m=scene.size_m, gsd_m=GSD_M)
        self._mapped = self.world.render(satellite_look(scene.seed))
        self._seen = self.world.render(drone_look(scene.seed))
        self._flown = list(flown(self.world.grid, self.world.frame, scene.plan))
        self._packages: dict[str, MapPackage] = {}

    def try_fault(
        self,
        fault: Fault | None,
        progress: Callable[[int, int], None] | None = None,
        belief: Callable[[Grid, float], Belief] = Belief,
    ) -> tuple[Outcome, Replay, FaultyFlight]:
        """Flies with that fault, or with none. `belief`: the localizer's."""
        package, flight = self.package(fault), self.flight(fault)
        index = TileIndex.open(package)
        localizer = Localizer(
            package, index, self._embedder, flight.camera, flight.mount, self._settings, belief=belief
        )
        hint = self._wrong_hint(flight) if fault is Fault.WRONG_HINT else None
        result = replay(flight, localizer, package.frame, package.grid, MonotonicClock(), hint=hint, progress=progress)
        return outcome_of(flight, result.answers, self.scene.seed), result, flight

    # The way that is flown while the fault lasts

    def window(self, fault: Fault | None) -> Window:
        """When that fault lasts."""
        window = self.scene.window
        return Window(window.start_s, window.start_s) if fault is not None and fault.is_instant else window

    @property
    def _reach_m(self) -> float:
        """How far around its middle the ground is edited: as far as the camera sees from the point below it."""
        return footprint_m(self.scene.camera, Mount(), self.scene.agl_m)

    def _way(self) -> list[Place]:
        """Where the middle of the edited ground goes: what lies `_reach_m` around it is below the vehicle from the
        window's start to its end."""
        window, trim_s = self.scene.window, self._reach_m / self.scene.speed_mps
        middle_s = 0.5 * (window.start_s + window.end_s)
        low_s, high_s = min(window.start_s + trim_s, middle_s), max(window.end_s - trim_s, middle_s)
        step_s = 1.0 / self.scene.rate_hz
        return [
            (motion.east_m, motion.north_m)
            for row, motion in self._flown
            if low_s - step_s < row.time_s < high_s + step_s
        ]

    # The map

    def package(self, fault: Fault | None) -> MapPackage:
        """The map that is carried; of its own for a fault of the map."""
        name = fault.name.lower() if fault in _OF_THE_MAP else "map"
        if name not in self._packages:
            pixels, coverage = self._imagery(fault)
            world, scene = self.world, self.scene
            imagery = ArrayImagery(
                world.frame, world.grid, pixels, coverage, f"generated world {scene.seed}", "", "generated"
            )
            self._packages[name] = build_package(
                imagery, self._folder / name, embedder=self._embedder, patch_m=scene.patch_m, stride_m=scene.stride_m
            )
        return self._packages[name]

    def _imagery(self, fault: Fault | None) -> tuple[UInt8Array, UInt8Array]:
        grid, seed = self.world.grid, self.scene.seed
        pixels, coverage = self._mapped, np.full(self._mapped.shape[:2], 255, np.uint8)
        if fault is Fault.WRONG_SEASON:
            other = self.world.render(wrong_season(satellite_look(seed), drone_look(seed)))
            pixels = mixed(pixels, other, around(grid, self._way(), self._reach_m))
        elif fault is Fault.TILE_SWAPPED:
            pixels = swapped(pixels, grid, self._way(), self._reach_m)
        elif fault is Fault.OFF_MAP:
            coverage[around(grid, self._way(), self._reach_m)] = 0
        elif fault is Fault.REPETITIVE_FIELD:
            pixels = self._planted(pixels, 1)
        return pixels, coverage

    def _planted(self, pixels: UInt8Array, look: int) -> UInt8Array:
        trees = orchard(self.world.grid, self.scene.seed, SOIL_RGB[look], CROWN_RGB[look])
        return mixed(pixels, trees, around(self.world.grid, self._way(), self._reach_m))

    # The flight

    def flight(self, fault: Fault | None) -> FaultyFlight:
        """The recording with that fault in it."""
        kept = (
            self._flown
            if fault is Fault.KIDNAPPED
            else [one for one in self._flown if one[0].time_s < self.scene.length_s]
        )
        if fault is Fault.ROLLED_35:
            kept = [self._rolled(row, motion) for row, motion in kept]
        pixels = self._planted(self._seen, 0) if fault is Fault.REPETITIVE_FIELD else self._seen
        plan = self.scene.plan
        flight = GeneratedFlight(
            self._folder,
            plan.camera,
            plan.mount,
            tuple(row for row, _ in kept),
            None,
            {},
            {row.frame: motion for row, motion in kept},
            Scenery(pixels, self.world.grid),
            plan,
        )
        return faulty(flight, fault, self.window(fault), self.scene.seed)

    def _rolled(self, row: FlightRow, motion: Motion) -> tuple[FlightRow, Motion]:
        """Rolls over within a second, and back within another."""
        window, state = self.scene.window, row.state
        share = min(1.0, row.time_s - window.start_s, window.end_s - row.time_s)
        if share <= 0.0 or state.roll_deg is None:
            return row, motion
        by_deg = share * ROLL_DEG
        state = replace(state, roll_deg=state.roll_deg + by_deg)
        return replace(row, state=state), replace(motion, roll_deg=motion.roll_deg + by_deg)

    def _wrong_hint(self, flight: Flight) -> Hint:
        """The place on the map whose distance is nearest to `HINT_AWAY_M`."""
        number = next(k for k, row in enumerate(flight.rows) if row.time_s >= self.scene.window.start_s)
        truth = flight.rows[number].truth
        assert truth is not None
        here, grid = self.world.frame.to_local(*truth), self.world.grid
        steps = (np.arange(HINT_STEPS) + 0.5) / HINT_STEPS
        places = [
            (grid.west_m + (grid.east_m - grid.west_m) * x, grid.south_m + (grid.north_m - grid.south_m) * y)
            for x in steps
            for y in steps
        ]
        place = min(places, key=lambda there: abs(math.dist(here, there) - HINT_AWAY_M))
        return Hint(*self.world.frame.to_geodetic(*place), HINT_SIGMA_M, number)


_OF_THE_MAP = (Fault.WRONG_SEASON, Fault.TILE_SWAPPED, Fault.OFF_MAP, Fault.REPETITIVE_FIELD)
