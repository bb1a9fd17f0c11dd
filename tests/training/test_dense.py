from __future__ import annotations

import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest

from tilefix.errors import ConfigError
from tilefix.types import BoolArray, Float32Array, IntArray, UInt8Array
from tilefix_training.evaluation import dense
from tilefix_training.evaluation.dense import Case, case_of, locate, ranks, score, table, world_case
from tilefix_training.evaluation.descriptors import thumbnail


def by_brightness(patches: UInt8Array, masks: BoolArray | None) -> Float32Array:
    """A descriptor on the unit circle: its angle is the mean grey value."""
    angle = patches.mean(axis=(1, 2, 3)) / 255.0
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def flat(values: list[int]) -> UInt8Array:
    return np.stack([np.full((8, 8, 3), value, np.uint8) for value in values])


def line(greys: list[int], queries: list[list[int]], targets: list[tuple[float, float]], **changes: object) -> Case:
    """Tiles of these greys 10 m apart on a line, and queries of these greys, one for each heading."""
    tiles = flat(greys)

    def cut(numbers: IntArray) -> tuple[UInt8Array, None]:
        return tiles[numbers], None

    images = np.stack([flat(query) for query in queries])
    values: dict[str, object] = {
        "tile_centres_m": np.array([(10.0 * i, 0.0) for i in range(len(greys))]),
        "cut": cut,
        "queries": images,
        "masks": np.ones(images.shape[:4], np.bool_),
        "targets_m": np.array(targets),
        "offsets_m": np.zeros((*images.shape[:2], 2)),
        "hit_m": 10.0,
    }
    return Case(**(values | changes))  # type: ignore[arg-type]


def test_ranks_shares_and_errors_by_hand() -> None:
    case = line([10, 60, 120, 200], [[62], [131], [20]], [(10.0, 0.0), (2.0, 3.0), (29.0, 0.0)])
    # 62: tiles 0 to 2 are hits, 60 is first. 131: tiles 0 and 1 are hits, behind 120 and 200, and 120 is the answer.
    # 20: tiles 2 and 3 are hits, behind 10 and 60, and 10 is the answer.
    found = locate(case, by_brightness)
    assert found.rank.tolist() == ranks(case, by_brightness).tolist() == [0.0, 2.0, 2.0]
    assert found.error_m.tolist() == pytest.approx([0.0, np.hypot(18.0, 3.0), 29.0])
    assert found.nearest_m.tolist() == pytest.approx([0.0, np.hypot(2.0, 3.0), 1.0])
    total = score([case], by_brightness)
    assert total.recall == {1: pytest.approx(1 / 3), 5: 1.0, 10: 1.0}
    assert total.top_share[0.05] == pytest.approx(1 / 3)
    assert total.median_rank_share == 0.5
    assert list(total.within_m) == [1.0, 5.0, 10.0, 25.0, 50.0]
    assert list(total.within_m.values()) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 1.0])
    assert total.median_error_m == pytest.approx(np.hypot(18.0, 3.0))
    assert total.mean_error_m == pytest.approx((np.hypot(18.0, 3.0) + 29.0) / 3)
    assert total.nearest_median_m == pytest.approx(1.0)
    assert json.loads(json.dumps(asdict(total)))["within_m"]["25.0"] == pytest.approx(2 / 3)
    assert "18.2" in table({"grey": total})


def test_among_tiles_that_look_the_same_the_wrong_and_the_furthest_come_first() -> None:
    case = line([50, 50, 50, 50, 50], [[50]], [(10.0, 0.0)])
    found = locate(case, by_brightness)
    assert (found.rank[0], found.error_m[0]) == (2.0, 30.0)


def test_the_heading_that_fits_decides_and_brings_its_offset() -> None:
    offsets_m = np.array([[(0.0, 0.0), (20.0, 0.0)]])
    case = line([10, 60, 120, 200], [[90, 199]], [(10.0, 0.0)], offsets_m=offsets_m)
    # The second heading fits tile 3 best, and puts the vehicle 20 m west of it: on the target.
    found = locate(case, by_brightness)
    assert (found.rank[0], found.error_m[0]) == (0.0, 0.0)
    without = line([10, 60, 120, 200], [[90, 199]], [(10.0, 0.0)])
    assert locate(without, by_brightness).error_m[0] == 20.0


def test_blocks_of_tiles_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    sky = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    case = case_of(sky, sky, patch_px=32, queries=8, rng=rng)
    whole = locate(case, thumbnail)
    monkeypatch.setattr(dense, "_BLOCK", 7)
    in_blocks = locate(case, thumbnail)
    np.testing.assert_array_equal(whole.rank, in_blocks.rank)
    np.testing.assert_array_equal(whole.error_m, in_blocks.error_m)


