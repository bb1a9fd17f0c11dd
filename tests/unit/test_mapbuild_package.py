from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.rasters import munich_grid, spot, spot_at, textured
from tilefix.errors import MapError, ModelError
from tilefix.geodesy import Grid
from tilefix.mapbuild.package import ArrayImagery, IndexWriter, build_package
from tilefix.mapbuild.patches import MIN_TILE_COVERAGE, cut_patch, tile_centres
from tilefix.types import BoolArray, Float32Array, UInt8Array

EMBEDDER = ThumbnailEmbedder(patch_px=32, side=6)


def imagery(height: int = 120, width: int = 160, coverage: UInt8Array | None = None) -> ArrayImagery:
    frame, grid = munich_grid(height, width)
    full = np.full((height, width), 255, np.uint8) if coverage is None else coverage
    return ArrayImagery(frame, grid, textured(height, width), full, "test", "", "CC0")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        build_package(imagery(), tmp_path / name, embedder=EMBEDDER, patch_m=20.0, stride_m=7.0)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_progress_grows_to_the_end(tmp_path: Path) -> None:
    seen: list[float] = []
    build_package(
        imagery(),
        tmp_path / "map",
        embedder=EMBEDDER,
        patch_m=20.0,
        stride_m=2.0,
        progress=lambda what, done: seen.append(done),
    )
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


class FailingEmbedder(ThumbnailEmbedder):
    def __init__(self, error: BaseException) -> None:
        super().__init__(patch_px=32, side=6)
        self._error = error

    def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
        raise self._error


@pytest.mark.parametrize("error", [ModelError("broken"), KeyboardInterrupt(), ValueError("bug")])
def test_a_build_that_fails_leaves_everything_as_it_was(tmp_path: Path, error: BaseException) -> None:
    build_package(imagery(), tmp_path / "old", embedder=EMBEDDER, patch_m=20.0, stride_m=7.0)
    before = contents(tmp_path / "old")
    for name in ("new", "old"):
        with pytest.raises(type(error)):
            build_package(imagery(), tmp_path / name, embedder=FailingEmbedder(error), patch_m=20.0, stride_m=5.0)
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert contents(tmp_path / "old") == before


def test_an_older_package_is_replaced(tmp_path: Path) -> None:
    build_package(imagery(), tmp_path / "map", embedder=EMBEDDER, patch_m=20.0, stride_m=7.0)
    newer = build_package(imagery(), tmp_path / "map", embedder=EMBEDDER, patch_m=30.0, stride_m=7.0)
    assert newer.manifest.patch_m == 30.0
    assert [p.name for p in tmp_path.iterdir()] == ["map"]


def test_a_folder_with_other_things_is_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "holiday.jpg").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(out)
    for path in (out, tmp_path / "file", tmp_path / "link"):
        with pytest.raises(MapError, match="choose another --out"):
            build_package(imagery(), path, embedder=EMBEDDER, patch_m=20.0, stride_m=7.0)
    assert contents(out) == {"holiday.jpg": b"mine"}


@pytest.mark.parametrize(
    ("patch_m", "stride_m", "error"),
    [
        (9.0, 5.0, ModelError),
        (5000.0, 5.0, ModelError),
        (float("nan"), 5.0, ModelError),
        (20.0, 0.0, MapError),
        (20.0, 21.0, MapError),
        (20.0, float("nan"), MapError),
        (20.0, 0.01, MapError),
    ],
)
def test_patch_and_stride_out_of_range(tmp_path: Path, patch_m: float, stride_m: float, error: type[Exception]) -> None:
    with pytest.raises(error):
        build_package(imagery(), tmp_path / "map", embedder=EMBEDDER, patch_m=patch_m, stride_m=stride_m)
    assert list(tmp_path.iterdir()) == []


def test_imagery_of_another_shape_is_refused(tmp_path: Path) -> None:
    frame, grid = munich_grid(120, 160)
    pixels, coverage = textured(120, 160), np.full((120, 160), 255, np.uint8)
    wrong: Sequence[tuple[np.ndarray, np.ndarray]] = [
        (pixels[:-1], coverage),
        (pixels.astype(np.float32), coverage),
        (pixels, coverage[:, :-1]),
        (pixels, coverage.astype(bool)),
    ]
    for bad_pixels, bad_coverage in wrong:
        with pytest.raises(MapError, match="not uint8"):
            build_package(
                ArrayImagery(frame, grid, bad_pixels, bad_coverage, "", "", ""),
                tmp_path / "map",
                embedder=EMBEDDER,
                patch_m=20.0,
                stride_m=5.0,
            )


def test_tiles_without_enough_imagery_are_left_out(tmp_path: Path) -> None:
    coverage = np.full((120, 160), 255, np.uint8)
    coverage[:, :80] = 0
    package = build_package(imagery(coverage=coverage), tmp_path / "map", embedder=EMBEDDER, patch_m=20.0, stride_m=2.0)
    # The western half is bare: a 20 m patch may reach 8 m into it, or over the edge in the east.
    west, east = package.tile_centres_m[:, 0].min(), package.tile_centres_m[:, 0].max()
    assert 2.0 - 0.01 <= west <= 4.01
    assert east <= package.grid.east_m - 0.1 * 20.0 + 0.01
    assert east >= package.grid.east_m - 0.1 * 20.0 - 2.0


