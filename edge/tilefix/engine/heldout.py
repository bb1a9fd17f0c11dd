"""Maps and drone patches that no model was trained on, to compare two embedders by: generated, so always at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.errors import ModelError
from tilefix.localization.rectify import Patch, Rectifier
from tilefix.manifest import ModelManifest
from tilefix.mapbuild.patches import cut_patch, tile_centres
from tilefix.simulation.camera import render_view
from tilefix.simulation.noise import rng_for
from tilefix.simulation.world import drone_look, generate_world, satellite_look
from tilefix.types import BoolArray, Float32Array, Float64Array, UInt8Array

SEEDS = (1990, 1991)  # of validation worlds: nothing is trained on them, no published figure comes from them
QUERIES = 100  # per world
USUAL_PATCH_M = 120.0
WORLD_PATCHES = 6.0  # side of a world, in patches
STRIDE = 1 / 3  # between tiles, of the patch
CAMERA = CameraModel.from_hfov(320, 240, 70.0)
# Errors of what the autopilot says, as in flight: the patch is rectified with them.
HEADING_ERROR_DEG = 8.0
HEIGHT_ERROR = 0.08
TILT_DEG = 8.0


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One map's tiles, and patches that a drone saw of it.

    `tiles`: uint8 (n, p, p, 3) around `centres_m` (n, 2). `patches`: uint8 (q, p, p, 3) and `masks` bool (q, p, p),
    around `places_m` (q, 2). `hit_m`: a tile whose centre is that near along both axes shows the place of a patch.
    """

    tiles: UInt8Array
    centres_m: Float32Array
    patches: UInt8Array
    masks: BoolArray
    places_m: Float64Array
    patch_m: float
    hit_m: float


def held_out_worlds(
    manifest: ModelManifest, *, seeds: Sequence[int] = SEEDS, queries: int = QUERIES
) -> tuple[HeldOut, ...]:
    """Generated worlds at a scale that the model takes: a satellite look as the map, a drone look as the flight.

    Raises `ModelError` for a model of patches wider than a generated world.
    """
    patch_m = min(max(USUAL_PATCH_M, manifest.patch_m_min), manifest.patch_m_max)
    if not 8.0 <= patch_m <= 1300.0:
        raise ModelError(
            f"model {manifest.name} takes patches of {manifest.patch_m_min:g} to {manifest.patch_m_max:g} m, generated "
            "worlds have 8 to 1300 m",
            mend="take a model whose range reaches into that",
        )
    return tuple(_world(seed, patch_m, manifest.patch_px, queries) for seed in seeds)


def _world(seed: int, patch_m: float, patch_px: int, queries: int) -> HeldOut:
    gsd_m = min(max(0.5 * patch_m / patch_px, 0.1), 5.0)
    world = generate_world(seed, size_m=WORLD_PATCHES * patch_m, gsd_m=gsd_m)
    satellite, below = (world.render(look) for look in (satellite_look(seed), drone_look(seed)))
    covered = np.full(satellite.shape[:2], 255, np.uint8)
    grid = world.grid
    centres = tile_centres(grid, patch_m, STRIDE * patch_m)
    half_m = 0.5 * patch_m
    inside = (np.abs(centres) <= grid.east_m - half_m + 1e-3).all(axis=1)  # the world's grid is centred on 0, 0
    centres = centres[inside]
    tiles = np.stack(
        [
            cut_patch(satellite, covered, grid, east_m=float(e), north_m=float(n), patch_m=patch_m, patch_px=patch_px)[
                0
            ]
            for e, n in centres
        ]
    )
    rng = rng_for(seed, "held out")
    reach_m = grid.east_m - 0.75 * patch_m
    seen: list[tuple[Patch, tuple[float, float]]] = []
    while len(seen) < queries:
        east_m, north_m = rng.uniform(-reach_m, reach_m, 2)
        agl_m = patch_m * rng.uniform(0.8, 1.2) * CAMERA.fx / CAMERA.width
        roll_deg, pitch_deg = rng.uniform(-TILT_DEG, TILT_DEG, 2)
        yaw_deg = rng.uniform(0.0, 360.0)
        mount = Mount()
        image = render_view(below, grid, CAMERA, mount, east_m, north_m, agl_m, roll_deg, pitch_deg, yaw_deg)
        claimed_deg = yaw_deg + rng.uniform(-HEADING_ERROR_DEG, HEADING_ERROR_DEG)
        claimed_m = agl_m * (1.0 + rng.uniform(-HEIGHT_ERROR, HEIGHT_ERROR))
        patch = patch_seen(
            Rectifier(CAMERA, mount), image, (roll_deg, pitch_deg, claimed_deg), claimed_m, patch_m, patch_px
        )
        if patch is not None:
            seen.append((patch, (east_m + patch.east_m, north_m + patch.north_m)))
    return HeldOut(
        tiles=tiles,
        centres_m=centres,
        patches=np.stack([patch.image for patch, _ in seen]),
        masks=np.stack([patch.mask for patch, _ in seen]),
        places_m=np.array([place for _, place in seen]),
        patch_m=patch_m,
        hit_m=STRIDE * patch_m,
    )


def patch_seen(
    rectifier: Rectifier,
    image: UInt8Array,
    attitude_deg: tuple[float, float, float],
    agl_m: float,
    patch_m: float,
    patch_px: int,
) -> Patch | None:
    """The north-up patch that the localizer would embed of a frame; `None` where it shows the horizon.

    `attitude_deg`: roll, pitch, yaw. Without ground (a patch of nothing) it is `None` too.
    """
    if not (agl_m > 0.0 and all(map(math.isfinite, (*attitude_deg, agl_m)))):
        return None
    view = rectifier.view(*attitude_deg, agl_m)
    if view is None:
        return None
    gsd_m = patch_m / patch_px
    patch = rectifier.prepare(image, agl_m, gsd_m).patch(view, gsd_m=gsd_m, size_px=patch_px, centre_m=view.centre_m)
    return patch if patch.mask.any() else None
