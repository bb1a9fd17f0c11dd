from __future__ import annotations

import numpy as np

from tilefix_training.data.augment import AugmentSettings, augment

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
