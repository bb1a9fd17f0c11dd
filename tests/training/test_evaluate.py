from __future__ import annotations

import numpy as np
import pytest

from tilefix.types import BoolArray, Float32Array, UInt8Array
from tilefix_training.evaluation.dense import Case, case_of, ranks, score, world_case
from tilefix_training.evaluation.descriptors import thumbnail


def by_brightness(patches: UInt8Array, masks: BoolArray | None) -> Float32Array:
    """A descriptor on the unit circle: its angle is the mean grey value."""
    angle = patches.mean(axis=(1, 2, 3)) / 255.0
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_ranks_and_shares_by_hand() -> None:
    def flat(values: list[int]) -> UInt8Array:
        return np.stack([np.full((8, 8, 3), value, np.uint8) for value in values])

    centres = np.array([(0.0, 0.0), (10.0, 0.0), (20.0, 0.0), (30.0, 0.0)])
    case = Case(
        tiles=flat([10, 60, 120, 200]),
        tile_centres_px=centres,
        queries=flat([62, 130, 20]),
        masks=np.ones((3, 8, 8), np.bool_),
        query_centres_px=np.array([(10.0, 0.0), (2.0, 0.0), (29.0, 0.0)]),
        stride_px=10.0,
    )
    # 62: tiles 0 to 2 are hits, 60 is first. 130: tiles 0 and 1 are hits, behind 120, 200 lies 70 off as 60 does.
    # 20: tiles 2 and 3 are hits, behind 10 and 60.
    assert ranks(case, by_brightness).tolist() == [0.0, 1.0, 2.0]
    found = score([case], by_brightness)
    assert found.recall == {1: pytest.approx(1 / 3), 5: 1.0, 10: 1.0}
    assert found.top_share[0.05] == pytest.approx(1 / 3)
    assert found.median_rank_share == 0.25
    assert "R@1  33.3" in found.text()


def test_identical_views_are_found_and_unrelated_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    sky = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)
    other = np.repeat(np.repeat(coarse[::-1, ::-1], 8, axis=0), 8, axis=1)
    same, not_same = (
        score([case_of(sky, flight, patch_px=64, queries=60, rng=np.random.default_rng(1))], thumbnail)
        for flight in (sky, other)
    )
    assert same.recall[5] > 0.6
    assert not_same.recall[5] < 0.3
    assert same.median_rank_share < not_same.median_rank_share


def test_a_worlds_case_is_partly_covered_and_inside_the_map() -> None:
    case = world_case(1500, patch_m=100.0, size_m=400.0, queries=12, patch_px=32)
    assert case.tiles.shape == (13 * 13, 32, 32, 3)
    assert case.stride_px == 8.0
    assert case.queries.shape == (12, 32, 32, 3)
    assert 0.2 < case.masks.mean() < 0.95
    off = np.abs(case.query_centres_px[:, None] - case.tile_centres_px[None]).max(axis=2).min(axis=1)
    assert (off <= 4.0).all()
    again = world_case(1500, patch_m=100.0, size_m=400.0, queries=12, patch_px=32)
    np.testing.assert_array_equal(case.queries, again.queries)


def test_a_thumbnail_ignores_what_is_masked_out() -> None:
    patches = np.random.default_rng(2).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    masks = np.ones((2, 48, 48), np.bool_)
    masks[:, :24] = False
    other = patches.copy()
    other[:, :24] = 0
    np.testing.assert_array_equal(thumbnail(patches, masks), thumbnail(other, masks))
    np.testing.assert_allclose(np.linalg.norm(thumbnail(patches), axis=1), 1.0, atol=1e-5)
