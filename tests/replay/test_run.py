"""`tilefix run` as a pilot starts it: a process of its own between a folder of pictures and MAVLink over UDP."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.mavlink import Autopilot
from tilefix import cli
from tilefix.camera import CameraModel, Mount
from tilefix.embedders import open_embedder
from tilefix.flights.flight import open_flight
from tilefix.geodesy import Grid, LocalFrame
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.simulation.camera import render_view
from tilefix.simulation.looks import satellite_look
from tilefix.simulation.world import generate_world

SEED, SIZE_M, GSD_M = 90_017, 500.0, 0.5
CAMERA = CameraModel.from_hfov(200, 150, 70.0)
AGL_M, GROUND_AMSL_M, STEP_M = 110.0, 420.0, 1.0
FRAMES = 120
START = (-60.0, -40.0)
PATIENCE_S = 90.0


@dataclasses.dataclass(frozen=True)
class Scene:
    folder: Path
    frame: LocalFrame


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A map, and pictures of a flight north over it: level, nose north, one metre from frame to frame."""
    folder = tmp_path_factory.mktemp("run")
    world = generate_world(SEED, size_m=SIZE_M, gsd_m=GSD_M)
    pixels = world.render(satellite_look(SEED))
    grid: Grid = world.grid
    imagery = ArrayImagery(world.frame, grid, pixels, np.full(pixels.shape[:2], 255, np.uint8), "generated", "", "none")
    build_package(imagery, folder / "map", embedder=open_embedder(None), patch_m=90.0, stride_m=45.0)
    (folder / "photo").mkdir()
    for index in range(FRAMES):
        east_m, north_m = START[0], START[1] + STEP_M * index
        picture = render_view(pixels, grid, CAMERA, Mount(), east_m, north_m, AGL_M, 0.0, 0.0, 0.0)
        cv2.imwrite(str(folder / "photo" / f"{index:04d}.png"), picture[:, :, ::-1])
    return Scene(folder, world.frame)


