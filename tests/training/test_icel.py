"""Losses over neighbourhoods against the same numbers written out, and the direction in which they pull."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tilefix_training.method.icel import consistency_loss, information_loss, neighbourhood_loss


def unit_rows(count: int, dim: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def probabilities(query: torch.Tensor, memory: torch.Tensor, temperature: float) -> list[float]:
    weights = [math.exp(float(query @ row) / temperature) for row in memory]
    return [weight / sum(weights) for weight in weights]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), ratio=st.floats(0.1, 0.95), temperature=st.floats(0.05, 1.0))
def test_neighbourhood_loss_equals_the_equation(seed: int, ratio: float, temperature: float) -> None:
    queries, own, memory = unit_rows(4, 5, seed), unit_rows(4, 5, seed + 1), unit_rows(9, 5, seed + 2)
    terms = []
    for query, row in zip(queries, own, strict=True):
        similarity = [float(row @ other) for other in memory]
        near = [j for j, s in enumerate(similarity) if s > ratio * max(similarity)]
        p = probabilities(query, memory, temperature)
        terms.append(sum(-math.log(p[j]) for j in near) / (len(near) + 1))
    loss = neighbourhood_loss(queries, own, memory, ratio, temperature)
    assert float(loss) == pytest.approx(sum(terms) / 4, rel=1e-4)


def test_fifty_copies_put_a_floor_under_the_neighbourhood_loss() -> None:
    memory = torch.eye(8).repeat_interleave(50, dim=0)
    loss = neighbourhood_loss(torch.eye(8), torch.eye(8), memory, 0.9, 0.01)
    assert float(loss) == pytest.approx(math.log(50) * 50 / 51, abs=1e-4)


def test_the_neighbourhood_is_that_of_the_rows_not_of_the_queries() -> None:
    memory = torch.eye(3)
    query = torch.tensor([[1.0, 0.0, 0.0]])
    to_second = neighbourhood_loss(query, torch.tensor([[0.0, 1.0, 0.0]]), memory, 0.9, 0.5)
    assert float(to_second) == pytest.approx(-math.log(1 / (2 + math.exp(2.0))) / 2, abs=1e-5)


def test_an_image_without_a_similar_row_adds_nothing() -> None:
    memory = torch.tensor([[1.0, 0.0]])
    assert float(neighbourhood_loss(memory, -memory, memory, 0.9, 0.1)) == 0.0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.1, 1.0))
def test_consistency_loss_is_half_of_both_divergences(seed: int, temperature: float) -> None:
    first, second, memory = unit_rows(3, 5, seed), unit_rows(3, 5, seed + 1), unit_rows(7, 5, seed + 2)
    total = 0.0
    for a, b in zip(first, second, strict=True):
        p, q = probabilities(a, memory, temperature), probabilities(b, memory, temperature)
        total += sum(x * math.log(x / y) + y * math.log(y / x) for x, y in zip(p, q, strict=True)) / 2
    assert float(consistency_loss(first, second, memory, temperature)) == pytest.approx(total / 3, rel=1e-3, abs=1e-5)


def test_consistency_is_zero_for_equal_looks() -> None:
    looks = unit_rows(5, 6, 0)
    assert float(consistency_loss(looks, looks.clone(), unit_rows(9, 6, 1))) == pytest.approx(0.0, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.1, 1.0))
def test_information_loss_is_minus_the_mutual_information(seed: int, temperature: float) -> None:
    queries, memory = unit_rows(4, 5, seed), unit_rows(7, 5, seed + 1)
    each = [probabilities(query, memory, temperature) for query in queries]
    together = [sum(p[j] for p in each) / 4 for j in range(7)]

    def entropy(p: list[float]) -> float:
        return -sum(x * math.log(x) for x in p)

    expected = sum(map(entropy, each)) / 4 - entropy(together)
    assert float(information_loss(queries, memory, temperature)) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_information_is_bounded_by_the_batch() -> None:
    assert float(information_loss(torch.eye(6), torch.eye(6), 0.01)) == pytest.approx(-math.log(6), abs=1e-4)
    alike = unit_rows(1, 6, 0).repeat(4, 1)
    assert float(information_loss(alike, torch.eye(6), 0.1)) == pytest.approx(0.0, abs=1e-6)


def stepped(loss: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient, and where a small step against it leads."""
    features = start.clone().requires_grad_()
    loss(features).backward()
    assert features.grad is not None
    step = 0.02 * features.grad / features.grad.norm()
    return features.grad, F.normalize(start - step, dim=1)


