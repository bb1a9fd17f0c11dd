"""A drone around the service under test: camera on a Unix socket, autopilot on UDP, and a note of all it hears.

    service_drone.py --folder DIR --build       makes the world's map package DIR/site (once)
    service_drone.py --folder DIR               flies until it is killed

While `DIR/denied` exists GNSS is gone. `DIR/heard.jsonl` gets a line for each GPS_INPUT: when (monotonic ns), whether
GNSS was denied then, and how far it lay from the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from sitl_serve import FrameServer
from tilefix.camera import CameraModel, Mount
from tilefix.embedders import open_embedder
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.camera import Exposure
from tilefix.simulation.live import LiveAutopilot
from tilefix.simulation.sight import Scenery, SimulatedCamera
from tilefix.simulation.vehicle import Course, SimulatedVehicle, wander
from tilefix.simulation.world import drone_look, generate_world, satellite_look
from tilefix.timing import MonotonicClock

SEED = 9_400
WORLD_M = 900.0
GSD_M = 0.5
PORT = 14_550
CAMERA = CameraModel.from_hfov(640, 480, 70.0)
AGL_M, SPEED_MPS, RATE_HZ = 120.0, 10.0, 4.0
EXPOSURE = Exposure(gain=0.97, motion_px=(0.0, 1.0), blur_px=0.6, noise=0.012, vignette=0.2)
LAPS_M = 100_000.0


class NotingAutopilot(SimulatedAutopilot):
    """Writes down every position that it is sent, once `note_into` was called."""

    def note_into(self, notes: IO[str]) -> None:
        """Where the lines go."""
        self._notes = notes
        self._ear = mavlink.MAVLink(None)
        self._ear.robust_parsing = True

    def receive(self, data: bytes, now_ns: int) -> None:
        """Notes the positions among the packets, then takes them in."""
        for message in self._ear.parse_buffer(data) or []:
            if message.get_type() == "GPS_INPUT":
                east_m, north_m = self.flight.frame.to_local(message.lat / 1e7, message.lon / 1e7)
                true = self.flight.truth_at(now_ns)
                error_m = float(np.hypot(east_m - true.east_m, north_m - true.north_m))
                line = {"at_ns": now_ns, "denied": self.flight.gnss_denied, "error_m": round(error_m, 2)}
                self._notes.write(json.dumps(line) + "\n")
        super().receive(data, now_ns)


def build(folder: Path) -> None:
    """The map package of the world's satellite look."""
    world = generate_world(SEED, size_m=WORLD_M, gsd_m=GSD_M)
    pixels = world.render(satellite_look(SEED))
    whole = np.full(pixels.shape[:2], 255, np.uint8)
    imagery = ArrayImagery(world.frame, world.grid, pixels, whole, f"generated world {SEED}", "", "generated")
    with closing(open_embedder(None)) as embedder:
        build_package(imagery, folder / "site", embedder=embedder, patch_m=120.0, stride_m=40.0)
    np.save(folder / "ground.npy", world.render(drone_look(SEED)))


def fly(folder: Path) -> None:
    """Flies over the world for hours, seen by the camera at `folder`/camera.sock."""
    clock = MonotonicClock()
    world = generate_world(SEED, size_m=WORLD_M, gsd_m=GSD_M)
    path = wander(SEED, world.grid, margin_m=200.0, length_m=LAPS_M)
    first, second = path[0], path[1]
    yaw_deg = float(np.degrees(np.arctan2(second[0] - first[0], second[1] - first[1])))
    vehicle = SimulatedVehicle(*first, AGL_M, seed=SEED, yaw_deg=yaw_deg, speed_mps=SPEED_MPS)
    start_ns = clock.now_ns()
    core = NotingAutopilot(vehicle, Course(path, SPEED_MPS), world.frame, start_ns=start_ns, seed=SEED)
    with (folder / "heard.jsonl").open("a", buffering=1) as notes:
        core.note_into(notes)
        live = LiveAutopilot(core, clock, ("127.0.0.1", PORT))
        live.start()
        scenery = Scenery(np.load(folder / "ground.npy"), world.grid)
        camera = SimulatedCamera(
            scenery, CAMERA, Mount(), live.truth_at, clock, rate_hz=RATE_HZ, seed=SEED, exposure=EXPOSURE
        )
        server = FrameServer(folder / "camera.sock")
        (folder / "camera.sock").chmod(0o666)
        while live.alive:
            with live.lock:
                core.flight.gnss_denied = (folder / "denied").exists()
            frame = camera.read(1.0)
            if frame is not None:
                server.send(frame.image, frame.captured_ns)


def main(argv: Sequence[str] | None = None) -> int:
    """Builds the map, or flies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR")
    parser.add_argument("--build", action="store_true", help="make the map and the ground, then end")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.build:
        build(args.folder)
    else:
        fly(args.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
