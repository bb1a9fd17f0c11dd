"""Nearest descriptors by cosine, block by block: the similarity matrix is never held whole."""

from __future__ import annotations

import numpy as np
import torch

from tilefix.errors import ConfigError
from tilefix.types import Float32Array, IntArray

_BLOCK_BYTES = 128 * 2**20  # of similarities held at once


def unit(features: Float32Array, *, centre: bool = False) -> Float32Array:
    """Rows (n, d) of L2 norm 1; with `centre` what all their directions have in common is taken off in between."""
    if centre:
        features = unit(features)
        features = features - features.mean(axis=0)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), np.float32)


def nearest(
    queries: Float32Array, targets: Float32Array, count: int, *, same: bool = False, device: str = "cpu"
) -> tuple[IntArray, Float32Array]:
    """Indices and similarities (n, count) of the rows of `targets` (m, d) with the largest inner product, best first.

    With `same` the queries are the targets, and each row stands in front of its own list. Equal similarities are in
    the order of their index, except where they straddle the end of the list. Raises `ConfigError` for descriptors
    that are not finite.
    """
    check_descriptors(queries)
    if not same:
        check_descriptors(targets)
    count = min(count, len(targets))
    all_targets = torch.as_tensor(targets, device=device)
    found = np.empty((len(queries), count), np.int64)
    similarity = np.empty((len(queries), count), np.float32)
    step = max(1, _BLOCK_BYTES // (4 * max(1, len(targets))))
    for start in range(0, len(queries), step):
        rows = slice(start, min(start + step, len(queries)))
        block = torch.as_tensor(queries[rows], device=device) @ all_targets.T
        own = torch.arange(len(block), device=block.device)
        if same:
            themselves = block[own, own + start].clone()
            block[own, own + start] = torch.inf
        best = torch.topk(block, count, dim=1)
        # topk leaves the order of equal values open: sorted by index first, the stable sort then settles it.
        index, order = torch.sort(best.indices, dim=1)
        value, order = torch.sort(torch.gather(best.values, 1, order), dim=1, descending=True, stable=True)
        found[rows] = torch.gather(index, 1, order).cpu().numpy()
        if same:
            value[:, 0] = themselves
        similarity[rows] = value.cpu().numpy()
    return found, similarity


def rank_neighbours(features: Float32Array, count: int, *, device: str = "cpu") -> IntArray:
    """Indices (n, count) of the nearest of each of n descriptors, itself in front.

    Rows that are equal bit for bit (copies of one image) are searched once. Where more copies exist than the list
    takes, a row gets those beside it in their cyclic order, on both sides in turn: the tie is broken in a way that is
    mutual, so that the copies stay each other's neighbours, and it does not depend on rounding.
    """
    check_descriptors(features)
    count = min(count, len(features))
    singles, group = distinct(features)
    if len(singles) == len(features):
        return nearest(features, features, count, same=True, device=device)[0]
    first, _ = nearest(features[singles], features[singles], count, same=True, device=device)
    members = np.argsort(group, kind="stable")
    copies = np.bincount(group)
    begins = np.cumsum(copies) - copies

    # The groups of each list, one after the other, as far as the list reaches.
    sizes = copies[first]
    before = np.cumsum(sizes, axis=1) - sizes
    taken = np.clip(count - before, 0, sizes).ravel()
    within = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    expanded = members[np.repeat(begins[first.ravel()], taken) + within].reshape(len(singles), count)

    # Of its own group each row takes itself, the next, the one before, and so on around.
    place = np.empty(len(features), np.int64)
    place[members] = np.arange(len(features)) - np.repeat(begins, copies)
    slots = np.arange(count)
    turn = np.where(slots % 2 == 1, (slots + 1) // 2, -(slots // 2))
    size = copies[group][:, None]
    own = members[begins[group][:, None] + (place[:, None] + turn) % size]
    return np.asarray(np.where(slots < size, own, expanded[group]), np.int64)


def check_descriptors(features: Float32Array) -> None:
    """Raises `ConfigError` unless these are rows of finite numbers."""
    if features.ndim != 2 or not len(features):
        raise ConfigError(f"descriptors of shape {features.shape}, not (n, d)", mend="give at least one picture")
    bad = np.flatnonzero(~np.isfinite(features.sum(axis=1, dtype=np.float64)))
    if len(bad):
        raise ConfigError(
            f"{len(bad)} of {len(features)} descriptors are not finite, the first is number {bad[0]}",
            mend="the network has diverged: lower the learning rate, or resume from an earlier checkpoint",
        )


def distinct(features: Float32Array) -> tuple[IntArray, IntArray]:
    """Index of the first of each set of equal rows, in order, and the number of its set for every row."""
    rows = np.ascontiguousarray(features)
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return np.asarray(first[order], np.int64), np.asarray(rank[inverse.ravel()], np.int64)
