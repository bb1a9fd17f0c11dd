"""The demonstration's flight: the real daemon over MAVLink on the loopback interface against the simulation."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.errors import TilefixError
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.transport import Udp
from tilefix.localization.localizer import Localizer, LocalizerSettings
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Clock, Embedder
from tilefix.service.daemon import Daemon
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.camera import Exposure
from tilefix.simulation.live import LiveAutopilot
from tilefix.simulation.sight import Scenery, SimulatedCamera
from tilefix.simulation.vehicle import Course, SimulatedVehicle, wander
from tilefix.simulation.world import EVALUATION_SEED_START, World, satellite_look
from tilefix.timing import MonotonicClock
from tilefix.types import Fix, Frame, NoFix, VehicleState

GSD_M = 0.5
PATCH_M = 120.0
CAMERA = CameraModel.from_hfov(640, 480, 70.0)
MOUNT = Mount()
AGL_M = 120.0
SPEED_MPS = 11.0
MARGIN_M = 200.0
EXPOSURE = Exposure(gain=0.97, motion_px=(0.0, 1.0), blur_px=0.6, noise=0.012, vignette=0.2)


@dataclass(frozen=True)
class DemoOptions:
    """What to fly. `seconds`: without GNSS, after `with_gnss_s` with it (which ties air pressure to sea level)."""

    out: Path
    seed: int = EVALUATION_SEED_START + 1
    seconds: float = 130.0
    rate_hz: float = 4.0
    model: str | None = None
    world_m: float = 2100.0  # 4.41 km2
    stride_m: float = 40.0
    with_gnss_s: float = 15.0


@dataclass(frozen=True)
class Seen:
    """One frame that the daemon looked at, and what it answered."""

    sequence: int
    captured_ns: int
    answered_ns: int
    estimate: Fix | NoFix


class NotingLocalizer(Localizer):
    """Notes when the belief was last made uniform."""

    reset_ns: int | None = None
    clock: Clock

    def reset(self) -> None:
        """Makes the belief uniform over the map."""
        super().reset()
        self.reset_ns = self.clock.now_ns()


class Scorer:
    """Watches the daemon (`tilefix.service.daemon.Watches`)."""

    def __init__(self, clock: Clock) -> None:
        self.seen: list[Seen] = []
        self._clock = clock

    def saw(self, frame: Frame, state: VehicleState, estimate: Fix | NoFix, truth: tuple[float, float] | None) -> None:
        """Notes the answer; the truth is the simulation's, not the receiver's."""
        del state, truth
        self.seen.append(Seen(frame.sequence, frame.captured_ns, self._clock.now_ns(), estimate))


@dataclass(frozen=True)
class Flown:
    """A flight that is over: when GNSS went, when the belief was made uniform for it, and when the flight ended."""

    seen: tuple[Seen, ...]
    autopilot: SimulatedAutopilot
    denied_ns: int
    reset_ns: int | None
    ended_ns: int
    stages_ms: dict[str, tuple[float, float]]


def build_map_of(world: World, options: DemoOptions, embedder: Embedder) -> MapPackage:
    """The map package of the world's satellite look, in the folder `map`."""
    pixels = world.render(satellite_look(options.seed))
    imagery = ArrayImagery(
        frame=world.frame,
        grid=world.grid,
        pixels=pixels,
        coverage=np.full(pixels.shape[:2], 255, np.uint8),
        source=f"generated world {options.seed}",
        date="",
        licence="generated",
    )
    options.out.mkdir(parents=True, exist_ok=True)
    return build_package(imagery, options.out / "map", embedder=embedder, patch_m=PATCH_M, stride_m=options.stride_m)


def fly(package: MapPackage, embedder: Embedder, scenery: Scenery, world: World, options: DemoOptions) -> Flown:
    """Flies the daemon against the simulation in real time."""
    clock = MonotonicClock()
    length_m = SPEED_MPS * (options.with_gnss_s + options.seconds + 30.0)
    path = wander(options.seed, world.grid, margin_m=MARGIN_M, length_m=length_m)
    first, second = path[0], path[1]
    yaw_deg = float(np.degrees(np.arctan2(second[0] - first[0], second[1] - first[1])))
    vehicle = SimulatedVehicle(*first, AGL_M, seed=options.seed, yaw_deg=yaw_deg, speed_mps=SPEED_MPS)
    localizer = NotingLocalizer(package, TileIndex.open(package), embedder, CAMERA, MOUNT, LocalizerSettings())
    localizer.clock = clock
    transport = Udp(("127.0.0.1", 0), None)
    core = SimulatedAutopilot(vehicle, Course(path, SPEED_MPS), world.frame, start_ns=clock.now_ns(), seed=options.seed)
    live = LiveAutopilot(core, clock, ("127.0.0.1", transport.port))
    camera = SimulatedCamera(
        scenery, CAMERA, MOUNT, live.truth_at, clock, rate_hz=options.rate_hz, seed=options.seed, exposure=EXPOSURE
    )
    scorer = Scorer(clock)
    daemon = Daemon(localizer, camera, MavlinkLink(transport, clock), clock=clock, at_loss="uniform", watch=scorer)
    stop = threading.Event()
    thread = threading.Thread(target=daemon.run, args=(stop,), name="daemon", daemon=True)
    live.start()
    thread.start()
    try:
        _wait(options.with_gnss_s, thread, live)
        live.deny_gnss()
        denied_ns = clock.now_ns()
        _wait(options.seconds, thread, live)
        ended_ns = clock.now_ns()
    finally:
        stop.set()
        thread.join(10.0)
        live.stop()
    stages = {name: (one.p50_ms, one.p99_ms) for name, one in daemon.timer.percentiles_ms().items()}
    return Flown(tuple(scorer.seen), core, denied_ns, localizer.reset_ns, ended_ns, stages)


def _wait(seconds: float, thread: threading.Thread, live: LiveAutopilot) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        if not (thread.is_alive() and live.alive):
            raise TilefixError("the daemon or the simulated autopilot ended in flight", mend="see the log above")
        time.sleep(0.05)
