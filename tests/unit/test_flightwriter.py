from __future__ import annotations

from pathlib import Path

import pytest

from support.flights import picture, write_picture
from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.flight import FlightRow, open_flight
from tilefix.flights.writer import FlightWriter
from tilefix.types import VehicleState

CAMERA = CameraModel(64, 48, 50.1, 50.2, 31.0, 23.0, (0.1, 0.0, -0.1, 0.0, 1e-7))
MOUNT = Mount(0.5, 20.0, -90.0)
ROWS = (
    FlightRow("a.png", 0.1, VehicleState(100_000_000, 1.0, -2.5, 90.25, 120.0), (47.123456789, 8.5)),
    FlightRow("b.png", 0.2, VehicleState(200_000_000, None, None, None, None), None),
    FlightRow("c.png", 0.3, VehicleState(300_000_000, 0.0, 0.0, 0.0, 118.5, 2.5, 541.25, 3.0), None),
)


def _pictures(folder: Path) -> None:
    for row in ROWS:
        write_picture(folder / row.frame, picture(1))


@pytest.mark.parametrize("live", [False, True])
def test_what_is_written_is_read_back_exactly(tmp_path: Path, live: bool) -> None:
    _pictures(tmp_path)
    with FlightWriter(tmp_path, frames="*.png", camera=CAMERA, mount=MOUNT, live=live) as writer:
        for row in ROWS:
            writer.add(row)
    flight = open_flight(tmp_path)
    assert flight.rows == ROWS
    assert (flight.camera, flight.mount) == (CAMERA, MOUNT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.png", "flight.toml", "log.csv"]


def test_a_recording_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    _pictures(tmp_path)
    writer = FlightWriter(tmp_path, frames="*.png", camera=CAMERA, mount=MOUNT, live=True)
    writer.add(ROWS[0])
    assert open_flight(tmp_path).rows == ROWS[:1]
    writer.close()
    writer.close()


def test_an_error_leaves_no_flight_behind(tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(RuntimeError),
        FlightWriter(tmp_path, frames="*.png", camera=CAMERA, mount=MOUNT) as writer,
    ):
        writer.add(ROWS[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_flight_is_not_overwritten(tmp_path: Path) -> None:
    FlightWriter(tmp_path, frames="*.png", camera=CAMERA, mount=MOUNT).close()
    with pytest.raises(FlightError, match="holds a flight already"):
        FlightWriter(tmp_path, frames="*.png", camera=CAMERA, mount=MOUNT)
