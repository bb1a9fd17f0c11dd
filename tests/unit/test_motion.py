"""Camera motion from two rectified frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import tilefix.localization.motion as motion_module
from support.scenes import noise_ground
from tilefix.localization.motion import Placed, motion_between
from tilefix.localization.rectify import Patch
from tilefix.localization.register import Template

GROUND = noise_ground(21, 600)


def placed(column: int, row: int, size: int = 161, *, ground=GROUND, noise: float = 0.0, offset=(0.0, 0.0)) -> Placed:
    half = size // 2
    image = ground[row - half : row + half + 1, column - half : column + half + 1].astype(float)
    image = np.clip(image + noise * np.random.default_rng(column).normal(size=image.shape), 0, 255)
    patch = Patch(image.astype(np.uint8), np.ones((size, size), bool), 0.5, *offset)
    return Placed(Template(patch), *offset, 0.5)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (7, -3), (-24, 18), (40, 0)])
def test_measures_the_shift(dx, dy) -> None:
    motion = motion_between(placed(300, 300), placed(300 + dx, 300 + dy, noise=4.0), 25.0)
    assert motion is not None
    assert (motion.east_m, motion.north_m) == pytest.approx((0.5 * dx, -0.5 * dy), abs=0.1)


def test_patches_off_the_point_below_and_of_other_sizes() -> None:
    before, after = placed(300, 300, offset=(10.0, 0.0)), placed(306, 300, 145, offset=(4.0, -2.0))
    motion = motion_between(before, after, 20.0)
    assert motion is not None
    # The patch centre moved 3 m east; it lies 6 m less east of the camera and 2 m more south.
    assert (motion.east_m, motion.north_m) == pytest.approx((9.0, 2.0), abs=0.1)


def test_patches_of_very_different_sizes() -> None:
    motion = motion_between(placed(300, 300, 289), placed(306, 295, 49), 8.0)
    assert motion is not None
    assert (motion.east_m, motion.north_m) == pytest.approx((3.0, 2.5), abs=0.1)
    assert motion_between(placed(300, 300, 49), placed(306, 295, 289), 8.0) is None  # most of it was not seen before


@pytest.mark.parametrize(("sizes", "reach_m"), [((161, 161), 16.0), ((161, 161), 40.0), ((177, 161), 28.0)])
def test_a_longer_transform_shows_the_same_correlation(sizes, reach_m, monkeypatch) -> None:
    """No place falls on another in the circular correlation, however far the patches slide."""
    surfaces = []
    correlate = motion_module.correlate
    monkeypatch.setattr(motion_module, "correlate", lambda *given: surfaces.append(correlate(*given)) or surfaces[-1])
    for length in (lambda at_least: at_least, lambda at_least: 2 * at_least):
        monkeypatch.setattr(motion_module, "fft_length", length)
        motion_between(placed(300, 300, sizes[0]), placed(310, 296, sizes[1]), reach_m)
    assert np.allclose(*surfaces, atol=1e-4, equal_nan=True)


def test_other_ground_is_no_motion() -> None:
    assert motion_between(placed(300, 300), placed(300, 300, ground=noise_ground(22, 600)), 20.0) is None


def test_longer_than_the_reach_is_no_motion() -> None:
    assert motion_between(placed(300, 300), placed(380, 300), 10.0) is None


def test_other_sampling_is_no_motion() -> None:
    after = placed(300, 300)
    assert motion_between(placed(300, 300), Placed(after.template, 0.0, 0.0, 1.0), 20.0) is None


def test_a_steady_speed_is_not_drawn_to_whole_pixels() -> None:
    """What a movement lacks is lacking each time: at five pictures a second a tenth of a pixel is a twentieth of the
    speed."""
    fine = cv2.resize(noise_ground(23, 800), None, fx=5.0, fy=5.0, interpolation=cv2.INTER_CUBIC)

    def seen(x_fifths: int, y_fifths: int) -> Placed:
        """The ground from a place in fifths of a pixel, as a sensor averages it."""
        left, top, side = 700 + x_fifths, 700 + y_fifths, 161
        patch = cv2.resize(
            fine[top : top + 5 * side, left : left + 5 * side], (side, side), interpolation=cv2.INTER_AREA
        )
        return Placed(Template(Patch(patch, np.ones((side, side), bool), 0.5, 0.0, 0.0)), 0.0, 0.0, 0.5)

    for x, y in ((7, 0), (6, 7), (7, 7), (8, -7), (12, 13)):
        motion = motion_between(seen(0, 0), seen(x, y), 8.0)
        assert motion is not None
        assert (motion.east_m, motion.north_m) == pytest.approx((0.1 * x, -0.1 * y), abs=0.02)
