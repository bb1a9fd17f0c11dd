"""Pseudo-labels: clusters of descriptors that share their neighbours."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import DBSCAN

from tilefix.types import Float32Array
from tilefix_training.method.jaccard import IntArray, jaccard_distances

OUTLIER = -1


def cluster_labels(features: Float32Array, *, k1: int, k2: int, eps: float, min_samples: int) -> IntArray:
    """Labels (n,) from 0, without gaps, of L2-normalised features (n, d); -1 = belongs to no cluster."""
    distances = jaccard_distances(features, k1, k2)
    found = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(distances)
    return np.asarray(found, np.int64)


def cluster_means(features: Float32Array, labels: IntArray) -> Float32Array:
    """L2-normalised mean feature (k, d) of each label from 0; outliers are left out."""
    kept = labels != OUTLIER
    means = np.zeros((int(labels.max(initial=OUTLIER)) + 1, features.shape[1]), np.float32)
    np.add.at(means, labels[kept], features[kept])
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12), np.float32)