class Pilot:
    """The autopilot's end: tells of a level vehicle at one height; GNSS good for `gnss_s`, then gone. Keeps what it
    hears."""

    def __init__(self, port: int, gnss_s: float) -> None:
        self._autopilot = Autopilot(3)
        self._port = port
        self._gnss_s = gnss_s
        self._stop = threading.Event()
        self.heard: list[Any] = []
        self.silent = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def of(self, kind: str) -> list[Any]:
        return [message for message in list(self.heard) if message.get_type() == kind]

    def wait_for(self, kind: str, count: int, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(self.of(kind)) < count:
            assert process.poll() is None, f"it ended; {len(self.of(kind))} {kind} came"
            assert time.monotonic() < deadline, f"only {len(self.of(kind))} {kind} came"
            time.sleep(0.02)

    def _run(self) -> None:
        parser = mavlink.MAVLink(None)
        parser.robust_parsing = True
        begun = time.monotonic()
        heard_first: float | None = None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            udp.settimeout(0.02)
            while not self._stop.is_set():
                boot_ms = round((time.monotonic() - begun) * 1000) + 5000
                gnss = heard_first is None or time.monotonic() - heard_first < self._gnss_s
                for packet in [] if self.silent else self._packets(boot_ms, gnss):
                    udp.sendto(packet, ("127.0.0.1", self._port))
                try:
                    data = udp.recv(65535)
                except OSError:
                    continue
                heard_first = heard_first or time.monotonic()
                for message in parser.parse_buffer(data) or []:
                    if message.get_type() == "TIMESYNC" and not self.silent:
                        boot_ns = round((time.monotonic() - begun) * 1e9) + 5_000_000_000
                        udp.sendto(self._autopilot.timesync(boot_ns, message.ts1), ("127.0.0.1", self._port))
                    else:
                        self.heard.append(message)

    def _packets(self, boot_ms: int, gnss: bool) -> Iterator[bytes]:
        pilot, amsl_m = self._autopilot, GROUND_AMSL_M + AGL_M
        yield pilot.heartbeat()
        yield pilot.attitude(boot_ms, 0.0, 0.0, 0.0)
        yield pilot.pressure(boot_ms, 1013.25 * (1.0 - 0.0065 * (amsl_m - 30.0) / 288.15) ** 5.25588)
        yield pilot.gps(fix_type=3 if gnss else 1, lat_deg=10.0, lon_deg=10.0, amsl_m=amsl_m)
        yield pilot.home(GROUND_AMSL_M)
        yield b"\x55noise\xfd\x00"


def _config(scene: Scene, port: int, more: str = "") -> Path:
    path = scene.folder / f"tilefix-{port}.toml"
    path.write_text(
        f'[map]\npath = "map"\n[camera]\nsource = "folder:photo"\nwidth = {CAMERA.width}\nheight = {CAMERA.height}\n'
        f'hfov_deg = 70\nrate_hz = 6\n[link]\nurl = "udpin:127.0.0.1:{port}"\n[publish]\nmirror_gnss = false\n{more}'
    )
    return path


# A frame that takes a minute, in a library that does not hold the interpreter's lock.
SLOW = """
import sys, time, cv2, numpy
from tilefix.localization.localizer import Localizer
field = numpy.ones((2000, 2000), numpy.float32)
def process(*_):
    print("looking", file=sys.stderr, flush=True)
    until = time.monotonic() + 60.0
    while time.monotonic() < until:
        cv2.dft(field)
Localizer.process = process
"""


def _start(config: Path, *more: str, before: str = "") -> subprocess.Popen[str]:
    """The program as its console script starts it."""
    code = f"{before}\nimport sys\nfrom tilefix.cli import entry\nsys.exit(entry())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, "run", "--config", str(config), *more],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _terminated(process: subprocess.Popen[str], pilot: Pilot, ready: Callable[[], None]) -> str:
    """What the program said until SIGTERM ended it, which it gets when `ready` returns."""
    try:
        ready()
        process.send_signal(signal.SIGTERM)
        return process.communicate(timeout=30.0)[1]
    finally:
        pilot.close()
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_flight_is_published_recorded_and_ended_by_sigterm(scene: Scene, tmp_path: Path) -> None:
    port = _free_port()
    process = _start(_config(scene, port), "--record", str(tmp_path / "flight"))
    pilot = Pilot(port, gnss_s=3.0)
    errors = _terminated(process, pilot, lambda: pilot.wait_for("GPS_INPUT", 40, process))
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    for sent in pilot.of("GPS_INPUT"):
        assert (sent.get_srcSystem(), sent.get_srcComponent()) == (3, 191)
        east_m, north_m = scene.frame.to_local(sent.lat / 1e7, sent.lon / 1e7)
        assert abs(east_m - START[0]) < 10.0
        assert START[1] - 10.0 < north_m < START[1] + STEP_M * FRAMES + 10.0
        assert sent.alt == pytest.approx(GROUND_AMSL_M + AGL_M, abs=2.0)
        assert math.hypot(sent.vn, sent.ve) < 20.0
        assert (sent.fix_type, sent.ignore_flags, sent.gps_id) == (3, 0, 1)
    beats = [one for one in pilot.of("HEARTBEAT") if one.get_srcComponent() == 191]
    assert len(beats) >= 3
    assert beats[-1].type == mavlink.MAV_TYPE_ONBOARD_CONTROLLER
    assert any("GNSS lost" in line for line in errors.splitlines())
    texts = [one.text for one in pilot.of("STATUSTEXT")]
    assert "tilefix: position found" in texts
    flight = open_flight(tmp_path / "flight")
    assert len(flight.rows) >= 5
    # The newest frames may have been written before an attitude of their instant had come.
    known = [row.state for row in flight.rows if row.state.roll_deg is not None]
    assert len(known) >= len(flight.rows) // 2
    state = known[-1]
    assert state.agl_m == pytest.approx(AGL_M, abs=2.0)
    assert (state.roll_deg, state.yaw_deg) == (pytest.approx(0.0), pytest.approx(0.0))
    assert sum(1 for _ in flight.frames()) == len(flight.rows)


def test_a_frame_that_takes_long_neither_delays_nor_spoils_the_end(scene: Scene) -> None:
    port = _free_port()
    process = _start(_config(scene, port), before=SLOW)

    def looks() -> None:
        assert process.stderr is not None
        assert any("looking" in line for line in process.stderr)

    errors = _terminated(process, Pilot(port, gnss_s=60.0), looks)
    assert process.returncode == 0, errors


def test_a_silent_autopilot_stops_the_positions_and_its_return_brings_them_back(scene: Scene) -> None:
    port = _free_port()
    process = _start(_config(scene, port, '[start]\nat_loss = "keep"\n'))
    pilot = Pilot(port, gnss_s=3.0)
    try:
        pilot.wait_for("GPS_INPUT", 10, process)
        pilot.silent = True
        time.sleep(3.0)
        before = len(pilot.of("GPS_INPUT"))
        time.sleep(1.0)
        assert len(pilot.of("GPS_INPUT")) == before
        pilot.silent = False
        pilot.wait_for("GPS_INPUT", before + 5, process)
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30.0)
        pilot.close()
    assert process.returncode == 0, errors


