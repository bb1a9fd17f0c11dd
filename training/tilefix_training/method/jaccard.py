"""Jaccard distance between k-reciprocal neighbourhoods: near means "has the same neighbours".

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding" (CVPR 2017, arXiv 1701.08398),
equations 3 to 10. Sparse: two samples without a common neighbour have the distance 1 and are not stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from tilefix.types import Float32Array

IntArray = npt.NDArray[np.int64]
_BLOCK = 1024


def jaccard_distances(features: Float32Array, k1: int, k2: int) -> Any:
    """Sparse CSR (n, n) of the Jaccard distances below 1 between L2-normalised features (n, d).

    `k1`: size of the neighbourhood; `k2`: neighbours over which the encodings are averaged (1 = none).
    """
    count = len(features)
    k1, k2 = min(k1, count - 1), min(k2, count)
    ranking = _nearest(features, k1 + 1)
    encoding = _encode(features, ranking, k1)
    if k2 > 1:
        rows = np.repeat(np.arange(count), k2)
        mean = sparse.csr_matrix((np.full(count * k2, 1.0 / k2), (rows, ranking[:, :k2].ravel())), shape=(count, count))
        encoding = (mean @ encoding).tocsr()
    return _distances(encoding)


def _nearest(features: Float32Array, k: int) -> IntArray:
    """Indices (n, k) of the k nearest by cosine, nearest first, each sample itself in front."""
    found = np.empty((len(features), k), np.int64)
    for start in range(0, len(features), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(features)))
        similarity = features[rows] @ features.T
        similarity[rows - start, rows] = np.inf
        best = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(best, order, axis=1)
    return found


def _reciprocal(ranking: IntArray, k: int) -> list[IntArray]:
    """For each sample those among its k nearest that have it among theirs, itself included."""
    near = ranking[:, : k + 1]
    count = len(near)
    rows = np.repeat(np.arange(count), near.shape[1])
    forward = sparse.csr_matrix((np.ones(near.size, np.int8), (rows, near.ravel())), shape=(count, count))
    both = forward.multiply(forward.T).tocsr()
    both.sort_indices()
    return [both.indices[both.indptr[i] : both.indptr[i + 1]].astype(np.int64) for i in range(count)]


def _encode(features: Float32Array, ranking: IntArray, k1: int) -> Any:
    """Rows of weights exp(-distance) over each expanded reciprocal neighbourhood, summing to 1."""
    wide, narrow = _reciprocal(ranking, k1), _reciprocal(ranking, max(1, round(k1 / 2)))
    indices, weights, starts = [], [], [0]
    for i, own in enumerate(wide):
        members = [own]
        for j in own:
            other = narrow[j]
            if 3 * len(np.intersect1d(other, own, assume_unique=True)) > 2 * len(other):
                members.append(other)
        neighbourhood = np.unique(np.concatenate(members))
        distance = 2.0 - 2.0 * (features[neighbourhood] @ features[i])
        weight = np.exp(-distance)
        indices.append(neighbourhood)
        weights.append(weight / weight.sum())
        starts.append(starts[-1] + len(neighbourhood))
    shape = (len(features), len(features))
    return sparse.csr_matrix((np.concatenate(weights), np.concatenate(indices), np.array(starts)), shape=shape)


def _distances(encoding: Any) -> Any:
    """1 - sum min / sum max of every pair of rows that overlap; as rows sum to 1, sum max = 2 - sum min."""
    count = encoding.shape[0]
    columns = encoding.tocsc()
    rows, others, values = [], [], []
    for i in range(count):
        own = slice(encoding.indptr[i], encoding.indptr[i + 1])
        shared = np.zeros(count)
        for column, weight in zip(encoding.indices[own], encoding.data[own], strict=True):
            part = slice(columns.indptr[column], columns.indptr[column + 1])
            shared[columns.indices[part]] += np.minimum(columns.data[part], weight)
        near = np.flatnonzero(shared)
        rows.append(np.full(len(near), i))
        others.append(near)
        values.append(np.clip(1.0 - shared[near] / (2.0 - shared[near]), 0.0, 1.0))
    data = (np.concatenate(values), (np.concatenate(rows), np.concatenate(others)))
    return sparse.csr_matrix(data, shape=(count, count))
