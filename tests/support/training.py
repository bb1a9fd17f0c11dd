"""A training run small enough for a test: drawn photos, a few patches, a narrow network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_photos(folder: Path, count: int, seed: int, side: int = 320) -> None:
    """PNG pictures of random coloured rectangles: each place looks different."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        image = np.full((side, side, 3), rng.integers(60, 200, 3), np.uint8)
        for _ in range(60):
            x, y = (int(v) for v in rng.integers(0, side, 2))
            w, h = (int(v) for v in rng.integers(10, 60, 2))
            cv2.rectangle(image, (x, y), (x + w, y + h), [int(v) for v in rng.integers(0, 256, 3)], -1)
        cv2.imwrite(str(folder / f"{i:03d}.png"), image)


def write_config(path: Path, **changes: str) -> Path:
    """A config file beside folders `drone` and `satellite` of photos; `changes` replace whole lines by their key."""
    root = path.parent
    lines = {
        "name": 'name = "tiny"',
        "out": f'out = "{root}/run"',
        "epochs": "epochs = 2",
        "depths": "depths = [1, 1, 1, 1]",
        "dims": "dims = [8, 16, 24, 32]",
        "patch_px": "patch_px = 32",
        "stored_px": "stored_px = 48",
        "satellite_labels": 'labels = "instance"',
        "satellite": source(root / "satellite", 40),
        "drone_labels": 'labels = "cluster"',
        "drone": source(root / "drone", 80),
        "initial": "",
        "warmup_epochs": "warmup_epochs = 1",
        "iterations": "iterations = 4",
        "extra": "",
        "method": "[icel]\ncross_epoch = 1\n[ple]\nepoch = 2",
    } | changes
    sections = {
        "run": ("name", "out", "epochs", "initial", "extra"),
        "network": ("depths", "dims"),
        "patches": ("patch_px", "stored_px"),
        "satellite": ("satellite_labels", "satellite"),
        "drone": ("drone_labels", "drone", "burst", "eps"),
        "cluster": ("neighbours",),
        "contrast": ("warmup_epochs",),
        "optimiser": ("iterations", "batch"),
    }
    lines |= {
        "burst": "burst = 4",
        "eps": "eps = 0.6",
        "neighbours": "k1 = 8\nk2 = 3",
        "batch": "clusters_per_batch = 4\nbfloat16 = false",
    } | changes
    text = "\n".join(f"[{name}]\n" + "\n".join(lines[key] for key in keys) for name, keys in sections.items())
    path.write_text(f"{text}\n{lines['method']}\n")
    return path


def source(folder: Path, patches: int) -> str:
    """The line of a source of photos."""
    photos = f'kind = "photos", folder = "{folder}", width_m = 160'
    return f"sources = [{{ {photos}, patches = {patches}, patch_m = [20, 40] }}]"