def test_it_ends_by_itself_with_the_last_picture(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "photo").mkdir()
    for index in range(3):
        name = f"{index:04d}.png"
        (tmp_path / "photo" / name).write_bytes((scene.folder / "photo" / name).read_bytes())
    text = _config(scene, _free_port()).read_text()
    config = tmp_path / "tilefix.toml"
    config.write_text(text.replace('"map"', f'"{scene.folder / "map"}"'))
    process = _start(config)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors


def test_check_says_whether_the_parts_fit(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(scene, _free_port())
    assert cli.main(["check-config", str(config)]) == 0
    said = capsys.readouterr().out
    assert "fit together" in said
    assert "Warning: the age of the map's imagery is unknown." in said


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('path = "map"', 'path = "nowhere"', "nowhere"),
        ("folder:photo", "folder:nowhere", "nowhere"),
        ("folder:photo", "folder:map", "no JPEG"),
        ("width = 200", "width = 300", "200 x 150"),
        ("udpin:", "carrier pigeon:", "serial:"),
        ("rate_hz = 6", "rate_hz = -6", "rate_hz"),
    ],
)
def test_what_cannot_fly_is_refused_with_the_status_that_ends_restarts(
    scene: Scene, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    config = _config(scene, _free_port())
    config.write_text(config.read_text().replace(old, new))
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        assert cli.main(["run", "--config", str(config)]) == os.EX_CONFIG
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("tilefix: ")


def test_the_selftest_tries_every_part(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = _free_port()
    config = _config(scene, port, f'[record]\npath = "{tmp_path}/flight"\n')
    pilot = Pilot(port, gnss_s=PATIENCE_S)
    try:
        status = cli.main(["selftest", str(config), "--json", str(tmp_path / "found.json")])
    finally:
        pilot.close()
    said = capsys.readouterr().out
    assert status == 0, said
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(one["check"], one["ok"]) for one in found] == [
        (name, True) for name in ("config", "engine", "map", "disk", "camera", "link")
    ]
    assert "autopilot 3 tells attitude and height" in said
    assert said.splitlines()[-1] == "ready"
    assert not (tmp_path / "flight").exists()


@pytest.mark.parametrize(
    ("old", "new", "check", "says"),
    [
        ('path = "map"', 'path = "nowhere"', "map", "nowhere"),
        ("folder:photo", "folder:dark", "camera", "lens cap"),
        ("folder:photo", "folder:still", "camera", "repeats its picture"),
        ("folder:photo", "folder:nowhere", "camera", "nowhere"),
        ("rate_hz = 6", "rate_hz = -6", "config", "rate_hz"),
    ],
)
def test_the_selftest_names_what_does_not_work(
    scene: Scene, capsys: pytest.CaptureFixture[str], old: str, new: str, check: str, says: str
) -> None:
    for name, value in (("dark", 0), ("still", None)):
        (scene.folder / name).mkdir(exist_ok=True)
        for index in range(4):
            shape = (CAMERA.height, CAMERA.width, 3)
            still = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            picture = still if value is None else np.full(shape, value, np.uint8)
            cv2.imwrite(str(scene.folder / name / f"{index}.png"), picture)
    config = _config(scene, _free_port())
    config.write_text(config.read_text().replace(old, new))
    assert cli.main(["selftest", str(config), "--without", "link"]) == 1
    said = capsys.readouterr().out
    failed = [line for line in said.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert failed[0].split()[1] == check
    assert says in failed[0]
    assert said.splitlines()[-1].startswith(f"NOT READY: {check}")


def test_the_selftest_waits_for_an_autopilot_only_so_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tilefix.service.selftest._LINK_S", 0.3)
    assert cli.main(["selftest", str(_config(scene, _free_port())), "--without", "camera"]) == 1
    assert "no autopilot heard in 0.3 s" in capsys.readouterr().out
