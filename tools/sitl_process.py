"""ArduPilot's SITL as a process of its own, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tilefix.errors import LinkError

_END_S = 5.0


@dataclass(frozen=True)
class Vehicle:
    """What SITL is told to be. `binary`: name of the program; `defaults`: below ArduPilot's Tools/autotest."""

    name: str
    binary: str
    model: str
    defaults: str


COPTER = Vehicle("copter", "arducopter", "quad", "default_params/copter.parm")
PLANE = Vehicle("plane", "arduplane", "plane", "models/plane.parm")
VEHICLES = {one.name: one for one in (COPTER, PLANE)}


@dataclass(frozen=True)
class Start:
    """Where a vehicle starts."""

    lat_deg: float
    lon_deg: float
    amsl_m: float
    heading_deg: float = 0.0


def find_binary(place: Path, vehicle: Vehicle) -> Path:
    """The program in an ArduPilot source folder, a build folder, or `place` itself. Raises `LinkError`."""
    choices = [place, place / vehicle.binary, place / "bin" / vehicle.binary]
    choices += [place / "build" / "sitl" / "bin" / vehicle.binary, place / "sitl" / "bin" / vehicle.binary]
    for one in choices:
        if one.is_file() and os.access(one, os.X_OK):
            return one.resolve()
    raise LinkError(
        f"holds no {vehicle.binary}", where=place, mend=f"./waf configure --board sitl && ./waf {vehicle.name}"
    )


def find_defaults(binary: Path, vehicle: Vehicle) -> Path:
    """ArduPilot's parameters of that model, in the source folder that the program was built in. Raises `LinkError`."""
    for folder in binary.parents:
        path = folder / "Tools" / "autotest" / vehicle.defaults
        if path.is_file():
            return path
    raise LinkError(f"no Tools/autotest/{vehicle.defaults} above it", where=binary, mend="give --defaults FILE")


def free_port() -> int:
    """A UDP port of the loopback interface that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Sitl:
    """A running SITL; serial 0, 1 and 2 send UDP to `ports` of the loopback interface."""

    def __init__(
        self,
        binary: Path,
        vehicle: Vehicle,
        defaults: Sequence[Path],
        start: Start,
        folder: Path,
        ports: tuple[int, int, int],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        home = f"{start.lat_deg:.7f},{start.lon_deg:.7f},{start.amsl_m:.2f},{start.heading_deg:.1f}"
        # Of its two names for a wipe only -w is left out when it starts again after a reboot.
        command = [
            str(binary), "--model", vehicle.model, "--home", home, "-w", "--speedup", "1",
            "--defaults", ",".join(str(one.resolve()) for one in defaults),
            *(part for k, port in enumerate(ports) for part in (f"--serial{k}", f"udpclient:127.0.0.1:{port}")),
        ]  # fmt: skip
        self._log = (folder / "sitl.log").open("wb")
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends it; may be called twice."""
        end(self._process)
        self._log.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that was started in a session of its own, politely and then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
