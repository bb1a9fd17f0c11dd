"""A flight put together from its configuration: the only place that knows every part."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tilefix.cameras import CameraRequest, open_camera
from tilefix.embedders import open_embedder
from tilefix.errors import MapError
from tilefix.flights.recording import Recorder
from tilefix.handover.handover import Handover
from tilefix.links import open_link
from tilefix.links.vehicle import Vehicle
from tilefix.localization.localizer import Localizer
from tilefix.mapcheck.age import age_warning
from tilefix.maps.manifest import MANIFEST_FILE, load_map_manifest
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Clock, Embedder
from tilefix.publishing.publisher import Publisher
from tilefix.service.config import Config
from tilefix.service.daemon import Daemon, Locates
from tilefix.service.heightmemory import HeightMemory
from tilefix.service.supervisor import Supervisor


@contextmanager
def open_localizer(config: Config) -> Iterator[Locates]:
    """The localizer on the configured map, with its hint; its embedder is closed at the end. Raises `MapError` or
    `ModelError` when they do not fit."""
    with closing(open_embedder(config.model.path, config.model.provider)) as embedder:
        yield localizer_of(config, embedder)


def localizer_of(config: Config, embedder: Embedder) -> Localizer:
    """The localizer on the configured map, moved by its offset, with its hint. Raises `MapError` or `ModelError`."""
    package = MapPackage.open(config.map.path, model=embedder.manifest)
    if config.height.source == "terrain" and package.terrain is None:
        raise MapError(
            'has no terrain, but [height] source = "terrain" asks for it',
            where=config.map.path,
            mend="build it with --terrain DEM.tif, or take another source",
        )
    package = package.moved(config.map.offset_east_m, config.map.offset_north_m)
    localizer = Localizer(
        package, TileIndex.open(package), embedder, config.camera.model, config.mount, config.localizer
    )
    start = config.start
    if start.hint_lat_deg is not None and start.hint_lon_deg is not None and start.hint_sigma_m is not None:
        localizer.hint(start.hint_lat_deg, start.hint_lon_deg, start.hint_sigma_m)
    return localizer


def map_warnings(config: Config, today: datetime.date) -> list[str]:
    """Lines for the pilot on a map whose imagery is old, or of unknown age."""
    imagery = load_map_manifest(config.map.path / MANIFEST_FILE).imagery
    warning = age_warning(imagery.date, today, config.map.max_age_years)
    return [] if warning is None else [warning]


def _vehicle(config: Config, clock: Clock) -> Vehicle:
    """The vehicle; what ties air pressure to sea level is kept over restarts where the service has a folder for it."""
    folder = os.environ.get("RUNTIME_DIRECTORY")
    memory = HeightMemory(Path(folder)) if folder and config.height.anchor == "gnss" else None
    vehicle = Vehicle(
        config.height,
        gimbal=config.gimbal.message,
        receiver_is_ours=config.publish.gps_id == 0,
        remember=memory.keep if memory else None,
    )
    anchor = memory.last(clock.now_ns()) if memory else None
    if anchor is not None:
        vehicle.recall(anchor)
    return vehicle


@contextmanager
def assemble(
    config: Config,
    localizer: Locates,
    clock: Clock,
    *,
    record: Path | None = None,
    warnings: Sequence[str] = (),
    supervisor: Supervisor | None = None,
) -> Iterator[Daemon]:
    """A daemon with its camera, link and recorder open; all are closed at the end. Raises `LinkError`, `CameraError`
    or `FlightError` for what can never work. `warnings`: for the pilot, once the autopilot is heard."""
    with ExitStack() as stack:
        link = open_link(config.link, clock, config.gimbal.message)
        stack.callback(link.close)
        camera = config.camera
        latency_ns = round(camera.latency_ms * 1e6)
        request = CameraRequest(camera.width, camera.height, camera.rate_hz, latency_ns, config.folder)
        frames = open_camera(camera.source, request, clock)
        stack.callback(frames.close)
        recorder = None
        if record is not None:
            recorder = Recorder(record, camera.model, config.mount, max_bytes=config.record.max_bytes)
            stack.callback(recorder.close)
        yield Daemon(
            localizer,
            frames,
            link,
            Publisher(config.publish),
            handover=Handover(config.handover, only_receiver=config.publish.gps_id == 0),
            vehicle=_vehicle(config, clock),
            clock=clock,
            at_loss=config.start.at_loss,
            last_gnss_sigma_m=config.start.last_gnss_sigma_m,
            watch=recorder,
            warnings=warnings,
            supervisor=supervisor,
        )
