"""Clustering against planted clusters, and means of clusters."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from tilefix.errors import ConfigError
from tilefix_training.method.cluster import OUTLIER, cluster_labels, cluster_means
from tilefix_training.method.jaccard import jaccard_distances


def planted(clusters: int, size: int, spread: float, seed: int, dim: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around random directions, in mixed order, with their cluster."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(clusters), size))
    features = rng.normal(size=(clusters, dim))[labels] + spread * rng.normal(size=(len(labels), dim))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


def test_planted_clusters_are_found_and_loners_left_out() -> None:
    features, labels = planted(40, 8, 0.25, seed=2)
    loners, _ = planted(15, 1, 0.0, seed=3)
    found = cluster_labels(np.vstack([features, loners]), k1=10, k2=3, eps=0.4, min_samples=4)
    assert adjusted_rand_score(labels, found[: len(labels)]) > 0.98
    assert (found[len(labels) :] == OUTLIER).mean() > 0.8
    assert set(found) - {OUTLIER} == set(range(found.max() + 1))


def test_labels_are_those_of_all_distances() -> None:
    features, _ = planted(12, 9, 0.9, seed=7, dim=8)
    coo = jaccard_distances(features, 10, 3).tocoo()
    full = np.ones(coo.shape)
    full[coo.row, coo.col] = coo.data
    expected = DBSCAN(eps=0.5, min_samples=4, metric="precomputed").fit_predict(full)
    assert expected.max() > 1
    assert (expected == OUTLIER).any()
    np.testing.assert_array_equal(cluster_labels(features, k1=10, k2=3, eps=0.5, min_samples=4), expected)


@pytest.mark.parametrize("k2", [1, 6])
def test_fifty_copies_of_an_image_are_one_cluster(k2: int) -> None:
    features, _ = planted(7, 1, 0.0, seed=8)
    copies = np.repeat(features, 50, axis=0)
    found = cluster_labels(copies, k1=30, k2=k2, eps=0.3, min_samples=4)
    assert found.max() == 6
    np.testing.assert_array_equal(found, np.repeat(np.arange(7), 50))


def test_all_outliers_are_labels_too() -> None:
    features, _ = planted(30, 1, 0.0, seed=9)
    np.testing.assert_array_equal(cluster_labels(features, k1=4, k2=1, eps=0.05, min_samples=4), np.full(30, OUTLIER))
    assert cluster_means(features, np.full(30, OUTLIER)).shape == (0, 32)


def test_more_neighbours_than_samples_is_no_error() -> None:
    features, _ = planted(2, 3, 0.1, seed=4)
    assert cluster_labels(features, k1=30, k2=20, eps=0.5, min_samples=2).shape == (6,)


@pytest.mark.parametrize("eps", [0.0, 1.0, 1.5])
def test_an_eps_that_takes_all_or_nothing_is_refused(eps: float) -> None:
    with pytest.raises(ConfigError, match=f"eps = {eps} is not between 0 and 1"):
        cluster_labels(planted(3, 4, 0.1, seed=1)[0], k1=4, k2=2, eps=eps, min_samples=2)


def test_descriptors_that_are_not_finite_are_refused() -> None:
    features, _ = planted(3, 4, 0.1, seed=1)
    features[5, 3] = np.nan
    with pytest.raises(ConfigError, match="1 of 12 descriptors are not finite, the first is number 5"):
        cluster_labels(features, k1=4, k2=2, eps=0.5, min_samples=2)


def test_means_are_of_each_cluster_of_length_one_without_outliers() -> None:
    features = np.array([[1, 0], [0, 1], [0, -1], [0.6, 0.8]], np.float32)
    means = cluster_means(features, np.array([0, 1, OUTLIER, 0]))
    np.testing.assert_allclose(means, [np.array([1.6, 0.8]) / np.hypot(1.6, 0.8), [0, 1]], atol=1e-6)
