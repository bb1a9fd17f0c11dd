from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tilefix_training.method.losses import cluster_nce
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


def test_an_update_copies_nothing_and_spoils_no_gradient_unnoticed() -> None:
    """Rows are changed where they lie; what has still to be differentiated is refused, not differentiated wrongly."""
    images = InstanceMemory(torch.eye(3).requires_grad_())
    clusters = ClusterMemory(torch.eye(3).requires_grad_())
    features = F.normalize(torch.ones(2, 3), dim=1).requires_grad_()
    for memory, rows in ((images, images.rows), (clusters, clusters.centroids)):
        before, place = rows.clone(), rows.data_ptr()
        done, late = (cluster_nce(features, torch.tensor([0, 2]), rows, 0.05) for _ in range(2))
        done.backward()
        memory.update(features, torch.tensor([0, 2]), 0.5)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            late.backward()
        assert rows is (images.rows if memory is images else clusters.centroids)
        assert (rows.data_ptr(), rows.requires_grad) == (place, False)
        assert not torch.equal(rows, before)
        torch.testing.assert_close(rows[1], before[1], rtol=0, atol=0)
    assert features.grad is not None


def test_what_a_memory_is_made_from_stays_as_it_was() -> None:
    start = torch.eye(3)
    for memory in (InstanceMemory(start), ClusterMemory(start)):
        memory.update(torch.ones(1, 3), torch.tensor([0]), 0.5)
    torch.testing.assert_close(start, torch.eye(3), rtol=0, atol=0)


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
