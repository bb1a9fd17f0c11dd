"""A map in quarters for tests of what a map offers: detail of its own, rows that repeat, nothing at all, no imagery."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.scenes import LOCAL, noise_ground
from tilefix.geodesy import Grid
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.maps.package import MapPackage
from tilefix.ports import Embedder

SIDE_PX = 1200  # 600 m
QUARTER_M = 150.0  # from the middle of the map to the middle of a quarter, each way


def patchwork_map(out: Path, embedder: Embedder, *, date: str = "2024") -> MapPackage:
    """North-west: noise. North-east: rows 4 m apart. South-west: plain grey. South-east: no imagery."""
    half = SIDE_PX // 2
    ground = np.full((SIDE_PX, SIDE_PX, 3), 120, np.uint8)
    ground[:half, :half] = noise_ground(3, half)
    ground[:half, half:] = (100 + 60 * (np.arange(half) // 4 % 2)).astype(np.uint8)[:, None, None]
    cover = np.full((SIDE_PX, SIDE_PX), 255, np.uint8)
    cover[half:, half:] = 0
    grid = Grid(-0.25 * SIDE_PX, 0.25 * SIDE_PX, 0.5, SIDE_PX, SIDE_PX)
    imagery = ArrayImagery(LOCAL, grid, ground, cover, "patchwork", date, "none")
    return build_package(imagery, out, embedder=embedder, patch_m=64.0, stride_m=32.0)
