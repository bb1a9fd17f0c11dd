"""The method's parts give on an accelerator what they give on the processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tilefix_training.method.cluster import cluster_labels
from tilefix_training.method.enhancement import by_assignment, by_cluster_vote
from tilefix_training.method.hierarchy import EpochHierarchy, PersistentHierarchy
from tilefix_training.method.icel import consistency_loss, information_loss, neighbourhood_loss
from tilefix_training.method.losses import cluster_nce, pair_nce
from tilefix_training.method.memory import ClusterMemory, InstanceMemory

pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def unit_rows(count: int, dim: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def one_step(device: str) -> list[torch.Tensor]:
    """All losses, the gradient of their sum, and the memories after an update, brought back to the processor."""
    features = unit_rows(8, 32, 0).to(device).requires_grad_()
    everything, labels = unit_rows(40, 32, 1).to(device), (torch.arange(40) % 5).to(device)
    indices = torch.tensor([0, 7, 7, 3, 12, 0, 0, 39], device=device)
    clusters, images = ClusterMemory(everything[:5]), InstanceMemory(everything)
    losses = [
        cluster_nce(features, labels[indices], clusters.centroids, 0.05),
        pair_nce(features, 0.1),
        neighbourhood_loss(features, images.rows[indices], images.rows),
        consistency_loss(features, images.rows[indices], images.rows),
        information_loss(features, images.rows),
    ]
    found = [clusters.centroids, images.rows]
    for hierarchy in (EpochHierarchy(), PersistentHierarchy()):
        hierarchy.begin_epoch(everything, labels)
        hierarchy.update(features, indices, labels[indices])
        losses.append(cluster_nce(features, labels[indices], hierarchy.centroids(), 0.05))
        found.append(hierarchy.centroids())
    torch.stack(losses).sum().backward()
    assert features.grad is not None
    clusters.update(features, labels[indices], 0.1)
    images.update(features, indices, 0.9)
    return [one.detach().cpu() for one in (*losses, features.grad, *found)]


def test_losses_gradients_and_memories_are_equal() -> None:
    for on_device, on_processor in zip(one_step("cuda"), one_step("cpu"), strict=True):
        torch.testing.assert_close(on_device, on_processor, rtol=1e-3, atol=1e-4)


def test_clusters_and_labels_are_equal() -> None:
    rng = np.random.default_rng(0)
    places = rng.normal(size=(30, 64))
    drone = (np.repeat(places, 10, axis=0) + 0.5 * rng.normal(size=(300, 64))).astype(np.float32)
    drone /= np.linalg.norm(drone, axis=1, keepdims=True)
    found = [cluster_labels(drone, k1=10, k2=3, eps=0.5, min_samples=4, device=device) for device in ("cuda", "cpu")]
    np.testing.assert_array_equal(*found)
    for way in (by_assignment, by_cluster_vote):
        labels = [way(drone, found[0], places.astype(np.float32), device=device)[0] for device in ("cuda", "cpu")]
        np.testing.assert_array_equal(*labels)
