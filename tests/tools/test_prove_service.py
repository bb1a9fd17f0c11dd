"""The parts of the proof of the service that need neither root rights nor a booted root."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.tools import load_tool
from tilefix.geodesy import LocalFrame
from tilefix.simulation.vehicle import Course, SimulatedVehicle

S = 1_000_000_000


def test_what_is_no_root_with_systemd_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "root").mkdir()
    words = ["--root", str(tmp_path / "root"), "--bundle", str(tmp_path / "b.tar.gz"), "--work", str(tmp_path / "work")]
    assert load_tool("prove_service").main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("prove_service: ")
    assert len(error.splitlines()) == 1


def test_what_a_proof_found_is_printed_and_kept_and_nothing_of_one_that_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, file = load_tool("proof"), tmp_path / "out" / "found.json"

    def fails() -> dict[str, int]:
        raise subprocess.CalledProcessError(1, ["systemctl"])

    assert proof.handed_over("prove_it", fails, file) == 2
    assert capsys.readouterr().err.startswith("prove_it: ")
    assert not file.exists()
    assert proof.handed_over("prove_it", lambda: {"restarts": 3}, file) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(file.read_text()) == {"restarts": 3}


def test_the_drone_notes_when_a_position_came_and_how_far_off_it_was() -> None:
    drone = load_tool("service_drone")
    frame = LocalFrame(47.0, 8.0)
    vehicle = SimulatedVehicle(0.0, 0.0, 100.0, seed=1, speed_mps=10.0)
    autopilot = drone.NotingAutopilot(vehicle, Course(((0.0, 0.0), (900.0, 0.0)), 10.0), frame, start_ns=0, seed=1)
    notes = io.StringIO()
    autopilot.note_into(notes)
    autopilot.step(2 * S)
    autopilot.flight.gnss_denied = True
    true = autopilot.flight.truth_at(2 * S)
    lat_deg, lon_deg = frame.to_geodetic(true.east_m + 3.0, true.north_m - 4.0)
    sender = mavlink.MAVLink(None, srcSystem=1, srcComponent=191)
    place = (round(lat_deg * 1e7), round(lon_deg * 1e7), 540.0)
    message = mavlink.MAVLink_gps_input_message(0, 1, 0, 0, 0, 3, *place, 1, 1, 0, 0, 0, 1, 1, 1, 8)
    autopilot.receive(bytes(message.pack(sender)), 2 * S)
    line = json.loads(notes.getvalue())
    assert line["at_ns"] == 2 * S
    assert line["denied"] is True
    assert line["error_m"] == pytest.approx(5.0, abs=0.05)
