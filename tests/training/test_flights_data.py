"""Footage and map packages as sets of pictures: north up, to scale, without positions, and what is skipped."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.flights import HEADER, picture_flight, video_flight, write_video
from support.scenes import AGL_M, CAMERA, flight_over, small_map
from tilefix.errors import ConfigError, FlightError, MapError
from tilefix.localization.rectify import PreparedFrame
from tilefix.maps.package import MapPackage
from tilefix_training.config import ViewConfig
from tilefix_training.data.flights import _spread, _trimmed
from tilefix_training.data.imagery import sheets
from tilefix_training.data.patches import view_patches
from tilefix_training.data.sheet import Report, Sheet
from tilefix_training.sources import FlightSource, MapSource, PatchSource, PhotosSource

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "nust_islamabad"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("map") / "map", ThumbnailEmbedder())


@pytest.fixture(scope="module")
def flight(package: MapPackage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flight_over(package, tmp_path_factory.mktemp("flight") / "flight")


def read(source: PatchSource, wanted: int = 100, finest_m: float = 0.5) -> tuple[list[Sheet], Report]:
    report = Report()
    return list(sheets(source, "drone", report, wanted=wanted, finest_m=finest_m)), report


def footage(folder: Path, first: int = 0, last: int = -1) -> FlightSource:
    return FlightSource(str(folder), 20, (30.0, 50.0), first, last)


def test_frames_are_laid_flat_north_up_and_to_scale(flight: Path, package: MapPackage) -> None:
    found, report = read(footage(flight))
    assert report.pictures == len(found) == 6
    assert sum(sheet.share or 0.0 for sheet in found) == pytest.approx(1.0)
    width_m = 2 * AGL_M * np.tan(np.radians(30.0))
    for k, sheet in enumerate(found):
        assert sheet.gsd_m == pytest.approx(0.5)
        assert sheet.coverage is not None
        height_m = width_m * CAMERA.height / CAMERA.width  # flown east: the picture's width lies north to south
        rows, columns = np.nonzero(sheet.coverage)
        assert np.ptp(rows) * 0.5 == pytest.approx(width_m, abs=2.0)
        assert np.ptp(columns) * 0.5 == pytest.approx(height_m, abs=2.0)
        x, y = package.grid.to_pixel(-40.0 + 5.0 * k, 20.0)
        half = sheet.pixels.shape[0] // 2
        ground = np.asarray(package.imagery[round(y) - half : round(y) + half, round(x) - half : round(x) + half, 0])
        seen = sheet.pixels[: 2 * half, : 2 * half, 0]
        inside = sheet.coverage[: 2 * half, : 2 * half]
        assert np.corrcoef(ground[inside], seen[inside])[0, 1] > 0.9
        edge = ~inside & (cv2.dilate(inside.astype(np.uint8), np.ones((41, 41))) > 0)
        assert (seen[edge] == 0).mean() < 0.05  # it goes on beyond the frame


def test_first_and_last_choose_rows_and_wanted_spreads_them(flight: Path) -> None:
    names = [sheet.name for sheet in read(footage(flight, 1, 4))[0]]
    assert names == ["flight 1.png", "flight 2.png", "flight 3.png", "flight 4.png"]
    assert len(read(footage(flight), wanted=2)[0]) == 2
    assert _spread(10, 3) == [1, 5, 8]
    assert list(_spread(3, 10)) == [0, 1, 2]


def test_patches_of_a_flight_are_filled_to_their_corners(tmp_path: Path) -> None:
    folder = picture_flight(tmp_path / "f")  # frame k is of red 10 k; turned by 180 degrees less a little
    patches = view_patches("drone", ViewConfig((footage(folder, 1),)), 48, 1, tmp_path / "c")
    assert len(patches) > 4
    assert set(np.unique(patches[..., 0])) == {10, 20}
    assert patches[..., 1:].max() == 0


def test_frames_are_taken_by_their_number_in_a_video(tmp_path: Path) -> None:
    rows = "".join(f"{frame},{k},100,0,0,0,,\n" for k, frame in enumerate((0, 3, 6, 9)))
    folder = video_flight(tmp_path / "f", rows)
    found, report = read(footage(folder, 3, 8))
    assert [sheet.name for sheet in found] == ["f 3", "f 6"]
    assert report.pictures == 2
    assert [round(float(np.median(sheet.pixels[..., 0])), -1) for sheet in found] == [30, 60]


def test_what_cannot_be_used_is_skipped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "".join(
        f"f{k}.png,{k},{agl},{roll},0,{yaw},,\n"
        for k, (agl, roll, yaw) in enumerate(
            [(100, 0, 0), ("", 0, 0), (100, 60, 0), (100, 0, ""), (100, 1, 2), (90, 0, 0)]
        )
    )
    folder = picture_flight(tmp_path / "f", rows, count=6)
    (folder / "photo" / "f4.png").write_bytes((folder / "photo" / "f4.png").read_bytes()[:50])
    found, report = read(footage(folder))
    assert [sheet.name for sheet in found] == ["f f0.png", "f f5.png"]
    assert report.pictures == 2
    assert any("3 of 6 frames without attitude, heading and height, or tilted" in text for text in report.skipped)
    assert any("f4.png" in text for text in report.skipped)
    with caplog.at_level(logging.WARNING):
        view_patches("drone", ViewConfig((footage(folder),)), 48, 1, tmp_path / "c")
    assert "f4.png" in caplog.text


def test_a_log_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    folder = picture_flight(tmp_path / "f", "".join(f"f{k}.png,{k},,,,,,\n" for k in range(3)))
    with pytest.raises(ConfigError, match="none of 3 frames from 0 to -1 can be laid flat"):
        read(footage(folder))
    with pytest.raises(ConfigError, match="none of 0 frames from 7 to 9"):
        read(footage(folder, 7, 9))
    with pytest.raises(FlightError):
        read(footage(tmp_path / "none"))


def test_positions_of_a_flight_are_not_read(flight: Path, tmp_path: Path) -> None:
    """The same patches when the log's positions are taken away."""
    folder = tmp_path / "flight"
    shutil.copytree(flight, folder)
    lines = (folder / "log.csv").read_text().splitlines()
    columns = lines[0].split(",")
    kept = [i for i, name in enumerate(columns) if name not in ("lat_deg", "lon_deg")]
    assert len(kept) == len(columns) - 2
    (folder / "log.csv").write_text("".join(",".join(line.split(",")[i] for i in kept) + "\n" for line in lines))
    with_positions, without = (
        view_patches("drone", ViewConfig((footage(path),)), 48, 1, tmp_path / f"c{i}")
        for i, path in enumerate((flight, folder))
    )
    np.testing.assert_array_equal(with_positions, without)


