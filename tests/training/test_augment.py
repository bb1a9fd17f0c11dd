from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tilefix_training.data.augment import AugmentSettings, augment, augmenter
from tilefix_training.data.loader import Augment
from tilefix_training.data.published_augment import hue_turned, jittered, published_augment, published_augmenter

STILL = AugmentSettings(
    rotation_deg=0, scale=0, shift=0, mask_p=0, grey_p=0, field_p=0, shadow_p=0, cutout_p=0, blur_p=0, noise_p=0
)


def stored() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)


def test_shapes_types_and_that_the_stored_patch_is_left_alone() -> None:
    patch = stored()
    before = patch.copy()
    image, mask = augment(patch, 64, np.random.default_rng(1))
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((64, 64, 3), np.uint8, (64, 64), np.bool_)
    np.testing.assert_array_equal(patch, before)


def test_the_same_draw_gives_the_same_patch_and_another_another() -> None:
    patch = stored()
    first, again, other = (augment(patch, 64, np.random.default_rng(seed))[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_north_stays_up() -> None:
    patch = np.zeros((128, 128, 3), np.uint8)
    patch[:64] = 200  # bright in the north
    for seed in range(20):
        image, mask = augment(patch, 64, np.random.default_rng(seed))
        top, bottom = (image[rows][mask[rows]] for rows in (slice(0, 20), slice(44, 64)))
        if len(top) and len(bottom):
            assert top.mean() > bottom.mean()


def test_every_patch_shows_ground_and_some_show_it_partly() -> None:
    masks = [augment(stored(), 64, np.random.default_rng(seed))[1].mean() for seed in range(60)]
    assert min(masks) > 0.2
    assert sum(share < 0.8 for share in masks) > 10
    assert sum(share > 0.95 for share in masks) > 10


def test_without_geometry_the_middle_three_quarters_are_shown() -> None:
    patch = np.zeros((128, 128, 3), np.uint8)
    patch[16:112, 16:112] = 180  # 3/4 of the side
    image, mask = augment(patch, 96, np.random.default_rng(0), STILL)
    assert mask.all()
    assert image[2:-2, 2:-2].min() > 60
    assert np.ptp(image[2:-2, 2:-2], axis=(0, 1)).max() <= 1


def test_an_unknown_heading_is_drawn_all_round_and_mirrored_ground_is_not_masked() -> None:
    patch = np.zeros((96, 96, 3), np.uint8)
    patch[:32] = 200  # bright in the north
    settings = dataclasses.replace(STILL, rotation_deg=180.0, margin=1.0, mirrored=True, colour=0.0)
    quadrants = set()
    for seed in range(60):
        image, mask = augment(patch, 64, np.random.default_rng(seed), settings)
        assert mask.all()
        rows, columns = np.nonzero(image.mean(axis=2) > 100)
        quadrants.add((rows.mean() > 31.5, columns.mean() > 31.5))
    assert len(quadrants) == 4


def test_a_picture_kept_whole_is_seen_whole() -> None:
    patch = stored()
    settings = dataclasses.replace(STILL, margin=1.0, colour=0.0)
    image, mask = augment(patch, 128, np.random.default_rng(0), settings)
    assert mask.all()
    assert np.abs(image.astype(int) - patch).max() <= 1
    small, _ = augment(patch, 64, np.random.default_rng(0), settings)
    assert np.abs(small.astype(int) - cv2.resize(patch, (64, 64))).max() <= 1


def test_flipping_mirrors_picture_and_mask() -> None:
    patch = stored()
    settings = dataclasses.replace(STILL, margin=1.0, colour=0.0, shift=0.3)
    plain, mask = augment(patch, 64, np.random.default_rng(5), settings)
    flipped, turned = augment(patch, 64, np.random.default_rng(5), dataclasses.replace(settings, flip_p=1.0))
    assert not mask.all()
    np.testing.assert_array_equal(turned, mask[:, ::-1])
    assert np.abs(flipped.astype(int) - plain[:, ::-1]).max() <= 1


@pytest.mark.parametrize("make", [augmenter, published_augmenter])
@pytest.mark.parametrize("side", [64, 96])
def test_both_fit_the_loader_and_follow_from_the_generator(make: Callable[[int], Augment], side: int) -> None:
    augmented = make(side)
    first, again, other = (augmented(stored(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first[0].shape, first[0].dtype, first[1].dtype) == ((side, side, 3), np.uint8, np.bool_)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_the_published_crop_leaves_black_edges_of_at_most_the_padding() -> None:
    white = np.full((384, 384, 3), 255, np.uint8)
    lefts, tops = set(), set()
    for seed in range(40):
        picture, mask = published_augment(white, 384, np.random.default_rng(seed))
        assert mask.all()
        shown = picture.max(axis=2) > 0
        assert shown.any(axis=1).sum() * shown.any(axis=0).sum() == shown.sum()  # one rectangle
        tops.add(384 - int(shown.any(axis=1).sum()))
        lefts.add(384 - int(shown.any(axis=0).sum()))
    assert max(tops) <= 10
    assert max(lefts) <= 10
    assert len(tops) > 4
    assert len(lefts) > 4


def test_hue_turns_by_the_colour_circle_and_leaves_grey_alone() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(hue_turned(red, 1 / 3)[0, 0], (0, 200, 0), atol=6)
    np.testing.assert_allclose(hue_turned(red, -1 / 3)[0, 0], (0, 0, 200), atol=6)
    np.testing.assert_allclose(hue_turned(red, 0.5)[0, 0], (0, 200, 200), atol=6)
    np.testing.assert_array_equal(hue_turned(red, 0.0), red)
    grey = np.full((4, 4, 3), 90, np.uint8)
    np.testing.assert_array_equal(hue_turned(grey, 0.37), grey)


def test_jitter_changes_brightness_contrast_and_colour_within_its_range() -> None:
    image = stored()
    means = np.array([jittered(image, np.random.default_rng(seed)).mean() for seed in range(200)]) / image.mean()
    spreads = np.array([jittered(image, np.random.default_rng(seed)).std() for seed in range(200)]) / image.std()
    assert 0.4 < means.min() < 0.65
    assert 1.2 < means.max() < 1.6
    assert spreads.min() < 0.5
    assert spreads.max() > 1.1
