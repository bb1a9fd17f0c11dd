"""Batches made ready by threads while the network computes, the same ones whatever the number of threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from tilefix.types import BoolArray, IntArray, UInt8Array
from tilefix_training.data.images import Images

Augment = Callable[[UInt8Array, np.random.Generator], tuple[UInt8Array, BoolArray]]
Batch = tuple[UInt8Array, BoolArray | None]

_CHUNK = 8  # pictures per task: small tasks cost as much to hand out as to do


@dataclass(frozen=True)
class Draw:
    """What a batch takes of one view: pictures `indices` of `images`, each through `augment`.

    The randomness of a picture is `default_rng([*rng_key, slot])` alone. `slots`: its places in the batch; `None`
    counts from 0. One process of several gives the slots that its share has in the whole batch.
    """

    images: Images
    indices: IntArray
    augment: Augment
    rng_key: tuple[int, ...]
    slots: IntArray | None = None


def load(
    images: Images,
    indices: IntArray,
    augment: Augment,
    rng_key: tuple[int, ...],
    slots: IntArray | None = None,
) -> Batch:
    """Pictures uint8 (b, p, p, 3) and masks bool (b, p, p), `None` where every pixel shows ground."""
    places = np.arange(len(indices)) if slots is None else slots
    drawn = [
        augment(images[int(index)], np.random.default_rng([*rng_key, int(slot)]))
        for index, slot in zip(indices, places, strict=True)
    ]
    masks = np.stack([mask for _, mask in drawn])
    return np.stack([picture for picture, _ in drawn]), None if masks.all() else masks


class Loader:
    """A pool of `threads` threads that keeps at most `ahead` iterations' batches ready; 0 threads load on the spot.

    Use it as a context manager, or call `close`.
    """

    def __init__(self, threads: int = 1, ahead: int = 3) -> None:
        if threads < 0 or ahead < 1:
            raise ValueError(f"threads {threads} must be 0 or more and ahead {ahead} at least 1")
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loader") if threads else None
        self._ahead = ahead

    def batches(self, plan: Iterable[Sequence[Draw]]) -> Iterator[list[Batch]]:
        """Per item of `plan`, one batch for each of its draws, in order.

        `plan` is read in the caller's thread, up to `ahead` items early, and may be endless. An error in a thread is
        raised here, at the batch that it belongs to. Leaving the loop early drops what was made ready.
        """
        if self._pool is None:
            for draws in plan:
                yield [load(d.images, d.indices, d.augment, d.rng_key, d.slots) for d in draws]
            return
        waiting: deque[list[list[Future[Batch]]]] = deque()
        try:
            for draws in plan:
                waiting.append([self._submit(self._pool, draw) for draw in draws])
                if len(waiting) > self._ahead:
                    yield [_joined(parts) for parts in waiting.popleft()]
            while waiting:
                yield [_joined(parts) for parts in waiting.popleft()]
        finally:
            for views in waiting:
                for parts in views:
                    for part in parts:
                        part.cancel()

    def _submit(self, pool: ThreadPoolExecutor, draw: Draw) -> list[Future[Batch]]:
        places = np.arange(len(draw.indices)) if draw.slots is None else draw.slots
        parts = [slice(start, start + _CHUNK) for start in range(0, len(draw.indices), _CHUNK)]
        return [
            pool.submit(load, draw.images, draw.indices[part], draw.augment, draw.rng_key, places[part])
            for part in parts
        ]

    def close(self) -> None:
        """Ends the threads after the pictures in hand; may be called twice."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _joined(parts: list[Future[Batch]]) -> Batch:
    done = [part.result() for part in parts]
    pictures = np.concatenate([picture for picture, _ in done])
    if all(mask is None for _, mask in done):
        return pictures, None
    masks = [np.ones(picture.shape[:3], np.bool_) if mask is None else mask for picture, mask in done]
    return pictures, np.concatenate(masks)
