"""Neighbours and Jaccard distances, in blocks, against the definitions written out with sets and loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilefix.errors import ConfigError
from tilefix_training.method import jaccard, neighbours
from tilefix_training.method.jaccard import jaccard_distances
from tilefix_training.method.neighbours import nearest, rank_neighbours


def unit_rows(count: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def planted(clusters: int, size: int, spread: float, seed: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(clusters, dim)), size, axis=0) + spread * rng.normal(size=(clusters * size, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_definition(features: np.ndarray, ranking: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """Zhong et al. 2017, equations 3 to 10, from the rankings (n, at least k1 + 1)."""
    count = len(features)

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in ranking[i, : k + 1] if i in ranking[j, : k + 1]}

    encoding = np.zeros((count, count))
    for i in range(count):
        own = reciprocal(i, k1)
        members = set(own)
        for j in own:
            other = reciprocal(j, round(k1 / 2))
            if len(other & own) > 2 / 3 * len(other):
                members |= other
        for j in members:
            encoding[i, j] = np.exp(-(2 - 2 * float(features[i] @ features[j])))
        encoding[i] /= encoding[i].sum()
    encoding = np.stack([encoding[ranking[i, :k2]].mean(axis=0) for i in range(count)])
    both = np.minimum(encoding[:, None], encoding[None]).sum(axis=2)
    either = np.maximum(encoding[:, None], encoding[None]).sum(axis=2)
    return 1.0 - both / either


def dense(distances: object) -> np.ndarray:
    """What is not stored is 1; a stored 0 is 0."""
    coo = distances.tocoo()  # type: ignore[attr-defined]
    full = np.ones(coo.shape)
    full[coo.row, coo.col] = coo.data
    return full


@pytest.mark.parametrize(("k1", "k2"), [(10, 1), (10, 4), (7, 6), (3, 9)])
def test_distances_in_small_blocks_equal_the_definition(k1: int, k2: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK_BYTES", 7 * 4 * 54)  # blocks end inside clusters
    monkeypatch.setattr(jaccard, "_ROWS", 11)
    monkeypatch.setattr(jaccard, "_PAIRS", 13)
    monkeypatch.setattr(jaccard, "_TERMS", 500)
    features = planted(6, 9, 0.6, seed=1, dim=8)
    similarity = features @ features.T
    np.fill_diagonal(similarity, np.inf)
    ranking = np.argsort(-similarity, axis=1, kind="stable")
    expected = by_definition(features, ranking, k1, k2)
    assert 0.05 < (expected < 1.0).mean() < 0.95
    np.testing.assert_allclose(dense(jaccard_distances(features, k1, k2)), expected, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), copies=st.integers(1, 14), k1=st.integers(1, 12), k2=st.integers(1, 5))
def test_with_copies_the_distances_are_those_of_the_rankings(seed: int, copies: int, k1: int, k2: int) -> None:
    features = np.repeat(unit_rows(5, 4, seed), copies, axis=0)[np.random.default_rng(seed).permutation(5 * copies)]
    k1, k2 = min(k1, len(features) - 1), min(k2, len(features))
    ranking = rank_neighbours(features, max(k1 + 1, k2))
    np.testing.assert_allclose(
        dense(jaccard_distances(features, k1, k2)), by_definition(features, ranking, k1, k2), atol=1e-5
    )


def test_below_stores_exactly_the_small_distances() -> None:
    features = planted(5, 8, 0.8, seed=2, dim=6)
    everything, small = jaccard_distances(features, 9, 3), jaccard_distances(features, 9, 3, below=0.5)
    full = dense(everything)
    assert 0 < small.nnz < everything.nnz
    assert small.nnz == (full <= 0.5).sum()
    np.testing.assert_array_equal(dense(small)[full <= 0.5], full[full <= 0.5])


def test_distances_are_symmetric_zero_to_themselves_and_within_bounds() -> None:
    distances = jaccard_distances(planted(4, 10, 0.5, seed=3, dim=6), 8, 3)
    full = dense(distances)
    np.testing.assert_allclose(full, full.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(full), 0.0, atol=1e-6)
    assert distances.data.min() >= 0.0
    assert distances.data.max() < 1.0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), queries=st.integers(1, 20), targets=st.integers(1, 20), count=st.integers(1, 25))
def test_nearest_are_the_largest_products_in_order(seed: int, queries: int, targets: int, count: int) -> None:
    a, b = unit_rows(queries, 5, seed), unit_rows(targets, 5, seed + 1)
    found, similarity = nearest(a, b, count)
    order = np.argsort(-(a @ b.T), axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(similarity, np.take_along_axis(a @ b.T, order, axis=1), atol=1e-6)


def test_each_stands_in_front_of_its_own_list_with_its_own_similarity() -> None:
    features = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)  # the first is nearer to all than themselves
    found, similarity = nearest(features, features, 2, same=True)
    assert found.tolist() == [[0, 1], [1, 0], [2, 0]]
    assert similarity[:, 0].tolist() == [4.0, 1.0, 1.0]


def test_equal_similarities_come_in_the_order_of_their_index() -> None:
    targets = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], np.float32)
    assert nearest(np.array([[1.0, 0.0]], np.float32), targets, 4)[0].tolist() == [[1, 2, 3, 0]]


def test_a_ranking_with_copies_holds_the_nearest_and_every_own_copy_that_fits() -> None:
    distinct = unit_rows(6, 4, seed=5)
    group = np.random.default_rng(5).permutation(np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6]))
    features = distinct[group]
    ranking = rank_neighbours(features, 8)
    similarity = (distinct @ distinct.T)[np.ix_(group, group)]
    for i, row in enumerate(ranking):
        assert row[0] == i
        assert len(set(row)) == 8
        assert set(np.flatnonzero(group == group[i])) <= set(row)
        np.testing.assert_allclose(similarity[i, row], -np.sort(-similarity[i])[:8], atol=1e-6)


def test_more_copies_than_neighbours_stay_mutual_neighbours() -> None:
    features = np.repeat(unit_rows(3, 4, seed=6), 20, axis=0)
    near = [set(row) for row in rank_neighbours(features, 7)]  # itself, three before it and three behind
    assert all(i in near[j] for i in range(60) for j in near[i])
    assert near[0] == {0, 1, 2, 3, 17, 18, 19}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.full((4, 3), np.nan, np.float32), "4 of 4 descriptors are not finite, the first is number 0"),
        (
            np.array([[1, 0], [np.inf, 0], [0, 1]], np.float32),
            "1 of 3 descriptors are not finite, the first is number 1",
        ),
        (np.ones((1, 3), np.float32), "1 descriptors cannot be compared"),
        (np.ones((0, 3), np.float32), "0 descriptors cannot be compared"),
    ],
)
def test_descriptors_that_cannot_be_compared_are_named(features: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        jaccard_distances(features, 5, 2)


def test_neighbourhoods_of_no_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="k1 = 0 and k2 = 2"):
        jaccard_distances(unit_rows(5, 3, 0), 0, 2)
