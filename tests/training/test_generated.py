"""Generated datasets: the folders, what a view shows, resuming, and that no world is used twice."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tilefix.errors import ConfigError
from tilefix_training.data import generated
from tilefix_training.data.generated import Tours, write_dataset
from tilefix_training.data.images import read_image
from tilefix_training.data.layouts import training_pictures
from tilefix_training.evaluation.identities import retrieval_split

SMALL = Tours(tile_m=60.0, apart_m=40.0, places_per_world=3, world_m=320.0)
NUMBERS: dict[str, Any] = {"seed": 5, "places": 2, "views": 3, "test_places": 2, "distractors": 1, "px": 32}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated") / "set"
    return write_dataset(out, **NUMBERS, train_extra=1, drone_extra=1, tours=SMALL)


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_folders_are_those_of_university_1652(dataset: Path) -> None:
    assert len(training_pictures("university-1652", dataset, "satellite")) == 2 + 1
    assert len(training_pictures("university-1652", dataset, "drone")) == (2 + 1) * 3
    split = retrieval_split("university-1652", dataset, "drone_to_satellite")
    assert (len(split.queries), len(split.gallery)) == (2 * 3, 2 + 1)
    back = retrieval_split("university-1652", dataset, "satellite_to_drone")
    assert (len(back.queries), len(back.gallery)) == (2, (2 + 1) * 3)
    assert set(split.query_ids) < set(split.gallery_ids)
    train = {path.parent.name for path in (dataset / "train").rglob("*.jpg")}
    test = {path.parent.name for path in (dataset / "test").rglob("*.jpg")}
    assert not train & test
    assert json.loads((dataset / "dataset.json").read_text())["seed"] == 5
    assert read_image(split.queries[0]).shape == (32, 32, 3)


def test_partly_overlapping_sets_have_places_of_one_view_only(dataset: Path) -> None:
    drone, satellite = ({path.name for path in (dataset / "train" / v).iterdir()} for v in ("drone", "satellite"))
    assert (len(drone - satellite), len(satellite - drone), len(drone & satellite)) == (1, 1, 2)


def test_a_drone_view_shows_its_own_place_turned_as_it_flew() -> None:
    """One look for both: straight down and unturned, the first view is the tile; a tilted, turned one holds it too."""
    from tilefix.simulation.world import generate_world, satellite_look

    world = generate_world(4, size_m=400.0, gsd_m=0.5)
    pixels = world.render(satellite_look(4))
    tours = Tours(tile_m=80.0, scale=(1.0, 1.0), turns=1.0, tilt_deg=0.0, offset=0.0)
    tile = generated._tile(world, pixels, 20.0, -30.0, 80.0)
    tile = cv2.resize(tile, (64, 64), interpolation=cv2.INTER_AREA)
    scores = []
    for view in generated._tour(world, pixels, 20.0, -30.0, 3, 64, tours, np.random.default_rng(0)):
        turned = (
            cv2.warpAffine(view, cv2.getRotationMatrix2D((31.5, 31.5), angle, 1.0), (64, 64))
            for angle in range(0, 360, 3)
        )
        scores.append(max(correlation(tile, candidate) for candidate in turned))
    other = generated._tile(world, pixels, 90.0, 60.0, 80.0)
    other = cv2.resize(other, (64, 64), interpolation=cv2.INTER_AREA)
    assert min(scores) > 0.7
    assert correlation(tile, other) < 0.3


def test_headings_can_be_kept_near_north() -> None:
    from tilefix.simulation.world import generate_world, satellite_look

    world = generate_world(4, size_m=400.0, gsd_m=0.5)
    pixels = world.render(satellite_look(4))
    tile = cv2.resize(generated._tile(world, pixels, 20.0, -30.0, 80.0), (64, 64), interpolation=cv2.INTER_AREA)
    near, around = (
        [
            correlation(tile, view)
            for view in generated._tour(world, pixels, 20.0, -30.0, 6, 64, tours, np.random.default_rng(2))
        ]
        for tours in (
            Tours(tile_m=80.0, scale=(1.0, 1.0), tilt_deg=0.0, offset=0.0, heading_deg=heading_deg)
            for heading_deg in (3.0, 180.0)
        )
    )
    assert min(near) > 0.6
    assert np.median(around) < 0.4


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of the grey values within the circle that turning keeps."""
    y, x = np.mgrid[:64, :64] - 31.5
    inside = x * x + y * y < 28**2
    return float(np.corrcoef(a.mean(axis=2)[inside], b.mean(axis=2)[inside])[0, 1])


def test_a_run_that_was_cut_off_goes_on_and_gives_the_same(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    whole = generated._write_world

    def failing(root: Path, seed: int, *rest: Any) -> None:
        if len(written) == 1:
            whole(root, seed, *rest)
            written.append(seed)
            raise KeyboardInterrupt
        written.append(seed)
        whole(root, seed, *rest)

    monkeypatch.setattr(generated, "_write_world", failing)
    values = NUMBERS | {"train_extra": 1, "drone_extra": 1, "tours": SMALL}
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", **values)
    assert not (tmp_path / "set").exists()
    first = written[0]
    assert write_dataset(tmp_path / "set", **values) == tmp_path / "set"
    assert written.count(first) == 1
    assert written.count(written[1]) == 2
    assert digests(tmp_path / "set") == digests(dataset)
    assert not (tmp_path / "set.partial").exists()


def test_the_same_folder_is_taken_again_and_another_set_is_refused(dataset: Path, tmp_path: Path) -> None:
    before = digests(dataset)
    assert write_dataset(dataset, **NUMBERS, train_extra=1, drone_extra=1, tours=SMALL) == dataset
    assert digests(dataset) == before
    with pytest.raises(ConfigError, match="holds something else"):
        write_dataset(dataset, **(NUMBERS | {"seed": 6}), tours=SMALL)
    with pytest.raises(ConfigError, match="room for"):
        write_dataset(tmp_path / "full", **NUMBERS, tours=Tours(world_m=200.0))
    with pytest.raises(ConfigError, match="views = 0 is out of range"):
        write_dataset(tmp_path / "none", **(NUMBERS | {"views": 0}))


def test_two_at_once_make_one(dataset: Path, tmp_path: Path) -> None:
    values = NUMBERS | {"train_extra": 1, "drone_extra": 1, "tours": SMALL}
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(write_dataset, tmp_path / "set", **values) for _ in range(2)]
    assert [made.result() for made in both] == [tmp_path / "set"] * 2
    assert digests(tmp_path / "set") == digests(dataset)


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_dataset(tmp_path / "file" / "set", **NUMBERS, tours=SMALL)


def test_no_world_belongs_to_two_seeds_or_to_training_and_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    used: list[int] = []
    monkeypatch.setattr(generated, "_write_world", lambda root, seed, *rest: used.append(seed))
    for seed in (0, 1, 1000, 9000, 99_999):
        write_dataset(
            tmp_path / str(seed), seed=seed, places=5000, test_places=4000, distractors=4000, train_extra=4000
        )
    assert len(used) == 5 * (225 + 200)
    assert len(set(used)) == len(used)
    assert min(used) > 9999  # above the seeds of worlds that are asked for by number
    assert max(used) < 2**31
