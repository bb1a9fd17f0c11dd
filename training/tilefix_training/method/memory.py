"""Cluster memory: one unit vector per class that follows the features of its last seen images.

Dai et al., "Cluster Contrast for Unsupervised Person Re-Identification" (arXiv 2103.11568), equation 5.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def occurrence(labels: Tensor) -> Tensor:
    """How many equal labels stand before each one, (b,)."""
    equal = labels[:, None] == labels[None, :]
    return torch.tril(equal, diagonal=-1).sum(dim=1)


class ClusterMemory:
    """`centroids`: (k, d), L2-normalised, without gradient."""

    def __init__(self, centroids: Tensor) -> None:
        self.centroids = F.normalize(centroids.detach(), dim=1)

    def update(self, features: Tensor, labels: Tensor, momentum: float) -> None:
        """For each sample in its order: c[y] <- normalise(momentum * c[y] + (1 - momentum) * f).

        Classes do not touch each other, so the n-th samples of all classes are done at once: the result is that of
        the loop over samples.
        """
        features = features.detach()
        turn = occurrence(labels)
        self.centroids = self.centroids.clone()  # the loss before still needs the old ones for its gradient
        for step in range(int(turn.max()) + 1 if len(turn) else 0):
            now = turn == step
            rows = labels[now]
            mixed = momentum * self.centroids[rows] + (1.0 - momentum) * features[now]
            self.centroids[rows] = F.normalize(mixed, dim=1)
