from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from tilefix.errors import ConfigError
from tilefix.types import BoolArray, Float32Array, UInt8Array
from tilefix_training.data.images import fitted, read_image
from tilefix_training.evaluation.descriptors import thumbnail
from tilefix_training.evaluation.identities import RetrievalSplit
from tilefix_training.evaluation.metrics import Positions, measure
from tilefix_training.evaluation.retrieval import (
    DRONE_TO_SATELLITE,
    SATELLITE_TO_DRONE,
    describe_files,
    evaluate_split,
    evaluate_splits,
    score_directions,
    score_retrieval,
    table,
)


def circle(degrees: list[float]) -> Float32Array:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_the_matched_protocol_leaves_out_pictures_of_places_without_a_query() -> None:
    query, gallery = circle([0, 90]), circle([10, 95, 3, 85.5, 200])
    score = score_retrieval(query, ["a", "b"], gallery, ["a", "b", "x", "y", "z"])
    assert (score.full.gallery, score.matched.gallery, score.distractors) == (5, 2, 3)
    assert (score.full.recall[1], score.matched.recall[1]) == (0.0, 1.0)
    assert score.full.ap == pytest.approx(0.25)
    assert score.matched == measure(query, ["a", "b"], gallery[:2], ["a", "b"])


def test_without_distractors_both_protocols_are_one() -> None:
    score = score_retrieval(circle([0, 90]), [1, 2], circle([1, 91]), [1, 2])
    assert score.full == score.matched
    assert score.distractors == 0


def test_positions_stay_with_their_pictures_in_both_protocols() -> None:
    positions = Positions(np.array([[1.0, 2.0]]), np.array([[5.0, 5.0], [1.0, 2.0]]))
    score = score_retrieval(circle([0]), ["a"], circle([1, 2]), ["x", "a"], positions)
    assert (score.full.sdm[1], score.matched.sdm[1]) == (pytest.approx(0.0), 1.0)
    assert (score.full.within_m[5.0], score.matched.within_m[5.0]) == (0.0, 1.0)


def test_each_direction_asks_only_for_places_that_the_other_view_shows() -> None:
    drone, satellite = circle([0, 4, 90, 180]), circle([2, 91, 300])
    found = score_directions(drone, ["a", "a", "b", "only drone"], satellite, ["a", "b", "only satellite"])
    there, back = found[DRONE_TO_SATELLITE], found[SATELLITE_TO_DRONE]
    assert (there.full.queries, there.full.gallery, there.matched.gallery) == (3, 3, 2)
    assert (back.full.queries, back.full.gallery, back.matched.gallery) == (2, 4, 3)
    assert there.full.unmatched == back.full.unmatched == 0
    assert back.full.ap == 1.0


def test_a_gallery_of_other_places_only_is_refused() -> None:
    with pytest.raises(ConfigError, match="no picture of the gallery"):
        score_retrieval(circle([0]), ["a"], circle([0]), ["b"])


def test_scores_become_json_and_a_table() -> None:
    positions = Positions(np.zeros((2, 2)), np.zeros((2, 2)))
    score = score_retrieval(circle([0, 90]), [1, 2], circle([1, 91]), [1, 2], positions)
    assert json.loads(json.dumps(asdict(score)))["matched"]["recall"]["1"] == 1.0
    lines = table({"tiny D->S": score}).splitlines()
    assert len(lines) == 3
    assert "full" in lines[1]
    assert "matched" in lines[2]
    assert "SDM@1 100.0" in lines[2]


def test_unreadable_pictures_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    paths[2].write_bytes(b"not a picture")
    features, rows = describe_files(thumbnail, paths, 32)
    assert features.shape == (3, 144)
    assert rows[2] == -1
    assert sorted(rows[[0, 1, 3]].tolist()) == [0, 1, 2]
    for i in (0, 1, 3):
        np.testing.assert_array_equal(features[rows[i]], thumbnail(fitted(read_image(paths[i]), 32)[None])[0])
    assert "1 of 4 pictures cannot be read" in caplog.text
    assert "2.png" in caplog.text
    with pytest.raises(ConfigError, match="none of 1 pictures"):
        describe_files(thumbnail, [paths[2]], 32)


def test_a_split_is_scored_with_its_positions_and_without_what_cannot_be_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    places = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(4)]
    paths = {}
    for view, side in (("query", 80), ("gallery", 64)):
        for i, place in enumerate(places):
            paths[view, i] = tmp_path / f"{view}{i}.png"
            cv2.imwrite(str(paths[view, i]), cv2.resize(place, (side, side), interpolation=cv2.INTER_NEAREST))
    paths["query", 1].write_bytes(b"")
    lonlat = np.array([[8.0, 47.0 + 0.01 * i] for i in range(4)])
    split = RetrievalSplit(
        queries=tuple(paths["query", i] for i in (0, 1, 2)),
        query_ids=np.array([5, 6, 7]),
        gallery=tuple(paths["gallery", i] for i in (3, 2, 1, 0)),
        gallery_ids=np.array([8, 7, 6, 5]),
        query_lonlat=lonlat[:3],
        gallery_lonlat=lonlat[::-1],
    )
    score = evaluate_split(thumbnail, split, 64)
    assert (score.full.queries, score.full.gallery, score.matched.gallery, score.unreadable) == (2, 4, 2, 1)
    assert score.full.recall[1] == score.full.within_m[5.0] == score.full.sdm[1] == 1.0


def test_a_picture_in_several_places_of_several_splits_is_described_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    pictures = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3)]
    for folder in ("query", "gallery"):
        (tmp_path / folder).mkdir()
        for i, picture in enumerate(pictures):
            cv2.imwrite(str(tmp_path / folder / f"{i}.png"), picture)
    query, gallery = (
        tuple(tmp_path / folder / f"{i}.png" for i in range(n)) for folder, n in (("query", 2), ("gallery", 3))
    )
    splits = {
        "one": RetrievalSplit(query, np.arange(2), gallery, np.arange(3)),
        "other": RetrievalSplit(gallery, np.arange(3), query, np.arange(2)),
    }
    described = []

    def counting(patches: UInt8Array, masks: BoolArray | None) -> Float32Array:
        described.append(len(patches))
        return thumbnail(patches, masks)

    scores = evaluate_splits(counting, splits, 32)
    assert sum(described) == 3
    assert scores == {name: evaluate_split(thumbnail, split, 32) for name, split in splits.items()}
    assert (scores["one"].full.recall[1], scores["other"].full.recall[1]) == (1.0, pytest.approx(2 / 3))
