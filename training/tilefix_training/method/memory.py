"""Memories: unit vectors that follow the features of their last seen images, one per cluster or one per image.

Dai et al., "Cluster Contrast for Unsupervised Person Re-Identification" (arXiv 2103.11568), equation 5. All of them
live where the tensors that they are given live (CPU or CUDA) and hold no gradient. An update changes them in place, as
a copy of all rows would cost more than the few that a batch touches; so `backward` comes before it. A loss that is
still to be differentiated then raises torch's `RuntimeError`; none gets a wrong gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def occurrence(labels: Tensor) -> Tensor:
    """How many equal labels stand before each one, (b,)."""
    equal = labels[:, None] == labels[None, :]
    return torch.tril(equal, diagonal=-1).sum(dim=1)


def follow(rows: Tensor, features: Tensor, labels: Tensor, momentum: float) -> None:
    """Lets `rows` (k, d) follow each sample in its order; rows without one are not touched.

    r[y] <- normalise(momentum * r[y] + (1 - momentum) * f). Rows do not touch each other, so the n-th samples of all
    rows are done at once: the result is that of the loop over samples.
    """
    features = features.detach().to(rows.dtype)
    turn = occurrence(labels)
    for step in range(int(turn.max()) + 1 if len(turn) else 0):
        now = turn == step
        chosen = labels[now]
        rows[chosen] = F.normalize(momentum * rows[chosen] + (1.0 - momentum) * features[now], dim=1)


class ClusterMemory:
    """`centroids`: (k, d), L2-normalised, without gradient."""

    def __init__(self, centroids: Tensor) -> None:
        self.centroids = F.normalize(centroids.detach(), dim=1)

    def update(self, features: Tensor, labels: Tensor, momentum: float) -> None:
        """For each sample in its order: c[y] <- normalise(momentum * c[y] + (1 - momentum) * f)."""
        follow(self.centroids, features, labels, momentum)


class InstanceMemory:
    """`rows`: (n, d), L2-normalised, without gradient; one per image of a view."""

    def __init__(self, features: Tensor) -> None:
        self.rows = F.normalize(features.detach(), dim=1)

    def update(self, features: Tensor, indices: Tensor, momentum: float) -> None:
        """For each sample in its order: m[i] <- normalise(momentum * m[i] + (1 - momentum) * f).

        `features` (b, d) are taken as they come: with raw ones of length 20, as published, the old row weighs far less
        than `momentum` says.
        """
        follow(self.rows, features, indices, momentum)
