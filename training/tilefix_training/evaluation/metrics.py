"""Measures of retrieval, from descriptors: R@K, R@1 %, AP, SDM@K, MA@m. A block of queries at a time.

Similarities are compared to six decimals, and among equals the wrong pictures come first: descriptors that tell
nothing apart score nothing. A query whose place the gallery does not show counts as a miss in every measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilefix.errors import ConfigError
from tilefix.types import Float32Array, Float64Array, IntArray

Ids = Sequence[Any] | npt.NDArray[Any]  # one name or number per picture; equal ones show one place

RECALL_AT = (1, 5, 10)
SDM_AT = (1, 3, 5, 10)
WITHIN_M = (5.0, 10.0, 20.0, 50.0)
SDM_PER_DEGREE = 5000.0
EARTH_RADIUS_M = 6371008.8
_STEPS = 1e6  # similarities are whole numbers of 1 / _STEPS: exact in float32 up to 2^24 of them
_BLOCK = 1 << 23  # similarities held at once, and once more while they are sorted


@dataclass(frozen=True)
class Metrics:
    """Means over all queries, 0 to 1. `sdm`, `within_m`: empty where no positions are known.

    `recall_top1_percent`: a right picture among the first round(gallery / 100) + 1, as University-1652 counts.
    `unmatched`: queries whose place the gallery does not show, misses of every measure.
    """

    queries: int
    gallery: int
    unmatched: int
    recall: dict[int, float]
    recall_top1_percent: float
    ap: float
    sdm: dict[int, float]
    within_m: dict[float, float]


@dataclass(frozen=True)
class Positions:
    """Where the pictures were taken: (q, 2) and (g, 2), longitude and latitude in degrees (WGS84)."""

    query_lonlat: Float64Array
    gallery_lonlat: Float64Array


def measure(
    query: Float32Array, query_ids: Ids, gallery: Float32Array, gallery_ids: Ids, positions: Positions | None = None
) -> Metrics:
    """All measures of queries (q, d) searched in a gallery (g, d), both L2-normalised. Raises `ConfigError` when
    there is nothing to search, or when descriptors, ids and positions are not of one number."""
    check_lengths(query, query_ids, gallery, gallery_ids, positions)
    query_codes, gallery_codes = codes(query_ids, gallery_ids)
    order = np.argsort(gallery_codes, kind="stable")
    starts = np.searchsorted(gallery_codes[order], query_codes, side="left")
    ends = np.searchsorted(gallery_codes[order], query_codes, side="right")
    size = len(gallery)
    first = np.full(len(query), size, np.int64)
    ap = np.zeros(len(query))
    sdm = np.zeros((len(query), len(SDM_AT)))
    nearest_m = np.full(len(query), np.inf)
    for rows, block in similarity_blocks(query, gallery):
        for i, similarity in zip(range(rows.start, rows.stop), block, strict=True):
            if starts[i] < ends[i]:
                ranks = positive_ranks(similarity, order[starts[i] : ends[i]])
                first[i], ap[i] = ranks[0], average_precision(ranks)
            if positions is not None:
                off_deg = np.hypot(*(positions.gallery_lonlat - positions.query_lonlat[i]).T)
                found = top(similarity, off_deg, max(SDM_AT))
                sdm[i] = [spatial_distance_metric(off_deg[found], k) for k in SDM_AT]
                nearest_m[i] = haversine_m(positions.query_lonlat[i], positions.gallery_lonlat[found[0]])
    return Metrics(
        queries=len(query),
        gallery=size,
        unmatched=int((starts == ends).sum()),
        recall={k: float((first < min(k, size)).mean()) for k in RECALL_AT},
        recall_top1_percent=float((first < min(round(size * 0.01) + 1, size)).mean()),
        ap=float(ap.mean()),
        sdm={} if positions is None else dict(zip(SDM_AT, map(float, sdm.mean(axis=0)), strict=True)),
        within_m={} if positions is None else {m: float((nearest_m <= m).mean()) for m in WITHIN_M},
    )


def check_lengths(
    query: Float32Array, query_ids: Ids, gallery: Float32Array, gallery_ids: Ids, positions: Positions | None
) -> None:
    """Raises `ConfigError` unless everything belongs together."""
    if not len(query) or not len(gallery):
        raise ConfigError(f"{len(query)} queries and {len(gallery)} gallery pictures: nothing to search")
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ConfigError(f"queries have descriptors {query.shape[1:]}, the gallery {gallery.shape[1:]}")
    if not (np.isfinite(query).all() and np.isfinite(gallery).all()):
        raise ConfigError("a descriptor is not finite", mend="train again with a smaller learning_rate")
    counts = [(len(query), len(query_ids), "queries"), (len(gallery), len(gallery_ids), "gallery pictures")]
    if positions is not None:
        counts += [
            (len(query), len(positions.query_lonlat), "queries, positions,"),
            (len(gallery), len(positions.gallery_lonlat), "gallery pictures, positions,"),
        ]
    for have, given, what in counts:
        if have != given:
            raise ConfigError(f"{have} descriptors of {what} but {given} ids or positions")


def codes(query_ids: Ids, gallery_ids: Ids) -> tuple[IntArray, IntArray]:
    """Ids of any kind as whole numbers that are equal where the ids are."""
    _, inverse = np.unique(np.concatenate([np.asarray(query_ids), np.asarray(gallery_ids)]), return_inverse=True)
    inverse = inverse.astype(np.int64)
    return inverse[: len(query_ids)], inverse[len(query_ids) :]


def similarity_blocks(query: Float32Array, gallery: Float32Array) -> Iterator[tuple[slice, Float32Array]]:
    """Rows of the similarity of queries and gallery, (b, g), in millionths; never the whole of it at once."""
    rows = max(1, _BLOCK // len(gallery))
    for start in range(0, len(query), rows):
        part = slice(start, min(start + rows, len(query)))
        yield part, millionths(query[part], gallery)


def millionths(query: Float32Array, gallery: Float32Array) -> Float32Array:
    """The similarity of two sets of descriptors, (q, g), in whole millionths."""
    block: Float32Array = np.asarray(query, np.float32) @ np.asarray(gallery, np.float32).T
    block *= np.float32(_STEPS)
    np.rint(block, out=block)
    return block


def positive_ranks(similarity: Float32Array, positives: IntArray) -> IntArray:
    """Ranks, from 0 and ascending, of the right pictures in a gallery of `similarity` (g,): those that are wrong and
    as similar stand before them."""
    right = np.sort(similarity[positives])[::-1]
    as_good = len(similarity) - np.searchsorted(np.sort(similarity), right, side="left")
    as_good_and_right = len(right) - np.searchsorted(right[::-1], right, side="left")
    return np.asarray(as_good - as_good_and_right + np.arange(len(right)), np.int64)


def average_precision(ranks: IntArray) -> float:
    """AP by the trapezoid rule of the Oxford buildings benchmark, as University-1652 takes it; `ranks` ascending."""
    found = np.arange(len(ranks))
    before = np.where(ranks == 0, 1.0, found / np.maximum(ranks, 1))
    return float((0.5 * (before + (found + 1) / (ranks + 1))).mean())


def top(similarity: Float32Array, off: Float64Array, count: int) -> IntArray:
    """The `count` most similar of (g,), best first; among equals the one furthest off."""
    count = min(count, len(similarity))
    least = np.partition(similarity, len(similarity) - count)[len(similarity) - count]
    candidates = np.flatnonzero(similarity >= least)
    return np.asarray(candidates[np.lexsort((-off[candidates], -similarity[candidates]))[:count]], np.int64)


def spatial_distance_metric(off_deg: Float64Array, count: int) -> float:
    """SDM@K of results `off_deg` degrees off, best first (Dai et al., DenseUAV, arXiv 2201.09201)."""
    off_deg = off_deg[:count]
    weights = count - np.arange(len(off_deg))
    return float((weights * np.exp(-SDM_PER_DEGREE * off_deg)).sum() / weights.sum())


def haversine_m(one_lonlat: Float64Array, other_lonlat: Float64Array) -> float:
    """Metres along the sphere between two (longitude, latitude) in degrees."""
    lon_1, lat_1, lon_2, lat_2 = map(math.radians, (*map(float, one_lonlat), *map(float, other_lonlat)))
    half = math.sin((lat_2 - lat_1) / 2) ** 2
    half += math.cos(lat_1) * math.cos(lat_2) * math.sin((lon_2 - lon_1) / 2) ** 2
    return 2.0 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, half)))
