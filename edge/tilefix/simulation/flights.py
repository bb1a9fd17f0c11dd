"""Flight folders of a simulated camera over any orthophoto: for replay and evaluation, with the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.flight import FlightRow
from tilefix.flights.writer import FlightWriter
from tilefix.geodesy import Grid, LocalFrame
from tilefix.maps.terrain import Terrain
from tilefix.simulation.camera import Exposure
from tilefix.simulation.flying import TICK_NS, AutopilotSettings, Flying
from tilefix.simulation.noise import rng_for
from tilefix.simulation.sight import Scenery, picture_of
from tilefix.simulation.vehicle import COPTER, Airframe, Course, Motion, SimulatedVehicle, Weather, wander
from tilefix.types import UInt8Array, VehicleState

_CLEARANCE_M = 10.0  # of a flight over the highest hill


@dataclass(frozen=True)
class FlightPlan:
    """What to fly. The log states attitude and height with the errors given: `attitude_error_deg` and
    `heading_error_deg` are sigmas of slow errors, `height_error` is one of the height, relative, constant over the
    flight. `exposure_ms` blurs the picture by the speed over ground during that time.

    Over hills `agl_m` is the height above the plane that they rise from and fall below, `ground_amsl_m` above the sea,
    and is held: the height above ground follows from the hills. The log then states the height above sea level with a
    constant error of sigma `amsl_error_m`, and a height above ground: the rangefinder's (`ranged`), or else that above
    the ground below the start.
    """

    agl_m: float
    speed_mps: float
    rate_hz: float
    duration_s: float
    seed: int
    camera: CameraModel
    mount: Mount = field(default_factory=Mount)
    airframe: Airframe = COPTER
    weather: Weather = field(default_factory=Weather)
    attitude_error_deg: float = 0.35
    heading_error_deg: float = 1.0
    height_error: float = 0.01
    ground_amsl_m: float = 212.0
    amsl_error_m: float = 2.0
    ranged: bool = True
    exposure: Exposure = field(default_factory=Exposure)
    exposure_ms: float = 0.0
    lossless: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("agl_m", 5.0, 10000.0),
            ("speed_mps", 0.5, 100.0),
            ("rate_hz", 0.05, 60.0),
            ("duration_s", 1.0, 7200.0),
            ("attitude_error_deg", 0.0, 20.0),
            ("heading_error_deg", 0.0, 90.0),
            ("height_error", 0.0, 0.5),
            ("ground_amsl_m", -500.0, 9000.0),
            ("amsl_error_m", 0.0, 100.0),
            ("exposure_ms", 0.0, 1000.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise FlightError(f"{name} {value:g} is out of range", mend=f"give {low:g} to {high:g}")


def footprint_m(camera: CameraModel, mount: Mount, agl_m: float) -> float:
    """How far from the point below it a level camera sees: what a flight stays away from the imagery's edge."""
    half = 0.5 * math.hypot(camera.width / camera.fx, camera.height / camera.fy)
    look_rad = math.radians(max(abs(mount.roll_deg), abs(mount.pitch_deg)))
    return agl_m * math.tan(min(math.atan(half) + look_rad, 1.4))


def fly_over(
    scenery: Scenery,
    frame: LocalFrame,
    plan: FlightPlan,
    out: Path,
    progress: Callable[[float], None] | None = None,
) -> int:
    """Writes the flight folder `out` and gives its number of frames; equal plans give equal bytes.

    Raises `FlightError` when the imagery has no room for the flight, or `out` holds a flight already.
    """
    rows = list(
        flown(scenery.grid, frame, plan, out, scenery.terrain)
    )  # before anything is written: there may be no room
    with FlightWriter(out, frames=f"frames/*.{_suffix(plan)}", camera=plan.camera, mount=plan.mount) as writer:
        (out / "frames").mkdir(exist_ok=True)
        for sequence, (row, motion) in enumerate(rows):
            exposure = exposure_of(plan, motion)
            image = picture_of(scenery, plan.camera, plan.mount, motion, exposure, plan.seed, sequence)
            _write_picture(out / "frames" / row.frame, image)
            writer.add(row)
            if progress is not None:
                progress((sequence + 1) / len(rows))
    return len(rows)


