"""Dense correlation: against its definition, and for finding what was cut out."""

from __future__ import annotations

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from support.scenes import noise_ground
from tilefix.geodesy import Grid
from tilefix.localization.correlation import Template, correlate, fft_length, spectra_of
from tilefix.localization.edges import Features, _blurred, edge_features
from tilefix.localization.rectify import Patch
from tilefix.localization.register import (
    MapCorrelator,
    Surface,
    background_spread,
    refine_peak,
    support,
)
from tilefix.localization.spectracache import SpectraCache

SIDE = 500
GRID = Grid(-250.0, 250.0, 1.0, SIDE, SIDE)
GROUND = noise_ground(11, SIDE)
COVER = np.full((SIDE, SIDE), 255, np.uint8)


def cut(column: int, row: int, size: int, mask: np.ndarray | None = None) -> Patch:
    half = size // 2
    image = np.ascontiguousarray(GROUND[row - half : row + half + 1, column - half : column + half + 1])
    return Patch(image, np.ones((size, size), bool) if mask is None else mask, 1.0, 0.0, 0.0)


def correlation_by_definition(ground: Features, template: Features, row: int, column: int) -> float:
    size = template.shape[0]
    there = ground.cut(slice(row, row + size), slice(column, column + size))
    z, own_z = there.across + 1j * there.along, template.across + 1j * template.along
    score = float((z * np.conj(own_z)).real.sum())
    energy = float((np.abs(z) ** 2 * template.valid).sum())
    own = float((np.abs(own_z) ** 2).sum())
    enough = float((there.valid * template.valid).sum()) >= 0.6 * float(template.valid.sum())
    return score / np.sqrt(max(energy, 0.05 * own) * own) if enough else np.nan


def test_fft_correlation_is_the_definition() -> None:
    rng = np.random.default_rng(1)
    ground = edge_features(GROUND[:90, :80], COVER[:90, :80])
    mask = np.ones((31, 31), bool)
    mask[:9] = False
    template = Template(cut(40, 45, 31, mask))
    shape = (fft_length(90), fft_length(80))
    surface = correlate(spectra_of(ground, shape), template, shape, (60, 50))
    for row, column in rng.integers(0, 50, (25, 2)):
        by_hand = correlation_by_definition(ground, template.features, row, column)
        assert surface[row, column] == pytest.approx(by_hand, abs=2e-5, nan_ok=True)


def test_edges_and_their_negatives_are_equal() -> None:
    plain, negative = edge_features(GROUND, COVER), edge_features(255 - GROUND, COVER)
    assert np.abs(plain.across - negative.across).max() < 0.01
    assert np.abs(plain.along - negative.along).max() < 0.01


def test_the_neighbourhood_of_an_edge_is_a_gaussian() -> None:
    plane = np.random.default_rng(2).random((261, 240)).astype(np.float32) ** 4
    exact = cv2.GaussianBlur(plane, (0, 0), 12.0)
    inner = (slice(50, -50), slice(50, -50))
    assert np.allclose(_blurred(plane)[inner], exact[inner], rtol=1e-4)
    assert np.allclose(_blurred(plane), exact, rtol=0.1)


def test_features_do_not_reach_over_the_mask() -> None:
    mask = np.ones((SIDE, SIDE), bool)
    mask[:, 200:] = False
    features = edge_features(GROUND, mask)
    assert features.valid[:, 198:].max() == 0.0
    assert features.power[:, 198:].max() == 0.0
    assert features.valid[100, 100] == 1.0


