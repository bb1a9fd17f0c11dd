from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tilefix_training.method.memory import ClusterMemory, InstanceMemory, occurrence


def one_by_one(centroids: torch.Tensor, features: torch.Tensor, labels: list[int], momentum: float) -> torch.Tensor:
    """The definition: the samples in their order."""
    memory = centroids.clone()
    for feature, label in zip(features, labels, strict=True):
        memory[label] = F.normalize(momentum * memory[label] + (1 - momentum) * feature, dim=0)
    return memory


@settings(deadline=None, max_examples=25)
@given(
    labels=st.lists(st.integers(0, 4), max_size=20),
    momentum=st.floats(0.0, 1.0),
    seed=st.integers(0, 1000),
)
def test_the_update_equals_the_loop_over_samples(labels: list[int], momentum: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    centroids = F.normalize(torch.randn(5, 6, generator=generator), dim=1)
    features = F.normalize(torch.randn(len(labels), 6, generator=generator), dim=1)
    memory = ClusterMemory(centroids)
    memory.update(features, torch.tensor(labels, dtype=torch.int64), momentum)
    torch.testing.assert_close(memory.centroids, one_by_one(centroids, features, labels, momentum))


def test_a_feature_of_its_own_gets_the_weight_left_by_momentum() -> None:
    memory = ClusterMemory(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    memory.update(torch.tensor([[0.0, 1.0]]), torch.tensor([0]), 0.2)
    torch.testing.assert_close(memory.centroids, F.normalize(torch.tensor([[0.2, 0.8], [0.0, 1.0]]), dim=1))


def test_a_loss_computed_before_the_update_keeps_its_gradient() -> None:
    memory = ClusterMemory(torch.eye(3))
    features = F.normalize(torch.ones(2, 3), dim=1).requires_grad_()
    loss = (features @ memory.centroids.T).square().sum()
    memory.update(features, torch.tensor([0, 0]), 0.1)
    loss.backward()
    assert features.grad is not None
    assert not memory.centroids.requires_grad


def test_occurrence_counts_equal_labels_before() -> None:
    assert occurrence(torch.tensor([3, 1, 3, 3, 1])).tolist() == [0, 0, 1, 2, 1]


@settings(deadline=None, max_examples=25)
@given(
    indices=st.lists(st.integers(0, 6), max_size=15),
    momentum=st.floats(0.0, 1.0),
    length=st.floats(0.5, 30.0),
    seed=st.integers(0, 1000),
)
def test_rows_of_images_follow_raw_features_as_the_loop_does(
    indices: list[int], momentum: float, length: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = 3.0 * torch.randn(7, 6, generator=generator)
    features = length * F.normalize(torch.randn(len(indices), 6, generator=generator), dim=1)
    memory = InstanceMemory(start)
    memory.update(features, torch.tensor(indices, dtype=torch.int64), momentum)
    expected = one_by_one(F.normalize(start, dim=1), features, indices, momentum)
    torch.testing.assert_close(memory.rows, expected)


def test_a_long_raw_feature_outweighs_the_row() -> None:
    memory = InstanceMemory(torch.tensor([[1.0, 0.0]]))
    memory.update(torch.tensor([[0.0, 20.0]]), torch.tensor([0]), 0.9)
    torch.testing.assert_close(memory.rows, F.normalize(torch.tensor([[0.9, 2.0]]), dim=1))


def test_rows_keep_no_gradient_and_losses_before_an_update_do() -> None:
    memory = InstanceMemory(torch.eye(3).requires_grad_())
    features = F.normalize(torch.ones(2, 3), dim=1).requires_grad_()
    loss = (features @ memory.rows.T).square().sum()
    memory.update(features, torch.tensor([0, 2]), 0.5)
    loss.backward()
    assert features.grad is not None
    assert not memory.rows.requires_grad
