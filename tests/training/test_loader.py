"""Prefetched batches: the same whatever the threads, bounded, and with errors that reach the caller."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import pytest

from tilefix.types import BoolArray, UInt8Array
from tilefix_training.data.images import PatchImages
from tilefix_training.data.loader import Batch, Draw, Loader, load

IMAGES = PatchImages(np.random.default_rng(0).integers(0, 256, (50, 6, 6, 3), dtype=np.uint8), "drone")


def shaken(stored: UInt8Array, rng: np.random.Generator) -> tuple[UInt8Array, BoolArray]:
    return stored ^ rng.integers(0, 256, stored.shape, dtype=np.uint8), rng.random(stored.shape[:2]) < 0.5


def whole(stored: UInt8Array, rng: np.random.Generator) -> tuple[UInt8Array, BoolArray]:
    return stored, np.ones(stored.shape[:2], np.bool_)


def plan(length: int, size: int = 20) -> Iterator[list[Draw]]:
    for step in range(length):
        indices = np.random.default_rng([7, step]).integers(0, 50, size)
        yield [Draw(IMAGES, indices, shaken, (1, step, view)) for view in range(2)]


def assert_same(a: Batch, b: Batch) -> None:
    np.testing.assert_array_equal(a[0], b[0])
    assert (a[1] is None) == (b[1] is None)
    if a[1] is not None and b[1] is not None:
        np.testing.assert_array_equal(a[1], b[1])


@pytest.mark.parametrize(("threads", "ahead"), [(0, 1), (1, 1), (3, 2), (4, 50)])
def test_batches_do_not_depend_on_threads(threads: int, ahead: int) -> None:
    with Loader(threads, ahead) as loader:
        found = list(loader.batches(plan(9)))
    assert len(found) == 9
    for step, (views, draws) in enumerate(zip(found, plan(9), strict=True)):
        for view, (batch, draw) in enumerate(zip(views, draws, strict=True)):
            assert batch[0].shape == (20, 6, 6, 3)
            for slot, index in enumerate(draw.indices):
                picture, mask = shaken(IMAGES[int(index)], np.random.default_rng([1, step, view, slot]))
                np.testing.assert_array_equal(batch[0][slot], picture)
                assert batch[1] is not None
                np.testing.assert_array_equal(batch[1][slot], mask)


def test_shares_of_a_batch_make_up_the_whole() -> None:
    indices = np.arange(11)
    together = load(IMAGES, indices, shaken, (3, 4))
    shares = [np.arange(rank, 11, 2) for rank in range(2)]
    with Loader(2) as loader:
        draws = [Draw(IMAGES, indices[share], shaken, (3, 4), share) for share in shares]
        (parts,) = loader.batches([draws])
    for share, (pictures, masks) in zip(shares, parts, strict=True):
        assert together[1] is not None
        assert masks is not None
        np.testing.assert_array_equal(pictures, together[0][share])
        np.testing.assert_array_equal(masks, together[1][share])


@pytest.mark.parametrize("threads", [0, 2])
def test_a_mask_is_given_only_where_something_is_masked(threads: int) -> None:
    def sometimes(stored: UInt8Array, rng: np.random.Generator) -> tuple[UInt8Array, BoolArray]:
        return shaken(stored, rng) if (stored == IMAGES[15]).all() else whole(stored, rng)

    with Loader(threads) as loader:
        draws = [Draw(IMAGES, np.arange(start, start + 20), sometimes, (0,)) for start in (0, 20)]
        ((some, none),) = loader.batches([draws])
    assert some[1] is not None
    assert not some[1][15].all()
    assert some[1][np.arange(20) != 15].all()
    assert none[1] is None
    assert_same(some, load(IMAGES, np.arange(20), sometimes, (0,)))


def test_no_more_than_asked_is_made_ready_and_leaving_early_ends_the_threads() -> None:
    asked: list[int] = []
    made = threading.Semaphore(0)

    def endless() -> Iterator[list[Draw]]:
        for step in count():
            asked.append(step)
            yield [Draw(IMAGES, np.arange(3), counted, (step,))]

    def counted(stored: UInt8Array, rng: np.random.Generator) -> tuple[UInt8Array, BoolArray]:
        made.release()
        return whole(stored, rng)

    before = threading.active_count()
    with Loader(2, ahead=4) as loader:
        batches = loader.batches(endless())
        assert len(list(islice(batches, 10))) == 10
        for _ in range(10 * 3):
            assert made.acquire(timeout=10)
        assert len(asked) <= 10 + 4
        batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_in_a_thread_reaches_the_caller_at_its_batch(threads: int) -> None:
    def fragile(stored: UInt8Array, rng: np.random.Generator) -> tuple[UInt8Array, BoolArray]:
        if (stored == IMAGES[33]).all():
            raise OSError("the disk has gone")
        return whole(stored, rng)

    steps = [[Draw(IMAGES, np.arange(10 * step, 10 * step + 10), fragile, (step,))] for step in range(5)]
    seen = []
    with Loader(threads, ahead=4) as loader:
        with pytest.raises(OSError, match="the disk has gone"):
            seen.extend(loader.batches(steps))
        assert len(seen) == 3
        assert len(list(loader.batches(steps[:2]))) == 2  # and the loader goes on


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="threads -1"):
        Loader(-1)
    with pytest.raises(ValueError, match="ahead 0"):
        Loader(1, 0)
    Loader(1).close()
