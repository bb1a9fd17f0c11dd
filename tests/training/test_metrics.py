"""Every measure by hand, and all of them together against code that sorts and loops as plainly as it can."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilefix.errors import ConfigError
from tilefix.types import Float32Array
from tilefix_training.evaluation import metrics
from tilefix_training.evaluation.metrics import Positions, average_precision, haversine_m, measure, positive_ranks


def unit(values: Float32Array) -> Float32Array:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def on_a_line(similarities: list[float]) -> Float32Array:
    """A gallery that has these similarities to the query (1, 0)."""
    return np.array([[s, math.sqrt(1.0 - s * s)] for s in similarities], np.float32)


QUERY = np.array([[1.0, 0.0]], np.float32)


def test_average_precision_by_hand() -> None:
    assert average_precision(np.array([0])) == 1.0
    assert average_precision(np.array([3])) == 0.5 / 4
    # Ranks 0 and 2: (1 + 1) / 2, and (1 / 2 + 2 / 3) / 2.
    assert average_precision(np.array([0, 2])) == pytest.approx(0.5 * (1.0 + 7 / 12))
    # Ranks 1 and 2: (0 + 1 / 2) / 2, and (1 / 2 + 2 / 3) / 2.
    assert average_precision(np.array([1, 2])) == pytest.approx(0.5 * (1 / 4 + 7 / 12))


def test_a_gallery_by_hand() -> None:
    gallery = on_a_line([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    found = measure(QUERY, ["b"], gallery, ["a", "b", "c", "b", "a", "a", "a"])
    assert found.recall == {1: 0.0, 5: 1.0, 10: 1.0}
    assert found.ap == pytest.approx(0.5 * ((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2))
    assert found.recall_top1_percent == 0.0  # the first of 7
    assert (found.queries, found.gallery, found.unmatched, found.sdm) == (1, 7, 0, {})


def test_the_first_percent_counts_as_university_1652_does() -> None:
    similarities = np.linspace(0.99, -0.99, 200).tolist()
    for place, expected in ((2, 1.0), (3, 0.0)):  # round(200 / 100) + 1 = 3 pictures
        ids = [1 if i == place else 0 for i in range(200)]
        assert measure(QUERY, [1], on_a_line(similarities), ids).recall_top1_percent == expected


def test_wrong_pictures_stand_before_right_ones_that_are_as_similar() -> None:
    similarity = np.array([5.0, 9.0, 5.0, 5.0, 1.0], np.float32)
    assert positive_ranks(similarity, np.array([0, 3])).tolist() == [2, 3]
    assert positive_ranks(similarity, np.array([0, 2, 3])).tolist() == [1, 2, 3]
    same = np.ones((6, 4), np.float32) / 2
    collapsed = measure(same, range(6), same, range(6))
    assert collapsed.recall == {1: 0.0, 5: 0.0, 10: 1.0}
    assert collapsed.ap == pytest.approx(0.5 / 6)


def test_what_the_gallery_does_not_show_is_a_miss() -> None:
    found = measure(np.repeat(QUERY, 2, axis=0), [7, 8], on_a_line([0.5]), [7])
    assert (found.unmatched, found.recall[1], found.recall[10], found.ap) == (1, 0.5, 0.5, 0.5)


def test_distances_by_hand() -> None:
    assert haversine_m(np.array([0.0, 0.0]), np.array([1.0, 0.0])) == pytest.approx(111195.08, abs=0.1)
    assert haversine_m(np.array([0.0, 60.0]), np.array([0.001, 60.0])) == pytest.approx(55.5975, abs=1e-3)
    # Results 0, 0.0001 and 0.0002 degrees off: about 0, 11 and 22 m along the meridian.
    positions = Positions(np.array([[20.0, 10.0]]), np.array([[20.0, 10.0], [20.0, 10.0001], [20.0, 10.0002]]))
    right_first = measure(QUERY, [1], on_a_line([0.9, 0.8, 0.7]), [1, 2, 3], positions)
    assert right_first.sdm[1] == 1.0
    assert right_first.sdm[3] == pytest.approx((3 + 2 * math.exp(-0.5) + math.exp(-1.0)) / 6)
    assert right_first.sdm[5] == pytest.approx((5 + 4 * math.exp(-0.5) + 3 * math.exp(-1.0)) / 12)
    assert right_first.within_m == {5.0: 1.0, 10.0: 1.0, 20.0: 1.0, 50.0: 1.0}
    last_first = measure(QUERY, [1], on_a_line([0.7, 0.8, 0.9]), [1, 2, 3], positions)
    assert last_first.sdm[1] == pytest.approx(math.exp(-1.0))
    assert last_first.within_m == {5.0: 0.0, 10.0: 0.0, 20.0: 0.0, 50.0: 1.0}
    undecided = measure(QUERY, [1], on_a_line([0.9, 0.9, 0.9]), [1, 2, 3], positions)
    assert undecided.sdm == last_first.sdm


def brute(query: Float32Array, query_ids: list[int], gallery: Float32Array, gallery_ids: list[int]) -> dict[str, float]:
    """A sorted list for every query; of equals the wrong ones first."""
    hits: dict[int, list[bool]] = {1: [], 5: [], 10: []}
    percent, precisions = [], []
    for q, name in zip(query, query_ids, strict=True):
        order = sorted(
            (-round(float(np.dot(q.astype(np.float64), g.astype(np.float64))), 3), other == name)
            for g, other in zip(gallery, gallery_ids, strict=True)
        )
        right = [is_right for _, is_right in order]
        for k, found in hits.items():
            found.append(any(right[:k]))
        percent.append(any(right[: round(len(right) / 100) + 1]))
        total = 0.0
        for rank, is_right in enumerate(right):
            if is_right:
                so_far = sum(right[:rank])
                total += ((so_far / rank if rank else 1.0) + (so_far + 1) / (rank + 1)) / 2
        precisions.append(total / max(1, sum(right)))
    return {f"R@{k}": float(np.mean(v)) for k, v in hits.items()} | {
        "R@1%": float(np.mean(percent)),
        "AP": float(np.mean(precisions)),
    }


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 12),
    pictures=st.integers(1, 160),
    places=st.integers(1, 12),
    block=st.integers(1, 400),
)
def test_all_measures_agree_with_a_plain_recomputation(
    seed: int, queries: int, pictures: int, places: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    # Products of these are multiples of 1/4: many ties, and exact.
    query, gallery = (rng.choice([-0.5, 0.5], (n, 4)).astype(np.float32) for n in (queries, pictures))
    query_ids, gallery_ids = rng.integers(0, places, queries).tolist(), rng.integers(0, places, pictures).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_BLOCK", block)
        found = measure(query, query_ids, gallery, gallery_ids)
    got = {f"R@{k}": v for k, v in found.recall.items()} | {"R@1%": found.recall_top1_percent, "AP": found.ap}
    assert got == pytest.approx(brute(query, query_ids, gallery, gallery_ids))


def test_no_block_is_larger_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_BLOCK", 100)
    rng = np.random.default_rng(3)
    query, gallery = unit(rng.normal(size=(23, 8))), unit(rng.normal(size=(30, 8)))
    blocks = list(metrics.similarity_blocks(query, gallery))
    assert {len(block) for _, block in blocks} == {3, 2}
    whole = np.concatenate([block for _, block in blocks])
    np.testing.assert_allclose(whole / 1e6, query @ gallery.T, atol=1e-6)


@pytest.mark.parametrize(
    ("queries", "ids", "pictures", "wanted"),
    [
        (np.zeros((0, 2)), [], QUERY, "nothing to search"),
        (QUERY, [1], np.zeros((1, 3)), "descriptors"),
        (QUERY, [1, 2], QUERY, "1 descriptors of queries but 2 ids"),
        (QUERY * np.nan, [1], QUERY, "not finite"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    queries: Float32Array, ids: list[int], pictures: Float32Array, wanted: str
) -> None:
    with pytest.raises(ConfigError, match=wanted):
        measure(queries.astype(np.float32), ids, pictures.astype(np.float32), [1])
