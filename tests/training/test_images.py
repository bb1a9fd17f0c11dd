"""Sets of pictures: memory maps, files of every kind, and what is left out."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from tilefix.errors import ConfigError, FlightError
from tilefix_training.data.images import FolderImages, PatchImages, fitted, read_image


def picture(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))


def write(path: Path, rgb: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


@pytest.mark.parametrize(("suffix", "off"), [(".png", 0), (".tif", 0), (".TIFF", 0), (".jpeg", 12), (".JPG", 12)])
def test_every_kind_of_file_is_read_as_rgb(tmp_path: Path, suffix: str, off: int) -> None:
    image = picture(1)
    path = write(tmp_path / f"a{suffix.lower()}", image).rename(tmp_path / f"b{suffix}")
    found = read_image(path)
    assert (found.dtype, found.shape) == (np.uint8, (40, 60, 3))
    assert np.abs(found.astype(int) - image).mean() <= off / 4


def test_a_folder_gives_whole_pictures_of_one_size(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.png", picture(1)), write(tmp_path / "b.tif", picture(2, 32, 32))]
    images = FolderImages(paths, 32, "drone")
    assert (len(images), images.stored_px, images.name, images.skipped) == (2, 32, "drone", ())
    np.testing.assert_array_equal(images[1], picture(2, 32, 32))
    np.testing.assert_array_equal(images[0], cv2.resize(picture(1), (32, 32), interpolation=cv2.INTER_AREA))
    with pytest.raises(IndexError):
        images[2]


def test_a_corrupt_picture_is_left_out_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [write(tmp_path / f"{i:02d}.png", picture(i)) for i in range(5)]
    broken = [tmp_path / "x.png", tmp_path / "y.tif", tmp_path / "z.jpg"]
    broken[0].write_bytes(paths[0].read_bytes()[:60])
    broken[1].write_bytes(b"II*\0" + bytes(40))
    mixed = [paths[0], broken[0], paths[1], broken[1], broken[2], *paths[2:]]
    with caplog.at_level(logging.WARNING):
        images = FolderImages(mixed, 16, "satellite")
    assert images.paths == tuple(paths)
    assert len(images.skipped) == 3
    assert all(path.name in caplog.text for path in broken)
    assert "satellite: 3 of 8 pictures skipped" in caplog.text
    with pytest.raises(ConfigError, match="1 of 4 pictures can be read"):
        FolderImages([*broken, paths[0]], 16, "satellite")


def test_only_the_first_of_many_broken_ones_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [write(tmp_path / f"{i}.png", picture(i)) for i in range(2)]
    with caplog.at_level(logging.WARNING):
        images = FolderImages([*paths, *(tmp_path / f"none{i}.png" for i in range(30))], 16, "drone")
    assert len(images.skipped) == 30
    assert sum("does not exist" in record.getMessage() for record in caplog.records) == 10
    assert "30 of 32 pictures skipped" in caplog.text


def test_a_picture_that_vanishes_later_is_told(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.png", picture(i)) for i in range(2)]
    kept, images = (
        FolderImages(paths, 16, "drone", keep_bytes=size) for size in (2 * 16 * 16 * 3, 2 * 16 * 16 * 3 - 1)
    )
    np.testing.assert_array_equal(kept[1], images[1])
    (tmp_path / "1.png").unlink()
    assert kept[1].shape == (16, 16, 3)
    with pytest.raises(FlightError, match=r"1\.png.*does not exist"):
        images[1]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_that_claims_too_much_is_refused_before_it_is_decoded(tmp_path: Path, order: str) -> None:
    kind = "little" if order == "<" else "big"
    entries = b"".join(
        tag.to_bytes(2, kind) + (4).to_bytes(2, kind) + (1).to_bytes(4, kind) + (1 << 20).to_bytes(4, kind)
        for tag in (256, 257)
    )
    head = b"II*\0" if order == "<" else b"MM\0*"
    (tmp_path / "a.tif").write_bytes(head + (8).to_bytes(4, kind) + (2).to_bytes(2, kind) + entries + bytes(4))
    with pytest.raises(FlightError, match="claims 1048576 x 1048576"):
        read_image(tmp_path / "a.tif")


def test_a_georeferenced_tile_is_read_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rasterio")
    from support.rasters import write_geotiff

    image = picture(4)
    path = write_geotiff(tmp_path / "H80_old.tif", np.ascontiguousarray(image.transpose(2, 0, 1)))
    capfd.readouterr()
    level = cv2.utils.logging.getLogLevel()
    try:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)  # warnings, as it starts with
        np.testing.assert_array_equal(read_image(path), image)
        assert capfd.readouterr() == ("", "")
    finally:
        cv2.utils.logging.setLogLevel(level)


def test_patches_are_given_by_index() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    images = PatchImages(patches, "drone")
    assert (len(images), images.stored_px) == (3, 8)
    np.testing.assert_array_equal(images[2], patches[2])
    with pytest.raises(ValueError, match="shape"):
        PatchImages(patches[:, :7], "drone")


def test_fitting_keeps_the_right_size_and_the_mean() -> None:
    image = picture(3, 90, 90)
    assert fitted(image, 90) is image
    assert abs(fitted(image, 30).mean() - image.mean()) < 1.0
    assert fitted(image, 120).shape == (120, 120, 3)
