"""`tilefix doctor` against the autopilot stand-in over UDP: what it tells, what it sets, how it ends."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tilefix.cli import main
from tilefix.doctor import command, session
from tilefix.geodesy import LocalFrame
from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.flying import AutopilotSettings
from tilefix.simulation.live import LiveAutopilot
from tilefix.simulation.parameters import Answer, ParameterTable
from tilefix.simulation.vehicle import Course, SimulatedVehicle
from tilefix.timing import MonotonicClock

COPTER_4_7 = Firmware(version=(4, 7, 0))


class Stand:
    """A stand-in on the ground, and the URL where a companion hears it."""

    def __init__(self, url: str, live: LiveAutopilot) -> None:
        self.url = url
        self._live = live

    @property
    def table(self) -> ParameterTable:
        return self._live.core.flight.parameters

    def reboot(self) -> None:
        with self._live.lock:
            self._live.core.restart()

    def doctor(self, *arguments: str) -> int:
        return main(["doctor", "--link", self.url, *arguments])


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stand]]:
    monkeypatch.setattr(command, "LISTEN_S", 0.6)
    monkeypatch.setattr(session, "SETTLE_S", 0.2)
    with ExitStack() as stack:

        def start(firmware: Firmware = COPTER_4_7, **settings: Any) -> Stand:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            clock = MonotonicClock()
            usual = {"armed": False, "receiver_index": None, "firmware": firmware}
            core = SimulatedAutopilot(
                SimulatedVehicle(0.0, 0.0, 0.0, seed=3, speed_mps=8.0),
                Course([(0.0, 0.0), (0.0, 400.0)], 8.0),
                LocalFrame(47.0, 8.0),
                start_ns=clock.now_ns(),
                seed=3,
                settings=AutopilotSettings(**{**usual, **settings}),
            )
            live = LiveAutopilot(core, clock, ("127.0.0.1", port))
            live.start()
            stack.callback(live.stop)
            return Stand(f"udpin:127.0.0.1:{port}", live)

        yield start


def test_fresh_parameters_are_told_mended_and_then_right(
    stand: Callable[..., Stand], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vehicle = stand()
    out = tmp_path / "doctor.json"
    assert vehicle.doctor("--json", str(out)) == 1
    text = capsys.readouterr().out
    assert "ArduPilot 4.7.0, copter, system 1" in text
    assert "Route: gps_input" in text
    assert "param set GPS2_TYPE 14\n" in text
    found = json.loads(out.read_text())
    assert [one["name"] for one in found["findings"] if one["weight"] == "wrong"] == ["GPS2_TYPE", "GPS2_DELAY_MS"]
    assert found["status"] == 1
    assert found["link"]["streams"][0]["rate_hz"] > 20.0
    assert found["link"]["round_trip_ms"] is not None
    assert vehicle.table.stored("GPS2_TYPE") == 0.0

    assert vehicle.doctor("--write", "--yes") == 0
    text = capsys.readouterr().out
    assert "set GPS2_TYPE to 14, read back" in text
    assert vehicle.table.stored("GPS2_TYPE") == 14.0
    assert vehicle.doctor() == 0
    assert "All right" in capsys.readouterr().out


def test_an_older_plane_has_its_own_names_and_limits(
    stand: Callable[..., Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    vehicle = stand(Firmware(airframe=Airframe.PLANE, version=(4, 5, 5)))
    assert vehicle.doctor("--write", "--yes") == 0
    text = capsys.readouterr().out
    assert "param set GPS_TYPE2 14" in text
    assert "param set EK3_CHECK_SCALE 200" in text
    assert "Not told" not in text
    assert (vehicle.table.stored("GPS_TYPE2"), vehicle.table.stored("EK3_CHECK_SCALE")) == (14.0, 200.0)


def test_what_counts_after_a_reboot_is_said(stand: Callable[..., Stand], capsys: pytest.CaptureFixture[str]) -> None:
    vehicle = stand()
    assert vehicle.doctor("--route", "vision", "--write", "--yes") == 0
    text = capsys.readouterr().out
    assert "param set VISO_TYPE 1        # counts after a reboot" in text
    assert "only its next start makes effective VISO_TYPE." in text
    assert vehicle.table.effective("VISO_TYPE") == 0.0
    vehicle.reboot()
    assert vehicle.doctor("--route", "vision") == 0
    assert vehicle.table.effective("VISO_TYPE") == 1.0


@pytest.mark.parametrize(("answer", "kept"), [("n\n", 0.0), ("", 0.0), ("y\n", 14.0), ("yes\n", 14.0)])
def test_nothing_is_set_without_a_yes(
    stand: Callable[..., Stand], monkeypatch: pytest.MonkeyPatch, answer: str, kept: float
) -> None:
    vehicle = stand()
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert vehicle.doctor("--write") == (1 if kept == 0.0 else 0)
    assert vehicle.table.stored("GPS2_TYPE") == kept


def test_an_armed_vehicle_is_never_written_to(stand: Callable[..., Stand], capsys: pytest.CaptureFixture[str]) -> None:
    vehicle = stand(armed=True)
    assert vehicle.doctor("--write", "--yes") == 1
    assert "armed" in capsys.readouterr().out
    assert vehicle.table.stored("GPS2_TYPE") == 0.0


def test_a_route_that_cannot_work_is_refused(
    stand: Callable[..., Stand], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "doctor.json"
    assert stand().doctor("--route", "external_estimate", "--json", str(out)) == 1
    assert "planes only" in capsys.readouterr().out
    assert json.loads(out.read_text())["route"] is None


def test_firmware_older_than_the_rules_is_refused(
    stand: Callable[..., Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    assert stand(Firmware(version=(4, 4, 0))).doctor() == 1
    assert "from 4.5" in capsys.readouterr().out


def test_a_silent_link_ends_with_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(session, "HEAR_S", 0.1)
    assert main(["doctor", "--link", "udpin:127.0.0.1:0"]) == 2  # no port
    assert main(["doctor", "--link", "udpout:127.0.0.1:9"]) == 2
    assert "no autopilot heard" in capsys.readouterr().err
    assert main(["doctor"]) == 2


@pytest.mark.parametrize(("answers", "said"), [(False, "no question"), (True, "not every parameter")])
def test_what_was_not_told_is_no_verdict(
    stand: Callable[..., Stand],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: bool,
    said: str,
) -> None:
    vehicle = stand(receiver_index=1)
    vehicle.table.put(GPS2_DELAY_MS=120.0)
    read = ParameterTable.read

    def silent(table: ParameterTable, name: str, index: int = -1) -> Answer | None:
        return read(table, name, index) if answers and name != "GPS_PRIMARY" else None

    monkeypatch.setattr(ParameterTable, "read", silent)
    assert vehicle.doctor() == 2
    assert said in capsys.readouterr().out


def test_json_that_cannot_be_written_leaves_nothing(stand: Callable[..., Stand], tmp_path: Path) -> None:
    assert stand().doctor("--json", str(tmp_path / "none" / "doctor.json")) == 2
    assert list(tmp_path.iterdir()) == []
