"""Dense localisation of a drawn flight over a drawn map, whose places are known exactly."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.flights import write_picture
from support.rasters import write_geotiff
from support.scenes import AGL_M, CAMERA, small_map
from tilefix.camera import Mount
from tilefix.errors import ConfigError, FlightError, ModelError
from tilefix.flights.flight import FlightRow, open_flight
from tilefix.flights.writer import FlightWriter
from tilefix.maps.package import MapPackage
from tilefix.simulation.camera import render_view
from tilefix.types import UInt8Array, VehicleState
from tilefix_training.evaluation.dense import locate
from tilefix_training.evaluation.descriptors import thumbnail
from tilefix_training.evaluation.places import Ground, flight_case, open_ground

PATCH_PX = 64
MODEL = ThumbnailEmbedder(patch_px=PATCH_PX, patch_m_min=20.0, patch_m_max=200.0).manifest
PLACES_M = [(-40.0, 20.0), (12.0, -33.0), (55.0, 41.0), (-61.0, -52.0)]
YAW_DEG, PITCH_DEG = 60.0, 8.0


def scene(pixels: UInt8Array, seed: int) -> UInt8Array:
    """The map's ground in colour, without a second place that looks like the first."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, pixels.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("map") / "map", ThumbnailEmbedder(patch_px=PATCH_PX))


@pytest.fixture(scope="module")
def ground(package: MapPackage) -> Ground:
    found = open_ground(package.path, MODEL)
    return Ground(found.frame, found.grid, scene(found.pixels, 3), found.coverage, found.patch_m)


