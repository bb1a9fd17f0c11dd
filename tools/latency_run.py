"""One flight of the latency benchmark: the lanes put together, flown, and summed up."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

import sensors
from latency_flight import (
    GROUND_AMSL_M,
    STANDS_S,
    BenchFrames,
    FlightClock,
    FlightOnRails,
    NotingAutopilot,
    Timetable,
)
from latency_floor import Floor
from latency_rig import Bench, BenchDaemon, Lane
from latency_scene import Scene
from latency_summary import result_of
from machine import facts_of_this_machine
from tilefix.embedders import open_embedder, open_model_files
from tilefix.errors import FlightError, TilefixError
from tilefix.flights.flight import Flight, open_flight
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.transport import Udp
from tilefix.links.vehicle import HeightSettings, Vehicle
from tilefix.localization.localizer import Localizer, LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.publishing.publisher import Publisher
from tilefix.publishing.settings import PublishSettings
from tilefix.simulation.live import LiveAutopilot
from tilefix.timing import MonotonicClock, StageTimer

WARM_UP_FRAMES = 40  # until the belief has settled and the map's features around are kept
HINT_SIGMA_M = 25.0
PROBE_EVERY = 8  # frames between two measurements of what the machine can do
SOAK_PROBE_EVERY = 100
MAX_FRAMES = 200_000


@dataclass(frozen=True)
class Options:
    """What to measure; see `--help`."""

    model: str | None
    providers: tuple[str, ...]
    map: Path | None
    flight: Path | None
    frames: int | None
    seconds: float
    mode: str
    pace: str
    soak_minutes: float | None
    delay_ms: float
    opencv_threads: int | None
    warm_up: int
    world_m: float
    cache: Path


def measure(options: Options, scene: Callable[[Embedder], Scene]) -> dict[str, Any]:
    """Everything measured, as it stands in the JSON file. Raises `TilefixError`."""
    if options.opencv_threads is not None:
        cv2.setNumThreads(options.opencv_threads)
    with ExitStack() as held:
        embedders: dict[str, Embedder] = {}
        for name in options.providers:
            provider, _, model = name.partition("=")
            embedders[name] = held.enter_context(closing(open_embedder(model or options.model, provider=provider)))
        return _measured(options, scene, embedders)


def _measured(
    options: Options, scene: Callable[[Embedder], Scene], embedders: Mapping[str, Embedder]
) -> dict[str, Any]:
    first = next(iter(embedders.values()))
    where = scene(first)
    for embedder in embedders.values():
        package = MapPackage.open(where.map, model=embedder.manifest)
    flight = open_flight(where.flight)
    _refuse_unusable(flight)
    facts = facts_of_this_machine()
    told = sensors.clocks()
    threads = facts["threads"]["onnxruntime"]
    own = options.providers[0].partition("=")[2]
    floor = Floor(threads, threads, embedders, _onnx_of(own or options.model))
    run = _Run(options, where, package, flight, embedders, floor)
    run.fly()
    grid = package.grid
    return {
        "machine": {**facts, **told},
        "run": {
            "mode": options.mode,
            "pace": options.pace,
            "providers": list(options.providers),
            "model": first.manifest.name,
            "model_sha256": first.manifest.sha256,
            "map_km2": round(grid.width_px * grid.height_px * grid.gsd_m**2 / 1e6, 4),
            "map_tiles": len(package.tile_centres_m),
            "frame_px": [flight.camera.width, flight.camera.height],
            "publish_hz": PublishSettings().rate_hz,
            "publish_delay_ms": options.delay_ms,
            "warm_up_frames": options.warm_up,
            "flight": "generated" if options.flight is None else str(options.flight),
        },
        **result_of(run),
    }


def _onnx_of(model: str | None) -> Path | None:
    """The ONNX file of a model, to count its arithmetic."""
    file = open_model_files(model)[1]
    return file if file.suffix == ".onnx" else None


def _refuse_unusable(flight: Flight) -> None:
    known = [row.state for row in flight.rows]
    if not any(None not in (one.roll_deg, one.pitch_deg, one.yaw_deg, one.agl_m) for one in known):
        raise FlightError(
            "no row states attitude and height", where=flight.folder, mend="measure with a flight that can be localized"
        )


class _Run:
    """One flight on the bench."""

    def __init__(
        self,
        options: Options,
        scene: Scene,
        package: MapPackage,
        flight: Flight,
        embedders: Mapping[str, Embedder],
        floor: Floor,
    ) -> None:
        self.realtime, self.soak_minutes = options.pace == "realtime", options.soak_minutes
        self.options, self.flight, self.floor, self.local = options, flight, floor, package.frame
        self.table = Timetable(flight, laps=scene.laps)
        period_s = (self.table.due_ns(len(flight.rows) - 1) or 1) / 1e9 / max(len(flight.rows) - 1, 1)
        seconds = options.seconds if options.soak_minutes is None else 60.0 * options.soak_minutes
        # In flight time; with the pace "full" it is over sooner.
        self.capacity = min(MAX_FRAMES, options.frames or math.ceil(seconds / period_s))
        self.seconds = None if options.frames else seconds
        self.clock = FlightClock()
        kinds = ("track", "search") if options.mode == "both" else (options.mode,)
        settings = {"track": LocalizerSettings(), "search": LocalizerSettings(research_after_s=0.0)}
        lanes = []
        for provider, embedder in embedders.items():
            for kind in kinds:
                name = kind if len(embedders) == 1 else f"{kind} {provider}"
                localizer = Localizer(
                    package, TileIndex.open(package), embedder, flight.camera, flight.mount, settings[kind]
                )
                lanes.append(Lane(name, localizer, self.capacity))
        self.bench = Bench(lanes, self.clock, options.warm_up * len(lanes))
        self.decoding = StageTimer(MonotonicClock())
        self.memory: list[tuple[float, float, float]] = []
        self.sensed: list[dict[str, Any]] = []

    def fly(self) -> None:
        """Flies until enough frames were looked at."""
        options, clock, bench = self.options, self.clock, self.bench
        first_ns = clock.now_ns() + round(STANDS_S * 1e9)
        start_ns = clock.now_ns()
        truth = next((row.truth for row in self.flight.rows if row.truth is not None), None)
        if truth is not None:
            bench.hint(*truth, HINT_SIGMA_M)
        transport = Udp(("127.0.0.1", 0), None)
        seconds = (self.seconds or 60.0 + self.capacity) + 120.0
        rails = FlightOnRails(self.table, self.local, start_ns)
        core = NotingAutopilot(rails, capacity=round(seconds * 25.0))
        live = LiveAutopilot(core, clock, ("127.0.0.1", transport.port))
        self.frames = BenchFrames(
            self.flight, self.table, clock, first_ns=first_ns, waits=lambda: not self._holds_time(),
            between=self._between, timer=self.decoding,
        )  # fmt: skip
        publisher = Publisher(PublishSettings(delay_ms=options.delay_ms))
        height = HeightSettings(source="baro", ground_amsl_m=GROUND_AMSL_M, anchor="ground")
        daemon = BenchDaemon(
            bench, self.frames, MavlinkLink(transport, clock), publisher, vehicle=Vehicle(height), clock=clock,
            at_loss="keep", watch=bench, timer=StageTimer(MonotonicClock()),
        )  # fmt: skip
        daemon.bench, daemon.bench_clock = bench, clock
        daemon.holds_time = self._holds_time
        stop = threading.Event()
        thread = threading.Thread(target=daemon.run, args=(stop,), name="daemon", daemon=True)
        self.ticks = sensors.processor_ticks()
        self.energy = sensors.EnergyMeter()
        self.begun_s = time.monotonic()
        live.start()
        thread.start()
        try:
            self._watch(thread, live, daemon)
        finally:
            self.frames.ended = True
            stop.set()
            thread.join(30.0)
            live.stop()
            for other in threading.enumerate():
                if other.name == "worker":
                    other.join(60.0)  # the frame that it still looks at
        self.took_s = time.monotonic() - self.begun_s
        self.stolen = sensors.stolen_share(self.ticks, sensors.processor_ticks())
        self.published = daemon.timer.percentiles_ms().get("publish")
        self.positions = core.positions
        if min(lane.count for lane in bench.lanes) == 0:
            raise TilefixError("no frame was measured", mend="give more --frames or --seconds")

    def _holds_time(self) -> bool:
        return self.options.pace == "full" or self.bench.warming_up

    def _between(self, sequence: int) -> None:
        """What the bench does between two frames, while the flight's time stands still."""
        every = PROBE_EVERY if self.options.soak_minutes is None else SOAK_PROBE_EVERY
        if sequence % every == 0 or len(self.floor.took.get("reference", ())) < 3:
            self.floor.measure()

    def _watch(self, thread: threading.Thread, live: LiveAutopilot, daemon: BenchDaemon) -> None:
        begun_ns = None
        wanted = self.capacity
        while True:
            time.sleep(0.5)
            counts = [lane.count for lane in self.bench.lanes]
            now_s = time.monotonic() - self.begun_s
            flown_s = self.clock.now_ns() / 1e9
            if counts[0] and begun_ns is None:
                begun_ns = self.clock.now_ns()
            if begun_ns is not None:
                self.memory.append((now_s, *sensors.memory_mib()))
                self.energy.sample()
                if len(self.sensed) < 1000:
                    self.sensed.append(sensors.readings())
            if daemon.health.failures:
                raise TilefixError("a frame failed on the bench", mend="see the log above")
            if min(counts) >= wanted or self.frames.exhausted:
                return
            if self.seconds is not None and begun_ns is not None and flown_s - begun_ns / 1e9 >= self.seconds:
                return
            if not (thread.is_alive() and live.alive):
                raise TilefixError("the daemon or the simulated autopilot ended in flight", mend="see the log above")
