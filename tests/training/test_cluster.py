"""Jaccard distance and clustering, against the definition and against planted clusters."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tilefix_training.method.cluster import OUTLIER, cluster_labels, cluster_means
from tilefix_training.method.jaccard import jaccard_distances


def planted(clusters: int, size: int, spread: float, seed: int, dim: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around random directions, in mixed order, with their cluster."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(clusters), size))
    features = rng.normal(size=(clusters, dim))[labels] + spread * rng.normal(size=(len(labels), dim))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


def by_definition(features: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """Zhong et al. 2017, equations 3 to 10, written out with sets and loops."""
    count = len(features)
    similarity = features @ features.T
    np.fill_diagonal(similarity, np.inf)
    ranking = np.argsort(-similarity, axis=1, kind="stable")

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


@pytest.mark.parametrize("k2", [1, 4])
def test_sparse_distances_equal_the_definition(k2: int) -> None:
    features, _ = planted(6, 9, 0.6, seed=1, dim=8)
    sparse = jaccard_distances(features, 10, k2).tocoo()  # what is not stored is 1; a stored 0 is 0
    dense = np.ones(sparse.shape)
    dense[sparse.row, sparse.col] = sparse.data
    np.testing.assert_allclose(dense, by_definition(features, 10, k2), atol=1e-5)


def test_planted_clusters_are_found_and_loners_left_out() -> None:
    features, labels = planted(40, 8, 0.25, seed=2)
    loners, _ = planted(15, 1, 0.0, seed=3)
    found = cluster_labels(np.vstack([features, loners]), k1=10, k2=3, eps=0.4, min_samples=4)
    assert adjusted_rand_score(labels, found[: len(labels)]) > 0.98
    assert (found[len(labels) :] == OUTLIER).mean() > 0.8
    assert set(found) - {OUTLIER} == set(range(found.max() + 1))


def test_more_neighbours_than_samples_is_no_error() -> None:
    features, _ = planted(2, 3, 0.1, seed=4)
    assert cluster_labels(features, k1=30, k2=20, eps=0.5, min_samples=2).shape == (6,)


def test_means_are_of_each_cluster_of_length_one_without_outliers() -> None:
    features = np.array([[1, 0], [0, 1], [0, -1], [0.6, 0.8]], np.float32)
    means = cluster_means(features, np.array([0, 1, OUTLIER, 0]))
    np.testing.assert_allclose(means, [np.array([1.6, 0.8]) / np.hypot(1.6, 0.8), [0, 1]], atol=1e-6)
