"""tools/simulate_flight.py: a map package in, a flight folder out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import small_map
from support.tools import load_tool
from tilefix.flights.flight import open_flight
from tilefix.geodesy import Grid
from tilefix.mapbuild.package import ArrayImagery, ArrayTerrain, build_package
from tilefix.maps.package import MapPackage
from tilefix.maps.terrain import Terrain

simulate_flight = load_tool("simulate_flight")


@pytest.fixture(scope="module")
def map_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("map") / "map"
    small_map(folder, ThumbnailEmbedder())
    return folder


def _arguments(map_folder: Path, out: Path, *more: str) -> list[str]:
    size = ["--width", "160", "--height", "120", "--agl-m", "40", "--speed-mps", "4", "--duration-s", "3"]
    return ["--map", str(map_folder), "--out", str(out), *size, *more]


def test_a_flight_over_a_map_package(map_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "flight"
    argv = _arguments(map_folder, out, "--noise", "0.01", "--exposure-ms", "8", "--mount-yaw-deg", "90", "--png")
    assert simulate_flight.main(argv) == 0
    assert "6 frames" in capsys.readouterr().out
    flight = open_flight(out)
    assert (flight.camera.width, flight.camera.height, flight.mount.yaw_deg) == (160, 120, 90.0)
    assert all(row.truth is not None for row in flight.rows)


def test_hills_and_the_terrain_of_a_map(map_folder: Path, tmp_path: Path) -> None:
    argv = _arguments(map_folder, tmp_path / "hills", "--relief-m", "30", "--no-rangefinder", "--amsl-error-m", "0")
    assert simulate_flight.main(argv) == 0
    states = [row.state for row in open_flight(tmp_path / "hills").rows]
    assert all(state.amsl_m is not None and abs(state.amsl_m - 252.0) < 5.0 for state in states)
    assert simulate_flight.main(_arguments(map_folder, tmp_path / "mountains", "--relief-m", "5000")) == 2
    opened = MapPackage.open(map_folder)
    heights = np.full((20, 20), 600.0, np.float32)
    heights[:, 10:] = 604.0
    terrain = ArrayTerrain(Terrain(Grid(-200.0, 200.0, 20.0, 20, 20), heights), "dem.tif")
    cover = np.array(opened.coverage)
    imagery = ArrayImagery(opened.frame, opened.grid, np.array(opened.imagery), cover, "noise", "", "none")
    folder = tmp_path / "map"
    build_package(imagery, folder, embedder=ThumbnailEmbedder(), patch_m=64.0, stride_m=32.0, terrain=terrain)
    assert simulate_flight.main(_arguments(folder, tmp_path / "own", "--amsl-error-m", "0")) == 0
    state = open_flight(tmp_path / "own").rows[0].state
    assert state.amsl_m == pytest.approx(602.0 + 40.0, abs=5.0)
    assert state.agl_m == pytest.approx(40.0, abs=7.0)


@pytest.mark.parametrize(
    ("more", "message"),
    [(("--agl-m", "3000"), "too small"), (("--rate-hz", "0"), "rate_hz"), (("--hfov-deg", "180"), "hfov")],
)
def test_what_cannot_be_flown_is_one_clear_line(
    map_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert simulate_flight.main(_arguments(map_folder, tmp_path / "flight", *more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("simulate_flight: ")
    assert message in error
    assert not (tmp_path / "flight").exists()


def test_a_missing_map_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate_flight.main(_arguments(tmp_path / "none", tmp_path / "flight")) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