def test_edges_that_undistortion_left_empty_are_trimmed_and_the_camera_with_them() -> None:
    image = np.random.default_rng(0).integers(1, 256, (60, 80, 3), dtype=np.uint8)
    inside = np.full((60, 80), 255, np.uint8)
    inside[:3], inside[:, 76:], inside[58:, 40:] = 0, 0, 0
    camera = CAMERA.scaled_to(80, 60)
    trimmed = _trimmed(PreparedFrame(image, inside, camera))
    np.testing.assert_array_equal(trimmed.image, image[3:58, :76])
    assert trimmed.inside.min() == 255
    assert (trimmed.camera.width, trimmed.camera.height) == (76, 55)
    assert (trimmed.camera.cx, trimmed.camera.cy, trimmed.camera.fx) == (camera.cx, camera.cy - 3, camera.fx)


def test_a_video_is_a_source_of_photos(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 12, 64, 48)
    source = PhotosSource(str(tmp_path / "a.avi"), 64.0, 8, (20.0, 30.0))
    found, report = read(source, wanted=4)
    assert report.pictures == len(found) == 4
    assert [round(float(sheet.pixels[..., 0].mean()), -1) for sheet in found] == [10, 40, 70, 100]
    assert found[0].gsd_m == pytest.approx(1.0)
    reduced, _ = read(source, wanted=4, finest_m=2.0)
    assert reduced[0].pixels.shape == (24, 32, 3)
    assert reduced[0].gsd_m == pytest.approx(2.0)
    assert view_patches("drone", ViewConfig((source,)), 48, 1, tmp_path / "c").shape == (8, 48, 48, 3)
    (tmp_path / "b.mp4").write_bytes(b"no video at all, but text")
    with pytest.raises(FlightError, match="is no video file"):
        read(PhotosSource(str(tmp_path / "b.mp4"), 64.0, 8, (20.0, 30.0)))


def test_a_map_package_gives_patches_of_what_it_covers(package: MapPackage, tmp_path: Path) -> None:
    source = MapSource(str(package.path), 12, (40.0, 60.0))
    (sheet,), report = read(source)
    assert report.pictures == 1
    assert sheet.gsd_m == 0.5
    assert sheet.coverage is not None
    assert sheet.coverage.all()
    patches = view_patches("satellite", ViewConfig((source,)), 48, 1, tmp_path / "c")
    assert patches.shape == (12, 48, 48, 3)
    (tmp_path / "none").mkdir()
    with pytest.raises(MapError):
        read(MapSource(str(tmp_path / "none"), 12, (40.0, 60.0)))


@pytest.mark.imagery
@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data")
def test_the_real_video_gives_patches(tmp_path: Path) -> None:
    (tmp_path / "flight.toml").write_text(
        f'frames = "{REAL / "flight.mp4"}"\nlog = "log.csv"\n[camera]\nwidth = 852\nheight = 480\nhfov_deg = 73.7\n'
    )
    rows = "".join(f"{frame},{frame / 30},170,0,0,111,,\n" for frame in (0, 60, 120))
    (tmp_path / "log.csv").write_text(HEADER + rows)
    patches = view_patches("drone", ViewConfig((footage(tmp_path),)), 96, 1, tmp_path / "c")
    assert patches.shape == (20, 96, 96, 3)
    assert patches.std(axis=(1, 2, 3)).min() > 3.0
