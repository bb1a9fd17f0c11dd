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
from tilefix.manifest import sha256_of
from tilefix.types import Float32Array, IntArray, UInt8Array
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
    return evaluate_splits(describe, {"": split}, patch_px)[""]


def evaluate_splits(
    describe: Describe, splits: Mapping[str, RetrievalSplit], patch_px: int
) -> dict[str, RetrievalScore]:
    """The score of each of several splits by its name. A picture that is in several is described once."""
    paths = [path for split in splits.values() for path in (*split.queries, *split.gallery)]
    features, rows = describe_files(describe, paths, patch_px)
    found: dict[str, RetrievalScore] = {}
    for name, split in splits.items():
        own, rows = rows[: len(split.queries) + len(split.gallery)], rows[len(split.queries) + len(split.gallery) :]
        asked, answers = own[: len(split.queries)], own[len(split.queries) :]
        good, there = asked >= 0, answers >= 0
        positions = None
        if split.query_lonlat is not None and split.gallery_lonlat is not None:
            positions = Positions(split.query_lonlat[good], split.gallery_lonlat[there])
        score = score_retrieval(
            features[asked[good]], split.query_ids[good], features[answers[there]], split.gallery_ids[there], positions
        )
        found[name] = replace(score, unreadable=int((own < 0).sum()))
    return found


def describe_files(describe: Describe, paths: Sequence[Path], patch_px: int) -> tuple[Float32Array, IntArray]:
    """Descriptors (m, d) of the different pictures among files, and the row of each file (n,), -1 where it cannot be
    read. Files of the same bytes are one picture: the published sets hold most pictures as query and in the gallery.

    Unreadable files are named in the log. Raises `ConfigError` when there is no other.
    """
    parts: list[Float32Array] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        _, first, picture = np.unique(list(pool.map(_digest, paths)), return_index=True, return_inverse=True)
        rows = np.full(len(first), -1, np.int64)
        for start in range(0, len(first), _BATCH):
            found = list(pool.map(lambda i: _read(paths[i], patch_px), first[start : start + _BATCH]))
            for error in (item for item in found if isinstance(item, FlightError)):
                log.warning("skipped: %s", error)
            batch = [(i, item) for i, item in enumerate(found, start) if not isinstance(item, FlightError)]
            if batch:
                rows[[i for i, _ in batch]] = sum(map(len, parts)) + np.arange(len(batch))
                parts.append(describe(np.stack([item for _, item in batch]), None))
    if not parts:
        raise ConfigError(f"none of {len(paths)} pictures can be read", where=paths[0].parent if paths else None)
    by_file = rows[picture]
    if (by_file < 0).any():
        log.warning("%d of %d pictures cannot be read and are not counted", int((by_file < 0).sum()), len(paths))
    return np.concatenate(parts), by_file


def _digest(path: Path) -> str:
    """The same for files of the same bytes; a file that cannot be read is like no other."""
    try:
        return sha256_of(path)
    except OSError:
        return str(path)


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
