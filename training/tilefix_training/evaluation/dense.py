"""How well descriptors find uncentred drone patches on a dense map: the only place where positions are read.

Each generated world is rendered twice, in a satellite look as the map and in a drone look as the flight; patches of
the second are searched among all tiles of the first, which lie a quarter of a patch apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.types import BoolArray, Float64Array, UInt8Array
from tilefix_training.evaluation.descriptors import Describe

STRIDE = 0.25  # of the patch
HEADING_ERROR_DEG = 12.0
SCALE_ERROR = 0.1
RECALL_AT = (1, 5, 10)
TOP_SHARES = (0.01, 0.05)


@dataclass(frozen=True)
class Case:
    """One map and what is searched on it. Positions are (column, row) pixels of the map."""

    tiles: UInt8Array
    tile_centres_px: Float64Array
    queries: UInt8Array
    masks: BoolArray
    query_centres_px: Float64Array
    stride_px: float


@dataclass(frozen=True)
class Score:
    """Over all queries. A hit is a tile whose centre lies within one stride of the query's, along both axes."""

    queries: int
    tiles_per_map: int
    recall: dict[int, float]
    top_share: dict[float, float]
    median_rank_share: float

    def text(self) -> str:
        """One line for people."""
        recalls = "  ".join(f"R@{k} {100 * value:5.1f}" for k, value in self.recall.items())
        tops = "  ".join(f"top {100 * k:g}% {100 * value:5.1f}" for k, value in self.top_share.items())
        return f"{recalls}  {tops}  median rank {100 * self.median_rank_share:.2f}% of tiles"


def world_case(seed: int, *, patch_m: float, size_m: float, queries: int, patch_px: int) -> Case:
    """The case of the generated world `seed`: partly covered queries with errors of heading and scale."""
    from tilefix.simulation.world import drone_look, generate_world, satellite_look

    gsd_m = patch_m / patch_px
    world = generate_world(seed, size_m=size_m, gsd_m=max(0.5, gsd_m / 2))
    shrink = world.grid.gsd_m / gsd_m
    sky, flight = (
        np.asarray(cv2.resize(world.render(look), None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
        for look in (satellite_look(seed), drone_look(seed))
    )
    return case_of(sky, flight, patch_px=patch_px, queries=queries, rng=np.random.default_rng([seed, 7]))


def case_of(sky: UInt8Array, flight: UInt8Array, *, patch_px: int, queries: int, rng: np.random.Generator) -> Case:
    """A case out of two registered pictures (h, w, 3) at the network's ground sampling."""
    height, width = sky.shape[:2]
    stride_px = patch_px * STRIDE
    half = patch_px / 2
    rows = np.arange(half, height - half + 1e-6, stride_px)
    columns = np.arange(half, width - half + 1e-6, stride_px)
    centres = np.array([(x, y) for y in rows for x in columns])
    tiles = np.stack([sky[int(y - half) : int(y + half), int(x - half) : int(x + half)] for x, y in centres])
    margin = patch_px * 0.75
    places = np.column_stack(
        [rng.uniform(margin, width - margin, queries), rng.uniform(margin, height - margin, queries)]
    )
    drawn = [_query(flight, x, y, patch_px, rng) for x, y in places]
    masks = np.stack([mask for _, mask in drawn])
    return Case(tiles, centres, np.stack([image for image, _ in drawn]), masks, places, stride_px)


def _query(
    flight: UInt8Array, x: float, y: float, patch_px: int, rng: np.random.Generator
) -> tuple[UInt8Array, BoolArray]:
    """A patch around (x, y) as flown: slightly turned and scaled, showing the camera's turned rectangle of it."""
    angle = np.radians(rng.uniform(-HEADING_ERROR_DEG, HEADING_ERROR_DEG))
    scale = 1.0 + rng.uniform(-SCALE_ERROR, SCALE_ERROR)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = (patch_px - 1) / 2
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
    matrix[:, 2] = np.array([x - 0.5, y - 0.5]) - matrix[:, :2] @ np.array([middle, middle])
    image = cv2.warpAffine(
        flight,
        matrix,
        (patch_px, patch_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    width = rng.uniform(0.8, 1.5) * patch_px
    corners = cv2.boxPoints(((middle, middle), (width, width * rng.uniform(0.56, 0.75)), float(rng.uniform(0, 180))))
    mask = np.zeros((patch_px, patch_px), np.uint8)
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 1)
    return np.asarray(image, np.uint8), mask > 0


def ranks(case: Case, describe: Describe) -> Float64Array:
    """For each query the rank (from 0) of the best placed tile that is a hit."""
    similarity = describe(case.queries, case.masks) @ describe(case.tiles, None).T
    off = np.abs(case.query_centres_px[:, None, :] - case.tile_centres_px[None, :, :]).max(axis=2)
    best = np.where(off <= case.stride_px, similarity, -np.inf).max(axis=1)
    return np.asarray((similarity > best[:, None]).sum(axis=1), np.float64)


def score(cases: list[Case], describe: Describe) -> Score:
    """The score over several maps of about one size."""
    found = [ranks(case, describe) for case in cases]
    every = np.concatenate(found)
    shares = np.concatenate([rank / len(case.tiles) for rank, case in zip(found, cases, strict=True)])
    return Score(
        queries=len(every),
        tiles_per_map=len(cases[0].tiles),
        recall={k: float((every < k).mean()) for k in RECALL_AT},
        top_share={k: float((shares < k).mean()) for k in TOP_SHARES},
        median_rank_share=float(np.median(shares)),
    )
