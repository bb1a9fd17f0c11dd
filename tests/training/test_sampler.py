from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from tilefix_training.data.sampler import class_batches


def test_a_batch_has_the_classes_and_images_asked_for_and_no_outlier() -> None:
    labels = np.array([-1, 0, 0, 0, 1, 1, 2, 2, 2, 2, -1, 3])
    for batch in islice(class_batches(labels, 3, 2, np.random.default_rng(0)), 20):
        drawn = labels[batch]
        assert len(batch) == 6
        assert len(set(drawn)) == 3
        assert -1 not in drawn
        assert (drawn[0::2] == drawn[1::2]).all()
        for label in set(drawn) - {3}:
            assert len(set(batch[drawn == label])) == 2  # a class of one image gives it twice, the others do not repeat


def test_every_class_comes_before_any_comes_again() -> None:
    labels = np.arange(12)
    batches = list(islice(class_batches(labels, 4, 2, np.random.default_rng(1)), 3))
    assert sorted(np.concatenate(batches)) == sorted([*range(12), *range(12)])


def test_the_same_seed_draws_the_same() -> None:
    labels = np.random.default_rng(0).integers(-1, 9, 80)
    first, again = (list(islice(class_batches(labels, 4, 3, np.random.default_rng(5)), 9)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_small_classes_are_left_out_unless_there_are_no_others() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    drawn = np.concatenate(list(islice(class_batches(labels, 2, 2, np.random.default_rng(0), least=2), 9)))
    assert set(labels[drawn]) == {0, 2}
    assert set(next(class_batches(labels, 3, 1, np.random.default_rng(0), least=4))) <= set(range(6))


def test_fewer_classes_than_asked_give_them_all() -> None:
    assert sorted(next(class_batches(np.array([0, 1]), 8, 1, np.random.default_rng(0)))) == [0, 1]
    with pytest.raises(ValueError, match="no class"):
        next(class_batches(np.array([-1, -1]), 2, 2, np.random.default_rng(0)))