@pytest.mark.parametrize(("column", "row"), [(250, 250), (131, 377), (90, 410)])
@pytest.mark.parametrize("turned_mask", [False, True])
def test_finds_what_was_cut_out_of_the_map(column, row, turned_mask) -> None:
    mask = None
    if turned_mask:
        y, x = np.mgrid[-60:61, -60:61]
        mask = (np.abs(x + y) < 60) & (np.abs(x - y) < 110)
    template = Template(cut(column, row, 121, mask))
    surface = MapCorrelator(GROUND, COVER, GRID, 1).search(template, 0, 0, SIDE, SIDE)
    at = divmod(int(np.nanargmax(surface.values)), SIDE)
    peak = refine_peak(surface, *at, background_spread(surface.values))
    assert (peak.east_m, peak.north_m) == pytest.approx(GRID.to_local(column, row), abs=0.15)
    assert peak.correlation > 0.9
    assert peak.z_score > 10.0
    assert 0.2 < peak.covariance_m2.sigma_major < 2.0


def test_a_window_sees_what_the_whole_map_shows_there() -> None:
    template = Template(cut(250, 250, 101))
    correlator = MapCorrelator(GROUND, COVER, GRID, 1)
    whole = correlator.search(template, 0, 0, SIDE, SIDE)
    window = correlator.search(template, 200, 210, 90, 80)
    assert (window.column, window.row) == (200, 210)
    assert np.allclose(whole.values[210:290, 200:290], window.values, atol=1e-4)


# By how much the energy of every second pixel may move a score, for patches of that side.
HALVED = {49: 0.08, 101: 0.015, 103: 0.015, 193: 0.002, 289: 0.001}


@pytest.mark.parametrize("size", HALVED)
def test_blocks_show_what_the_whole_map_shows(size, monkeypatch) -> None:
    monkeypatch.setattr("tilefix.localization.register.BLOCK_PX", 200)
    correlator = MapCorrelator(GROUND, COVER, GRID, 1)
    assert correlator.blocks == [(x, y) for y in (0, 200, 400) for x in (0, 200, 400)]
    template = Template(cut(250, 250, size))
    whole = correlator.search(template, 0, 0, SIDE, SIDE).values
    for column, row in correlator.blocks:
        surface = correlator.search_block(template, (column, row))
        assert (surface.column, surface.row) == (column, row)
        shown = whole[row : row + 200, column : column + 200]
        both = np.isfinite(surface.values) & np.isfinite(shown)
        assert np.allclose(surface.values[both], shown[both], atol=1e-4, rtol=HALVED[size])
        # Rounding may decide which side of the least coverage a place at the map's edge lies.
        assert (np.isfinite(surface.values) != np.isfinite(shown)).mean() < 0.01
        assert size > 150 or both.mean() > 0.5
        assert np.array_equal(surface.values, correlator.search_block(template, (column, row)).values, equal_nan=True)


def test_warming_fills_the_cache_and_no_more(monkeypatch) -> None:
    monkeypatch.setattr("tilefix.localization.register.BLOCK_PX", 200)
    made = []
    original = MapCorrelator.features
    monkeypatch.setattr(MapCorrelator, "features", lambda self, *where: made.append(where) or original(self, *where))
    correlator, template = MapCorrelator(GROUND, COVER, GRID, 1), Template(cut(250, 250, 101))
    for _ in range(12):
        correlator.warm(template)
    assert len(made) == 9
    for block in correlator.blocks:
        correlator.search_block(template, block)
    assert len(made) == 9
    one_block = correlator._cache.kept_bytes // 9
    cache = SpectraCache(4 * one_block)
    small = MapCorrelator(GROUND, COVER, GRID, 1, cache)
    for _ in range(12):
        small.warm(template)
    assert 9 + 3 <= len(made) <= 9 + 5
    for block in small.blocks:
        small.search_block(template, block)
    assert one_block < cache.kept_bytes <= 4 * one_block


