"""How well descriptors find uncentred drone patches on a dense map, in metres. Positions are read here only.

A patch is searched among tiles that stand close together over the whole map; the best one is the answer. Retrieval of
tiles that are centred on what the patches show does not foretell this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.errors import ConfigError
from tilefix.types import BoolArray, Float32Array, Float64Array, IntArray, UInt8Array
from tilefix_training.evaluation.descriptors import Describe
from tilefix_training.evaluation.metrics import millionths, top

HIT = 0.25  # of the patch: a tile whose centre is that near along both axes is a hit
HEADING_ERROR_DEG = 12.0
SCALE_ERROR = 0.1
RECALL_AT = (1, 5, 10)
TOP_SHARES = (0.01, 0.05)
WITHIN_M = (1.0, 5.0, 10.0, 25.0, 50.0)
MAX_TILES = 1_000_000
_BLOCK = 1024  # tiles cut and described at once

# Numbers of tiles -> uint8 (n, p, p, 3) and bool (n, p, p), or None where they show ground all over.
Cut = Callable[[IntArray], tuple[UInt8Array, BoolArray | None]]


@dataclass(frozen=True)
class Case:
    """One map and what is searched on it. Positions are (x, y) metres in any one frame of the map.

    `queries`: uint8 (q, t, p, p, 3), each in t headings, and `masks` bool (q, t, p, p). `targets_m`: (q, 2), the places
    asked for. `offsets_m`: (q, t, 2), how far from its target a patch's centre lies if that heading is right.
    `hit_m`: how near a hit is, along both axes.
    """

    tile_centres_m: Float64Array
    cut: Cut
    queries: UInt8Array
    masks: BoolArray
    targets_m: Float64Array
    offsets_m: Float64Array
    hit_m: float


@dataclass(frozen=True)
class Found:
    """By query, (q,). `rank`: wrong tiles before the best hit. `error_m`: of the best tile. `nearest_m`: of the tile
    that stands nearest, the best that any descriptor could do."""

    rank: Float64Array
    error_m: Float64Array
    nearest_m: Float64Array


@dataclass(frozen=True)
class Score:
    """Over all queries. `within_m`: share of errors that are no larger. `nearest_median_m`: of the nearest tiles."""

    queries: int
    tiles_per_map: int
    recall: dict[int, float]
    top_share: dict[float, float]
    median_rank_share: float
    median_error_m: float
    mean_error_m: float
    within_m: dict[float, float]
    nearest_median_m: float


def world_case(
    seed: int,
    *,
    patch_m: float,
    size_m: float,
    queries: int,
    patch_px: int,
    stride_m: float | None = None,
    turns: int = 1,
) -> Case:
    """The case of the generated world `seed`, once in a satellite look as the map and once in a drone look as the
    flight: partly covered queries with errors of heading and scale. See `case_of`."""
    from tilefix.simulation.world import drone_look, generate_world, satellite_look

    gsd_m = patch_m / patch_px
    world = generate_world(seed, size_m=size_m, gsd_m=max(0.5, gsd_m / 2))
    shrink = world.grid.gsd_m / gsd_m
    sky, flight = (
        np.asarray(cv2.resize(world.render(look), None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
        for look in (satellite_look(seed), drone_look(seed))
    )
    rng = np.random.default_rng([seed, 7])
    return case_of(
        sky, flight, patch_px=patch_px, queries=queries, rng=rng, gsd_m=gsd_m, stride_m=stride_m, turns=turns
    )


def case_of(
    sky: UInt8Array,
    flight: UInt8Array,
    *,
    patch_px: int,
    queries: int,
    rng: np.random.Generator,
    gsd_m: float = 1.0,
    stride_m: float | None = None,
    turns: int = 1,
) -> Case:
    """A case out of two registered pictures (h, w, 3) at the network's ground sampling `gsd_m`.

    `stride_m`: between tiles, rounded to pixels; a quarter of the patch unless given. `turns`: 1, headings are known
    but for a small error; more, they are not, and that many are tried. Positions count from the top left corner.
    """
    height, width = sky.shape[:2]
    stride_px = patch_px * HIT if stride_m is None else stride_m / gsd_m
    rows, columns = (np.arange(0.0, side - patch_px + 1e-6, stride_px) for side in (height, width))
    check_tiles(len(rows) * len(columns))
    corners = np.rint([(x, y) for y in rows for x in columns]).astype(np.int64)

    def cut(numbers: IntArray) -> tuple[UInt8Array, None]:
        return np.stack([sky[y : y + patch_px, x : x + patch_px] for x, y in corners[numbers]]), None

    margin = patch_px * 0.75
    places = np.column_stack(
        [rng.uniform(margin, width - margin, queries), rng.uniform(margin, height - margin, queries)]
    )
    drawn = [_query(flight, x, y, patch_px, rng, turns) for x, y in places]
    return Case(
        tile_centres_m=np.asarray((corners + patch_px / 2) * gsd_m, np.float64),
        cut=cut,
        queries=np.stack([images for images, _ in drawn]),
        masks=np.stack([masks for _, masks in drawn]),
        targets_m=places * gsd_m,
        offsets_m=np.zeros((queries, turns, 2)),
        hit_m=HIT * patch_px * gsd_m,
    )


def check_tiles(count: int) -> None:
    """Raises `ConfigError` for more tiles than can be searched in reasonable time."""
    if count > MAX_TILES:
        raise ConfigError(f"the stride gives {count} tiles, more than {MAX_TILES}", mend="choose a larger --stride-m")


def _query(
    flight: UInt8Array, x: float, y: float, patch_px: int, rng: np.random.Generator, turns: int
) -> tuple[UInt8Array, BoolArray]:
    """A patch around (x, y) as flown: slightly turned and scaled, showing the camera's turned rectangle of it; the same
    in `turns` headings, of which none need be right."""
    angle_deg = rng.uniform(-HEADING_ERROR_DEG, HEADING_ERROR_DEG)
    scale = 1.0 + rng.uniform(-SCALE_ERROR, SCALE_ERROR)
    width = rng.uniform(0.8, 1.5) * patch_px
    size = (width, width * rng.uniform(0.56, 0.75))
    box_deg = float(rng.uniform(0, 180))
    heading_deg = float(rng.uniform(0, 360)) if turns > 1 else 0.0
    middle = (patch_px - 1) / 2
    images, masks = [], []
    for turn in range(turns):
        turn_deg = heading_deg + 360.0 * turn / turns
        angle = np.radians(angle_deg + turn_deg)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
        matrix[:, 2] = np.array([x - 0.5, y - 0.5]) - matrix[:, :2] @ np.array([middle, middle])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        images.append(cv2.warpAffine(flight, matrix, (patch_px, patch_px), flags=flags, borderMode=cv2.BORDER_REFLECT))
        corners = cv2.boxPoints(((middle, middle), size, box_deg - turn_deg))
        mask = np.zeros((patch_px, patch_px), np.uint8)
        cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 1)
        masks.append(mask > 0)
    return np.stack(images).astype(np.uint8), np.stack(masks)


def locate(case: Case, describe: Describe) -> Found:
    """Each query searched among all tiles, in the heading that fits each tile best.

    As in retrieval, similarities are compared to six decimals, and among equals the wrong and the furthest come first.
    """
    similarity = _similarities(case, describe)
    found = np.empty((3, len(similarity)))
    for q, by_turn in enumerate(similarity):
        turn, best = by_turn.argmax(axis=0), by_turn.max(axis=0)
        off_m = case.tile_centres_m - case.offsets_m[q, turn] - case.targets_m[q]
        distance_m = np.hypot(off_m[:, 0], off_m[:, 1])
        hit = np.abs(off_m).max(axis=1) <= case.hit_m
        rank = int((best[~hit] >= best[hit].max()).sum()) if hit.any() else len(best)
        found[:, q] = rank, distance_m[top(best, distance_m, 1)[0]], distance_m.min()
    return Found(*found)


def _similarities(case: Case, describe: Describe) -> Float32Array:
    """(q, t, tiles), in millionths; tiles are cut and described a block at a time, and none is kept."""
    count, turns = case.queries.shape[:2]
    queries = describe(case.queries.reshape(-1, *case.queries.shape[2:]), case.masks.reshape(-1, *case.masks.shape[2:]))
    out = np.empty((len(queries), len(case.tile_centres_m)), np.float32)
    for start in range(0, out.shape[1], _BLOCK):
        numbers = np.arange(start, min(start + _BLOCK, out.shape[1]))
        out[:, numbers] = millionths(queries, describe(*case.cut(numbers)))
    return out.reshape(count, turns, -1)


def ranks(case: Case, describe: Describe) -> Float64Array:
    """For each query the rank (from 0) of the best placed tile that is a hit."""
    return locate(case, describe).rank


def score(cases: Sequence[Case], describe: Describe) -> Score:
    """The score over several maps of about one size."""
    found = [locate(case, describe) for case in cases]
    rank, error_m, nearest_m = (
        np.concatenate([getattr(one, key) for one in found]) for key in ("rank", "error_m", "nearest_m")
    )
    shares = np.concatenate([one.rank / len(case.tile_centres_m) for one, case in zip(found, cases, strict=True)])
    return Score(
        queries=len(rank),
        tiles_per_map=len(cases[0].tile_centres_m),
        recall={k: float((rank < k).mean()) for k in RECALL_AT},
        top_share={k: float((shares < k).mean()) for k in TOP_SHARES},
        median_rank_share=float(np.median(shares)),
        median_error_m=float(np.median(error_m)),
        mean_error_m=float(error_m.mean()),
        within_m={m: float((error_m <= m).mean()) for m in WITHIN_M},
        nearest_median_m=float(np.median(nearest_m)),
    )


def table(scores: Mapping[str, Score]) -> str:
    """Scores by name, a line each: percentages and metres."""
    heads = [f"R@{k}" for k in RECALL_AT] + [f"top {100 * k:g}%" for k in TOP_SHARES] + ["rank %"]
    heads += ["median m", "mean m"] + [f"<{m:g} m" for m in WITHIN_M]
    lines = [f"{'':<12} " + " ".join(f"{head:>8}" for head in heads)]
    for name, s in scores.items():
        shares = [*s.recall.values(), *s.top_share.values()]
        cells = [f"{100 * share:.1f}" for share in shares] + [f"{100 * s.median_rank_share:.2f}"]
        cells += [f"{s.median_error_m:.1f}", f"{s.mean_error_m:.1f}"]
        cells += [f"{100 * share:.1f}" for share in s.within_m.values()]
        lines.append(f"{name:<12} " + " ".join(f"{cell:>8}" for cell in cells))
    return "\n".join(lines)
