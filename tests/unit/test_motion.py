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


@pytest.mark.parametrize(("turn_deg", "scale"), [(0.7, 1.0), (-1.0, 1.0), (0.0, 1.01), (0.5, 0.995)])
def test_a_heading_or_height_that_is_off_otherwise_is_no_disagreement(turn_deg: float, scale: float) -> None:
    """A compass that jumps turns the whole patch: its parts lie up to a pixel apart, and still show one ground."""
    whole = cv2.getRotationMatrix2D((300.0, 300.0), turn_deg, scale)
    still, turned = (
        motion_between(placed(300, 300), placed(306, 296, ground=ground), 8.0)
        for ground in (GROUND, cv2.warpAffine(GROUND, whole, (600, 600), flags=cv2.INTER_CUBIC))
    )
    assert still is not None
    assert turned is not None
    shift = whole @ np.array([306.0, 296.0, 1.0]) - np.array([306.0, 296.0])
    assert off_px(turned, 6 - float(shift[0]), -4 - float(shift[1])) < 0.15
    assert turned.sigma_m <= 1.1 * still.sigma_m


def moving(
    dx: int, dy: int, mine: tuple[int, int], *, where: np.ndarray, fade: float = 0.0, seed: int = 31, size: int = 161
) -> tuple[Placed, Placed]:
    """Two patches of ground (dx, dy) pixels apart; where `where` (size, size) is true, something lies over it that
    moves by `mine` over the picture instead, and whose pattern fades by that share of noise."""
    other = noise_ground(seed, 600).astype(float)
    fresh = noise_ground(seed + 1, 600).astype(float)
    pair = []
    for x, y, u, v, share in ((0, 0, 0, 0, 0.0), (dx, dy, *mine, fade)):
        top, left = 300 + y - size // 2, 300 + x - size // 2
        image = GROUND[top : top + size, left : left + size].astype(float)
        top, left = 300 - v - size // 2, 300 - u - size // 2
        cover = other[top : top + size, left : left + size]
        cover = (1.0 - share) * cover + share * fresh[top : top + size, left : left + size]
        image[where] = cover[where]
        patch = Patch(np.clip(image, 0, 255).astype(np.uint8), np.ones((size, size), bool), 0.5, 0.0, 0.0)
        pair.append(Placed(Template(patch), 0.0, 0.0, 0.5))
    return pair[0], pair[1]


ROWS, COLUMNS = np.mgrid[:161, :161]


def without_consensus(monkeypatch) -> None:
    monkeypatch.setattr(motion_module, "consensus", lambda *_: None)


def off_px(motion, dx: int, dy: int) -> float:
    return float(np.hypot(motion.east_m / 0.5 - dx, motion.north_m / 0.5 + dy))


@pytest.mark.parametrize("mine", [(-3, 3), (-2, 3), (-1, 3), (-3, 1)])
def test_a_band_that_moves_does_not_draw_the_motion(mine, monkeypatch) -> None:
    """The ground moves by (-3, 2) over the picture, a band over a third of it by little else."""
    pair = moving(3, -2, mine, where=abs(COLUMNS - 90) < 27)
    motion = motion_between(*pair, 8.0)
    assert motion is not None
    assert off_px(motion, 3, -2) < 0.1
    without_consensus(monkeypatch)
    drawn = motion_between(*pair, 8.0)
    assert drawn is not None
    assert off_px(drawn, 3, -2) > 0.15


@pytest.mark.parametrize("mine", [(-4, -3), (-3, -2)])
def test_water_over_most_of_the_picture_is_not_followed(mine, monkeypatch) -> None:
    """Its pattern fades and moves in steps of its own; the shore has the less ground, but holds together."""
    pair = moving(6, 4, mine, where=COLUMNS > 48, fade=0.3)
    motion = motion_between(*pair, 8.0)
    assert motion is not None
    assert off_px(motion, 6, 4) < 0.1
    without_consensus(monkeypatch)
    drawn = motion_between(*pair, 8.0)
    assert drawn is None or off_px(drawn, 6, 4) > 1.5


def test_two_halves_that_move_apart_are_less_sure() -> None:
    """Neither of them is told to be the ground by anything."""
    alike = moving(3, 0, (-3, 0), where=ROWS > 80)
    apart = moving(3, 0, (-2, 1), where=ROWS > 80)
    sure, unsure = (motion_between(*pair, 8.0) for pair in (alike, apart))
    assert sure is not None
    assert unsure is not None
    assert unsure.sigma_m > 3.0 * sure.sigma_m


def test_parts_that_all_move_differently_are_no_motion(monkeypatch) -> None:
    """What fits as a whole in part only, and nowhere in its parts, is not claimed."""
    rng = np.random.default_rng(3)
    where = np.kron(rng.random((12, 12)) < 0.8, np.ones((14, 14), bool))[:161, :161]
    pair = moving(2, 1, (25, 20), where=where, fade=0.8)
    monkeypatch.setattr(motion_module, "MIN_CORRELATION", 0.05)
    monkeypatch.setattr(motion_module, "MIN_Z_SCORE", 2.0)
    assert motion_between(*pair, 4.0) is None
    without_consensus(monkeypatch)
    assert motion_between(*pair, 4.0) is not None


def test_a_shadow_that_stays_in_the_picture_does_not_hold_the_motion(monkeypatch) -> None:
    """The vehicle's own, dark and sharp, over a field that has little edge of its own."""
    shade = np.clip((32.0 - np.hypot(ROWS - 84, COLUMNS - 70)) / 4.0 + 0.5, 0.0, 1.0)
    pair = []
    for x in (0, 2):
        image = GROUND[220:381, 220 + x : 381 + x].astype(float)
        image = 0.08 * (image - image.mean()) + image.mean()
        image = image * (1.0 - 0.62 * shade[..., None])
        patch = Patch(np.clip(image, 0, 255).astype(np.uint8), np.ones((161, 161), bool), 0.5, 0.0, 0.0)
        pair.append(Placed(Template(patch), 0.0, 0.0, 0.5))
    motion = motion_between(*pair, 8.0)
    assert motion is not None
    assert off_px(motion, 2, 0) < 0.05
    without_consensus(monkeypatch)
    drawn = motion_between(*pair, 8.0)
    assert drawn is not None
    assert off_px(drawn, 2, 0) > 0.25


def test_where_all_parts_agree_the_whole_patch_tells(monkeypatch) -> None:
    before, after = placed(300, 300), placed(307, 297, noise=4.0)
    motion = motion_between(before, after, 20.0)
    without_consensus(monkeypatch)
    plain = motion_between(before, after, 20.0)
    assert motion is not None
    assert plain is not None
    assert np.hypot(motion.east_m - plain.east_m, motion.north_m - plain.north_m) < 0.05 * 0.5
    assert plain.sigma_m <= motion.sigma_m < 1.3 * plain.sigma_m