def test_a_map_without_any_tile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="no place has imagery"):
        build_package(
            imagery(coverage=np.zeros((120, 160), np.uint8)),
            tmp_path / "map",
            embedder=EMBEDDER,
            patch_m=20.0,
            stride_m=5.0,
        )
    with pytest.raises(MapError, match="no place has imagery"):
        build_package(imagery(), tmp_path / "map", embedder=EMBEDDER, patch_m=400.0, stride_m=5.0)


def test_centres_are_even_and_leave_no_gap() -> None:
    grid = Grid(-103.0, 77.0, 0.5, 500, 300)
    centres = tile_centres(grid, 40.0, 9.0)
    east, north = np.unique(centres[:, 0]), np.unique(centres[:, 1])
    assert len(east) * len(north) == len(centres)
    np.testing.assert_allclose(np.diff(east), 9.0, atol=1e-4)
    np.testing.assert_allclose(np.diff(north), 9.0, atol=1e-4)
    overhang_m = (0.5 - (1.0 - MIN_TILE_COVERAGE)) * 40.0
    for low, high, axis in ((grid.west_m, grid.east_m, east), (grid.south_m, grid.north_m, north)):
        assert axis[0] - low == pytest.approx(high - axis[-1], abs=1e-3)
        assert overhang_m - 1e-3 <= axis[0] - low <= overhang_m + 4.5
    assert centres[0, 1] == north[-1]  # the first row is the northern one


@pytest.mark.parametrize("patch_m", [20.0, 32.0, 45.7, 100.0])
def test_a_patch_shows_its_place_at_its_scale(patch_m: float) -> None:
    _, grid = munich_grid(300, 320)
    spot_column, spot_row = 163.3, 140.8
    picture = spot(320, 300, spot_column, spot_row, sigma_px=6.0)
    pixels, coverage = np.repeat(picture[..., None], 3, axis=2), np.full((300, 320), 255, np.uint8)
    spot_east_m, spot_north_m = grid.to_local(spot_column, spot_row)
    patch, mask, share = cut_patch(
        pixels,
        coverage,
        grid,
        east_m=spot_east_m - 2.0,
        north_m=spot_north_m + 1.0,
        patch_m=patch_m,
        patch_px=64,
    )
    assert (bool(mask.all()), share) == (True, 1.0)
    column, row = spot_at(patch[..., 0])
    px = patch_m / 64
    assert (column, row) == pytest.approx((31.5 + 2.0 / px, 31.5 + 1.0 / px), abs=0.06)


def test_a_patch_over_the_edge_is_masked_and_its_colours_stay() -> None:
    _, grid = munich_grid(100, 100)
    pixels = np.full((100, 100, 3), (200, 100, 50), np.uint8)
    coverage = np.full((100, 100), 255, np.uint8)
    coverage[:, :11] = 0
    patch, mask, share = cut_patch(
        pixels * (coverage > 0)[..., None].astype(np.uint8),
        coverage,
        grid,
        east_m=grid.west_m + 0.3 + 5.5,
        north_m=grid.north_m - 5.0,
        patch_m=20.0,
        patch_px=32,
    )
    assert 0.3 < share < 0.7
    assert mask[-1, -1]
    assert not mask[0].any()
    assert not mask[:, 0].any()
    assert np.abs(patch[mask].astype(int) - (200, 100, 50)).max() <= 2
    assert not patch[~mask].any()
    assert share == pytest.approx(mask.mean(), abs=0.03)


def test_downscaling_averages_instead_of_skipping() -> None:
    _, grid = munich_grid(256, 256)
    checks = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = np.repeat(checks[..., None], 3, axis=2)
    for patch_m in (64.0, 80.0):
        patch, _, _ = cut_patch(
            pixels, np.full((256, 256), 255, np.uint8), grid, east_m=0.3, north_m=0.1, patch_m=patch_m, patch_px=32
        )
        assert np.abs(patch.astype(int) - 128).max() <= 12


def test_a_patch_outside_is_empty() -> None:
    _, grid = munich_grid(50, 50)
    patch, mask, share = cut_patch(
        textured(50, 50), np.full((50, 50), 255, np.uint8), grid, east_m=1e5, north_m=0.0, patch_m=20.0, patch_px=32
    )
    assert share == 0.0
    assert not mask.any()
    assert not patch.any()


def test_the_index_is_what_faiss_itself_writes(tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    vectors = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    index = faiss.IndexFlatIP(5)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "faiss"))
    with IndexWriter(tmp_path / "own", 5) as writer:
        writer.add(vectors[:3])
        writer.add(vectors[3:])
    assert (tmp_path / "own").read_bytes() == (tmp_path / "faiss").read_bytes()


class BrokenEmbedder(ThumbnailEmbedder):
    def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
        descriptors = super().embed(patches, masks)
        descriptors[-1, 0] = np.nan
        return descriptors


def test_descriptors_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not finite"):
        build_package(
            imagery(), tmp_path / "map", embedder=BrokenEmbedder(patch_px=32, side=6), patch_m=20.0, stride_m=5.0
        )
    assert list(tmp_path.iterdir()) == []