def test_levels_that_share_a_cache_stay_within_it(monkeypatch) -> None:
    monkeypatch.setattr("tilefix.localization.register.BLOCK_PX", 200)
    template, cache = Template(cut(250, 250, 101)), SpectraCache(6 << 20)
    fine, coarse = (MapCorrelator(GROUND, COVER, GRID, factor, cache) for factor in (1, 2))
    alone = MapCorrelator(GROUND, COVER, GRID, 2)
    for block in fine.blocks:
        fine.search_block(template, block)
        for level in (coarse, alone):
            level.search_block(template, (0, 0))
        assert 0 < cache.kept_bytes <= 6 << 20
        shared, own = (level.search_block(template, (0, 0)).values for level in (coarse, alone))
        assert np.array_equal(shared, own, equal_nan=True)
    wider = Template(cut(250, 250, 289))
    fine.search_block(wider, (0, 0))  # a new margin lets go of that level's blocks only
    assert [(key[0], key[1] > 100) for key in cache._kept] == [(2, False), (1, True)]


def test_templates_wider_than_the_kept_margin_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 289"):
        MapCorrelator(GROUND, COVER, GRID, 1).search_block(Template(cut(250, 250, 291)), (0, 0))


def test_places_off_the_covered_map_have_no_score() -> None:
    cover = COVER.copy()
    cover[:, 300:] = 0
    surface = MapCorrelator(GROUND, cover, GRID, 1).search(Template(cut(150, 250, 101)), 0, 0, SIDE, SIDE)
    assert np.isnan(surface.values[:, 320:]).all()
    assert np.isfinite(surface.values[100:400, 100:250]).all()
    assert np.isnan(surface.values[0, 0])
    outside = MapCorrelator(GROUND, cover, GRID, 1).search(Template(cut(150, 250, 101)), 900, 0, 50, 50)
    assert outside.values.size == 0


def test_pyramid_level_keeps_places() -> None:
    ground = noise_ground(4, 800)
    grid = Grid(0.0, 400.0, 0.5, 800, 800)
    correlator = MapCorrelator(ground, np.full((800, 800), 255, np.uint8), grid, 2)
    assert correlator.level == Grid(0.0, 400.0, 1.0, 400, 400)
    coarse = ground.reshape(400, 2, 400, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    patch = Patch(np.ascontiguousarray(coarse[140:241, 160:261]), np.ones((101, 101), bool), 1.0, 0.0, 0.0)
    surface = correlator.search(Template(patch), 0, 0, 400, 400)
    row, column = divmod(int(np.nanargmax(surface.values)), 400)
    assert (column, row) == (210, 190)


def test_sub_pixel_peak_of_a_known_surface() -> None:
    y, x = np.mgrid[0:41, 0:41].astype(float)
    values = (0.5 - ((x - 20.3) ** 2 / 9.0 + (y - 18.8) ** 2 / 36.0) * 0.02).astype(np.float32)
    level = Grid(0.0, 82.0, 2.0, 41, 41)
    peak = refine_peak(Surface(values, 0, 0, level), 19, 20, spread=0.02)
    assert (peak.east_m, peak.north_m) == pytest.approx((41.6, 43.4), abs=0.02)
    # The surface is four times as wide along north: so is the standard deviation, less the reach and the floor.
    assert peak.covariance_m2.nn > 1.5 * peak.covariance_m2.ee
    assert peak.z_score == pytest.approx(peak.correlation / 0.02)


def test_support_is_whole_for_a_match_and_low_elsewhere() -> None:
    template = Template(cut(250, 250, 121))
    correlator = MapCorrelator(GROUND, COVER, GRID, 1)
    assert support(correlator.features(190, 190, 121, 121), template) > 0.95
    assert support(correlator.features(60, 90, 121, 121), template) < 0.5


def test_even_templates_are_refused() -> None:
    patch = Patch(np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), bool), 1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="odd"):
        Template(patch)


def test_featureless_patch_scores_nothing() -> None:
    patch = Patch(np.full((41, 41, 3), 90, np.uint8), np.ones((41, 41), bool), 1.0, 0.0, 0.0)
    surface = MapCorrelator(GROUND, COVER, GRID, 1).search(Template(patch), 200, 200, 60, 60)
    assert not (surface.values > 0.2).any()
    assert background_spread(np.full((50, 50), np.nan, np.float32)) == np.inf