@pytest.fixture(scope="module")
def folder(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stills of a tilted camera: the ground in view lies beside the vehicle."""
    folder = tmp_path_factory.mktemp("flight")
    with FlightWriter(folder, frames="*.png", camera=CAMERA, mount=Mount()) as writer:
        for k, (east_m, north_m) in enumerate(PLACES_M):
            picture = render_view(
                ground.pixels, ground.grid, CAMERA, Mount(), east_m, north_m, AGL_M, 0.0, PITCH_DEG, YAW_DEG
            )
            write_picture(folder / f"{k}.png", picture)
            state = VehicleState(k * 10**9, 0.0, PITCH_DEG, YAW_DEG, AGL_M)
            writer.add(FlightRow(f"{k}.png", float(k), state, ground.frame.to_geodetic(east_m, north_m)))
    return folder


def changed(folder: Path, out: Path, row: int, **values: str) -> Path:
    """A copy of the flight with other values in one row of its log."""
    out.mkdir()
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[row] |= values
    with (out / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return out


def test_errors_are_those_of_the_vehicle_and_as_small_as_the_lattice_allows(ground: Ground, folder: Path) -> None:
    case = flight_case(ground, open_flight(folder), PATCH_PX, stride_m=8.0)
    np.testing.assert_allclose(case.targets_m, PLACES_M, atol=1e-3)
    assert np.hypot(*case.offsets_m[:, 0].T).min() > AGL_M * np.tan(np.radians(PITCH_DEG))
    found = locate(case, thumbnail)
    assert found.nearest_m.max() <= 4.0 * np.sqrt(2.0) + 1e-3
    assert found.error_m.max() < 9.0


def test_the_stride_is_an_eighth_of_the_patch_unless_given(ground: Ground, folder: Path) -> None:
    case = flight_case(ground, open_flight(folder), PATCH_PX)
    steps = np.unique(np.round(np.diff(np.unique(case.tile_centres_m[:, 0])), 3))
    assert steps.tolist() == [8.0]
    assert case.hit_m == 16.0
    for stride_m in (0.0, 65.0):
        with pytest.raises(ConfigError, match="leaves gaps"):
            flight_case(ground, open_flight(folder), PATCH_PX, stride_m=stride_m)


def test_a_heading_that_is_not_known_is_found_by_trying(ground: Ground, folder: Path, tmp_path: Path) -> None:
    flight = folder
    for row in range(len(PLACES_M)):  # the log says 120 deg less than flown: of six headings, one is right
        flight = changed(flight, tmp_path / str(row), row, yaw_deg=str(YAW_DEG - 120.0))
    wrong, tried = (
        locate(flight_case(ground, open_flight(flight), PATCH_PX, stride_m=8.0, turns=turns), thumbnail)
        for turns in (1, 6)
    )
    assert tried.error_m.max() < 10.0
    assert np.median(wrong.error_m) > 30.0


def test_a_range_of_frames_is_taken_with_both_ends(ground: Ground, folder: Path) -> None:
    case = flight_case(ground, open_flight(folder), PATCH_PX, frames=(1, 2))
    np.testing.assert_allclose(case.targets_m, PLACES_M[1:3], atol=1e-3)


def test_a_videos_range_counts_its_frames(ground: Ground, folder: Path, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (320, 240))
    for k in range(8):
        writer.write(np.full((240, 320, 3), 30 * k, np.uint8))
    writer.release()
    toml = (folder / "flight.toml").read_text().replace('"*.png"', '"v.avi"')
    assert "v.avi" in toml
    (tmp_path / "flight.toml").write_text(toml)
    lat_deg, lon_deg = ground.frame.to_geodetic(0.0, 0.0)
    lines = [f"{frame},{frame / 10},{AGL_M},0,0,0,{lat_deg},{lon_deg}" for frame in (0, 3, 5, 7)]
    header = "frame,time_s,agl_m,roll_deg,pitch_deg,yaw_deg,lat_deg,lon_deg"
    (tmp_path / "log.csv").write_text("\n".join([header, *lines]) + "\n")
    case = flight_case(ground, open_flight(tmp_path), PATCH_PX, frames=(3, 5))
    assert case.queries[:, 0, 30:34, 30:34].mean(axis=(1, 2, 3)) == pytest.approx([90, 150], abs=4)


def test_rows_that_cannot_be_used_are_counted(
    ground: Ground, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flight = changed(folder, tmp_path / "a", 0, lat_deg="", lon_deg="")
    flight = changed(flight, tmp_path / "b", 1, lat_deg="12.0")
    flight = changed(flight, tmp_path / "c", 2, pitch_deg="70")
    case = flight_case(ground, open_flight(flight), PATCH_PX)
    np.testing.assert_allclose(case.targets_m, PLACES_M[3:], atol=1e-3)
    for text in ("1 no truth", "1 outside the map", "1 horizon in view"):
        assert text in caplog.text
    with pytest.raises(FlightError, match="none of 3 rows can be searched"):
        flight_case(ground, open_flight(flight), PATCH_PX, frames=(0, 2))
    with pytest.raises(FlightError, match="none of 0 rows"):
        flight_case(ground, open_flight(flight), PATCH_PX, frames=(50, 60))


def test_places_without_imagery_get_no_tile(ground: Ground, folder: Path) -> None:
    half = ground.coverage.copy()
    half[:, : half.shape[1] // 2] = 0
    covered = Ground(ground.frame, ground.grid, ground.pixels, half, ground.patch_m)
    case = flight_case(covered, open_flight(folder), PATCH_PX, stride_m=8.0)
    assert case.tile_centres_m[:, 0].min() == pytest.approx(0.1 * ground.patch_m, abs=8.0)
    _, masks = case.cut(np.arange(len(case.tile_centres_m)))
    assert masks is not None
    assert masks.mean(axis=(1, 2)).min() > 0.55
    nothing = Ground(ground.frame, ground.grid, ground.pixels, np.zeros_like(half), ground.patch_m)
    with pytest.raises(ConfigError, match="no place has imagery"):
        flight_case(nothing, open_flight(folder), PATCH_PX)


def test_ground_comes_from_a_geotiff_too(tmp_path: Path, package: MapPackage) -> None:
    pytest.importorskip("rasterio")
    path = tmp_path / "ground.tif"
    write_geotiff(path, np.full((3, 400, 500), 90, np.uint8))
    found = open_ground(path, MODEL, 60.0)
    assert found.patch_m == 60.0
    assert found.pixels.shape == (*found.coverage.shape, 3)
    assert found.pixels[found.coverage > 0].mean() == pytest.approx(90.0, abs=0.1)
    assert open_ground(package.path, MODEL).patch_m == 64.0
    with pytest.raises(ModelError, match="trained on patches"):
        open_ground(package.path, MODEL, 900.0)
