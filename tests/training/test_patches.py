"""From files to patches: stitching, scale, what is skipped, and the cache."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.training import write_photos
from tilefix.errors import ConfigError
from tilefix_training.config import ViewConfig
from tilefix_training.data.imagery import sheets
from tilefix_training.data.patches import view_patches
from tilefix_training.data.sheet import Report
from tilefix_training.sources import PhotosSource, TilesSource, WorldsSource


def write_tile(folder: Path, name: str, value: int) -> None:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / name), np.full((256, 256, 3), value, np.uint8))


def view(*sources: PhotosSource | TilesSource | WorldsSource, burst: int = 1) -> ViewConfig:
    return ViewConfig(sources, "instance", burst)


def test_tiles_that_touch_become_one_sheet_with_its_ground_sampling(tmp_path: Path) -> None:
    for name, value in (("19_309614_261632.png", 10), ("19_309615_261632.png", 20), ("19_309617_261632.png", 30)):
        write_tile(tmp_path, name, value)
    report = Report()
    found = list(sheets(TilesSource(str(tmp_path), 10, (20, 40)), "satellite", report))
    assert report.pictures == 3
    assert sorted(sheet.pixels.shape for sheet in found) == [(256, 256, 3), (256, 512, 3)]
    pair = max(found, key=lambda sheet: sheet.pixels.shape[1])
    assert pair.pixels[0, 0, 0] == 10
    assert pair.pixels[0, -1, 0] == 20
    assert pair.gsd_m == pytest.approx(0.2986 * np.cos(np.radians(-0.3546)), rel=1e-3)  # the row lies near the equator


def test_broken_pictures_are_skipped_counted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_photos(tmp_path / "p", 3, seed=0)
    (tmp_path / "p" / "000.png").write_bytes(b"no picture")
    whole = (tmp_path / "p" / "001.png").read_bytes()
    (tmp_path / "p" / "001.png").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.INFO):
        patches = view_patches(
            "drone", view(PhotosSource(str(tmp_path / "p"), 160, 10, (20, 40))), 48, 1, tmp_path / "c"
        )
    assert len(patches) > 2
    assert "000.png" in caplog.text
    assert "001.png" in caplog.text
    assert "1 pictures, 2 skipped" in caplog.text


@pytest.mark.parametrize("kind", [TilesSource, PhotosSource])
def test_a_missing_or_empty_folder_is_refused(tmp_path: Path, kind: type[TilesSource] | type[PhotosSource]) -> None:
    values = {"patches": 5, "patch_m": (20.0, 40.0)} | ({"width_m": 100.0} if kind is PhotosSource else {})
    for folder, text in ((tmp_path / "none", "no such folder"), (tmp_path, "file in the folder")):
        with pytest.raises(ConfigError, match=text):
            view_patches("drone", view(kind(folder=str(folder), **values)), 48, 1, tmp_path / "c")  # type: ignore[arg-type]
    (tmp_path / "photo.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"no tile of a name|give 0 patches"):
        view_patches("drone", view(kind(folder=str(tmp_path), **values)), 48, 1, tmp_path / "c")  # type: ignore[arg-type]
    assert not (tmp_path / "c").exists()


def test_a_patch_shows_the_metres_asked_for(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    image = np.zeros((640, 640, 3), np.uint8)
    image[:, ::40] = 255  # a line every 10 m
    cv2.imwrite(str(tmp_path / "p" / "a.png"), image)
    patches = view_patches("drone", view(PhotosSource(str(tmp_path / "p"), 160, 4, (60, 60))), 320, 1, tmp_path / "c")
    lines = [(np.diff((patch[100, :, 0] > 60).astype(int)) == 1).sum() for patch in patches]
    assert set(lines) <= {7, 8, 9}  # 60 m and a third more


def test_bursts_show_nearly_the_same_place_and_the_cache_gives_the_same(tmp_path: Path) -> None:
    write_photos(tmp_path / "p", 2, seed=5)
    config = view(PhotosSource(str(tmp_path / "p"), 160, 24, (30, 40)), burst=4)
    patches = view_patches("drone", config, 48, 1, tmp_path / "c")
    assert len(patches) % 4 == 0
    groups = patches.reshape(-1, 4, 48, 48, 3)[:, :, 8:40, 8:40].astype(float)
    within = np.abs(groups[:, 1:] - groups[:, :1]).mean()
    across = np.abs(groups[1:] - groups[:-1]).mean()
    assert 0.0 < within < 0.8 * across
    again = view_patches("drone", config, 48, 1, tmp_path / "c")
    np.testing.assert_array_equal(patches, again)
    fresh = view_patches("drone", config, 48, 1, tmp_path / "d")
    np.testing.assert_array_equal(patches, fresh)
    assert not np.array_equal(view_patches("drone", config, 48, 2, tmp_path / "c")[:4], patches[:4])


def test_generated_worlds_differ_between_the_views(tmp_path: Path) -> None:
    config = view(WorldsSource(3, 3, 200.0, 1.0, 4, (60, 90)))
    drone, satellite = (view_patches(name, config, 48, 1, tmp_path / "c") for name in ("drone", "satellite"))
    assert drone.shape == satellite.shape == (4, 48, 48, 3)
    assert not np.array_equal(drone, satellite)


def test_a_changed_picture_is_noticed(tmp_path: Path) -> None:
    write_photos(tmp_path / "p", 2, seed=5)
    config = view(PhotosSource(str(tmp_path / "p"), 160, 6, (30, 40)))
    before = view_patches("drone", config, 48, 1, tmp_path / "c").copy()
    write_photos(tmp_path / "q", 1, seed=6)
    (tmp_path / "q" / "000.png").replace(tmp_path / "p" / "001.png")
    assert not np.array_equal(view_patches("drone", config, 48, 1, tmp_path / "c"), before)
    assert len(list((tmp_path / "c").glob("*.npy"))) == 2