@pytest.mark.parametrize("window", [(0, 0, 500, 500), (-30, 240, 90, 41), (230, 470, 300, 60), (256, 256, 256, 244)])
def test_features_of_a_window_are_those_of_the_place(window, monkeypatch) -> None:
    """Blocks, kept or made anew, give what the whole map has there, up to the tails of the widest filter."""
    monkeypatch.setattr("tilefix.localization.register.FEATURE_BLOCKS", 2)
    correlator = MapCorrelator(GROUND, COVER, GRID, 1)
    column, row, columns, rows = window
    whole = Features.empty(SIDE + 400, SIDE + 400)
    whole.put(slice(200, 200 + SIDE), slice(200, 200 + SIDE), edge_features(GROUND, COVER == 255))
    wanted = whole.cut(slice(row + 200, row + 200 + rows), slice(column + 200, column + 200 + columns))
    for _ in range(2):
        found = correlator.features(*window)
        assert np.array_equal(found.valid, wanted.valid)
        for one, other in ((found.across, wanted.across), (found.along, wanted.along)):
            assert np.allclose(one, other, atol=0.01 * np.abs(wanted.across).max())
    assert len(correlator._features) <= 2
    again = MapCorrelator(GROUND, COVER, GRID, 1).features(column + 7, row + 5, columns - 7, rows - 5)
    assert np.array_equal(again.across, found.across[5:, 7:])


def test_fft_lengths_are_smooth_and_long_enough() -> None:
    for at_least in range(1, 700):
        length = fft_length(at_least)
        assert length >= at_least
        for factor in (2, 3, 5):
            while length % factor == 0:
                length //= factor
        assert length == 1


@pytest.mark.parametrize(("towards_deg", "sign"), [(45.0, 1.0), (-45.0, -1.0), (0.0, 0.0)])
def test_a_covariance_lies_along_the_peak(towards_deg: float, sign: float) -> None:
    """A match on one road is unsure along it; `towards_deg`: clockwise from north."""
    y, x = np.mgrid[-15:16, -15:16]
    angle = math.radians(towards_deg)
    along = x * math.sin(angle) - y * math.cos(angle)  # rows go south
    across = x * math.cos(angle) + y * math.sin(angle)
    values = np.exp(-0.5 * ((along / 9.0) ** 2 + (across / 2.0) ** 2)).astype(np.float32)
    covariance = refine_peak(Surface(values, 100, 100, GRID), 15, 15, 0.1).covariance_m2
    moments = np.array([[covariance.ee, covariance.en], [covariance.en, covariance.nn]])
    sigmas_m, axes = np.linalg.eigh(moments)
    east, north = axes[:, 1]
    assert sigmas_m[1] > 4.0 * sigmas_m[0]
    assert abs(math.remainder(math.degrees(math.atan2(east, north)) - towards_deg, 180.0)) < 5.0
    assert covariance.en * sign > 0.0 or sign == 0.0


@pytest.mark.parametrize(("agrees", "share"), [((0.2, 0.2), 1.0), ((0.2, 0.05), 0.5), ((0.05, -0.9), 0.0)])
def test_support_is_the_share_of_blocks_that_agree_a_little(agrees: tuple[float, float], share: float) -> None:
    """`agrees`: how the left and the right half of the patch correlate with the map."""
    side = 80
    correlation = np.repeat(np.repeat([agrees], side, axis=0), side // 2, axis=1).astype(np.float32)
    one, none = np.ones((side, side), np.float32), np.zeros((side, side), np.float32)
    patch = SimpleNamespace(size_px=side, features=SimpleNamespace(across=one, along=none, power=one, valid=one))
    ground = SimpleNamespace(across=correlation, along=np.sqrt(1.0 - correlation**2), power=one, valid=one)
    assert support(ground, patch) == pytest.approx(share)
    hidden = one.copy()
    hidden[:, side // 2 :] = 0.0
    patch.features.valid = hidden
    assert support(ground, patch) == (agrees[0] > 0.1)