def blocks_of_colour(seed: int, cells: int = 40, size: int = 8) -> UInt8Array:
    coarse = np.random.default_rng(seed).integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, size, axis=0), size, axis=1)


def test_identical_views_are_found_and_unrelated_ones_are_not() -> None:
    sky = blocks_of_colour(0)
    same, not_same = (
        score([case_of(sky, flight, patch_px=64, queries=60, rng=np.random.default_rng(1))], thumbnail)
        for flight in (sky, blocks_of_colour(5))
    )
    assert same.recall[5] > 0.6
    assert not_same.recall[5] < 0.3
    assert same.median_rank_share < not_same.median_rank_share
    assert same.within_m[25.0] > 3 * not_same.within_m[25.0]


def test_errors_are_in_metres_and_a_smaller_stride_allows_smaller_ones() -> None:
    sky = blocks_of_colour(0)
    coarse, fine = (
        case_of(sky, sky, patch_px=64, queries=25, rng=np.random.default_rng(1), gsd_m=0.5, stride_m=stride_m)
        for stride_m in (16.0, 4.0)
    )
    assert (len(coarse.tile_centres_m), len(fine.tile_centres_m)) == (81, 33 * 33)
    assert coarse.tile_centres_m.max() == 144.0
    assert coarse.hit_m == fine.hit_m == 8.0
    large, small = score([coarse], thumbnail), score([fine], thumbnail)
    assert small.nearest_median_m < 2.0 < 4.0 < large.nearest_median_m
    assert small.median_error_m < large.median_error_m
    with pytest.raises(ConfigError, match="larger --stride-m"):
        case_of(
            np.zeros((4000, 4000, 3), np.uint8), sky, patch_px=64, queries=1, rng=np.random.default_rng(), stride_m=1
        )


def test_without_a_heading_some_of_the_headings_tried_finds_the_place() -> None:
    sky = blocks_of_colour(0, cells=24)
    tried, too_few = (
        case_of(sky, sky, patch_px=64, queries=25, rng=np.random.default_rng(1), turns=turns) for turns in (18, 2)
    )
    assert tried.queries.shape == (25, 18, 64, 64, 3)
    assert score([tried], thumbnail).recall[5] > 2 * score([too_few], thumbnail).recall[5]
    # Half the headings later the same ground is in view, upside down.
    middle = slice(24, 40)
    one, other = tried.queries[:, 0, middle, middle].astype(int), tried.queries[:, 9, middle, middle].astype(int)
    assert np.abs(one - other[:, ::-1, ::-1]).max() <= 16  # the warp is exact to 1/32 px
    assert (tried.masks[:, 0] == tried.masks[:, 9, ::-1, ::-1]).mean() > 0.98


def test_picture_and_mask_turn_together() -> None:
    sky = blocks_of_colour(0, cells=24)
    case = case_of(sky, sky, patch_px=64, queries=10, rng=np.random.default_rng(1), turns=8)
    quarter = np.rot90(case.queries[:, 0], axes=(1, 2)).astype(int)
    assert np.abs(quarter - case.queries[:, 2])[:, 24:40, 24:40].max() <= 16
    eighth = cv2.getRotationMatrix2D((31.5, 31.5), 45.0, 1.0)
    rows, columns = np.mgrid[:64, :64] - 31.5
    disc = np.hypot(rows, columns) < 31.0
    for before, after in zip(case.masks[:, 0], case.masks[:, 1], strict=True):
        turned = cv2.warpAffine(before.astype(np.uint8), eighth, (64, 64), flags=cv2.INTER_NEAREST)
        assert (turned[disc] == after[disc]).mean() > 0.95


def test_a_worlds_case_is_partly_covered_and_inside_the_map() -> None:
    case = world_case(1500, patch_m=100.0, size_m=200.0, queries=12, patch_px=32)
    tiles, masks = case.cut(np.arange(len(case.tile_centres_m)))
    assert tiles.shape == (5 * 5, 32, 32, 3)
    assert masks is None
    assert case.hit_m == 25.0
    assert case.queries.shape == (12, 1, 32, 32, 3)
    assert 0.2 < case.masks.mean() < 0.95
    off = np.abs(case.targets_m[:, None] - case.tile_centres_m[None]).max(axis=2).min(axis=1)
    assert (off <= 12.5).all()
    again = world_case(1500, patch_m=100.0, size_m=200.0, queries=12, patch_px=32)
    np.testing.assert_array_equal(case.queries, again.queries)
