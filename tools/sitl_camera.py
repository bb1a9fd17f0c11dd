"""A downward camera for ArduPilot's SITL: renders what lies below the simulation's true position and attitude.

python tools/sitl_camera.py --link tcp:127.0.0.1:5763 --map maps/site --serve /tmp/camera.sock

`tilefix run` reads it as `source = "unix:/tmp/camera.sock"`, each picture with the stamp of its exposure. SIGUSR1 makes
the camera die, a second one brings it back.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from sitl_ground import Ground, Weather, open_ground, world_ground
from sitl_mavlink import Peer
from sitl_serve import FrameServer
from sitl_truth import TRUTH_STREAMS, Truth, TruthTrack
from tilefix.camera import CameraModel, Mount
from tilefix.errors import CameraError, TilefixError
from tilefix.ports import Clock
from tilefix.simulation.camera import Exposure
from tilefix.simulation.flights import smeared_px
from tilefix.simulation.sight import picture_of
from tilefix.simulation.vehicle import Motion
from tilefix.timing import MonotonicClock
from tilefix.types import UInt8Array

# An aircraft lower than this stands on the ground; the camera then shows what it would see from here.
_LOWEST_M = 0.3
_TURN_S = 0.003
# Truth that is this late will not come any more: the exposure is left out.
_PATIENCE_NS = 400_000_000
_CAMERA_SYSTEM_ID = 254


@dataclass(frozen=True)
class CameraPlan:
    """What the camera is. `latency_ms`: from exposure until the picture is handed over, at least; `stamped`: the
    picture tells when it was exposed; `exposure_ms` blurs by the motion meanwhile."""

    camera: CameraModel
    mount: Mount = field(default_factory=Mount)
    rate_hz: float = 10.0
    exposure: Exposure = field(default_factory=Exposure)
    exposure_ms: float = 0.0
    latency_ms: float = 0.0
    stamped: bool = True
    seed: int = 0


class SitlCamera:
    """Takes a picture every 1/rate seconds as soon as the truth of that instant is known, and hands it over when due.

    `ground_amsl_m`: height of flat ground above the sea; without it that of the aircraft when the camera joins.
    """

    def __init__(
        self, peer: Peer, ground: Ground, plan: CameraPlan, clock: Clock, ground_amsl_m: float | None = None
    ) -> None:
        self._peer, self._ground, self._plan, self._clock = peer, ground, plan, clock
        self._ground_amsl_m = ground.plane_amsl_m if ground.plane_amsl_m is not None else ground_amsl_m
        self._track = TruthTrack()
        self._period_ns = round(1e9 / plan.rate_hz)
        self._due_ns: int | None = None
        self._sequence = 0
        self._waiting: deque[tuple[int, UInt8Array, int]] = deque()
        self.render_ms: deque[float] = deque(maxlen=1000)

    def turn(self) -> list[tuple[UInt8Array, int | None]]:
        """Listens, exposes when it is time, and gives the pictures that are due with their exposure (monotonic)."""
        for heard in self._peer.poll():
            truth = self._track.take(heard)
            if truth is not None and self._ground_amsl_m is None:
                self._ground_amsl_m = truth.amsl_m
        now_ns = self._clock.now_ns()
        self._expose(now_ns)
        latency_ns = round(self._plan.latency_ms * 1e6)
        ready: list[tuple[UInt8Array, int | None]] = []
        while self._waiting and self._waiting[0][0] + latency_ns <= now_ns:
            exposed_ns, image, _ = self._waiting.popleft()
            ready.append((image, exposed_ns if self._plan.stamped else None))
        return ready

    def _expose(self, now_ns: int) -> None:
        boot_zero_ns = self._peer.boot.to_local_ns(0)
        newest_ns = self._track.newest_ns
        if boot_zero_ns is None or newest_ns is None:
            return
        if self._due_ns is None or now_ns - self._due_ns > _PATIENCE_NS:
            self._due_ns = now_ns  # the first one, or truth stayed away: begin anew
        boot_ns = self._due_ns - boot_zero_ns
        if boot_ns > newest_ns:
            return
        truth = self._track.at(boot_ns)
        if truth is not None:
            begun = time.perf_counter()
            image = self.picture(truth)
            self.render_ms.append(1e3 * (time.perf_counter() - begun))
            self._waiting.append((self._due_ns, image, self._sequence))
        self._sequence += 1
        # A camera that cannot keep up leaves exposures out instead of falling behind.
        late = max(0, (now_ns - self._due_ns) // self._period_ns - 1)
        self._due_ns += self._period_ns * (1 + late)

    def picture(self, truth: Truth) -> UInt8Array:
        """What the camera shows there, uint8 (H, W, 3) RGB."""
        plan = self._plan
        motion = self._motion(truth)
        exposure = plan.exposure
        if plan.exposure_ms > 0.0:
            smear_px = smeared_px(motion, plan.camera, plan.mount, max(motion.agl_m, 1.0), plan.exposure_ms)
            exposure = replace(exposure, motion_px=smear_px)
        return picture_of(self._ground.scenery, plan.camera, plan.mount, motion, exposure, plan.seed, self._sequence)

    def _motion(self, truth: Truth) -> Motion:
        east_m, north_m = self._ground.frame.to_local(truth.lat_deg, truth.lon_deg)
        agl_m = max(truth.amsl_m - (self._ground_amsl_m or 0.0), _LOWEST_M)
        if self._ground.scenery.terrain is not None:
            below_m = self._ground.scenery.terrain.at(east_m, north_m) or 0.0
            agl_m = max(agl_m, below_m + _LOWEST_M)
        return Motion(
            truth.at_ns / 1e9, east_m, north_m, agl_m, truth.east_mps, truth.north_mps, -truth.down_mps,
            truth.roll_deg, truth.pitch_deg, truth.yaw_deg,
        )  # fmt: skip


def serve(camera: SitlCamera, server: FrameServer, stop: threading.Event, toggle: threading.Event) -> int:
    """Hands pictures over until `stop`; `toggle` makes the camera die or come back. Gives the number of pictures."""
    count = 0
    while not stop.is_set():
        if toggle.is_set():
            toggle.clear()
            if server.alive:
                server.close()
            else:
                server.open()
        for image, exposed_ns in camera.turn():
            if server.alive:
                server.send(image, exposed_ns)
                count += 1
        stop.wait(_TURN_S)
    return count


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until interrupted; 2 with one clear line when it cannot."""
    args = _parser().parse_args(argv)
    stop, toggle = threading.Event(), threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        stop.set()

    def flip(_: int, __: FrameType | None) -> None:
        toggle.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, end)
    signal.signal(signal.SIGUSR1, flip)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return _run(args, Path(scratch), stop, toggle)
    except TilefixError as error:
        print(f"sitl_camera: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace, scratch: Path, stop: threading.Event, toggle: threading.Event) -> int:
    clock = MonotonicClock()
    plan = _plan(args)
    weather = Weather(args.season, args.sun_azimuth_deg, args.sun_elevation_deg)
    ground = open_ground(args.map, scratch) if args.map is not None else world_ground(args.world, weather)
    peer = Peer(args.link, clock, TRUTH_STREAMS, system=_CAMERA_SYSTEM_ID)
    server = FrameServer(args.serve)
    try:
        camera = SitlCamera(peer, ground, plan, clock, args.ground_amsl_m)
        print(f"sitl_camera: {plan.camera.width} x {plan.camera.height} px, unix:{args.serve}", file=sys.stderr)
        count = serve(camera, server, stop, toggle)
    finally:
        server.close()
        peer.close()
    cost = f", {statistics.median(camera.render_ms):.1f} ms each" if camera.render_ms else ""
    print(f"sitl_camera: {count} pictures{cost}", file=sys.stderr)
    return 0


def _plan(args: argparse.Namespace) -> CameraPlan:
    if not 0.5 <= args.rate_hz <= 60.0:
        raise CameraError(f"--rate-hz {args.rate_hz:g} is out of range", mend="give 0.5 to 60")
    try:
        camera = CameraModel.from_hfov(args.width, args.height, args.hfov_deg)
    except ValueError as error:
        raise CameraError(str(error), mend="check --width, --height and --hfov-deg") from error
    return CameraPlan(
        camera=camera,
        mount=Mount(args.mount_roll_deg, args.mount_pitch_deg, args.mount_yaw_deg),
        rate_hz=args.rate_hz,
        exposure=Exposure(gain=args.gain, blur_px=args.blur_px, noise=args.noise, vignette=args.vignette),
        exposure_ms=args.exposure_ms,
        latency_ms=args.latency_ms,
        stamped=not args.unstamped,
        seed=args.seed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Render the downward camera of an ArduPilot SITL flight.")
    parser.add_argument("--link", required=True, help="to SITL: tcp:127.0.0.1:5763, udpin:0.0.0.0:14552, ...")
    ground = parser.add_mutually_exclusive_group(required=True)
    ground.add_argument("--map", type=Path, help="map package, GeoTIFF, MBTiles or folder of tiles to look at")
    ground.add_argument("--world", type=int, metavar="SEED", help="a generated world instead")
    parser.add_argument("--serve", type=Path, default=Path("/tmp/sitl-camera.sock"), help="the Unix socket")
    parser.add_argument(
        "--ground-amsl-m", type=float, help="height of the ground (default: the aircraft's at the start)"
    )
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--hfov-deg", type=float, default=70.0)
    parser.add_argument("--rate-hz", type=float, default=10.0)
    parser.add_argument("--mount-roll-deg", type=float, default=0.0)
    parser.add_argument("--mount-pitch-deg", type=float, default=0.0)
    parser.add_argument("--mount-yaw-deg", type=float, default=0.0)
    parser.add_argument("--season", help="of a generated world: spring, summer, autumn or winter")
    parser.add_argument("--sun-azimuth-deg", type=float, help="of a generated world")
    parser.add_argument("--sun-elevation-deg", type=float, help="of a generated world")
    parser.add_argument("--gain", type=float, default=0.97, help="brightness")
    parser.add_argument("--blur-px", type=float, default=0.6)
    parser.add_argument("--noise", type=float, default=0.012, help="sigma, of full scale 1")
    parser.add_argument("--vignette", type=float, default=0.2, help="share of light lost in the corners")
    parser.add_argument("--exposure-ms", type=float, default=2.0, help="for motion blur")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="from exposure until the picture is handed over")
    parser.add_argument("--unstamped", action="store_true", help="leave the stamp of the exposure out")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
