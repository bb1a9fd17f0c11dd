"""The published folder layouts: what is trained on, what is asked and answered at the test, and what is refused."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from tilefix.errors import ConfigError
from tilefix_training.data.layouts import SUES_TRAINING, training_pictures
from tilefix_training.evaluation.identities import RetrievalSplit, retrieval_split

D2S, S2D = "drone_to_satellite", "satellite_to_drone"


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never decoded here")


def university(root: Path) -> Path:
    for name in ("0002", "0005", "0009"):
        touch(root / "train/satellite" / name / f"{name}.jpg")
        touch(*(root / "train/drone" / name / f"image-{i:02d}.jpeg" for i in range(4)))
        touch(root / "train/street" / name / "1.jpg")
    for name in ("0001", "0003", "0004"):  # 0004 is a distractor
        for use in ("query", "gallery") if name != "0004" else ("gallery",):
            touch(root / f"test/{use}_satellite" / name / f"{name}.jpg")
            touch(*(root / f"test/{use}_drone" / name / f"image-{i:02d}.jpeg" for i in range(3)))
    return root


def place(path: Path, up: int = 1) -> str:
    return path.parents[up - 1].name


def assert_ids_are_the_folders(split: RetrievalSplit, up_query: int = 1, up_gallery: int = 1) -> None:
    """Equal numbers exactly where the folders are named alike."""
    names = [place(path, up_query) for path in split.queries] + [place(path, up_gallery) for path in split.gallery]
    ids = [*split.query_ids, *split.gallery_ids]
    assert len(set(zip(names, ids, strict=True))) == len(set(names)) == len(set(ids))


def test_university_1652_trains_on_two_views_in_an_order_that_tells_nothing(tmp_path: Path) -> None:
    root = university(tmp_path)
    drone = training_pictures("university-1652", root, "drone")
    assert Counter(place(path) for path in drone) == {"0002": 4, "0005": 4, "0009": 4}
    assert drone != sorted(drone)
    assert drone == training_pictures("university-1652", root, "drone")
    assert drone != training_pictures("university-1652", root, "drone", seed=1)
    assert len(training_pictures("university-1652", root, "satellite")) == 3


def test_satellite_copies_on_disk_are_passed_over_for_their_originals(tmp_path: Path) -> None:
    root = university(tmp_path)
    touch(*(root / "train/satellite/0002" / f"copy{i}.jpg" for i in range(49)))
    assert len(training_pictures("university-1652", root, "satellite")) == 52
    for name in ("0002", "0005", "0009"):
        touch(root / "train/satellite_origin" / name / f"{name}.jpg")
    assert len(training_pictures("university-1652", root, "satellite")) == 3


def test_university_1652_tests_with_its_distractors(tmp_path: Path) -> None:
    root = university(tmp_path)
    split = retrieval_split("university-1652", root, D2S)
    assert (len(split.queries), len(split.gallery)) == (6, 3)
    assert len(set(split.gallery_ids) - set(split.query_ids)) == 1
    assert_ids_are_the_folders(split)
    back = retrieval_split("university-1652", root, S2D)
    assert (len(back.queries), len(back.gallery)) == (2, 9)
    assert_ids_are_the_folders(back)
    assert back.query_lonlat is None


def test_an_empty_folder_among_many_is_counted_and_a_whole_empty_view_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = university(tmp_path)
    (root / "train/drone/0777").mkdir()
    touch(root / "train/drone/0778/notes.txt")
    with caplog.at_level(logging.WARNING):
        assert len(training_pictures("university-1652", root, "drone")) == 12
    assert "0777 holds no picture" in caplog.text
    assert "2 of 5 places skipped" in caplog.text
    for path in (root / "train/satellite").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(ConfigError, match="no picture to train the satellite view on"):
        training_pictures("university-1652", root, "satellite")


def test_sues_200_has_the_published_120_training_places() -> None:
    assert len(SUES_TRAINING) == 120
    assert {"0001", "0007", "0024", "0034", "0200"} <= SUES_TRAINING
    assert not {"0008", "0012", "0035", "0195", "0201"} & SUES_TRAINING


def test_sues_200_raw(tmp_path: Path) -> None:
    for number in range(1, 201):
        touch(tmp_path / f"satellite-view/{number:04d}/0.png")
        for height in (150, 300):
            touch(*(tmp_path / f"drone_view_512/{number:04d}/{height}/{i}.jpg" for i in range(2)))
    drone = training_pictures("sues-200", tmp_path, "drone", height_m=150)
    assert len(drone) == 240
    assert {place(path) for path in drone} == {"150"}
    assert {place(path, 2) for path in drone} == SUES_TRAINING
    satellite = training_pictures("sues-200", tmp_path, "satellite", height_m=150)
    assert {place(path) for path in satellite} == SUES_TRAINING
    split = retrieval_split("sues-200", tmp_path, D2S, height_m=300)
    assert (len(split.queries), len(split.gallery)) == (80 * 2, 200)
    assert {place(path) for path in split.queries} == {"300"}
    assert not {place(path, 2) for path in split.queries} & SUES_TRAINING
    assert_ids_are_the_folders(split, up_query=2)
    back = retrieval_split("sues-200", tmp_path, S2D, height_m=300)
    assert (len(back.queries), len(back.gallery)) == (80, 200 * 2)
    assert_ids_are_the_folders(back, up_gallery=2)


def test_sues_200_split(tmp_path: Path) -> None:
    for view, count in (("drone", 3), ("satellite", 1)):
        for name in ("0001", "0002"):
            touch(*(tmp_path / f"Training/200/{view}/{name}/{i}.jpg" for i in range(count)))
        for name in ("0008", "0001", "0002"):
            if name == "0008":
                touch(*(tmp_path / f"Testing/200/query_{view}/{name}/{i}.jpg" for i in range(count)))
            touch(*(tmp_path / f"Testing/200/gallery_{view}/{name}/{i}.jpg" for i in range(count)))
    assert len(training_pictures("sues-200", tmp_path, "drone", height_m=200)) == 6
    split = retrieval_split("sues-200", tmp_path, D2S, height_m=200)
    assert (len(split.queries), len(split.gallery)) == (3, 3)
    assert_ids_are_the_folders(split)
    with pytest.raises(ConfigError, match="no such folder"):
        training_pictures("sues-200", tmp_path, "drone", height_m=250)


def denseuav(root: Path) -> Path:
    heights = (80, 90, 100)
    lines = []
    for i, name in enumerate(("000001", "000002")):
        touch(*(root / "train/drone" / name / f"H{h}.JPG" for h in heights))
        touch(*(root / "train/satellite" / name / f"H{h}{old}.tif" for h in heights for old in ("", "_old")))
        lines.append(f"train/drone/{name}/H80.JPG E120.3{i}001 N30.3{i}002 94.2")
    for i, name in enumerate(("000003", "000001")):
        for use in ("query", "gallery") if name == "000003" else ("gallery",):
            touch(*(root / f"test/{use}_drone" / name / f"H{h}.JPG" for h in heights))
            touch(*(root / f"test/{use}_satellite" / name / f"H{h}{old}.tif" for h in heights for old in ("", "_old")))
        lines.append(f"/home/x/test/gallery_satellite/{name}/H90_old.tif E120.5{i} N30.6{i} 90")
    (root / "Dense_GPS_ALL.txt").write_text("\n".join(lines) + "\n")
    return root


def test_denseuav_and_its_positions(tmp_path: Path) -> None:
    root = denseuav(tmp_path)
    assert len(training_pictures("denseuav", root, "drone")) == 6
    assert len(training_pictures("denseuav", root, "satellite")) == 12
    assert {path.stem for path in training_pictures("denseuav", root, "satellite", height_m=90)} == {"H90", "H90_old"}
    split = retrieval_split("denseuav", root, D2S)
    assert (len(split.queries), len(split.gallery)) == (3, 12)
    assert_ids_are_the_folders(split)
    assert split.query_lonlat is not None
    assert split.gallery_lonlat is not None
    np.testing.assert_allclose(split.query_lonlat, [[120.50, 30.60]] * 3)
    where = {place(path): tuple(at) for path, at in zip(split.gallery, split.gallery_lonlat, strict=True)}
    assert where == {"000003": (120.50, 30.60), "000001": (120.51, 30.61)}  # the last line of a place counts
    low = retrieval_split("denseuav", root, S2D, height_m=80)
    assert (len(low.queries), len(low.gallery)) == (2, 2)


def test_denseuav_without_sound_positions_is_refused(tmp_path: Path) -> None:
    root = denseuav(tmp_path)
    gps = root / "Dense_GPS_ALL.txt"
    text = gps.read_text()
    gps.write_text(text.replace("E120.50", "E1e9"))
    with pytest.raises(ConfigError, match=r"Dense_GPS_ALL\.txt:3: is no line of"):
        retrieval_split("denseuav", root, D2S)
    gps.write_text("\n".join(line for line in text.splitlines() if "000003" not in line))
    with pytest.raises(ConfigError, match="1 places have no position, such as 000003"):
        retrieval_split("denseuav", root, D2S)
    gps.unlink()
    with pytest.raises(ConfigError, match=r"has no Dense_GPS_ALL\.txt"):
        retrieval_split("denseuav", root, D2S)


def test_a_plain_folder_can_be_trained_on_but_not_tested(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((16, 16, 3), np.uint8))
    touch(tmp_path / "deep/er/b.JPEG", tmp_path / "readme.md")
    assert {path.name for path in training_pictures("folder", tmp_path, "drone")} == {"a.png", "b.JPEG"}
    with pytest.raises(ConfigError, match="plain folders do not tell places apart"):
        retrieval_split("folder", tmp_path, D2S)


@pytest.mark.parametrize(
    ("kind", "view", "height_m", "text"),
    [
        ("university", "drone", None, "kind 'university' is not known"),
        ("university-1652", "street", None, "view 'street' is not known"),
        ("university-1652", "drone", 150, "height_m = 150 is none of university-1652"),
        ("university-1652", "drone", None, r"train/drone: no such folder"),
        ("sues-200", "drone", None, "one flight height"),
        ("sues-200", "drone", 160, "give one of 150, 200, 250, 300"),
        ("sues-200", "drone", 150, "neither a Training folder nor one whose name begins with drone"),
        ("denseuav", "satellite", None, r"train/satellite: no such folder"),
        ("folder", "drone", None, "no picture to train the drone view on"),
    ],
)
def test_another_layout_is_refused_with_its_mend(
    tmp_path: Path, kind: str, view: str, height_m: int | None, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        training_pictures(kind, tmp_path, view, height_m=height_m)


def test_a_missing_root_or_direction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        retrieval_split("university-1652", tmp_path / "none", D2S)
    with pytest.raises(ConfigError, match="direction 'both' is not known"):
        retrieval_split("university-1652", tmp_path, "both")
    (tmp_path / "test/query_drone").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds no folder of a place"):
        retrieval_split("university-1652", tmp_path, D2S)
