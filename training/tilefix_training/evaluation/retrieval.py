"""Retrieval across the views: queries of one searched in a gallery of the other, under both protocols in use.

"full": the gallery as published, with pictures of places that no query shows (Zheng et al., University-1652, arXiv
2002.12186). "matched": without them, as the code of Sample4Geo and of its followers ranks; it is easier, and figures of
the two are not comparable. They are always given together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tilefix.errors import ConfigError, FlightError
from tilefix.types import BoolArray, Float32Array, UInt8Array
from tilefix_training.data.images import fitted, read_image
from tilefix_training.evaluation.descriptors import Describe
from tilefix_training.evaluation.identities import DIRECTIONS, RetrievalSplit
from tilefix_training.evaluation.metrics import Ids, Metrics, Positions, codes, measure

DRONE_TO_SATELLITE, SATELLITE_TO_DRONE = DIRECTIONS
_BATCH = 256
_THREADS = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetrievalScore:
    """One direction, both protocols. `distractors`: gallery pictures that "matched" leaves out; `unreadable`:
    pictures of either side that could not be decoded and are not counted."""

    full: Metrics
    matched: Metrics
    distractors: int
    unreadable: int = 0


def score_retrieval(
    query: Float32Array, query_ids: Ids, gallery: Float32Array, gallery_ids: Ids, positions: Positions | None = None
) -> RetrievalScore:
    """Both protocols of queries (q, d) in a gallery (g, d), L2-normalised; ids of any kind. Raises `ConfigError`."""
    full = measure(query, query_ids, gallery, gallery_ids, positions)
    query_codes, gallery_codes = codes(query_ids, gallery_ids)
    wanted = np.isin(gallery_codes, query_codes)
    if wanted.all():
        return RetrievalScore(full, full, 0)
    if not wanted.any():
        raise ConfigError("no picture of the gallery shows the place of any query", mend="check the ids of both")
    near = None if positions is None else Positions(positions.query_lonlat, positions.gallery_lonlat[wanted])
    matched = measure(query, query_codes, gallery[wanted], gallery_codes[wanted], near)
    return RetrievalScore(full, matched, int((~wanted).sum()))


def score_directions(
    drone: Float32Array, drone_ids: Ids, satellite: Float32Array, satellite_ids: Ids
) -> dict[str, RetrievalScore]:
    """Both directions on one set of places, by their name; places that only one view shows are distractors there."""
    drone_codes, satellite_codes = codes(drone_ids, satellite_ids)
    seen, mapped = np.isin(drone_codes, satellite_codes), np.isin(satellite_codes, drone_codes)
    return {
        DRONE_TO_SATELLITE: score_retrieval(drone[seen], drone_codes[seen], satellite, satellite_codes),
        SATELLITE_TO_DRONE: score_retrieval(satellite[mapped], satellite_codes[mapped], drone, drone_codes),
    }


def evaluate_split(describe: Describe, split: RetrievalSplit, patch_px: int) -> RetrievalScore:
    """The score on a test split, whatever the describer was trained on; pictures are resized whole to `patch_px`."""
    query, asked = describe_files(describe, split.queries, patch_px)
    gallery, answers = describe_files(describe, split.gallery, patch_px)
    positions = None
    if split.query_lonlat is not None and split.gallery_lonlat is not None:
        positions = Positions(split.query_lonlat[asked], split.gallery_lonlat[answers])
    score = score_retrieval(query, split.query_ids[asked], gallery, split.gallery_ids[answers], positions)
    return replace(score, unreadable=int((~asked).sum() + (~answers).sum()))


def describe_files(describe: Describe, paths: Sequence[Path], patch_px: int) -> tuple[Float32Array, BoolArray]:
    """Descriptors (n, d) of the pictures that can be read, and which those are (bool, one per path).

    Raises `ConfigError` when there is none.
    """
    parts: list[Float32Array] = []
    readable = np.zeros(len(paths), np.bool_)
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(paths), _BATCH):
            found = list(pool.map(lambda path: _read(path, patch_px), paths[start : start + _BATCH]))
            readable[start : start + len(found)] = [not isinstance(item, FlightError) for item in found]
            batch = [item for item in found if not isinstance(item, FlightError)]
            for error in (item for item in found if isinstance(item, FlightError)):
                log.warning("skipped: %s", error)
            if batch:
                parts.append(describe(np.stack(batch), None))
    if not parts:
        raise ConfigError(f"none of {len(paths)} pictures can be read", where=paths[0].parent if paths else None)
    if not readable.all():
        log.warning("%d of %d pictures cannot be read and are not counted", int((~readable).sum()), len(paths))
    return np.concatenate(parts), readable


def _read(path: Path, patch_px: int) -> UInt8Array | FlightError:
    try:
        return fitted(read_image(path), patch_px)
    except FlightError as error:
        return error


def table(scores: Mapping[str, RetrievalScore]) -> str:
    """Scores by title, two lines each, percentages."""
    lines = [f"{'':<32} {'gallery':<8} {'queries':>7} {'of':>6}   R@1   R@5  R@10  R@1%    AP"]
    for title, score in scores.items():
        for name, m in (("full", score.full), ("matched", score.matched)):
            values = (*m.recall.values(), m.recall_top1_percent, m.ap)
            more = [f"SDM@{k} {100 * v:.1f}" for k, v in m.sdm.items()]
            more += [f"MA@{k:g}m {100 * v:.1f}" for k, v in m.within_m.items()]
            figures = " ".join(f"{100 * value:5.1f}" for value in values)
            lines.append(f"{title:<32} {name:<8} {m.queries:>7} {m.gallery:>6} {figures}  {' '.join(more)}".rstrip())
    return "\n".join(lines)
