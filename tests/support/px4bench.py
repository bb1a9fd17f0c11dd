"""PX4 on the bench: the simulated one, or PX4's own program with the vehicle that it simulates itself (SIH)."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import struct
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.benches import BODY_FRD, HOME, LOCAL_NED, NAN, SPEED_MPS, Bench, Feed, StandIn, Truth, covariance
from support.sitlbench import Program
from tilefix.geodesy import LocalFrame
from tilefix.links.messages import AutopilotKind
from tilefix.simulation.acceptance.firmware import Firmware

INSTANCE = 7
OWN_CLOCK_S = 5000.0  # the companion's clock runs this far from the autopilot's
COMPANION_PORT = 14540 + INSTANCE  # where PX4 speaks to a companion
# Ports of PX4's links to a companion and to a display of its simulation, its own and the other side's.
_LINKS = {False: (14580 + INSTANCE, COMPANION_PORT), True: (19450 + INSTANCE, 19410 + INSTANCE)}
_PATIENCE_S = 60.0
_START_S = 120.0
_SPEEDUP = float(os.environ.get("TILEFIX_PX4_SPEEDUP", "2"))
_AIRFRAME = "10040"  # SIH quadrotor
_STREAMS_HZ = {30: 25.0, 33: 10.0, 115: 25.0, 111: 10.0, 230: 5.0, 24: 5.0}
_QUIET = ("ATTITUDE", "HIL_STATE_QUATERNION", "TIMESYNC")
_OFFBOARD = 6
_VELOCITY_ONLY = 0x0DC7
_EAST_M_PER_DEG = 76_060.0
# PX4's filter of the companion's clock counts from the 500th answer, and it asks 10 times a second.
CLOCK_LEARNED_S = 60.0


def program() -> Path | None:
    """The program in the build folder that TILEFIX_PX4 names, if any."""
    place = Path(os.environ.get("TILEFIX_PX4") or "/nonexistent") / "bin" / "px4"
    return place.resolve() if place.is_file() else None


class Px4Bench(Bench):
    """What is PX4's own way on both benches."""

    def flags(self) -> int:
        self.send(mavlink.MAVLink_command_long_message(*self.component, 512, 0, 230, 0, 0, 0, 0, 0, 0))
        self.run(0.4)
        return int(self.of("ESTIMATOR_STATUS")[-1].flags)

    def has_position(self) -> bool:
        return bool(self.flags() & mavlink.ESTIMATOR_POS_HORIZ_ABS)

    def set(self, name: str, value: float) -> None:
        whole = isinstance(value, int)
        kind = mavlink.MAV_PARAM_TYPE_INT32 if whole else mavlink.MAV_PARAM_TYPE_REAL32
        field = struct.unpack("<f", struct.pack("<i", value))[0] if whole else value
        self.send(mavlink.MAVLink_param_set_message(*self.component, name.encode(), field, kind))
        self.run(0.3)

    def map_position(
        self, east_m: float = 0.0, age_s: float = 0.05, stamp_s: float | None = None, **changes: Any
    ) -> None:
        """A GLOBAL_POSITION_SENSOR of what was true `age_s` ago, but for `changes`; `stamp_s` by its sender's clock."""
        true = self.truth(age_s)
        sent_s = self.boot_s + OWN_CLOCK_S if stamp_s is None else stamp_s
        fields: dict[str, Any] = {
            "target_system": 1, "target_component": 1, "id": 1, "time_usec": round(sent_s * 1e6),
            "processing_time": round(age_s * 1e6), "source": 2, "flags": 0, "lat": round(true.lat_deg * 1e7),
            "lon": round((true.lon_deg + east_m / _EAST_M_PER_DEG) * 1e7), "alt_ellipsoid": NAN, "alt": true.amsl_m,
            "eph": 2.0, "epv": 3.0,
        }  # fmt: skip
        self.send(mavlink.MAVLink_global_position_sensor_message(**{**fields, **changes}))

    def vision(
        self, east_m: float = 0.0, *, variance: float = 4.0, reset: int = 0, stamp_s: float | None = None
    ) -> None:
        """A VISION_POSITION_ESTIMATE, stamped by the companion's clock."""
        super().vision(
            east_m, variance=variance, reset=reset, stamp_s=self.boot_s + OWN_CLOCK_S if stamp_s is None else stamp_s
        )

    def odometry(
        self,
        east_m: float = 0.0,
        *,
        frame: int = LOCAL_NED,
        child: int = BODY_FRD,
        quality: int = 90,
        estimator: int = mavlink.MAV_ESTIMATOR_TYPE_VISION,
    ) -> None:
        """An ODOMETRY whose velocity is left out."""
        north, east = self._metres(east_m)
        self.send(
            mavlink.MAVLink_odometry_message(
                round((self.boot_s + OWN_CLOCK_S) * 1e6), frame, child, north, east, -50.0, [NAN] * 4, NAN, NAN, NAN,
                NAN, NAN, NAN, covariance(4.0), covariance(0.04), 0, estimator, quality,
            )
        )  # fmt: skip

    def answer_time(self, message: Any) -> None:
        """Answers a TIMESYNC question by the companion's clock."""
        if message.get_type() == "TIMESYNC" and message.tc1 == 0:
            own_ns = round((self.boot_s + OWN_CLOCK_S) * 1e9)
            self.send(mavlink.MAVLink_timesync_message(own_ns, message.ts1))


