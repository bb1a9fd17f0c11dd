"""Generated worlds: repeatable, each its own, and honestly different from look to look."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tilefix.simulation import surface
from tilefix.simulation import world as world_module
from tilefix.simulation.layout import plan
from tilefix.simulation.world import (
    EVALUATION_SEED_START,
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    drone_look,
    generate_world,
    satellite_look,
)


@pytest.fixture(scope="module")
def world():
    return generate_world(1001, size_m=600.0)


@pytest.fixture(scope="module")
def pictures(world):
    return world.render(satellite_look(1001)), world.render(drone_look(1001))


def _edges(picture):
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    return np.sqrt(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))


def _correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_grid_spans_the_size_asked_for(world, pictures):
    assert pictures[0].shape == (1200, 1200, 3)
    assert pictures[0].dtype == np.uint8
    assert (world.grid.west_m, world.grid.east_m, world.grid.south_m, world.grid.north_m) == (-300, 300, -300, 300)


def test_same_seed_gives_the_same_bytes():
    first = generate_world(1002, size_m=200.0).render(satellite_look(3))
    again = generate_world(1002, size_m=200.0).render(satellite_look(3))
    other = generate_world(1003, size_m=200.0).render(satellite_look(3))
    assert np.array_equal(first, again)
    assert abs(_correlation(_edges(first), _edges(other))) < 0.15


def test_two_looks_agree_as_two_sensors_do(pictures):
    satellite, drone = map(_edges, pictures)
    patches = [(slice(y, y + 200), slice(x, x + 200)) for y in range(0, 1200, 200) for x in range(0, 1200, 200)]
    same = np.array([_correlation(satellite[p], drone[p]) for p in patches])
    elsewhere = np.array([_correlation(satellite[p], drone[q]) for p, q in zip(patches, patches[7:], strict=False)])
    assert 0.15 < np.median(same) < 0.6
    assert abs(np.median(elsewhere)) < 0.06
    assert same.max() < 0.85


def test_no_place_repeats(pictures):
    # A patch from the middle correlates well with itself only.
    edges = cv2.resize(_edges(pictures[0]), (600, 600), interpolation=cv2.INTER_AREA)
    match = cv2.matchTemplate(edges, edges[260:340, 260:340], cv2.TM_CCOEFF_NORMED)
    match[250:271, 250:271] = 0.0
    assert match.max() < 0.6


def test_cars_move_between_looks_and_most_buildings_stay(world):
    def built(seed):
        look = satellite_look(seed)
        regions, height_m = world._build(look)
        return regions, height_m > 2.0

    (_, first), (_, second) = built(1), built(2)
    assert first.any()
    assert 0.6 < (first & second).sum() / first.sum() < 0.999


def test_seed_ranges_do_not_overlap():
    assert not set(TRAINING_SEEDS) & set(VALIDATION_SEEDS)
    assert max(*TRAINING_SEEDS, *VALIDATION_SEEDS) < EVALUATION_SEED_START


@pytest.mark.parametrize(
    ("size_m", "gsd_m"), [(10.0, 0.5), (2000.0, 0.01), (float("nan"), 0.5), (8000.0, 0.2), (10001.0, 1.0)]
)
def test_impossible_sizes_are_refused(size_m, gsd_m):
    with pytest.raises(ValueError, match="must be"):
        generate_world(1, size_m=size_m, gsd_m=gsd_m)


def test_more_regions_than_sixteen_bits_hold_are_told_apart():
    layout = plan(1002, 200.0)
    few = surface.paint_ground(layout, 200, 1.0)
    assert few.dtype == np.uint16
    count = len(layout.regions.cover)
    for cover in layout.regions.cover * (65536 // count + 1):
        layout.regions.add(cover)
    moved = len(layout.regions.cover) - count
    strokes = [(kind, points, region + moved, width_m) for kind, points, region, width_m in layout.strokes]
    many = surface.paint_ground(replace(layout, strokes=strokes), 200, 1.0)
    assert np.array_equal(many, few.astype(int) + moved)


def test_light_does_not_depend_on_where_it_is_cut_into_bands(monkeypatch):
    height_m = (6.0 * np.random.default_rng(5).random((300, 80)).astype(np.float32)) ** 2
    whole = surface.sunlight(height_m, 0.5, 200.0, 30.0, 0.4)
    monkeypatch.setattr(surface, "_BAND_ROWS", 17)
    assert np.array_equal(surface.sunlight(height_m, 0.5, 200.0, 30.0, 0.4), whole)


def test_blur_does_not_depend_on_where_it_is_cut_into_bands(world, monkeypatch):
    look = replace(satellite_look(1001), noise=0.0)
    assert look.blur_m > 0.0
    whole = world.render(look)
    monkeypatch.setattr(world_module, "_BAND_ROWS", 77)
    assert np.array_equal(world.render(look), whole)