def test_a_step_against_the_neighbourhood_loss_goes_to_the_neighbours_of_the_other_view() -> None:
    memory, own = unit_rows(20, 8, 0), unit_rows(4, 8, 1)
    start = unit_rows(4, 8, 2)
    near = own @ memory.T
    near = near > 0.9 * near.max(dim=1, keepdim=True).values
    gradient, after = stepped(lambda f: neighbourhood_loss(f, own, memory, 0.9, 0.1), start)
    assert float(gradient.norm()) > 1e-2

    def chosen(features: torch.Tensor) -> torch.Tensor:
        return (torch.softmax(features @ memory.T / 0.1, dim=1) * near).sum(dim=1)

    assert bool((chosen(after) > chosen(start)).all())


def test_a_step_against_the_consistency_loss_raises_the_agreement() -> None:
    memory, other = unit_rows(20, 8, 0), unit_rows(4, 8, 1)
    start = unit_rows(4, 8, 2)
    gradient, after = stepped(lambda f: consistency_loss(f, other, memory, 0.1), start)
    assert float(gradient.norm()) > 1e-2

    def overlap(features: torch.Tensor) -> torch.Tensor:
        return torch.minimum(
            torch.softmax(features @ memory.T / 0.1, dim=1), torch.softmax(other @ memory.T / 0.1, dim=1)
        ).sum()

    assert float(overlap(after)) > float(overlap(start))


def test_both_looks_are_pulled_together() -> None:
    first, second = unit_rows(4, 8, 1).requires_grad_(), unit_rows(4, 8, 2).requires_grad_()
    consistency_loss(first, second, unit_rows(20, 8, 0), 0.1).backward()
    for look in (first, second):
        assert look.grad is not None
        assert float(look.grad.norm()) > 1e-2


def test_a_step_against_the_information_loss_spreads_the_batch_and_sharpens_each() -> None:
    memory = unit_rows(20, 8, 0)
    start = F.normalize(unit_rows(1, 8, 3) + 0.3 * unit_rows(6, 8, 4), dim=1)  # nearly all the same
    gradient, after = stepped(lambda f: information_loss(f, memory, 0.1), start)
    assert float(gradient.norm()) > 1e-2
    before_similarity, after_similarity = start @ start.T, after @ after.T
    assert float(after_similarity.mean()) < float(before_similarity.mean())
    assert float(information_loss(after, memory, 0.1)) < float(information_loss(start, memory, 0.1))


@pytest.mark.parametrize("loss", ["neighbourhood", "consistency", "information"])
def test_memories_get_no_gradient(loss: str) -> None:
    queries, memory = unit_rows(3, 5, 0).requires_grad_(), unit_rows(6, 5, 1).requires_grad_()
    own = unit_rows(3, 5, 2)
    losses = {
        "neighbourhood": lambda: neighbourhood_loss(queries, own, memory),
        "consistency": lambda: consistency_loss(queries, own, memory),
        "information": lambda: information_loss(queries, memory),
    }
    losses[loss]().backward()
    assert memory.grad is None
    assert queries.grad is not None


@pytest.mark.parametrize("temperature", [0.01, 0.05])
def test_half_precision_loses_nothing_under_autocast(temperature: float) -> None:
    queries, own, memory = unit_rows(3, 64, 0), unit_rows(3, 64, 1), unit_rows(30, 64, 2)

    def losses() -> list[float]:
        return [
            float(neighbourhood_loss(queries, own, memory, 0.9, temperature)),
            float(consistency_loss(queries, own, memory, temperature)),
            float(information_loss(queries, memory, temperature)),
        ]

    exact = losses()
    with torch.autocast("cpu", torch.bfloat16):
        assert losses() == pytest.approx(exact, rel=1e-6)
