from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.rasters import munich_grid, textured
from tilefix.errors import ModelError
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.mapbuild.patches import cut_patch
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex

EMBEDDER = ThumbnailEmbedder(patch_px=32, side=6)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    frame, grid = munich_grid(200, 240)
    imagery = ArrayImagery(frame, grid, textured(200, 240), np.full((200, 240), 255, np.uint8), "", "", "")
    out = tmp_path_factory.mktemp("index") / "map"
    return build_package(imagery, out, embedder=EMBEDDER, patch_m=20.0, stride_m=5.0)


@pytest.fixture(scope="module")
def index(package: MapPackage) -> TileIndex:
    return TileIndex.open(package)


def query(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=36).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_a_tile_finds_itself(package: MapPackage, index: TileIndex) -> None:
    for tile in (0, 17, len(index) - 1):
        east_m, north_m = (float(v) for v in package.tile_centres_m[tile])
        patch, mask, _ = cut_patch(
            package.imagery,
            package.coverage,
            package.grid,
            east_m=east_m,
            north_m=north_m,
            patch_m=20.0,
            patch_px=32,
        )
        best = index.search(EMBEDDER.embed(patch[None], mask[None])[0], 1)[0]
        assert best.tile == tile
        assert (best.east_m, best.north_m) == (east_m, north_m)
        assert best.similarity == pytest.approx(1.0, abs=1e-5)


def test_search_is_exact(index: TileIndex) -> None:
    stored = index.descriptors(0, len(index))
    for seed in range(5):
        expected = stored.astype(np.float64) @ query(seed)
        np.testing.assert_allclose(index.similarities(query(seed)), expected, atol=1e-6)
        found = index.search(query(seed), 7)
        assert [c.tile for c in found] == list(np.argsort(-expected, kind="stable")[:7])


def test_search_near_is_search_within_the_circle(package: MapPackage, index: TileIndex) -> None:
    east_m, north_m, radius_m = 12.0, -20.0, 23.0
    away_m = np.hypot(package.tile_centres_m[:, 0] - east_m, package.tile_centres_m[:, 1] - north_m)
    near = set(np.flatnonzero(away_m <= radius_m).tolist())
    found = index.search_near(query(3), len(index), east_m, north_m, radius_m)
    everywhere = [c for c in index.search(query(3), len(index)) if c.tile in near]
    assert found == everywhere
    tiles, similarities = index.similarities_near(query(3), east_m, north_m, radius_m)
    assert tiles.tolist() == sorted(near)
    assert np.allclose(similarities, index.similarities(query(3))[tiles], atol=1e-6)
    assert len(found) == len(near) > 10


def test_two_openings_give_equal_answers(package: MapPackage, index: TileIndex) -> None:
    again = TileIndex.open(package)
    assert again.search(query(1), 50) == index.search(query(1), 50)
    np.testing.assert_array_equal(again.similarities(query(1)), index.similarities(query(1)))


def test_equal_tiles_come_in_tile_order(tmp_path: Path) -> None:
    frame, grid = munich_grid(160, 160)
    flat = np.full((160, 160, 3), 255, np.uint8)
    imagery = ArrayImagery(frame, grid, flat, np.full((160, 160), 255, np.uint8), "", "", "")
    flat_map = build_package(imagery, tmp_path / "map", embedder=EMBEDDER, patch_m=20.0, stride_m=10.0)
    found = TileIndex.open(flat_map).search(query(0), 6)
    assert [c.tile for c in found] == [0, 1, 2, 3, 4, 5]


def test_few_and_none(index: TileIndex) -> None:
    assert len(index.search(query(0), 10**9)) == len(index)
    assert index.search(query(0), 0) == []
    assert index.search_near(query(0), 5, 1e6, 0.0, 10.0) == []
    assert index.search_near(query(0), 5, 0.0, 0.0, -1.0) == []


def test_a_descriptor_of_another_length_is_refused(index: TileIndex) -> None:
    for wrong in (np.zeros(35, np.float32), np.zeros((1, 36), np.float32)):
        with pytest.raises(ModelError, match="descriptor has shape"):
            index.search(wrong, 1)
        with pytest.raises(ModelError, match="descriptor has shape"):
            index.search_near(wrong, 1, 0.0, 0.0, 100.0)
