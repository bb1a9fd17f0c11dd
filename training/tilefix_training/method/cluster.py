"""Pseudo-labels: clusters of descriptors that share their neighbours."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import DBSCAN
from sklearn.neighbors import sort_graph_by_row_values

from tilefix.errors import ConfigError
from tilefix.types import Float32Array, IntArray
from tilefix_training.method.jaccard import jaccard_distances

OUTLIER = -1


def cluster_labels(
    features: Float32Array, *, k1: int, k2: int, eps: float, min_samples: int, device: str = "cpu"
) -> IntArray:
    """Labels (n,) from 0, without gaps, of L2-normalised features (n, d); -1 = belongs to no cluster.

    DBSCAN (Ester et al., KDD 1996) on the Jaccard distance. All rows may come out as -1. `device`: where neighbours
    are searched. Raises `ConfigError` for less than two rows, rows that are not finite, or an `eps` not in (0, 1).
    """
    if not 0.0 < eps < 1.0:
        raise ConfigError(f"eps = {eps} is not between 0 and 1", mend="distances without a common neighbour are 1")
    distances = jaccard_distances(features, k1, k2, below=eps, device=device)
    distances = sort_graph_by_row_values(distances, copy=False, warn_when_not_sorted=False)
    found = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(distances)
    return np.asarray(found, np.int64)


def cluster_means(features: Float32Array, labels: IntArray) -> Float32Array:
    """L2-normalised mean feature (k, d) of each label from 0; outliers are left out."""
    kept = labels != OUTLIER
    means = np.zeros((int(labels.max(initial=OUTLIER)) + 1, features.shape[1]), np.float32)
    np.add.at(means, labels[kept], features[kept])
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12), np.float32)
