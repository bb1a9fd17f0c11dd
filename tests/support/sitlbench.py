"""ArduPilot's own simulator on the bench, over TCP and faster than real time; in a folder that goes with it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.benches import HOME, SPEED_MPS, Bench, Feed, Truth
from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.firmware import Firmware

INSTANCE = 3
SPEEDUP = float(os.environ.get("TILEFIX_ARDUPILOT_SPEEDUP", "4"))
_PORT = 5760 + 10 * INSTANCE
_PATIENCE_S = 60.0
_START_S = 120.0
_STREAMS_MS = {30: 25, 108: 25, 33: 100, 193: 250, 24: 200}
_QUIET = ("ATTITUDE", "SIM_STATE")
_GUIDED, _TAKEOFF = 4, 13
_VELOCITY_ONLY = 0x0DC7
_OLD_NAMES = {"GPS1_TYPE": "GPS_TYPE", "GPS2_TYPE": "GPS_TYPE2"}


def program(name: str) -> Path | None:
    """The program that TILEFIX_ARDUPILOT names or holds, if any."""
    place = Path(os.environ.get("TILEFIX_ARDUPILOT") or "/nonexistent")
    for one in (place, place / name, place / "build" / "sitl" / "bin" / name):
        if one.is_file() and one.name == name:
            return one.resolve()
    return None


class Program:
    """A simulator that runs: its process, its log, its folder and, once it is reached, the socket to it."""

    _process: subprocess.Popen[bytes]
    _log: BinaryIO
    _folder: tempfile.TemporaryDirectory[str]
    _socket: socket.socket

    def close(self) -> None:
        """Ends it and what it started, by force where it does not go by itself."""
        if hasattr(self, "_socket"):
            self._socket.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(5.0)
        self._log.close()
        with contextlib.suppress(OSError):
            self._folder.cleanup()


class Sitl(Program, Bench):
    """A copter or plane; on the ground and sure of its position, unless `cold`."""

    def __init__(self, binary: Path, parameters: Mapping[str, float], *, cold: bool = False) -> None:
        self._plane = binary.name == "arduplane"
        self._folder = tempfile.TemporaryDirectory(prefix="sitl-")
        folder = Path(self._folder.name)
        lines = {"DISARM_DELAY": 0.0, **parameters}
        lines |= {old: parameters[new] for new, old in _OLD_NAMES.items() if new in parameters}
        (folder / "extra.parm").write_text("".join(f"{name} {value:g}\n" for name, value in lines.items()))
        model = "models/plane.parm" if self._plane else "default_params/copter.parm"
        defaults = next(one / "Tools/autotest" / model for one in binary.parents if (one / "Tools").is_dir())
        self._log = (folder / "sitl.log").open("wb")
        self._process = subprocess.Popen(
            [
                *(str(binary), "--model", "plane" if self._plane else "quad", "-w", "-I", str(INSTANCE)),
                *("--home", ",".join(map(str, (*HOME, 0))), "--speedup", str(SPEEDUP)),
                *("--defaults", f"{defaults},extra.parm"),
            ],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._sender = mavlink.MAVLink(None, srcSystem=1, srcComponent=191)
        self._parser = mavlink.MAVLink(None)
        self._parser.robust_parsing = True
        self._truths: deque[tuple[float, Truth]] = deque(maxlen=100)
        self._flying_ned: tuple[float, float, float] | None = None
        self._commanded_s = 0.0
        self.heard = []
        self.now_s = 0.0
        try:
            self._socket = self._connect()
            self._greet()
            if not cold:
                self._wait_for_position()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                made = socket.create_connection(("127.0.0.1", _PORT), timeout=1.0)
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.1)
                continue
            made.settimeout(0.2)
            return made

    def _greet(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while self.now_s == 0.0:
            assert time.monotonic() < deadline, "it says nothing"
            for message, interval_ms in _STREAMS_MS.items():
                self._command(511, message, interval_ms * 1000)
            for message in self._listen():
                self._take(message)
        self._command(512, 148)
        self.run(1.0)
        number = self.of("AUTOPILOT_VERSION")[0].flight_sw_version
        version = (number >> 24, (number >> 16) & 255, (number >> 8) & 255)
        airframe = Airframe.PLANE if self._plane else Airframe.COPTER
        self.firmware = Firmware(airframe=airframe, version=version, development=number & 255 == 0)

    def _wait_for_position(self) -> None:
        while not self.has_position():
            assert self.now_s < _START_S, "it found no position"
            self.run(1.0)
        self.run(5.0)

    def _command(self, number: int, *params: float) -> None:
        padded = [*params, *[0.0] * (7 - len(params))]
        self.send(mavlink.MAVLink_command_long_message(1, 1, number, 0, *padded))

    def send(self, message: Any) -> None:
        self._socket.sendall(bytes(message.pack(self._sender)))
        self._sender.seq = (self._sender.seq + 1) % 256

    def run(self, seconds: float, feed: Feed | None = None, period_s: float = 0.1) -> list[Any]:
        self.heard = []
        until_s, due_s = self.now_s + seconds, self.now_s + period_s
        deadline = time.monotonic() + _PATIENCE_S + seconds
        while self.now_s < until_s:
            assert time.monotonic() < deadline, f"stuck at {self.now_s:.1f} s"
            for message in self._listen():
                self._take(message)
                if feed is not None and self.now_s >= due_s:
                    due_s = max(due_s + period_s, self.now_s)
                    feed(self)
            self._steer()
        return self.heard

    def _listen(self) -> list[Any]:
        try:
            data = self._socket.recv(4096)
        except TimeoutError:
            return []
        return self._parser.parse_buffer(data) or []

    def _take(self, message: Any) -> None:
        kind = message.get_type()
        if kind == "ATTITUDE":
            self.now_s = message.time_boot_ms / 1000.0
        elif kind == "SYSTEM_TIME":
            self.now_s = max(self.now_s, message.time_boot_ms / 1000.0)
        elif kind == "SIM_STATE":
            place = (message.lat_int / 1e7, message.lon_int / 1e7, message.alt)
            self._truths.append((self.now_s, Truth(*place, message.vn, message.ve)))
        if kind not in _QUIET:
            self.heard.append(message)

    def _steer(self) -> None:
        if self._flying_ned is not None and self.now_s - self._commanded_s > 0.5:
            self._commanded_s = self.now_s
            zeros = (0.0, 0.0, 0.0)
            self.send(
                mavlink.MAVLink_set_position_target_local_ned_message(
                    0, 1, 1, 1, _VELOCITY_ONLY, *zeros, *self._flying_ned, *zeros, 0.0, 0.0
                )
            )

    def truth(self, ago_s: float = 0.0) -> Truth:
        wanted_s = self.now_s - ago_s
        at_s, true = min(self._truths, key=lambda one: abs(one[0] - wanted_s))
        moved_s = wanted_s - at_s
        lat_deg = true.lat_deg + true.north_mps * moved_s / 111_194.0
        across = 111_194.0 * math.cos(math.radians(lat_deg))
        return Truth(
            lat_deg, true.lon_deg + true.east_mps * moved_s / across, true.amsl_m, true.north_mps, true.east_mps
        )

    def lose_gnss(self) -> None:
        old = self.firmware.version < (4, 6, 0)
        self.set("SIM_GPS_DISABLE" if old else "SIM_GPS1_ENABLE", 1.0 if old else 0.0)

    def arm(self, feed: Feed | None = None) -> tuple[bool, str]:
        # Only modes that fly by position ask for receivers.
        self.command(mavlink.MAV_CMD_DO_SET_MODE, 1, _TAKEOFF if self._plane else _GUIDED, feed=feed)
        return super().arm(feed)

    def take_off(self, feed: Feed | None = None) -> None:
        armed, texts = self.arm(feed)
        assert armed, texts
        if self._plane:
            self.run(45.0, feed)
        else:
            self._command(22, 0, 0, 0, 0, 0, 0, 40)
            self.run(20.0, feed)
            self._flying_ned = (SPEED_MPS, 0.0, 0.0)
            self.run(8.0, feed)
        assert math.hypot(self.truth().north_mps, self.truth().east_mps) > 0.7 * SPEED_MPS, self.texts