class Px4Sitl(Program, Px4Bench):
    """A quadrotor, on the ground and sure of its position. `beside`: the link to a companion is left to another one."""

    def __init__(
        self, binary: Path, parameters: Mapping[str, float], *, beside: bool = False, speedup: float = _SPEEDUP
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="px4-")
        folder = Path(self._folder.name)
        named = {f"PX4_PARAM_{name}": f"{value:g}" for name, value in parameters.items()}
        places = zip(("LAT", "LON", "ALT"), HOME, strict=True)
        self._log = (folder / "px4.log").open("wb")
        self._process = subprocess.Popen(
            [str(binary), "-d", "-i", str(INSTANCE), "-w", str(folder), str(binary.parents[1] / "etc")],
            cwd=folder,
            env={
                **os.environ, **named, "PX4_SIM_MODEL": "sihsim_quadx", "PX4_SYS_AUTOSTART": _AIRFRAME,
                "PX4_SIM_SPEED_FACTOR": f"{speedup:g}",
                **{f"PX4_HOME_{name}": str(value) for name, value in places},
            },
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.answers = True
        self._to, here = (("127.0.0.1", port) for port in _LINKS[beside])
        self._sender = mavlink.MAVLink(None, srcSystem=1, srcComponent=190 if beside else 191)
        self._parser = mavlink.MAVLink(None)
        self._parser.robust_parsing = True
        self._truths: deque[tuple[float, Truth]] = deque(maxlen=100)
        self._flying_ned: tuple[float, float, float] | None = None
        self._commanded_s = self._beat_s = 0.0
        self.heard = []
        self.now_s = 0.0
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(here)
            self._socket.setblocking(False)
            self._greet()
            self._wait_for_position()
            self.frame = LocalFrame(*(self.origin() or HOME[:2]))
        except BaseException:
            self.close()
            raise

    @property
    def component(self) -> tuple[int, int]:
        return INSTANCE + 1, 1

    def _greet(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while self.now_s == 0.0 or not self._truths:
            assert time.monotonic() < deadline, "it says nothing"
            self._beat()
            for message, rate_hz in _STREAMS_HZ.items():
                self._command(511, message, 1e6 / rate_hz)
            for message in self._listen():
                self._take(message)
        self._command(512, 148)
        self.run(1.0)
        number = self.of("AUTOPILOT_VERSION")[0].flight_sw_version
        version = (number >> 24, (number >> 16) & 255, (number >> 8) & 255)
        self.firmware = Firmware(kind=AutopilotKind.PX4, version=version, development=number & 255 != 255)

    def _wait_for_position(self) -> None:
        while not self.has_position():
            assert self.now_s < _START_S, "it found no position"
            self.run(1.0)
        self.run(5.0)

    def _beat(self) -> None:
        """It talks to whom it hears."""
        self.send(mavlink.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3))

    def _command(self, number: int, *params: float) -> None:
        padded = [*params, *[0.0] * (7 - len(params))]
        self.send(mavlink.MAVLink_command_long_message(*self.component, number, 0, *padded))

    def send(self, message: Any) -> None:
        self._socket.sendto(bytes(message.pack(self._sender)), self._to)
        self._sender.seq = (self._sender.seq + 1) % 256

    def run(self, seconds: float, feed: Feed | None = None, period_s: float = 0.1) -> list[Any]:
        self.heard = []
        until_s, due_s = self.now_s + seconds, self.now_s + period_s
        deadline = time.monotonic() + _PATIENCE_S + 3.0 * seconds
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
        """Everything that is there, so that what is sent next is not of a time gone by."""
        heard: list[Any] = []
        if not select.select([self._socket], [], [], 0.2)[0]:
            return heard
        with contextlib.suppress(BlockingIOError):
            while True:
                heard += self._parser.parse_buffer(self._socket.recv(4096)) or []
        return heard

    def _take(self, message: Any) -> None:
        kind = message.get_type()
        if kind == "ATTITUDE":
            self.now_s = message.time_boot_ms / 1000.0
        elif kind == "HIL_STATE_QUATERNION":
            place = (message.lat / 1e7, message.lon / 1e7, message.alt / 1e3)
            self._truths.append((self.now_s, Truth(*place, message.vx / 100.0, message.vy / 100.0)))
        elif kind == "TIMESYNC" and message.tc1 == 0:
            self.now_s = message.ts1 / 1e9
            if self.answers:
                self.answer_time(message)
        if kind not in _QUIET:
            self.heard.append(message)

    def _steer(self) -> None:
        if self.now_s - self._beat_s > 0.5:
            self._beat_s = self.now_s
            self._beat()
        if self._flying_ned is not None and self.now_s - self._commanded_s > 0.1:
            self._commanded_s = self.now_s
            zeros = (0.0, 0.0, 0.0)
            self.send(
                mavlink.MAVLink_set_position_target_local_ned_message(
                    0, *self.component, 1, _VELOCITY_ONLY, *zeros, *self._flying_ned, *zeros, 0.0, 0.0
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
        self.set("SIM_GPS_USED", 0)

    def take_off(self, feed: Feed | None = None) -> None:
        self._flying_ned = (0.0, 0.0, -3.0)
        self.run(1.0, feed)
        self.command(mavlink.MAV_CMD_DO_SET_MODE, 1, _OFFBOARD, feed=feed)
        armed, texts = self.arm(feed)
        assert armed, texts
        self.run(9.0, feed)
        self._flying_ned = (SPEED_MPS, 0.0, 0.0)
        self.run(7.0, feed)
        assert math.hypot(self.truth().north_mps, self.truth().east_mps) > 0.7 * SPEED_MPS, self.texts


class Px4StandIn(Px4Bench, StandIn):
    """The simulated PX4."""

    def __init__(self, parameters: Mapping[str, float], version: tuple[int, int, int] = (1, 18, 0)) -> None:
        self.answers = True
        super().__init__(Firmware(kind=AutopilotKind.PX4, version=version), parameters)

    def run(self, seconds: float, feed: Feed | None = None, period_s: float = 0.1) -> list[Any]:
        """Goes in steps of 10 ms, so that the companion's answers about the time are quick ones."""
        heard: list[Any] = []
        until_s, due_s = self.now_s + seconds, self.now_s + period_s
        while self.now_s < until_s - 1e-6:
            for message in super().run(min(0.01, until_s - self.now_s)):
                heard.append(message)
                if self.answers:
                    self.answer_time(message)
            self.heard = heard
            if feed is not None and self.now_s >= due_s - 1e-6:
                due_s += period_s
                feed(self)
        return heard
