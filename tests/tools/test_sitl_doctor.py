"""tools/sitl_doctor.py on the autopilot stand-in in the place of SITL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.tools import load_tool
from tilefix.doctor import command, session
from tilefix.geodesy import LocalFrame
from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.flying import AutopilotSettings
from tilefix.simulation.live import LiveAutopilot
from tilefix.simulation.vehicle import Course, SimulatedVehicle
from tilefix.timing import MonotonicClock

sitl_doctor = load_tool("sitl_doctor")


class StandIn:
    """What `Sitl` is, without ArduPilot."""

    def __init__(
        self, binary: Path, vehicle: Any, defaults: Sequence[Path], start: Any, folder: Path, ports: tuple[int, ...]
    ) -> None:
        assert (binary.name, defaults) == (vehicle.binary, [Path("defaults")])
        folder.mkdir(parents=True)
        airframe = {"copter": Airframe.COPTER, "plane": Airframe.PLANE}[vehicle.name]
        clock = MonotonicClock()
        core = SimulatedAutopilot(
            SimulatedVehicle(0.0, 0.0, 0.0, seed=3, speed_mps=8.0),
            Course([(0.0, 0.0), (0.0, 400.0)], 8.0),
            LocalFrame(start.lat_deg, start.lon_deg),
            start_ns=clock.now_ns(),
            seed=3,
            settings=AutopilotSettings(
                armed=False, receiver_index=None, firmware=Firmware(airframe=airframe, version=(4, 7, 0))
            ),
        )
        self._live = LiveAutopilot(core, clock, ("127.0.0.1", ports[1]))
        self._live.start()

    def close(self) -> None:
        self._live.stop()


@pytest.fixture(autouse=True)
def _no_ardupilot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitl_doctor, "Sitl", StandIn)
    monkeypatch.setattr(sitl_doctor, "find_binary", lambda place, vehicle: place / vehicle.binary)
    monkeypatch.setattr(sitl_doctor, "find_defaults", lambda *_: Path("defaults"))
    monkeypatch.setattr(sitl_doctor, "SETTLE_S", 0.5)
    monkeypatch.setattr(command, "LISTEN_S", 0.5)
    monkeypatch.setattr(session, "SETTLE_S", 0.1)


def test_each_route_is_examined_mended_and_examined_after_a_reboot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--ardupilot", "ardupilot", "--vehicle", "plane", "--out", str(tmp_path / "out")]
    assert sitl_doctor.main([*arguments, "--route", "vision", "external_estimate"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("| plane 4.7.0 | `vision` |")
    assert "`VISO_TYPE 1`" in first
    assert "| 1, 0, 0 |" in first
    assert "| nothing |" in second
    assert "| 0, 0, 0 |" in second
    said = (tmp_path / "out" / "plane-vision" / "mended.txt").read_text()
    assert "set VISO_TYPE to 1, read back" in said


def test_what_is_not_right_in_the_end_and_what_cannot_be_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session.Session, "mend", lambda *_: [])
    arguments = ["--ardupilot", "ardupilot", "--vehicle", "copter", "--route", "gps_input"]
    assert sitl_doctor.main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "| 1, 1, 1 |" in capsys.readouterr().out
    monkeypatch.setattr(StandIn, "__init__", lambda *_: None)
    monkeypatch.setattr(StandIn, "close", lambda _: None)
    monkeypatch.setattr(sitl_doctor, "_BOOT_S", 0.2)
    assert sitl_doctor.main([*arguments, "--out", str(tmp_path / "none")]) == 2
    assert "silent" in capsys.readouterr().err
