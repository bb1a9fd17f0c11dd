"""Which losses an epoch has, and with what weights: for the published preset, those of the training log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from support.training import write_config
from tilefix_training import objective
from tilefix_training.config import FitConfig, load_config
from tilefix_training.data.images import PatchImages
from tilefix_training.method.icel import neighbourhood_loss
from tilefix_training.method.neighbours import unit
from tilefix_training.objective import Seen, losses, remember
from tilefix_training.view import View, start_memories

CONTRAST = {"contrast_drone": 2.0, "contrast_satellite": 2.0}
DHML = {"dhml_drone": 0.2, "dhml_satellite": 0.2}


def published(tmp_path: Path) -> FitConfig:
    return load_config(write_config(tmp_path / "c.toml", extra='preset = "published"', method="", warmup_epochs=""))


def seen(name: str, config: FitConfig, seed: int) -> Seen:
    """A batch of 6 of 12 entries in 3 classes, with the memories of an epoch's beginning."""
    rng = np.random.default_rng(seed)
    view = View.of(name, config, PatchImages(np.zeros((12, 8, 8, 3), np.uint8), name))
    view.labels, view.features = np.arange(12) % 3, rng.normal(size=(12, 5)).astype(np.float32)
    view.directions = unit(view.features)
    start_memories([view], config, torch.device("cpu"), shared=False)
    raw = torch.from_numpy(3.0 * rng.normal(size=(6, 5)).astype(np.float32))
    return Seen(view, raw, F.normalize(raw, dim=1), np.array([0, 1, 2, 3, 4, 5]))


@pytest.mark.parametrize(
    ("epoch", "weights"),
    [
        (0, CONTRAST | DHML),
        (1, CONTRAST | DHML | {"intra_drone": 1.5, "intra_satellite": 1.5}),
        (9, CONTRAST | DHML | {"intra_drone": 1.5, "intra_satellite": 1.5}),
        (10, CONTRAST | DHML | {"intra_drone": 1.5, "intra_satellite": 1.5, "satellite_to_drone": 0.275}),
        (19, CONTRAST | DHML | {"intra_drone": 1.5, "intra_satellite": 1.5, "drone_to_satellite": 0.75}),
        (20, CONTRAST | {"intra_drone": 0.15, "intra_satellite": 0.15, "satellite_to_drone": 0.055}),
        (23, CONTRAST | {"intra_drone": 0.15, "intra_satellite": 0.15, "drone_to_satellite": 0.15}),
    ],
)
def test_the_published_weights_of_every_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, weights: dict[str, float]
) -> None:
    config = published(tmp_path)
    for name in ("cluster_nce", "neighbourhood_loss"):
        monkeypatch.setattr(objective, name, lambda *_: torch.tensor(1.0))
    found = losses(seen("drone", config, 0), seen("satellite", config, 1), config, epoch)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(weights)


def test_queries_of_one_view_look_at_the_memory_of_the_other(tmp_path: Path) -> None:
    config = published(tmp_path)
    drone, satellite = seen("drone", config, 0), seen("satellite", config, 1)
    for epoch, name, weight, own, other in (
        (10, "satellite_to_drone", 0.275, satellite, drone),
        (11, "drone_to_satellite", 0.75, drone, satellite),
        (11, "intra_drone", 1.5, drone, drone),
    ):
        term = neighbourhood_loss(own.features, own.rows.rows[own.entries], other.rows.rows, 0.9, 0.05)
        assert float(losses(drone, satellite, config, epoch)[name]) == pytest.approx(weight * float(term))


def test_the_published_instance_memory_takes_descriptors_as_they_come(tmp_path: Path) -> None:
    config = published(tmp_path)
    own = seen("drone", config, 0)
    before = own.rows.rows.clone()
    remember(own, config, 0.1)
    expected = F.normalize(0.9 * before[:6] + 0.1 * own.raw, dim=1)
    torch.testing.assert_close(own.rows.rows[:6], expected)
    torch.testing.assert_close(own.rows.rows[6:], before[6:])
