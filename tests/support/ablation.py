"""A data set and a run small enough for tests of the tools that compare variants of the method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TINY: dict[str, Any] = {
    "run.epochs": 2,
    "network.depths": [1, 1, 1, 1],
    "network.dims": [8, 8, 16, 16],
    "network.neck": True,
    "contrast.warmup_epochs": 1,
    "patches.patch_px": 32,
    "patches.stored_px": 48,
    "optimiser.iterations": 2,
    "cluster.k1": 4,
    "cluster.min_samples": 2,
}


def write_tiny_dataset(folder: Path, seed: int) -> Path:
    """Generated pictures of five places to train on, in University-1652's layout."""
    from tilefix_training.data.generated import Tours, write_dataset

    tours = Tours(heading_deg=20.0, world_m=600.0, tile_m=80.0, apart_m=60.0)
    return write_dataset(folder, seed=seed, places=5, views=4, test_places=4, distractors=2, px=48, tours=tours)


def without_initial(base: Path, folder: Path) -> Path:
    """A copy of a configuration that starts from random weights."""
    path = folder / "base.toml"
    lines = [line for line in base.read_text().splitlines() if not line.startswith("initial")]
    path.write_text("\n".join(lines) + "\n")
    return path
