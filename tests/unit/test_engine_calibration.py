"""Patches to calibrate with: from maps, flights and pictures, and folders that hold none of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import flight_over, small_map
from tilefix.engine.calibration import Patches, read_patches
from tilefix.errors import ModelError, TilefixError

EMBEDDER = ThumbnailEmbedder(patch_px=32, side=6)
MANIFEST = EMBEDDER.manifest


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`map`, `flight` and `pictures`."""
    folder = tmp_path_factory.mktemp("calibration")
    flight_over(small_map(folder / "map", EMBEDDER), folder / "flight", count=8)
    (folder / "pictures").mkdir()
    for number in range(10):
        picture = np.full((40, 60, 3), 20 * number, np.uint8)
        picture[:, :10] = picture[:, 50:] = 255
        cv2.imwrite(str(folder / "pictures" / f"{number}.png"), picture)
    return folder


def test_what_a_folder_is_shows_in_what_lies_in_it(folders: Path) -> None:
    for name in ("map", "pictures"):
        found = read_patches([folders / name], MANIFEST, count=9)
        assert found.images.shape == (9, 32, 32, 3)
        assert found.masks.shape == (9, 32, 32)
    both = read_patches([folders / "map", folders / "flight"], MANIFEST, count=16)
    assert len(both) == 16
    assert both.masks[8:].all()  # as wide as the map's tiles, which are narrower than the footprint here
    alone = read_patches([folders / "flight"], MANIFEST, count=8)
    assert not alone.masks.all(axis=(1, 2)).any()  # as wide as the footprint, which does not fill its square


def test_tiles_are_those_that_the_map_was_built_of(folders: Path) -> None:
    from tilefix.maps.package import MapPackage
    from tilefix.maps.tileindex import TileIndex

    package = MapPackage.open(folders / "map")
    found = read_patches([folders / "map"], MANIFEST, count=10_000)
    assert len(found) == len(package.tile_centres_m)
    descriptors = EMBEDDER.embed(found.images, found.masks)
    index = TileIndex.open(package)
    for number in (0, len(found) // 2, len(found) - 1):
        similarities = index.similarities(descriptors[number])
        assert similarities[number] == pytest.approx(1.0, abs=1e-5)


def test_a_picture_gives_its_middle_square(folders: Path) -> None:
    found = read_patches([folders / "pictures"], MANIFEST, count=10)
    assert [int(image.max()) for image in found.images] == [20 * number for number in range(10)]
    assert found.masks.all()


def test_the_same_patches_on_every_run(folders: Path) -> None:
    names = [folders / "map", folders / "flight"]
    first, second = (read_patches(names, MANIFEST, count=20) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)


def test_a_part_is_kept_back() -> None:
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    used, kept = Patches(images, np.ones((10, 1, 1), np.bool_)).split()
    assert kept.images.ravel().tolist() == [3, 7]
    assert sorted([*used.images.ravel(), *kept.images.ravel()]) == list(range(10))


def test_folders_without_patches_are_refused(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "few").mkdir()
    cv2.imwrite(str(tmp_path / "few" / "one.png"), np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "one.png").write_bytes(b"no picture")
    for name, says in (
        ("none", "no folder"),
        ("empty", "no patch to calibrate with"),
        ("few", "1 patches are too few"),
        ("broken", "neither JPEG nor PNG"),
    ):
        with pytest.raises(TilefixError, match=says):
            read_patches([tmp_path / name], MANIFEST, count=16)


def test_a_map_of_another_scale_is_refused(folders: Path) -> None:
    narrow = ThumbnailEmbedder(patch_px=32, patch_m_min=1000.0, patch_m_max=2000.0).manifest
    with pytest.raises(ModelError, match="was trained on patches of 1000 to 2000 m"):
        read_patches([folders / "map"], narrow, count=16)
