"""tools/simulate_flight.py: a map package in, a flight folder out."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import small_map
from support.tools import load_tool
from tilefix.flight import open_flight

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