def flown(
    grid: Grid, frame: LocalFrame, plan: FlightPlan, where: object = None, terrain: Terrain | None = None
) -> Iterator[tuple[FlightRow, Motion]]:
    """What the log of the flight says at each frame, and how the vehicle moved in truth.

    Raises `FlightError` when the imagery on `grid` has no room for it, or hills rise to it.
    """
    if terrain is not None and float(np.nanmax(terrain.height_m)) > plan.agl_m - _CLEARANCE_M:
        raise FlightError("the hills rise to the flight", where=where, mend="fly higher, or over lower hills")
    margin_m = footprint_m(plan.camera, plan.mount, plan.agl_m) + 4.0 * plan.speed_mps
    length_m = plan.speed_mps * (plan.duration_s + 10.0)
    extent_m = grid.width_px * grid.gsd_m
    leg_m = (max(8.0 * plan.speed_mps, 0.09 * extent_m), max(20.0 * plan.speed_mps, 0.26 * extent_m))
    try:
        path = wander(plan.seed, grid, margin_m=margin_m, length_m=length_m, leg_m=leg_m)
    except ValueError as error:
        raise FlightError(
            f"the imagery is too small: {error}", where=where, mend="fly lower, or over more imagery"
        ) from error
    (e0, n0), (e1, n1) = path[0], path[1]
    yaw_deg = math.degrees(math.atan2(e1 - e0, n1 - n0))
    vehicle = SimulatedVehicle(
        e0, n0, plan.agl_m, seed=plan.seed, yaw_deg=yaw_deg, speed_mps=plan.speed_mps,
        airframe=plan.airframe, weather=plan.weather,
    )  # fmt: skip
    settings = AutopilotSettings(
        ground_amsl_m=plan.ground_amsl_m,
        tilt_error_deg=plan.attitude_error_deg,
        yaw_error_deg=plan.heading_error_deg,
    )
    flight = Flying(vehicle, Course(path, plan.speed_mps), frame, start_ns=0, seed=plan.seed, settings=settings)
    height_scale = 1.0 + float(rng_for(plan.seed, "height").normal(0.0, plan.height_error))
    told = None if terrain is None else _Heights(plan, terrain, (e0, n0), height_scale)
    ticks_per_frame = 1e9 / TICK_NS / plan.rate_hz
    for sequence in range(max(1, math.floor(plan.duration_s * plan.rate_hz))):
        while flight.ticks < round(sequence * ticks_per_frame):
            flight.tick()
        motion = flight.vehicle.motion
        roll_deg, pitch_deg, heading_deg = flight.sensed_attitude_deg()
        heights = told(motion) if told is not None else (motion.agl_m * height_scale, None, None, None)
        state = VehicleState(flight.ticks * TICK_NS, roll_deg, pitch_deg, heading_deg % 360.0, *heights)
        truth = frame.to_geodetic(motion.east_m, motion.north_m)
        yield FlightRow(f"{sequence:06d}.{_suffix(plan)}", flight.now_s, state, truth), motion


class _Heights:
    """What a log over hills says of height: agl_m, agl_sigma_m, amsl_m, amsl_sigma_m."""

    def __init__(self, plan: FlightPlan, terrain: Terrain, start_m: tuple[float, float], scale: float) -> None:
        self._plan, self._terrain, self._scale = plan, terrain, scale
        self._amsl_error_m = float(rng_for(plan.seed, "amsl").normal(0.0, plan.amsl_error_m))
        self._start_m = terrain.at(*start_m) or 0.0
        self._spread_m = float(np.nanstd(terrain.height_m))

    def __call__(self, motion: Motion) -> tuple[float, float, float, float]:
        above_m = motion.agl_m - (self._terrain.at(motion.east_m, motion.north_m) or 0.0)
        plane_m = motion.agl_m + self._amsl_error_m
        over_sea = self._plan.ground_amsl_m + plane_m, math.hypot(self._plan.amsl_error_m, 1.0)
        if self._plan.ranged:
            return above_m * self._scale, math.hypot(1.0, 0.02 * above_m), *over_sea
        return plane_m - self._start_m, math.hypot(self._plan.amsl_error_m, self._spread_m), *over_sea


def _suffix(plan: FlightPlan) -> str:
    return "png" if plan.lossless else "jpg"


def exposure_of(plan: FlightPlan, motion: Motion) -> Exposure:
    """The exposure with the motion that the picture makes during it: a nadir camera, image top towards the nose."""
    if plan.exposure_ms == 0.0:
        return plan.exposure
    smear_px = smeared_px(motion, plan.camera, plan.mount, plan.agl_m, plan.exposure_ms)
    return replace(plan.exposure, motion_px=smear_px)


def smeared_px(
    motion: Motion, camera: CameraModel, mount: Mount, agl_m: float, exposure_ms: float
) -> tuple[float, float]:
    """The path (x, y) of the ground in the picture of a nadir camera during an exposure."""
    yaw = math.radians(motion.yaw_deg + mount.yaw_deg)
    px_per_m = camera.fx / agl_m * exposure_ms / 1000.0
    right = motion.east_mps * math.cos(yaw) - motion.north_mps * math.sin(yaw)
    ahead = motion.east_mps * math.sin(yaw) + motion.north_mps * math.cos(yaw)
    return -right * px_per_m, ahead * px_per_m


def _write_picture(path: Path, image: UInt8Array) -> None:
    flags = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == ".jpg" else []
    done, coded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    if not done:
        raise FlightError("picture cannot be encoded", where=path)
    try:
        path.write_bytes(np.asarray(coded).tobytes())
    except OSError as error:
        raise FlightError(f"cannot be written: {error.strerror}", where=path, mend="give another --out") from error
