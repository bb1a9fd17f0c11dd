"""How good an epoch looks without knowing a single label: what a run may be selected by.

Nothing here reads an identity or a position; descriptors and the epoch's own pseudo-labels are all there is. Each
criterion is larger for better. None of them is proved to follow the score on a test: `docs/results.md` says how far.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import adjusted_rand_score

from tilefix.types import Float32Array, Float64Array, IntArray

_BLOCK = 4096  # pictures compared with all centroids at once


def criteria(
    drone: Float32Array, drone_labels: IntArray, satellite: Float32Array, previous_labels: IntArray | None = None
) -> dict[str, float]:
    """Criteria of an epoch by name, from descriptors (n, d) and (m, d), L2-normalised, and labels (n,), -1 for none.

    clustered: share of the drone pictures that have a label.
    silhouette: how much nearer pictures are to their own cluster than to the next, -1 to 1 (Rousseeuw 1987, with
        distances to centroids; a picture does not count in its own).
    mutual: share of clusters that are the nearest of their nearest satellite picture.
    halves: share of clusters whose two halves have one nearest satellite picture.
    cycle: share of clusters where half of the pictures leads to a satellite picture and that back to the other half.
    spread: satellite pictures that are nearest to some cluster, of as many as could be.
    margin: mean gap in cosine between the nearest satellite picture and the next.
    stability: adjusted Rand index with `previous_labels`, over pictures labelled both times; only where they are given.

    Copies of a satellite picture count once.
    """
    labels = np.asarray(drone_labels, np.int64)
    satellite = _distinct(np.asarray(satellite, np.float32))
    used, dense = np.unique(labels[labels >= 0], return_inverse=True)
    found = {"clustered": float((labels >= 0).mean()) if len(labels) else 0.0}
    found |= dict.fromkeys(("silhouette", "mutual", "halves", "cycle", "spread", "margin"), 0.0)
    if len(used) >= 2 and len(satellite) >= 2:
        members = np.asarray(drone, np.float32)[labels >= 0]
        found |= _across(members, dense.astype(np.int64), len(used), satellite)
        found["silhouette"] = silhouette(members, dense.astype(np.int64))
    if previous_labels is not None:
        both = (labels >= 0) & (np.asarray(previous_labels) >= 0)
        found["stability"] = (
            float(adjusted_rand_score(np.asarray(previous_labels)[both], labels[both])) if both.any() else 0.0
        )
    return found


def silhouette(members: Float32Array, labels: IntArray) -> float:
    """Mean over the pictures of clusters of two and more: (b - a) / max(a, b), with a = 1 - cosine to the centroid of
    the others of its cluster, b = that to the nearest other centroid. `labels`: 0 to k - 1, each used."""
    sums = _sums(members, labels, int(labels.max()) + 1)
    centroids = _unit(sums)
    total, count = 0.0, 0
    sizes = np.bincount(labels)
    for start in range(0, len(members), _BLOCK):
        part = slice(start, start + _BLOCK)
        features, own = members[part], labels[part]
        a = 1.0 - (_unit(sums[own] - features) * features).sum(axis=1)
        cosines = features @ centroids.T.astype(np.float32)
        cosines[np.arange(len(own)), own] = -np.inf
        b = 1.0 - cosines.max(axis=1)
        value = (b - a) / np.maximum(np.maximum(a, b), 1e-9)
        counts = sizes[own] > 1
        total, count = total + float(value[counts].sum()), count + int(counts.sum())
    return total / max(1, count)


def _across(members: Float32Array, labels: IntArray, clusters: int, satellite: Float32Array) -> dict[str, float]:
    """What the clusters and the satellite pictures say of each other."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(clusters))
    second = np.empty(len(labels), np.bool_)
    second[order] = (np.arange(len(labels)) - starts[labels[order]]) % 2 == 1
    whole = _unit(_sums(members, labels, clusters)) @ satellite.T
    one = _unit(_sums(members[~second], labels[~second], clusters)) @ satellite.T
    other = _unit(_sums(members[second], labels[second], clusters)) @ satellite.T
    nearest, from_one, from_other = (np.asarray(s).argmax(axis=1) for s in (whole, one, other))
    ours = np.arange(clusters)
    best_two = np.partition(whole, whole.shape[1] - 2, axis=1)[:, -2:]
    return {
        "mutual": float((whole.argmax(axis=0)[nearest] == ours).mean()),
        "halves": float((from_one == from_other).mean()),
        "cycle": float((other.argmax(axis=0)[from_one] == ours).mean()),
        "spread": len(np.unique(nearest)) / min(clusters, len(satellite)),
        "margin": float((best_two[:, 1] - best_two[:, 0]).mean()),
    }


def _distinct(rows: Float32Array) -> Float32Array:
    """Each row once, in the order of their last copies."""
    return rows[sorted({row.tobytes(): i for i, row in enumerate(rows)}.values())]


def _sums(members: Float32Array, labels: IntArray, clusters: int) -> Float64Array:
    """Sums of the members' descriptors, (clusters, d)."""
    order = np.argsort(labels, kind="stable")
    out = np.zeros((clusters, members.shape[1]))
    used, starts = np.unique(labels[order], return_index=True)
    if len(used):
        out[used] = np.add.reduceat(members[order].astype(np.float64), starts, axis=0)
    return out


def _unit(rows: Float64Array) -> Float64Array:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)
