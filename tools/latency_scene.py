"""What the latency benchmark flies when given nothing: a generated world's map, and 1080p frames of a closed round.

Both are kept under out/ and made once. The round comes back to its start in place, heading and speed, so that it can be
flown lap after lap without a jump.
"""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2

from tilefix.camera import CameraModel, Mount
from tilefix.errors import TilefixError
from tilefix.flights.flight import FlightRow
from tilefix.flights.writer import FlightWriter
from tilefix.ports import Embedder
from tilefix.simulation.demoflight import EXPOSURE, GSD_M, DemoOptions, build_map_of
from tilefix.simulation.sight import Scenery, picture_of
from tilefix.simulation.vehicle import GRAVITY_MPS2, Motion
from tilefix.simulation.world import World, drone_look, generate_world
from tilefix.types import VehicleState

SEED = 1500  # of validation: no figure that is published of accuracy comes from it
CAMERA = CameraModel.from_hfov(1920, 1080, 70.0)
AGL_M = 120.0
RATE_HZ = 10.0
RADIUS_M, LAP_S = 24.0, 20.0  # 7.5 m/s, leaning 13 degrees
STRIDE_M = 40.0


@dataclass(frozen=True)
class Scene:
    """Folders of a map package and of a flight. `laps`: the flight ends where it begins."""

    map: Path
    flight: Path
    laps: bool


def round_at(at_s: float) -> Motion:
    """The vehicle `at_s` into the round: counter-clockwise, nose ahead, leaning into the turn as far as it must."""
    speed_mps = 2.0 * math.pi * RADIUS_M / LAP_S
    turned = 2.0 * math.pi * at_s / LAP_S
    roll_deg = -math.degrees(math.atan(speed_mps**2 / RADIUS_M / GRAVITY_MPS2))
    return Motion(
        at_s,
        RADIUS_M * math.cos(turned),
        RADIUS_M * math.sin(turned),
        AGL_M,
        -speed_mps * math.sin(turned),
        speed_mps * math.cos(turned),
        0.0,
        roll_deg,
        0.0,
        -math.degrees(turned) % 360.0,
    )


def write_round(scenery: Scenery, world: World, out: Path, camera: CameraModel, rate_hz: float) -> None:
    """One lap as a flight folder."""
    with FlightWriter(out, frames="frames/*.jpg", camera=camera, mount=Mount()) as writer:
        (out / "frames").mkdir()
        for sequence in range(round(LAP_S * rate_hz)):
            motion = round_at(sequence / rate_hz)
            picture = picture_of(scenery, camera, Mount(), motion, EXPOSURE, SEED, sequence)
            name = f"{sequence:06d}.jpg"
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(out / "frames" / name), bgr, [cv2.IMWRITE_JPEG_QUALITY, 92]):
                raise TilefixError("picture cannot be written", where=out / "frames" / name, mend="make room there")
            at_ns = round(motion.at_s * 1e9)
            state = VehicleState(at_ns, motion.roll_deg, motion.pitch_deg, motion.yaw_deg, motion.agl_m)
            writer.add(FlightRow(name, motion.at_s, state, world.frame.to_geodetic(motion.east_m, motion.north_m)))


def generated_scene(
    cache: Path, embedder: Embedder, *, world_m: float, camera: CameraModel = CAMERA, rate_hz: float = RATE_HZ
) -> Scene:
    """The scene of that size for that model: from `cache` when it was made before. Raises `TilefixError`."""
    kind = f"{world_m:g}m"
    maps = cache / f"map-{kind}-{embedder.manifest.identity[:12]}"
    flight = cache / f"flight-{kind}-{camera.width}x{camera.height}-{rate_hz:g}hz"
    scene = Scene(maps, flight, laps=True)
    if maps.is_dir() and flight.is_dir():
        return scene
    _say(f"generating world {SEED}, kept under {cache}")
    world = generate_world(SEED, size_m=world_m, gsd_m=GSD_M)
    if not maps.is_dir():
        _say("building its map")
        making = cache / "making"
        shutil.rmtree(making, ignore_errors=True)
        build_map_of(world, DemoOptions(making, seed=SEED, world_m=world_m, stride_m=STRIDE_M), embedder)
        (making / "map").replace(maps)
        making.rmdir()
    if not flight.is_dir():
        _say("flying one round over it")
        making = cache / "making-flight"
        shutil.rmtree(making, ignore_errors=True)
        write_round(Scenery(world.render(drone_look(SEED)), world.grid), world, making, camera, rate_hz)
        making.replace(flight)
    return scene


def _say(line: str) -> None:
    print(f"benchmark_latency: {line}", file=sys.stderr)
