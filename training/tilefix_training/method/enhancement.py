"""Pseudo-labels carried across views: which drone cluster each satellite image belongs to, if any.

Three ways, from the published one to an optimal assignment. None reads a place or an identity. All take descriptors as
float32 rows of any length, and drone labels with -1 for images outside every cluster. Confidences (m,) lie in 0 to 1
and are 0 where no label is given. Clusters are given to pictures: satellite rows that are equal bit for bit, copies of
one picture, share what they get.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from tilefix.types import Float32Array, IntArray
from tilefix_training.method.cluster import OUTLIER, cluster_means
from tilefix_training.method.neighbours import distinct, nearest, unit

_TEMPERATURE = 0.5  # of the confidences of an assignment, in standard deviations


def by_image_vote(
    drone: Float32Array,
    drone_labels: IntArray,
    satellite: Float32Array,
    rng: np.random.Generator,
    *,
    neighbours: int = 10,
    noise: float = 0.05,
    smooth: int = 5,
    device: str = "cpu",
) -> IntArray:
    """Labels (m,) as published (arXiv 2502.11381): the nearest drone images vote, with and without noise.

    Each satellite image takes, of the labels of its `neighbours` nearest drone images, the one that is most frequent
    in the same search with noise of deviation `noise` on every number of every descriptor; "no cluster" may win, and
    is final. Then the votes of the `smooth` nearest satellite images, itself included, are counted. Of equal counts
    the nearer drone image's label wins in the vote, and the lowest one in the smoothing.
    """
    a, b = unit(satellite), unit(drone)
    noisy_a, noisy_b = (unit(one) + rng.normal(0.0, noise, one.shape).astype(np.float32) for one in (a, b))
    clean = drone_labels[nearest(a, b, neighbours, device=device)[0]]
    noisy = drone_labels[nearest(noisy_a, noisy_b, neighbours, device=device)[0]]
    rows = np.arange(len(a))
    vote = clean[rows, (clean[:, :, None] == noisy[:, None, :]).sum(axis=2).argmax(axis=1)]
    both = np.hstack([a, noisy_a])  # inner products add up
    votes = np.sort(vote[nearest(both, both, smooth, same=True, device=device)[0]], axis=1)
    labels = votes[rows, (votes[:, :, None] == votes[:, None, :]).sum(axis=2).argmax(axis=1)]
    return np.asarray(np.where(vote == OUTLIER, OUTLIER, labels), np.int64)


def by_cluster_vote(
    drone: Float32Array,
    drone_labels: IntArray,
    satellite: Float32Array,
    *,
    neighbours: int = 5,
    hub: int = 10,
    least: float = 0.3,
    centre: bool = True,
    device: str = "cpu",
) -> tuple[IntArray, Float32Array]:
    """Labels and confidences (m,): each image of a cluster names its `neighbours` nearest satellite images.

    Its nearest one gets a vote, the second half a vote, and so on; the share is the sum by the number of images, 1 when
    all name the same first. Nearness is less for satellites that are near to everything: 2 cos - r, r being the
    satellite's mean cosine to its `hub` nearest images. A label is given where cluster and satellite are each other's
    first choice with a share of at least `least`, which is also the confidence. `centre` as in `by_assignment`. A whole
    cluster is named as in the voting of UniABG (AAAI 2026).
    """
    kept = drone_labels != OUTLIER
    pictures, picture = distinct(satellite)
    images, satellites = unit(drone, centre=centre)[kept], unit(satellite[pictures], centre=centre)
    of_image = drone_labels[kept]
    clusters = int(drone_labels.max(initial=OUTLIER)) + 1
    if not clusters:
        return _nothing(len(satellite))
    named = _nearest_corrected(images, satellites, neighbours, hub, device)
    cells = np.repeat(of_image, named.shape[1]) * len(satellites) + named.ravel()
    cell, place = np.unique(cells, return_inverse=True)
    row, column = np.divmod(cell, len(satellites))
    votes = np.bincount(place, np.tile(1.0 / np.arange(1, named.shape[1] + 1), len(named)))
    share = (votes / np.bincount(of_image, minlength=clusters)[row]).astype(np.float32)
    order = np.argsort(-share, kind="stable")
    row, column, share = row[order], column[order], share[order]
    first_of_row, first_of_column = _is_first(row), _is_first(column)
    good = first_of_row & first_of_column & (share >= least)
    return _labels_of(row[good], column[good], share[good], picture)


def by_assignment(
    drone: Float32Array,
    drone_labels: IntArray,
    satellite: Float32Array,
    *,
    candidates: int = 20,
    hub: int = 10,
    least: float = 1.0,
    centre: bool = True,
    device: str = "cpu",
) -> tuple[IntArray, Float32Array]:
    """Labels and confidences (m,) of the best one-to-one assignment of clusters to satellite images.

    Of all ways to give each cluster at most one satellite and each satellite at most one cluster, the one with the
    greatest sum of (score - `least`) over its pairs; so no pair scores less than `least`, and what has no counterpart
    stays alone. Score of a cluster mean c and a satellite s: 2 cos(c, s) - r(c) - r(s), r being the mean cosine to the
    `hub` nearest of the other view (CSLS, Conneau et al., arXiv 1710.04087), so that what is near to everything gains
    nothing; in standard deviations of all these cosines, so that `least` holds for tight and wide descriptors alike.
    Pairs are looked for among the `candidates` best of each cluster and of each satellite. `centre`: take the mean of
    its view off every descriptor first, and with it most of what sets the views apart. The confidence is the pair's
    share of exp(score / temperature) among its cluster's candidates, times that among its satellite's.
    """
    pictures, picture = distinct(satellite)
    satellites, means = (
        unit(satellite[pictures], centre=centre),
        cluster_means(unit(drone, centre=centre), drone_labels),
    )
    if not len(means):
        return _nothing(len(satellite))
    row, column, score = _scored_pairs(means, satellites, candidates, hub, device)
    chosen = _best_assignment(row, column, score - least, len(means), len(satellites))
    confidence = _softmax_by(row, score) * _softmax_by(column, score)
    return _labels_of(row[chosen], column[chosen], confidence[chosen], picture)


def _scored_pairs(
    means: Float32Array, satellites: Float32Array, candidates: int, hub: int, device: str
) -> tuple[IntArray, IntArray, Float32Array]:
    """Cluster, satellite and score of every pair in which one is among the other's candidates."""
    to_satellite, forward = nearest(means, satellites, max(candidates, hub), device=device)
    to_cluster, backward = nearest(satellites, means, max(candidates, hub), device=device)
    rows = np.repeat(np.arange(len(means)), min(candidates, to_satellite.shape[1]))
    columns = np.repeat(np.arange(len(satellites)), min(candidates, to_cluster.shape[1]))
    cells = np.concatenate(
        [
            rows * len(satellites) + to_satellite[:, :candidates].ravel(),
            to_cluster[:, :candidates].ravel() * len(satellites) + columns,
        ]
    )
    row, column = np.divmod(np.unique(cells), len(satellites))
    cosine = np.einsum("nd,nd->n", means[row], satellites[column])
    score = 2.0 * cosine - forward[:, :hub].mean(axis=1)[row] - backward[:, :hub].mean(axis=1)[column]
    # The mean square of all inner products, without making them.
    square = float(((means.T @ means) * (satellites.T @ satellites)).sum()) / (len(means) * len(satellites))
    spread = max(square - float(means.mean(axis=0) @ satellites.mean(axis=0)) ** 2, 1e-12) ** 0.5
    return row, column, np.asarray(score / spread, np.float32)


