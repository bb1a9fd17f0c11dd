"""Recorded flights: bounded, and readable whatever ended them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights import recording
from tilefix.flights.flight import open_flight
from tilefix.flights.recording import Recorder
from tilefix.types import Frame, NoFix, Reason, VehicleState

CAMERA = CameraModel.from_hfov(64, 48, 60.0)
S = 1_000_000_000
NONE = NoFix(0, Reason.NO_MATCH)


def _picture(index: int) -> np.ndarray:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :, 0] = 200
    image[:24, :, 1] = index
    return image


def _record(recorder: Recorder, count: int, start: int = 0) -> None:
    for index in range(start, start + count):
        at_ns = 50 * S + index * S // 2
        state = VehicleState(at_ns, 1.0, -2.0, None if index == 1 else 30.0, 100.0 + index)
        while True:
            dropped = recorder.dropped
            truth = None if index == 2 else (47.0 + index % 9, 8.0)
            recorder.saw(Frame(_picture(index), at_ns, index), state, NONE, truth)
            if recorder.dropped == dropped:
                break
            time.sleep(0.001)


def test_a_recording_replays(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out", CAMERA, Mount(pitch_deg=5.0), max_bytes=10_000_000)
    _record(recorder, 5)
    recorder.close()
    recorder.close()
    flight = open_flight(tmp_path / "out")
    assert (flight.camera, flight.mount) == (CAMERA, Mount(pitch_deg=5.0))
    assert [row.time_s for row in flight.rows] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert [row.truth for row in flight.rows][1:4] == [(48.0, 8.0), None, (50.0, 8.0)]
    assert flight.rows[0].state == VehicleState(0, 1.0, -2.0, 30.0, 100.0)
    assert flight.rows[1].state.yaw_deg is None
    row, frame = next(flight.frames())
    assert row.frame == "00000000.jpg"
    assert abs(int(frame.image[40, 32, 0]) - 200) < 8
    assert int(frame.image[40, 32, 2]) < 8


def test_it_ends_at_its_size_and_stays_readable(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out", CAMERA, Mount(), max_bytes=5000)
    _record(recorder, 30)
    recorder.close()
    assert recorder.ended is not None
    assert "size limit" in recorder.ended
    rows = open_flight(tmp_path / "out").rows
    assert 1 < len(rows) < 30
    held = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.suffix in (".jpg", ".csv"))
    assert held <= 5000


def test_it_leaves_the_disk_some_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_KEEP_FREE_BYTES", shutil.disk_usage(tmp_path).total)
    recorder = Recorder(tmp_path / "out", CAMERA, Mount(), max_bytes=10_000_000)
    _record(recorder, 1)
    recorder.close()
    assert recorder.ended is not None
    assert "nearly full" in recorder.ended


def test_a_disk_that_fails_ends_the_recording_not_the_flight(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out", CAMERA, Mount(), max_bytes=10_000_000)
    _record(recorder, 2)
    deadline = time.monotonic() + 10.0
    while not (tmp_path / "out" / "frames" / "00000001.jpg").exists():
        assert time.monotonic() < deadline
    shutil.rmtree(tmp_path / "out" / "frames")
    _record(recorder, 2, start=2)
    recorder.close()
    assert recorder.ended is not None


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    for _ in range(2):
        recorder = Recorder(tmp_path / "out", CAMERA, Mount(), max_bytes=10_000_000)
        _record(recorder, 1)
        recorder.close()
    assert recorder.folder == tmp_path / "out-2"
    assert len(open_flight(tmp_path / "out").rows) == len(open_flight(tmp_path / "out-2").rows) == 1


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FlightError, match="cannot record"):
        Recorder(tmp_path / "file" / "out", CAMERA, Mount(), max_bytes=10_000_000)


def test_a_frame_that_is_not_newer_is_left_out(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out", CAMERA, Mount(), max_bytes=10_000_000)
    _record(recorder, 2)
    _record(recorder, 2)
    recorder.close()
    assert len(open_flight(tmp_path / "out").rows) == 2


def test_a_killed_process_leaves_a_flight_that_replays(tmp_path: Path) -> None:
    """Kills the recording process the hard way, in the middle of writing."""
    out = tmp_path / "out"
    code = (
        "import sys; sys.path[:0] = [sys.argv[2]]\n"
        "from pathlib import Path\n"
        "import test_recording as t\n"
        "recorder = t.Recorder(Path(sys.argv[1]), t.CAMERA, t.Mount(), max_bytes=10**9)\n"
        "t._record(recorder, 100000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out), str(Path(__file__).parent)])
    try:
        deadline = time.monotonic() + 60.0
        while len(list((out / "frames").glob("*.jpg")) if out.exists() else []) < 20:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    flight = open_flight(out)
    assert len(flight.rows) >= 18
    assert sum(1 for _ in flight.frames()) == len(flight.rows)
