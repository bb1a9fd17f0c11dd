from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from tilefix.types import Float32Array
from tilefix_training.evaluation import criterion
from tilefix_training.evaluation.criterion import criteria, silhouette


def circle(degrees: list[float]) -> Float32Array:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_two_clusters_by_hand() -> None:
    drone = circle([0, 10, 90, 100, 200])
    found = criteria(drone, np.array([0, 0, 1, 1, -1]), circle([5, 50, 95]), np.array([4, 4, 4, 7, 7]))
    assert found["clustered"] == 0.8
    near, far = 1 - np.cos(np.radians(10)), 1 - np.cos(np.radians([95, 85, 85, 95]))
    assert found["silhouette"] == pytest.approx(np.mean(1 - near / far), abs=1e-5)
    assert found["mutual"] == found["halves"] == found["cycle"] == found["spread"] == 1.0
    assert found["margin"] == pytest.approx(1 - np.cos(np.radians(45)), abs=1e-6)
    # Pairs of the four with a label both times: 2 within clusters now, 3 then, 1 both; by chance 1 of them.
    assert found["stability"] == pytest.approx((1 - 2 * 3 / 6) / ((2 + 3) / 2 - 2 * 3 / 6))


def test_clusters_that_want_one_satellite_picture_are_told() -> None:
    drone = circle([0, 2, 20, 22])
    found = criteria(drone, np.array([3, 3, 9, 9]), circle([12, 180]))
    assert (found["mutual"], found["spread"], found["halves"], found["cycle"]) == (0.5, 0.5, 1.0, 0.5)
    assert "stability" not in found


def test_halves_that_disagree_are_told() -> None:
    drone = circle([0, 40, 100, 101])  # the halves of the first cluster are its first and its second picture
    found = criteria(drone, np.array([0, 0, 1, 1]), circle([-1, 42, 100]))
    assert found["halves"] == 0.5
    assert found["cycle"] == 1.0  # from 0 to -1, and of the other halves 40 is the nearest to -1


def test_halves_that_lead_to_each_others_place_close_no_cycle() -> None:
    found = criteria(circle([0, 90, 91, 1]), np.array([0, 0, 1, 1]), circle([0, 90]))
    assert found["halves"] == found["cycle"] == 0.0


@pytest.mark.parametrize("labels", [[-1, -1, -1], [0, 0, 0], [0, -1, 0]])
def test_an_epoch_without_clusters_to_tell_apart_gets_the_least(labels: list[int]) -> None:
    found = criteria(circle([0, 1, 2]), np.array(labels), circle([0, 90]), np.array(labels))
    assert found["cycle"] == found["mutual"] == found["silhouette"] == 0.0
    assert all(np.isfinite(value) for value in found.values())


def test_copies_of_a_satellite_picture_count_once() -> None:
    drone, labels, satellite = circle([0, 10, 90, 100, 200]), np.array([0, 0, 1, 1, -1]), circle([5, 50, 95])
    assert criteria(drone, labels, np.repeat(satellite, 12, axis=0)) == criteria(drone, labels, satellite)


def plain_silhouette(features: Float32Array, labels: npt.NDArray[np.int64]) -> float:
    values = []
    for i, f in enumerate(features):
        distance = {}
        for label in set(labels.tolist()):
            rest = [g for j, g in enumerate(features) if labels[j] == label and j != i]
            mean = np.mean(rest, axis=0) if rest else np.zeros_like(f)
            distance[label] = 1 - float(f @ mean) / max(float(np.linalg.norm(mean)), 1e-12)
        if (labels == labels[i]).sum() > 1:
            a = distance.pop(int(labels[i]))
            b = min(distance.values())
            values.append((b - a) / max(a, b))
    return float(np.mean(values))


def test_the_silhouette_agrees_with_a_plain_recomputation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(criterion, "_BLOCK", 7)
    rng = np.random.default_rng(4)
    features = rng.normal(size=(40, 6)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = np.array([*range(6), *rng.integers(0, 5, 34)])  # the last label has one member
    assert silhouette(features, labels) == pytest.approx(plain_silhouette(features, labels), abs=1e-5)


def test_more_noise_lowers_every_criterion() -> None:
    rng = np.random.default_rng(5)
    places = rng.normal(size=(30, 16))
    labels = np.repeat(np.arange(30), 8)
    found = []
    for noise in (0.2, 1.0, 3.0):
        drone = places[labels] + noise * rng.normal(size=(240, 16))
        satellite = places + noise * rng.normal(size=(30, 16))
        drone, satellite = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (drone, satellite))
        found.append(criteria(drone.astype(np.float32), labels, satellite.astype(np.float32)))
    for name in ("silhouette", "mutual", "halves", "cycle", "margin"):
        assert all(one[name] > other[name] for one, other in itertools.pairwise(found)), name
