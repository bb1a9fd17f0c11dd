"""Flights with something that moves over the ground below, and the plain flight beside them: for `evaluate_motion`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.camera import CameraModel
from tilefix.flights.flight import FlightRow
from tilefix.geodesy import LocalFrame
from tilefix.simulation.camera import Exposure
from tilefix.simulation.flights import FlightPlan, exposure_of, flown
from tilefix.simulation.noise import rng_for
from tilefix.simulation.passing import CloudShadow, OwnShadow, Passing, passed_over
from tilefix.simulation.passingtraffic import motorway, scattered
from tilefix.simulation.passingwater import Water
from tilefix.simulation.passingway import Way
from tilefix.simulation.sight import Scenery, picture_of
from tilefix.simulation.vehicle import COPTER, PLANE, Motion, Weather
from tilefix.types import Frame, UInt8Array

BANDS_M = ((60.0, 150.0), (200.0, 400.0))
SPEED_MPS = (8.0, 20.0)
SIDE_PX = (480, 360)
HFOV_DEG = 65.0
JPEG_QUALITY = 92
CHANGED_LEVELS = 8
TRAFFIC_MPS = (5.0, 30.0)
CURRENT_MPS = (0.5, 3.0)


@dataclass(frozen=True, slots=True)
class Trial:
    """One flight over a world: low (0) or high (1)."""

    world: int
    number: int
    plan: FlightPlan

    @property
    def name(self) -> str:
        """Of the flight."""
        return f"{self.world}-{self.number}"


def trials(worlds: Sequence[int], frames: int) -> list[Trial]:
    """A low flight and a high one over each world; all follows from the world's seed."""
    table = []
    for world in worlds:
        for number, (low_m, high_m) in enumerate(BANDS_M):
            rng = np.random.default_rng([world, number, 77])
            rate_hz, wind = float(rng.uniform(2.0, 4.0)), float(rng.uniform(0.0, 2.0 * math.pi))
            speed_mps = float(rng.uniform(*SPEED_MPS))
            wind_mps = float(rng.uniform(0.0, 6.0))
            plan = FlightPlan(
                agl_m=float(rng.uniform(low_m, high_m)),
                speed_mps=speed_mps,
                rate_hz=rate_hz,
                duration_s=(frames + 0.5) / rate_hz,
                seed=100 * world + 50 + number,
                camera=CameraModel.from_hfov(*SIDE_PX, HFOV_DEG),
                airframe=PLANE if speed_mps > 14.0 else COPTER,
                weather=Weather(wind_mps * math.sin(wind), wind_mps * math.cos(wind), float(rng.uniform(0.3, 1.5))),
                exposure=Exposure(gain=0.97, blur_px=0.5, noise=0.012, vignette=0.2),
                exposure_ms=3.0,
            )
            table.append(Trial(world, number, plan))
    return table


@dataclass(frozen=True)
class Course:
    """A flight as it is flown: what its log says at each frame, and how the vehicle moved."""

    trial: Trial
    rows: tuple[FlightRow, ...]
    motions: tuple[Motion, ...]

    @classmethod
    def of(cls, trial: Trial, scenery: Scenery, frame: LocalFrame) -> Course:
        """Flown over that scenery."""
        rows, motions = zip(*flown(scenery.grid, frame, trial.plan), strict=True)
        return cls(trial, rows, motions)

    @property
    def way(self) -> Way:
        """The line that is flown."""
        return Way([(motion.east_m, motion.north_m) for motion in self.motions])


@dataclass(frozen=True, slots=True)
class Case:
    """Something that passes. `strength`: metres across for the vehicle's own shadow, else a share of the picture."""

    kind: str
    strength: float = 0.0

    @property
    def name(self) -> str:
        """As the table calls it."""
        if self.kind == "own shadow":
            return f"{self.kind}, {self.strength:g} m across"
        return f"{self.kind}, {100.0 * self.strength:.0f} %" if self.strength else self.kind


PLAIN = Case("nothing")
CASES = (
    *(Case("own shadow", span_m) for span_m in (2.0, 6.0)),
    *(Case("cloud shadows", share) for share in (0.25, 0.5)),
    *(Case("scattered traffic", share) for share in (0.01, 0.03)),
    *(Case("motorway", share) for share in (0.1, 0.2)),
    Case("convoy at the vehicle's speed", 0.2),
    *(Case("water", share) for share in (0.25, 0.5, 0.75)),
)


def passing_of(case: Case, course: Course) -> Passing | None:
    """What passes in that flight; `None` for the plain one. Speeds and directions follow from the flight's seed."""
    plan, way = course.trial.plan, course.way
    rng = rng_for(plan.seed, "passing", case.kind)
    wide_m = plan.agl_m * plan.camera.width / plan.camera.fx
    towards_deg, chance = float(rng.uniform(0.0, 360.0)), float(rng.random())
    traffic_mps = TRAFFIC_MPS[0] + chance * (TRAFFIC_MPS[1] - TRAFFIC_MPS[0])
    if case.kind == "own shadow":
        return OwnShadow(case.strength, towards_deg, 68.0 + 12.0 * chance)
    if case.kind == "cloud shadows":
        return CloudShadow(case.strength, 6.0 + 12.0 * chance, towards_deg, 1.3 * wide_m, plan.seed)
    if case.kind == "scattered traffic":
        return scattered(way, case.strength, traffic_mps, 1.2 * wide_m, plan.seed)
    if case.kind == "water":
        # To the right of the way, so far out that it fills that share of the picture.
        shore_m = (0.5 - case.strength) * wide_m
        return Water(way, shore_m, CURRENT_MPS[0] + chance * (CURRENT_MPS[1] - CURRENT_MPS[0]), towards_deg, plan.seed)
    if case.kind in ("motorway", "convoy at the vehicle's speed"):
        speed_mps = traffic_mps if case.kind == "motorway" else plan.speed_mps
        return motorway(way, case.strength * wide_m, 0.15 * wide_m, speed_mps, plan.seed)
    return None


def pictures(course: Course, scenery: Scenery, passing: Passing | None) -> Iterator[Frame]:
    """The flight's pictures, coded and decoded as a recording is."""
    plan = course.trial.plan
    for sequence, (row, motion) in enumerate(zip(course.rows, course.motions, strict=True)):
        ground = scenery if passing is None else passed_over(scenery, passing, plan.camera, plan.mount, motion)
        image = picture_of(ground, plan.camera, plan.mount, motion, exposure_of(plan, motion), plan.seed, sequence)
        yield Frame(_coded(image), row.state.at_ns, sequence)


def share_changed(course: Course, scenery: Scenery, passing: Passing | None) -> float:
    """The share of the picture that looks otherwise, a mean over every tenth frame."""
    if passing is None:
        return 0.0
    plan, shares = course.trial.plan, []
    for motion in course.motions[::10]:
        ground = passed_over(scenery, passing, plan.camera, plan.mount, motion)
        both = [picture_of(one, plan.camera, plan.mount, motion, Exposure(), 0, 0) for one in (scenery, ground)]
        apart = np.abs(both[0].astype(np.int16) - both[1]).max(axis=2)
        shares.append(float((apart > CHANGED_LEVELS).mean()))
    return float(np.mean(shares))


def _coded(image: UInt8Array) -> UInt8Array:
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert done and decoded is not None  # noqa: PT018
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
