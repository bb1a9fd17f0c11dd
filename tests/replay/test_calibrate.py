"""`tilefix calibrate` on a small generated flight with planted errors, and what it refuses."""

from __future__ import annotations

import importlib
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.flights import picture_flight, write_picture
from support.scenes import LOCAL, small_map
from tilefix.calibration import coarse
from tilefix.camera import CameraModel, Mount
from tilefix.cli import main
from tilefix.flights.flight import FlightRow, open_flight
from tilefix.flights.writer import FlightWriter
from tilefix.maps.package import MapPackage
from tilefix.simulation.camera import render_view
from tilefix.types import VehicleState

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

CAMERA = CameraModel.from_hfov(240, 180, 60.0)
TRUE_MOUNT = Mount(1.0, 2.0, -1.0)
WRONG_MOUNT = Mount(-1.0, -7.0, 3.0)
FOCAL = 1.06  # the true focal length, of the configured one
LATENCY_S = 0.2
OFFSET_M = (4.0, -6.0)  # of the receiver's positions from the map
AGL_M = 90.0


def _motion(time_s: float) -> tuple[float, float, float, float]:
    """East, north, roll and heading on a round of 60 m at a changing speed."""
    around = 0.16 * time_s + 0.25 * math.sin(0.3 * time_s)
    roll = 4.0 * math.sin(0.8 * time_s)
    return 60.0 * math.sin(around), 60.0 * math.cos(around), roll, math.degrees(around) + 90.0


def _write(package: MapPackage, folder: Path, *, seconds: float = 40.0, straight: bool = False) -> Path:
    wrong = replace(CAMERA, fx=CAMERA.fx / FOCAL, fy=CAMERA.fy / FOCAL)
    with FlightWriter(folder, frames="*.png", camera=wrong, mount=WRONG_MOUNT) as writer:
        for k in range(round(2.0 * seconds)):
            stamp_s = 0.5 * k + LATENCY_S

            def at(time_s: float) -> tuple[float, float, float, float]:
                return (6.0 * time_s - 120.0, 10.0, 0.0, 90.0) if straight else _motion(time_s)

            east_m, north_m, roll_deg, yaw_deg = at(0.5 * k)
            picture = render_view(
                package.imagery, package.grid, CAMERA, TRUE_MOUNT, east_m, north_m, AGL_M, roll_deg, -3.0, yaw_deg
            )
            write_picture(folder / f"{k}.png", picture)
            east_m, north_m, roll_deg, yaw_deg = at(stamp_s)
            state = VehicleState(0, roll_deg, -3.0, yaw_deg % 360.0, AGL_M)
            place = LOCAL.to_geodetic(east_m + OFFSET_M[0], north_m + OFFSET_M[1])
            writer.add(FlightRow(f"{k}.png", stamp_s, state, place))
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("map") / "map", ThumbnailEmbedder())


@pytest.fixture(scope="module")
def flight(package: MapPackage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(package, tmp_path_factory.mktemp("flight") / "flight")


def test_planted_errors_are_found_and_the_lines_to_paste_load(
    package: MapPackage, flight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "calibration.json"
    arguments = ["calibrate", "--flight", str(flight), "--map", str(package.path), "--frames", "30"]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    pasted = tomllib.loads(printed[printed.index("[mount]") : printed.index("* The map offset")])
    assert pasted["mount"]["roll_deg"] == pytest.approx(TRUE_MOUNT.roll_deg, abs=0.3)
    assert pasted["mount"]["pitch_deg"] == pytest.approx(TRUE_MOUNT.pitch_deg, abs=0.3)
    assert pasted["mount"]["yaw_deg"] == pytest.approx(TRUE_MOUNT.yaw_deg, abs=0.3)
    assert pasted["camera"]["hfov_deg"] == pytest.approx(60.0, abs=0.3)
    assert pasted["camera"]["latency_ms"] == pytest.approx(1000.0 * LATENCY_S, abs=25.0)
    assert pasted["map"]["offset_east_m"] == pytest.approx(OFFSET_M[0], abs=0.5)
    assert pasted["map"]["offset_north_m"] == pytest.approx(OFFSET_M[1], abs=0.5)
    written = json.loads(out.read_text())
    assert all(one["told"] for one in written["values"])
    assert np.linalg.eigvalsh(np.array(written["covariance"])).min() > 0.0

    # Pasted into the flight's own file, nothing is left to change.
    text = (flight / "flight.toml").read_text()
    head = text[: text.index("[camera]")].replace('"*.png"', json.dumps(f"{flight}/*.png"))
    head = head.replace('"log.csv"', json.dumps(f"{flight}/log.csv"))
    mended = printed[printed.index("[mount]") : printed.index("[map]")].replace(
        "[camera]", "[camera]\nwidth = 240\nheight = 180"
    )
    (tmp_path / "flight.toml").write_text(head + mended)
    assert open_flight(tmp_path).latency_ms == pasted["camera"]["latency_ms"]
    arguments[2] = str(tmp_path)
    assert main([*arguments, "--out", str(tmp_path / "again.html")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("no clear change" in line for line in lines) == 5  # all but the map's offset
    page = (tmp_path / "again.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "offset_east_m" in page


def test_a_straight_flight_says_what_to_fly(
    package: MapPackage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _write(package, tmp_path / "flight", seconds=30.0, straight=True)
    arguments = ["--flight", str(folder), "--map", str(package.path), "--frames", "20"]
    assert main(["calibrate", *arguments, "--out", str(tmp_path / "clouds.svg")]) == 0
    assert len(ElementTree.parse(tmp_path / "clouds.svg").findall(".//{*}circle")) > 50
    printed = capsys.readouterr().out
    assert "Fly a square" in printed
    assert "# offset_" in printed or "# latency_ms" in printed


def test_another_place_is_refused(flight: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse, "TURN_STEP_DEG", 120.0)
    monkeypatch.setattr(coarse, "SCALES", (1.0,))
    monkeypatch.setattr(coarse, "TILTS_DEG", (0.0,))
    monkeypatch.setattr(coarse, "CLIMB_STEPS", (6.0,))
    elsewhere = small_map(tmp_path / "map", ThumbnailEmbedder(), seed=77)
    assert main(["calibrate", "--flight", str(flight), "--map", str(elsewhere.path), "--frames", "12"]) == 2
    assert "found on the map" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ("f0.png,0,100,1,-2,90,,\nf1.png,1,100,1,-2,90,,\n", (), "no row of the log has a position"),
        (None, (), "only 3 rows of 3"),
        (None, ("--frames", "3"), "--frames 3"),
        (None, ("--height-sigma", "0"), "--height-sigma 0"),
        (None, ("--out", "report.pdf"), "report.pdf"),
    ],
)
def test_what_cannot_be_calibrated_is_one_clear_line(
    package: MapPackage, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: str | None, more, message: str
) -> None:
    folder = picture_flight(tmp_path / "flight", rows)
    assert main(["calibrate", "--flight", str(folder), "--map", str(package.path), *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tilefix: ")
    assert message in error
