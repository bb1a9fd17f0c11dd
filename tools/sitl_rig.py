"""What one SITL flight is made of: the world and its map, SITL, the camera and `tilefix run`, all in one folder."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sitl_ground import KEPT_FILE, WORLD_GSD_M, WORLD_M, Weather, keep_ground, open_ground, world_ground
from sitl_mavlink import Peer
from sitl_pilot import Pilot
from sitl_process import Sitl, Start, Vehicle, end, find_binary, find_defaults, free_port
from sitl_relay import Relay
from sitl_score import sees
from tilefix.embedders import open_embedder
from tilefix.errors import LinkError
from tilefix.geodesy import LocalFrame
from tilefix.links.transport import open_transport
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.ports import Clock
from tilefix.publishing.settings import PublishSettings
from tilefix.simulation.world import generate_world, satellite_look

PATCH_M, STRIDE_M = 120.0, 40.0
WIDTH_PX, HEIGHT_PX, HFOV_DEG = 640, 480, 70.0
HOME_AMSL_M = 120.0
_TOOLS = Path(__file__).resolve().parent
_RUN = "from tilefix.cli import entry; raise SystemExit(entry())"


@dataclass(frozen=True)
class RigPlan:
    """What to put together. `world`: seed of the generated ground, unless `map` and `ground` name others; `map_share`:
    how much of the world's width, from the west, the map knows; `offset_north_m`: false shift of the map; `publish`:
    more lines of that section of the configuration; `record`: whether tilefix records the flight."""

    folder: Path
    vehicle: Vehicle
    world: int
    map: Path | None = None
    ground: Path | None = None
    weather: Weather = field(default_factory=Weather)
    map_share: float = 1.0
    offset_north_m: float = 0.0
    route: str = "gps_input"
    at_loss: str = "keep"
    rate_hz: float = 5.0
    latency_ms: float = 0.0
    wind_mps: float = 3.0
    publish: tuple[str, ...] = ()
    record: bool = False


def make_ground(plan: RigPlan, say: Callable[[str], None]) -> tuple[Path, Path, LocalFrame]:
    """(map package, ground to look at, local frame); the generated ones are kept in the folder's `worlds`."""
    if plan.map is not None:
        ground = plan.ground or plan.map
        return plan.map, ground, open_ground(ground, plan.folder).frame
    kept = plan.folder.parent / "worlds" / f"{plan.world}"
    season = plan.weather.season or "drawn"
    ground = kept / f"ground-{season}"
    package = kept / f"map-{round(100 * plan.map_share)}"
    if not ((ground / KEPT_FILE).is_file() and (package / "manifest.json").is_file()):
        say(f"generating world {plan.world}")
        world = generate_world(plan.world, size_m=WORLD_M, gsd_m=WORLD_GSD_M)
        keep_ground(world_ground(plan.world, plan.weather, world), ground)
        if not (package / "manifest.json").is_file():
            say("building the map")
            pixels = world.render(satellite_look(plan.world))
            width = round(plan.map_share * world.grid.width_px)
            imagery = ArrayImagery(
                frame=world.frame,
                grid=dataclasses.replace(world.grid, width_px=width),
                pixels=np.ascontiguousarray(pixels[:, :width]),
                coverage=np.full((world.grid.height_px, width), 255, np.uint8),
                source=f"generated world {plan.world}",
                date="",
                licence="generated",
            )
            with closing(open_embedder(None)) as embedder:
                build_package(imagery, package, embedder=embedder, patch_m=PATCH_M, stride_m=STRIDE_M)
    return package, ground, open_ground(ground, kept).frame


