"""A small map and a flight over it, made of noise that has detail at every size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from support.flights import write_picture
from tilefix.camera import CameraModel, Mount
from tilefix.flights.flight import FlightRow
from tilefix.flights.writer import FlightWriter
from tilefix.geodesy import Grid, LocalFrame
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.maps.package import MapPackage
from tilefix.ports import Embedder
from tilefix.simulation.camera import render_view
from tilefix.types import UInt8Array, VehicleState

LOCAL = LocalFrame(47.0, 8.5)
CAMERA = CameraModel.from_hfov(320, 240, 60.0)
AGL_M = 130.0


def noise_ground(seed: int, side_px: int) -> UInt8Array:
    """RGB ground: octaves of noise, and blocks with edges."""
    rng = np.random.default_rng(seed)
    ground = np.zeros((side_px, side_px), np.float32)
    for cells in (8, 24, 72, 216):
        ground += cv2.resize(rng.random((cells, cells), np.float32), (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    for _ in range(side_px // 4):
        x, y = rng.integers(0, side_px, 2)
        w, h = rng.integers(6, 40, 2)
        ground[y : y + h, x : x + w] = rng.random() * 4.0
    grey = np.clip(ground * 63.0, 0.0, 255.0).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def small_map(out: Path, embedder: Embedder, *, seed: int = 5, side_px: int = 800) -> MapPackage:
    """A map of noise at 0.5 m a pixel."""
    grid = Grid(-0.25 * side_px, 0.25 * side_px, 0.5, side_px, side_px)
    cover = np.full((side_px, side_px), 255, np.uint8)
    imagery = ArrayImagery(LOCAL, grid, noise_ground(seed, side_px), cover, "noise", "2024", "none")
    return build_package(imagery, out, embedder=embedder, patch_m=64.0, stride_m=32.0)


def flight_over(package: MapPackage, folder: Path, *, count: int = 6) -> Path:
    """A level flight eastwards at 10 m/s, two frames a second, with its truth."""
    with FlightWriter(folder, frames="*.png", camera=CAMERA, mount=Mount()) as writer:
        for k in range(count):
            east_m, north_m = -40.0 + 5.0 * k, 20.0
            picture = render_view(
                package.imagery, package.grid, CAMERA, Mount(), east_m, north_m, AGL_M, 0.0, 0.0, 90.0
            )
            write_picture(folder / f"{k}.png", picture)
            state = VehicleState(k * 500_000_000, 0.0, 0.0, 90.0, AGL_M)
            writer.add(FlightRow(f"{k}.png", 0.5 * k, state, package.frame.to_geodetic(east_m, north_m)))
    return folder
