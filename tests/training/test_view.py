"""What becomes of a view's descriptors at the beginning of an epoch: labels carried across, and memories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.training import write_config
from tilefix_training import view as module
from tilefix_training.config import FitConfig, load_config
from tilefix_training.data.images import PatchImages
from tilefix_training.view import View, start_memories, transfer


def config(tmp_path: Path, **changes: Any) -> FitConfig:
    values = {name.replace("__", "."): value for name, value in changes.items()}
    return load_config(write_config(tmp_path / "c.toml", method=""), values)


def view(name: str, of: FitConfig, features: list[list[float]], labels: list[int]) -> View:
    made = View.of(name, of, PatchImages(np.zeros((len(features), 8, 8, 3), np.uint8), name))
    made.describe(np.array(features, np.float32))
    made.labels = np.array(labels)
    return made


def test_only_labels_of_enough_confidence_are_carried_over_and_the_rest_keep_classes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = np.array([1, 0, -1, 1]), np.array([0.9, 0.2, 0.0, 0.5], np.float32)
    monkeypatch.setattr(module, "by_assignment", lambda *_, **__: given)
    of = config(tmp_path, ple__confidence=0.5)
    drone = view("drone", of, [[1, 0], [0, 1]], [0, 1])
    satellite = view("satellite", of, [[1, 0], [0, 1], [1, 1], [1, 2]], [0, 1, 2, 3])
    np.testing.assert_array_equal(transfer(drone, satellite, of, 0), [1, 2, 3, 1])
    satellite.labels = np.array([0, 1, -1, 3])  # an outlier without a label stays one
    np.testing.assert_array_equal(transfer(drone, satellite, of, 0), [1, 2, -1, 1])


def test_a_shared_class_starts_in_the_middle_of_its_views_or_at_the_mean_of_its_pictures(tmp_path: Path) -> None:
    """Class 0: three drone pictures along x, one satellite along y; class 1: a satellite alone."""
    for balance, expected in ((True, [0.5**0.5, 0.5**0.5]), (False, [0.9**0.5, 0.1**0.5])):
        of = config(tmp_path, ple__balance=balance)
        drone = view("drone", of, [[2, 0], [3, 0], [4, 0]], [0, 0, 0])
        satellite = view("satellite", of, [[0, 5], [-1, 0]], [0, 1])
        start_memories([drone, satellite], of, torch.device("cpu"), shared=True)
        assert drone.memory is not None
        assert drone.memory is satellite.memory
        np.testing.assert_allclose(drone.memory.centroids.numpy(), [expected, [-1.0, 0.0]], atol=1e-6)


def test_raw_centroids_weigh_descriptors_by_their_length(tmp_path: Path) -> None:
    for centroids, expected in (("raw", [3 / 5, 4 / 5]), ("unit", [0.5**0.5, 0.5**0.5])):
        of = config(tmp_path, cluster__centroids=centroids)
        drone = view("drone", of, [[3, 0], [0, 4], [-1, 0]], [0, 0, 1])
        start_memories([drone], of, torch.device("cpu"), shared=False)
        assert drone.memory is not None
        np.testing.assert_allclose(drone.memory.centroids.numpy(), [expected, [-1.0, 0.0]], atol=1e-6)
        assert drone.rows is not None
        np.testing.assert_allclose(drone.rows.rows.norm(dim=1).numpy(), 1.0, atol=1e-6)


def test_copies_stand_side_by_side(tmp_path: Path) -> None:
    of = config(tmp_path, satellite__copies=3)
    made = view("satellite", of, [[1, 0], [0, 2]], [0] * 6)
    np.testing.assert_array_equal(made.features[:, 1], [0, 0, 0, 2, 2, 2])
    np.testing.assert_array_equal(made.pictures(np.arange(6)), [0, 0, 0, 1, 1, 1])