def config_text(plan: RigPlan, package: Path, camera: Path, port: int) -> str:
    """The configuration that `tilefix run` flies by."""
    route = [f'route = "{plan.route}"'] if _knows_routes() else []
    if not route and plan.route not in ("auto", "gps_input"):
        raise LinkError(f"this tilefix has no route {plan.route}", mend="take gps_input")
    lines = [
        "[map]", f'path = "{package}"', "max_age_years = 1000.0", f"offset_north_m = {plan.offset_north_m}",
        "[camera]", f'source = "unix:{camera}"', f"width = {WIDTH_PX}", f"height = {HEIGHT_PX}",
        f"hfov_deg = {HFOV_DEG}", f"rate_hz = {plan.rate_hz}",
        "[link]", f'url = "udpin:127.0.0.1:{port}"',
        "[height]", "ground_sigma_m = 1.0",
        "[publish]", *route, *plan.publish,
        "[start]", f'at_loss = "{plan.at_loss}"',
        *(["[record]", f'path = "{plan.folder.resolve() / "flight"}"'] if plan.record else []),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _knows_routes() -> bool:
    return any(field.name == "route" for field in dataclasses.fields(PublishSettings))


class Rig:
    """Everything that runs during a flight; `close` ends it all."""

    def __init__(
        self,
        plan: RigPlan,
        binary: Path,
        defaults: Path | None,
        parameters: Sequence[str],
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        """`parameters`: lines of `NAME VALUE` beside ArduPilot's own for the model."""
        self.plan, self._clock, self._say = plan, clock, say
        self._stack = ExitStack()
        try:
            self._open(binary, defaults, parameters)
        except BaseException:
            self.close()
            raise

    def _open(self, binary: Path, defaults: Path | None, parameters: Sequence[str]) -> None:
        plan = self.plan
        plan.folder.mkdir(parents=True, exist_ok=True)
        self.package, ground, self.frame = make_ground(plan, self._say)
        program = find_binary(binary, plan.vehicle)
        extra = plan.folder / "extra.parm"
        extra.write_text("\n".join(parameters) + "\n")
        files = [defaults or find_defaults(program, plan.vehicle), extra]
        self.start = Start(*self.frame.to_geodetic(0.0, 0.0), HOME_AMSL_M)
        ports = free_port(), free_port(), free_port()
        sitl = self.sitl = Sitl(program, plan.vehicle, files, self.start, plan.folder / "sitl", ports)
        self._stack.callback(sitl.close)
        peer = self._peer = Peer(f"udpin:127.0.0.1:{ports[0]}", self._clock, Pilot.streams())
        self._stack.callback(peer.close)
        self.pilot = Pilot(peer, self._clock, self.alive)
        tilefix_port = free_port()
        self.relay = Relay(
            open_transport(f"udpin:127.0.0.1:{ports[1]}", self._clock),
            open_transport(f"udpout:127.0.0.1:{tilefix_port}", self._clock),
            self._clock,
        )
        self._stack.callback(self.relay.close)
        self.relay.start()
        socket = plan.folder / "camera.sock"
        camera = [
            str(_TOOLS / "sitl_camera.py"), "--link", f"udpin:127.0.0.1:{ports[2]}", "--map", str(ground),
            "--serve", str(socket), "--width", str(WIDTH_PX), "--height", str(HEIGHT_PX), "--hfov-deg", str(HFOV_DEG),
            "--rate-hz", str(plan.rate_hz), "--latency-ms", str(plan.latency_ms), "--ground-amsl-m", str(HOME_AMSL_M),
        ]  # fmt: skip
        self.camera = self._process(camera, "camera.log")
        config = plan.folder / "tilefix.toml"
        config.write_text(config_text(plan, self.package.resolve(), socket.resolve(), tilefix_port))
        self.tilefix = self._process(["-c", _RUN, "run", "--config", str(config)], "tilefix.log")

    def _process(self, arguments: list[str], log: str) -> subprocess.Popen[bytes]:
        file = self._stack.enter_context((self.plan.folder / log).open("wb"))
        # One thread each: what waits for a lock in a busy loop takes the time that SITL needs.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env=environment, start_new_session=True,
        )  # fmt: skip
        self._stack.callback(end, process)
        return process

    def alive(self) -> bool:
        """True while SITL, camera, relay and tilefix all run."""
        if not hasattr(self, "tilefix"):
            return self.sitl.alive
        return self.sitl.alive and self.relay.alive and self.camera.poll() is None and self.tilefix.poll() is None

    def now_ns(self) -> int:
        """This machine's monotonic time."""
        return self._clock.now_ns()

    @property
    def reboots(self) -> int:
        """How often the autopilot rebooted."""
        return self._peer.reboots

    def heard_tilefix(self) -> bool:
        """True once tilefix sent its heartbeat."""
        with self.relay.lock:
            return self.relay.notes.counts.get("HEARTBEAT", 0) > 0

    def sees(self) -> bool:
        """True once tilefix has a place of its own."""
        with self.relay.lock:
            return sees(self.relay.notes)

    def flip_camera(self) -> None:
        """Makes the camera die, or come back."""
        self.camera.send_signal(signal.SIGUSR1)

    def close(self) -> None:
        """Ends every process; may be called twice."""
        self._stack.close()
