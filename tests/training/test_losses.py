"""Losses against the same numbers written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from tilefix_training.method.losses import cluster_nce, pair_nce


def test_cluster_nce_is_the_mean_of_minus_log_softmax() -> None:
    centroids = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    features = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    first = -math.log(math.exp(0.8 / 0.5) / (math.exp(0.6 / 0.5) + math.exp(0.8 / 0.5) + math.exp(-0.6 / 0.5)))
    second = -math.log(math.exp(1.0 / 0.5) / (math.exp(1.0 / 0.5) + 1.0 + math.exp(-1.0 / 0.5)))
    loss = cluster_nce(features, torch.tensor([1, 0]), centroids, 0.5)
    assert float(loss) == pytest.approx((first + second) / 2, abs=1e-6)


def test_cluster_nce_moves_the_features_and_never_the_memory() -> None:
    centroids = F.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), dim=1).requires_grad_()
    features = torch.tensor([[0.0, 0.6, 0.8]], requires_grad=True)
    cluster_nce(features, torch.tensor([2]), centroids, 0.1).backward()
    assert centroids.grad is None
    assert features.grad is not None
    assert float(features.grad[0] @ centroids.detach()[2]) < 0.0  # a step down the gradient goes towards its class


def test_pair_nce_by_hand_for_two_images() -> None:
    features = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    tau = 0.2
    s = (features @ features.T / tau).tolist()
    partner = [1, 0, 3, 2]
    terms = [
        -math.log(math.exp(s[i][partner[i]]) / sum(math.exp(s[i][j]) for j in range(4) if j != i)) for i in range(4)
    ]
    assert float(pair_nce(features, tau)) == pytest.approx(sum(terms) / 4, abs=1e-5)


def test_pair_nce_is_near_zero_for_pairs_far_from_each_other() -> None:
    features = torch.eye(3).repeat_interleave(2, dim=0)
    assert float(pair_nce(features, 0.05)) < 1e-6


def test_half_precision_loses_nothing_under_autocast() -> None:
    features = F.normalize(torch.randn(6, 64, generator=torch.Generator().manual_seed(1)), dim=1)
    centroids = F.normalize(torch.randn(9, 64, generator=torch.Generator().manual_seed(2)), dim=1)
    labels = torch.tensor([0, 8, 3, 3, 1, 5])
    exact = float(cluster_nce(features, labels, centroids, 0.05)), float(pair_nce(features, 0.05))
    with torch.autocast("cpu", torch.bfloat16):
        found = float(cluster_nce(features, labels, centroids, 0.05)), float(pair_nce(features, 0.05))
    assert found == pytest.approx(exact, rel=1e-6)


def test_rows_of_zeros_are_weak_negatives() -> None:
    # As in the first batches of an epoch of the published hierarchy: a class that was not seen has the logit 0.
    centroids = torch.tensor([[0.16, 0.0], [0.0, 0.0], [0.0, 0.0]])
    loss = cluster_nce(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), centroids, 0.05)
    assert float(loss) == pytest.approx(math.log(1.0 + 2.0 * math.exp(-3.2)), abs=1e-6)
