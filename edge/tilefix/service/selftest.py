"""`tilefix selftest`: each part of a flight tried for real, on the ground: engine, map, disk, camera and link.

Every check gives one line: what was found, or what is wrong and the mend. Nothing is published.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tilefix.cameras import CameraRequest, open_camera
from tilefix.embedders import open_embedder
from tilefix.errors import CameraError, LinkError, ModelError, TilefixError
from tilefix.evaluation.results import write_results
from tilefix.links import open_link
from tilefix.links.vehicle import Vehicle
from tilefix.service.assembly import localizer_of
from tilefix.service.config import Config, load_config
from tilefix.timing import MonotonicClock
from tilefix.types import Frame

OUTSIDE = ("camera", "link")  # what needs the aircraft around it
_CAMERA_S = 3.0
_LINK_S = 10.0
_POLL_S = 0.02
_FREE_BYTES = 200_000_000
# Descriptors have length 1; what is not, is no descriptor.
_LENGTH_ERROR = 1e-2


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `ok`: `None` when it was left out."""

    check: str
    ok: bool | None
    said: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tilefix selftest`."""
    parser.add_argument("config", type=Path, metavar="FILE", help="the flight's configuration, TOML")
    parser.add_argument("--without", choices=OUTSIDE, action="append", default=[], help="leave this check out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the findings there")


def run(args: argparse.Namespace) -> int:
    """0 when all that was tried works, 1 when something does not, each with its line."""
    findings = []
    for finding in selftest(args.config, args.without):
        findings.append(finding)
        sys.stdout.write(f"{_mark(finding.ok):7s} {finding.check:7s} {finding.said}\n")
        sys.stdout.flush()
    if args.json:
        write_results(
            args.json.parent, {args.json.name: json.dumps([asdict(one) for one in findings], indent=2) + "\n"}
        )
    failed = [one.check for one in findings if one.ok is False]
    left_out = [one.check for one in findings if one.ok is None]
    verdict = f"NOT READY: {', '.join(failed)}" if failed else "ready"
    sys.stdout.write(verdict + (f" (not tried: {', '.join(left_out)})" if left_out else "") + "\n")
    return 1 if failed else 0


def selftest(file: Path, without: list[str]) -> Iterator[Finding]:
    """The finding of the configuration, then of each of `CHECKS`; nothing more is tried where it cannot be read."""
    try:
        config = load_config(file)
    except TilefixError as error:
        yield Finding("config", False, str(error))
        return
    yield Finding("config", True, f"{file} reads well")
    for name, check in CHECKS.items():
        if name in without:
            yield Finding(name, None, "not tried")
            continue
        try:
            yield Finding(name, True, check(config))
        except TilefixError as error:
            yield Finding(name, False, str(error))
        except OSError as error:
            yield Finding(name, False, f"{error.filename or ''}: {error.strerror or error}")


def _mark(ok: bool | None) -> str:
    return {True: "ok", False: "FAILED", None: "-"}[ok]


def _engine(config: Config) -> str:
    """The engine gives descriptors of length 1, the same for the same patch and others for another."""
    with closing(open_embedder(config.model.path, config.model.provider)) as embedder:
        side = embedder.manifest.patch_px
        patches = np.random.default_rng([0, side]).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        begun_s = time.monotonic()
        first, again = embedder.embed(patches[:1]), embedder.embed(patches[:1])
        took_ms = (time.monotonic() - begun_s) / 2 * 1e3
        other = embedder.embed(patches[1:])
        lengths = np.linalg.norm(np.concatenate([first, again, other]), axis=1)
        if not np.all(np.abs(lengths - 1.0) < _LENGTH_ERROR):
            raise ModelError(f"descriptors of length {lengths.min():.3g} to {lengths.max():.3g} instead of 1")
        if not np.allclose(first, again, atol=1e-2) or np.allclose(first, other, atol=1e-4):
            raise ModelError("descriptors do not follow their pictures", mend="build the engine anew, or take another")
        return f"{embedder.manifest.name} by {config.model.provider}, about {took_ms:.0f} ms a patch"


def _map(config: Config) -> str:
    """The map opens, and belongs to the model."""
    with closing(open_embedder(config.model.path, config.model.provider)) as embedder:
        localizer_of(config, embedder)
    return f"{config.map.path} belongs to the model"


def _disk(config: Config) -> str:
    """A recording has a place with room."""
    if config.record.path is None:
        return "nothing is recorded"
    folder = next(one for one in (config.record.path, *config.record.path.parents) if one.exists())
    free = shutil.disk_usage(folder).free
    if free < _FREE_BYTES:
        raise OSError(28, f"only {free // 1_000_000} MB free: make room, or record elsewhere", str(folder))
    return f"{free // 1_000_000:,} MB free for recordings"


def _camera(config: Config) -> str:
    """Frames come, at the rate asked for, and change."""
    camera, clock = config.camera, MonotonicClock()
    request = CameraRequest(camera.width, camera.height, camera.rate_hz, round(camera.latency_ms * 1e6), config.folder)
    frames: list[Frame] = []
    with closing(open_camera(camera.source, request, clock)) as source:
        begun_s = time.monotonic()
        while time.monotonic() - begun_s < _CAMERA_S and not source.exhausted:
            frame = source.read(_CAMERA_S / 10)
            if frame is not None:
                frames.append(frame)
    if not frames:
        raise CameraError(f"gave no frame in {_CAMERA_S:g} s", where=camera.source, mend="look at its cable and source")
    spread = float(np.std(frames[-1].image))
    if spread < 1.0:
        raise CameraError("its picture is one colour", where=camera.source, mend="take the lens cap off")
    if len(frames) > 1 and np.array_equal(frames[0].image, frames[-1].image):
        raise CameraError("repeats its picture, to the bit", where=camera.source, mend="start the camera anew")
    height, width = frames[-1].image.shape[:2]
    seconds = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
    rate = f", {(len(frames) - 1) / seconds:.1f} frames a second" if seconds > 0.0 else ""
    return f"{camera.source}: {width} x {height}{rate}"


def _link(config: Config) -> str:
    """The autopilot is heard, with its attitude and a height."""
    clock = MonotonicClock()
    vehicle = Vehicle(config.height, gimbal=config.gimbal.message, receiver_is_ours=config.publish.gps_id == 0)
    with closing(open_link(config.link, clock, config.gimbal.message)) as link:
        begun_s = time.monotonic()
        while time.monotonic() - begun_s < _LINK_S:
            for message in link.poll():
                vehicle.take(message)
            state = vehicle.state_at(clock.now_ns() - 100_000_000)
            if state.yaw_deg is not None and state.agl_m is not None:
                return f"{config.link.url}: autopilot {link.system_id} tells attitude and height"
            time.sleep(_POLL_S)
        where, heard = config.link.url, link.system_id
    if heard is None:
        raise LinkError(
            f"no autopilot heard in {_LINK_S:g} s", where=where, mend="look at the wire, port and baud rate"
        )
    if vehicle.attitude_newest_ns is None:
        raise LinkError("the autopilot sends no attitude", where=where, mend="let it answer SET_MESSAGE_INTERVAL")
    raise LinkError("no height above ground yet", where=where, mend="wait for GNSS, or set [height] for this flight")


CHECKS: dict[str, Callable[[Config], str]] = {
    "engine": _engine,
    "map": _map,
    "disk": _disk,
    "camera": _camera,
    "link": _link,
}