def _best_assignment(row: IntArray, column: IntArray, gain: Float32Array, rows: int, columns: int) -> IntArray:
    """Which of the pairs make the one-to-one assignment of the greatest sum of gains; none with a gain below 0.

    Every row has, beside its pairs, a column of its own that stands for "none", with the gain 0: so each can be given
    something, as the solver needs. A row's costs may all be raised alike: the solver takes no cost of 0.
    """
    useful = np.flatnonzero(gain > 0.0)
    if not len(useful):
        return useful
    none = np.arange(rows)
    top = 1.0 + float(gain.max())
    cost = np.concatenate([top - gain[useful].astype(np.float64), np.full(rows, top)])
    where = (np.concatenate([row[useful], none]), np.concatenate([column[useful], columns + none]))
    taken = np.full(rows, -1, np.int64)
    given = min_weight_full_bipartite_matching(sparse.csr_matrix((cost, where), shape=(rows, columns + rows)))
    taken[given[0]] = given[1]
    return np.asarray(useful[taken[row[useful]] == column[useful]], np.int64)


def _softmax_by(group: IntArray, score: Float32Array) -> Float32Array:
    """Share of each pair among those of its group, by exp(score / temperature)."""
    weight = np.exp((score - score.max(initial=0.0)).astype(np.float64) / _TEMPERATURE) + 1e-300
    return np.asarray(weight / np.bincount(group, weight)[group], np.float32)


def _nearest_corrected(images: Float32Array, satellites: Float32Array, count: int, hub: int, device: str) -> IntArray:
    """Satellites (n, count) with the largest 2 cos - r, r being a satellite's mean cosine to its `hub` images."""
    near = nearest(satellites, images, hub, device=device)[1].mean(axis=1, keepdims=True)
    # One more number each, and the inner product is the corrected similarity.
    ones = np.ones((len(images), 1), np.float32)
    return nearest(np.hstack([images, ones]), np.hstack([2.0 * satellites, -near]), count, device=device)[0]


def _is_first(values: IntArray) -> npt.NDArray[np.bool_]:
    """Where a value stands for the first time."""
    first = np.zeros(len(values), np.bool_)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def _labels_of(
    row: IntArray, column: IntArray, confidence: Float32Array, picture: IntArray
) -> tuple[IntArray, Float32Array]:
    """Of all satellites (m,), from the pairs of clusters and pictures, and the picture of each satellite."""
    labels, confidences = _nothing(int(picture.max()) + 1)
    labels[column], confidences[column] = row, confidence
    return labels[picture], confidences[picture]


def _nothing(count: int) -> tuple[IntArray, Float32Array]:
    return np.full(count, OUTLIER, np.int64), np.zeros(count, np.float32)
