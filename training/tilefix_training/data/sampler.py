"""Which images go into a batch: some classes, several images of each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tilefix.types import IntArray
from tilefix_training.method.cluster import OUTLIER


def class_batches(
    labels: IntArray, classes: int, images: int, rng: np.random.Generator, *, least: int = 1
) -> Iterator[IntArray]:
    """Endless batches of indices (classes * images,): random classes, each in turn before any comes again.

    A class with fewer images gives some of them twice (augmentation makes them differ). With fewer classes than
    asked a batch holds them all. Classes of fewer images than `least` are left out, unless all are so small. Raises
    `ValueError` without any class.
    """
    kept = np.flatnonzero(labels != OUTLIER)
    order = kept[np.argsort(labels[kept], kind="stable")]
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    if not len(kept):
        raise ValueError("no class to sample from")
    members = [own for own in members if len(own) >= least] or members
    classes = min(classes, len(members))
    queue: list[int] = []
    while True:
        while len(queue) < classes:
            queue.extend(int(i) for i in rng.permutation(len(members)) if i not in queue)
        chosen, queue = queue[:classes], queue[classes:]
        yield np.concatenate([_draw(members[i], images, rng) for i in chosen])


def _draw(members: IntArray, images: int, rng: np.random.Generator) -> IntArray:
    if len(members) >= images:
        return rng.choice(members, images, replace=False)
    return np.concatenate([rng.permutation(members), rng.choice(members, images - len(members))])
