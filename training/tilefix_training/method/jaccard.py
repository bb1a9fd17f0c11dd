"""Jaccard distance between k-reciprocal neighbourhoods: near means "has the same neighbours".

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding" (CVPR 2017, arXiv 1701.08398),
equations 3 to 10. Sparse throughout: two samples without a common neighbour have the distance 1 and are not stored,
so that memory grows with the number of samples and not with its square.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from tilefix.errors import ConfigError
from tilefix.types import Float32Array, IntArray
from tilefix_training.method.neighbours import rank_neighbours

__all__ = ["IntArray", "jaccard_distances"]
_ROWS = 4096  # of a sparse product made at once
_PAIRS = 16384  # of descriptors compared at once
_TERMS = 4_000_000  # of the sums of minima added up at once


def jaccard_distances(
    features: Float32Array, k1: int, k2: int, *, below: float | None = None, device: str = "cpu"
) -> Any:
    """Sparse CSR (n, n) float32 of the Jaccard distances between L2-normalised features (n, d).

    `k1`: size of the neighbourhood; `k2`: neighbours over which the encodings are averaged (1 = none). Stored are the
    distances under 1, or with `below` those of at most `below`; a stored 0 is 0, what is not stored is more. `device`:
    where neighbours are searched. Raises `ConfigError` for less than two rows, or rows that are not finite.
    """
    count = len(features)
    if count < 2:
        raise ConfigError(f"{count} descriptors cannot be compared", mend="give at least two pictures")
    if k1 < 1 or k2 < 1:
        raise ConfigError(f"k1 = {k1} and k2 = {k2} must be at least 1")
    k1, k2 = min(k1, count - 1), min(k2, count)
    ranking = rank_neighbours(features, max(k1 + 1, k2), device=device)
    encoding = _encode(features, ranking, k1)
    if k2 > 1:
        encoding = (_pattern(ranking[:, :k2], 1.0 / k2) @ encoding).tocsr()
    return _distances(encoding, below)


def _pattern(columns: IntArray, value: float) -> Any:
    """CSR (n, n) that holds `value` at the given columns (n, k) of each row."""
    count, width = columns.shape
    starts = np.arange(0, count * width + 1, width)
    data = np.full(columns.size, value, np.float32)
    return sparse.csr_matrix((data, columns.ravel(), starts), shape=(count, count))


def _reciprocal(ranking: IntArray, k: int) -> Any:
    """Ones where each is among the k nearest of the other (equation 4); every sample is its own."""
    forward = _pattern(ranking[:, : k + 1], 1.0)
    return forward.multiply(forward.T).tocsr()


def _encode(features: Float32Array, ranking: IntArray, k1: int) -> Any:
    """Rows of weights exp(-distance) over each expanded reciprocal neighbourhood, summing to 1 (equations 5 to 7)."""
    wide, narrow = _reciprocal(ranking, k1), _reciprocal(ranking, max(1, round(k1 / 2)))
    sizes = np.diff(narrow.indptr)
    parts = []
    for start in range(0, len(features), _ROWS):
        own = wide[start : start + _ROWS]
        shared = own.multiply(own @ narrow.T).tocsr()  # of j in the neighbourhood: how much of its own is inside
        shared.data = (3.0 * shared.data > 2.0 * sizes[shared.indices]).astype(np.float32)
        shared.eliminate_zeros()
        parts.append((shared @ narrow + own).tocsr())
    encoding = sparse.vstack(parts, format="csr")
    encoding.sort_indices()
    rows = np.repeat(np.arange(len(features)), np.diff(encoding.indptr))
    for start in range(0, len(rows), _PAIRS):
        pairs = slice(start, start + _PAIRS)
        similarity = np.einsum("nd,nd->n", features[rows[pairs]], features[encoding.indices[pairs]])
        encoding.data[pairs] = np.exp(2.0 * similarity - 2.0)
    encoding.data /= np.add.reduceat(encoding.data, encoding.indptr[:-1])[rows]  # no row is empty: each has itself
    return encoding


def _distances(encoding: Any, below: float | None) -> Any:
    """1 - sum min / sum max of every pair of rows that overlap; as rows sum to 1, sum max = 2 - sum min."""
    count = encoding.shape[0]
    columns = encoding.tocsc()
    heights = np.diff(columns.indptr)
    # A row costs as many terms as its columns are high.
    terms = np.concatenate([[0], np.cumsum(heights[encoding.indices], dtype=np.int64)])[encoding.indptr]
    parts = []
    start = 0
    while start < count:
        stop = max(start + 1, int(np.searchsorted(terms, terms[start] + _TERMS, side="right")) - 1)
        shared = _sums_of_minima(encoding[start:stop], columns, heights)
        distance = np.clip(1.0 - shared.data / (2.0 - shared.data), 0.0, 1.0)
        kept = distance < 1.0 if below is None else distance <= below
        rows = np.repeat(np.arange(stop - start), np.diff(shared.indptr))[kept]
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=stop - start))])
        parts.append(sparse.csr_matrix((distance[kept], shared.indices[kept], starts), shape=(stop - start, count)))
        start = stop
    distances = sparse.vstack(parts, format="csr")
    distances.sort_indices()
    return distances


def _sums_of_minima(rows: Any, columns: Any, heights: npt.NDArray[Any]) -> Any:
    """CSR (b, n): sum over c of min(rows[i, c], all[j, c]), where there is anything to add.

    Each stored (i, c) spreads over its column c, with minima for values; a product with the ones that say which
    (i, c) belong to row i adds them up.
    """
    lengths = heights[rows.indices]
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    place = np.arange(starts[-1]) + np.repeat(columns.indptr[rows.indices] - starts[:-1], lengths)
    minima = np.minimum(columns.data[place], np.repeat(rows.data, lengths))
    spread = sparse.csr_matrix((minima, columns.indices[place], starts), shape=(rows.nnz, columns.shape[0]))
    ones = np.ones(rows.nnz, np.float32)
    return sparse.csr_matrix((ones, np.arange(rows.nnz), rows.indptr), shape=(rows.shape[0], rows.nnz)) @ spread
