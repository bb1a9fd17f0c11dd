"""Short- and long-term memories against the equations taken one sample at a time."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tilefix.errors import ModelError
from tilefix_training.method.hierarchy import EpochHierarchy, Hierarchy, PersistentHierarchy


def unit_rows(count: int, dim: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def epoch_by_hand(batches: list[tuple[torch.Tensor, list[int]]], clusters: int, dim: int) -> torch.Tensor:
    """K after these batches: assignments in the order of the batch, each from the memory before the batch."""
    short, long = torch.zeros(clusters, dim), torch.zeros(clusters, dim)
    for features, labels in batches:
        old = short.clone()
        for feature, label in zip(features, labels, strict=True):
            short[label] = 0.2 * feature + 0.7 * old[label]
        distances = [float((f - short[y]).norm()) for f, y in zip(features, labels, strict=True)]
        share = 1.0 / (1.0 + math.exp(-sum(distances) / len(distances)))
        old = long.clone()
        for label in labels:
            long[label] = share * short[label] + (1.0 - share) * old[label]
    return 0.7 * long + 0.3 * short


@settings(deadline=None, max_examples=30)
@given(
    batches=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_the_published_memory_equals_the_equations(batches: list[list[int]], seed: int) -> None:
    memory = EpochHierarchy()
    memory.begin_epoch(unit_rows(20, 6, seed), torch.arange(20) % 5)
    drawn = [(unit_rows(len(labels), 6, seed + 1 + number), labels) for number, labels in enumerate(batches)]
    for features, labels in drawn:
        memory.update(features, torch.zeros(len(labels), dtype=torch.int64), torch.tensor(labels))
    torch.testing.assert_close(memory.centroids(), epoch_by_hand(drawn, 5, 6))


def test_the_published_memory_grows_as_measured_and_starts_anew_in_every_epoch() -> None:
    memory = EpochHierarchy()
    feature = unit_rows(1, 16, 0)
    lengths = {}
    for _epoch in range(2):
        memory.begin_epoch(feature, torch.tensor([0]))
        assert float(memory.centroids().norm()) == 0.0
        for visit in range(1, 41):
            memory.update(feature, torch.tensor([0]), torch.tensor([0]))
            lengths[visit] = float(memory.centroids().norm())
    # As published code gives for a constant input; 2/3 = 0.2 / (1 - 0.7) in the end.
    for visit, length in {1: 0.16, 2: 0.29, 4: 0.47, 8: 0.62, 40: 2 / 3}.items():
        assert lengths[visit] == pytest.approx(length, abs=0.006)


def test_every_number_of_the_published_memory_can_be_changed() -> None:
    memory = EpochHierarchy(short_gain=1.0, short_keep=0.0, long_weight=0.0, short_weight=1.0)
    memory.begin_epoch(torch.zeros(1, 2), torch.tensor([0]))
    memory.update(torch.tensor([[0.6, 0.8]]), torch.tensor([0]), torch.tensor([0]))
    torch.testing.assert_close(memory.centroids(), torch.tensor([[0.6, 0.8]]))


@settings(deadline=None, max_examples=30)
@given(
    batches=st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=8), max_size=4),
    outliers=st.integers(0, 4),
    seed=st.integers(0, 1000),
)
def test_the_persistent_memory_equals_the_loop_over_samples(batches: list[list[int]], outliers: int, seed: int) -> None:
    labels = torch.arange(12) % 4
    labels[8 : 8 + outliers] = -1
    fresh = unit_rows(12, 6, seed)
    memory = PersistentHierarchy(row_momentum=0.8, short_momentum=0.6)
    memory.begin_epoch(fresh, labels)
    rows = fresh.clone()
    short = torch.stack([F.normalize(fresh[labels == c].sum(dim=0), dim=0) for c in range(4)])
    for number, batch in enumerate(batches):
        batch = [i for i in batch if labels[i] >= 0]
        features = unit_rows(len(batch), 6, seed + 1 + number)
        indices = torch.tensor(batch, dtype=torch.int64)
        memory.update(features, indices, labels[indices])
        for feature, i in zip(features, batch, strict=True):
            rows[i] = F.normalize(0.8 * rows[i] + 0.2 * feature, dim=0)
            short[labels[i]] = F.normalize(0.6 * short[labels[i]] + 0.4 * feature, dim=0)
    long = torch.stack([F.normalize(rows[labels == c].sum(dim=0), dim=0) for c in range(4)])
    torch.testing.assert_close(memory.centroids(), F.normalize(0.7 * long + 0.3 * short, dim=1), atol=1e-5, rtol=1e-5)


def test_rows_of_images_outlive_the_clusters() -> None:
    first, second = unit_rows(6, 8, 1), unit_rows(6, 8, 2)
    memory = PersistentHierarchy(epoch_momentum=0.75, long_weight=1.0, short_weight=0.0)
    memory.begin_epoch(first, torch.tensor([0, 0, 0, 1, 1, 1]))
    memory.begin_epoch(second, torch.tensor([0, 1, 0, 1, -1, 2]))
    rows = F.normalize(0.75 * first + 0.25 * second, dim=1)
    expected = F.normalize(torch.stack([rows[0] + rows[2], rows[1] + rows[3], rows[5]]), dim=1)
    torch.testing.assert_close(memory.centroids(), expected)


def test_the_persistent_memory_refuses_other_images() -> None:
    memory = PersistentHierarchy()
    memory.begin_epoch(unit_rows(6, 8, 1), torch.arange(6))
    with pytest.raises(ModelError, match=r"\(6, 8\) and the descriptors \(7, 8\)"):
        memory.begin_epoch(unit_rows(7, 8, 1), torch.arange(7))


@pytest.mark.parametrize("kind", [EpochHierarchy, PersistentHierarchy])
def test_a_state_goes_on_where_it_was_taken(kind: type[EpochHierarchy] | type[PersistentHierarchy]) -> None:
    def batch(memory: Hierarchy, seed: int) -> None:
        memory.update(unit_rows(5, 8, seed), torch.tensor([0, 3, 3, 1, 0]), torch.tensor([0, 1, 1, 1, 0]))

    labels = torch.tensor([0, 1, -1, 1])
    one, other = kind(), kind()
    assert one.state() == {}
    other.load({})
    one.begin_epoch(unit_rows(4, 8, 0), labels)
    batch(one, 1)
    other.load(one.state())
    for memory in (one, other):
        batch(memory, 2)
        memory.begin_epoch(unit_rows(4, 8, 3), labels)
        batch(memory, 4)
    torch.testing.assert_close(other.centroids(), one.centroids(), atol=0.0, rtol=0.0)


def test_a_state_of_the_other_kind_is_refused() -> None:
    one = EpochHierarchy()
    one.begin_epoch(unit_rows(4, 8, 0), torch.arange(4))
    with pytest.raises(ModelError, match=r"holds \['long', 'short'\], not \['rows', 'short', 'sums'\]"):
        PersistentHierarchy().load(one.state())


@pytest.mark.parametrize("kind", [EpochHierarchy, PersistentHierarchy])
def test_centroids_hold_no_gradient_and_stay_as_a_loss_has_seen_them(
    kind: type[EpochHierarchy] | type[PersistentHierarchy],
) -> None:
    memory = kind()
    memory.begin_epoch(unit_rows(3, 4, 0), torch.arange(3))
    features = unit_rows(3, 4, 1).requires_grad_()
    memory.update(features, torch.arange(3), torch.arange(3))
    centroids = memory.centroids()
    before = centroids.clone()
    loss = (features @ centroids.T).square().sum()
    memory.update(features, torch.arange(3), torch.arange(3))
    loss.backward()
    assert features.grad is not None
    assert not centroids.requires_grad
    torch.testing.assert_close(centroids, before, atol=0.0, rtol=0.0)
