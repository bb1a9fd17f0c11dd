"""Map packages and their imagery, under arbitrary input."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.embedders import ThumbnailEmbedder
from support.rasters import munich_grid, textured
from tilefix.errors import MapError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.mapbuild.fetch import tiles_within
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.mapbuild.patches import cut_patch, tile_centres
from tilefix.mapbuild.pictures import decode_picture, picture_info
from tilefix.mapbuild.sources import BBox
from tilefix.mapbuild.tiles import TileMosaic, choose_zoom
from tilefix.maps.manifest import (
    DATA_FILES,
    HEIGHT_FILE,
    FileEntry,
    HeightInfo,
    ImageryInfo,
    MapManifest,
    ModelRef,
    load_map_manifest,
    manifest_json,
    sealed,
)
from tilefix.maps.tileindex import TileIndex

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SHA256 = st.text("0123456789abcdef", min_size=64, max_size=64)
SIZES = st.floats(0.01, 10.0)


@st.composite
def manifests(draw: st.DrawFn) -> MapManifest:
    grid = Grid(
        draw(st.floats(-1e5, 1e5)),
        draw(st.floats(-1e5, 1e5)),
        draw(SIZES),
        draw(st.integers(1, 20_000)),
        draw(st.integers(1, 20_000)),
    )
    height, names = None, DATA_FILES
    if draw(st.booleans()):
        of_terrain = Grid(
            grid.west_m, grid.north_m, 10.0 * grid.gsd_m, grid.width_px // 10 + 1, grid.height_px // 10 + 1
        )
        height, names = (
            HeightInfo(of_terrain, draw(st.text(max_size=9)), draw(st.text(max_size=9))),
            (*names, HEIGHT_FILE),
        )
    return MapManifest(
        frame=LocalFrame(draw(st.floats(-85, 85)), draw(st.floats(-180, 180))),
        grid=grid,
        patch_m=draw(st.floats(1, 1000)),
        stride_m=draw(st.floats(0.1, 500)),
        tiles=draw(st.integers(1, 10**6)),
        descriptor_dim=draw(st.integers(2, 4096)),
        metric="cosine",
        model=ModelRef(draw(st.text(max_size=20)), draw(SHA256), draw(st.none() | SHA256)),
        imagery=ImageryInfo(*draw(st.tuples(*[st.text(max_size=20)] * 3))),
        files={name: FileEntry(draw(SHA256), draw(st.integers(0, 10**12))) for name in names},
        created=draw(st.text(max_size=20)),
        height=height,
    )


@settings(max_examples=30)
@given(manifests())
def test_a_manifest_survives_its_file(manifest: MapManifest) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.json"
        path.write_text(manifest_json(manifest), encoding="utf-8")
        assert load_map_manifest(path) == manifest


@settings(max_examples=60)
@given(manifests(), st.data())
def test_a_manifest_with_anything_in_it_is_read_or_refused(manifest: MapManifest, data: st.DataObject) -> None:
    raw = json.loads(manifest_json(manifest))
    target = raw
    while True:
        key = data.draw(st.sampled_from(sorted(target)))
        if not isinstance(target[key], dict) or data.draw(st.booleans()):
            break
        target = target[key]
    target[key] = data.draw(JSON)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.json"
        path.write_text(sealed(raw), encoding="utf-8")
        with contextlib.suppress(MapError):
            load_map_manifest(path)


MAGICS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBP")


@given(st.sampled_from(MAGICS), st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd9", b"IEND\xae\x42\x60\x82"]))
def test_any_bytes_are_a_picture_or_refused(magic: bytes, body: bytes, end: bytes) -> None:
    data = magic + body + end
    try:
        info = picture_info(data, "here")
    except MapError:
        return
    assert 1 <= info.width <= 4096
    assert 1 <= info.height <= 4096
    with contextlib.suppress(MapError):
        rgb, coverage = decode_picture(data, "here")
        assert rgb.shape == (info.height, info.width, 3)
        assert coverage.shape == (info.height, info.width)


@given(st.floats(-84, 84), st.floats(-179, 179), st.integers(5, 20), st.floats(0.01, 1), st.floats(0.01, 1))
def test_tiles_within_a_box_cover_it(lat: float, lon: float, zoom: int, width: float, height: float) -> None:
    n = 2.0**zoom
    east, north = min(180.0, lon + width * 3 * 360 / n), min(85.0, lat + height * 3 * 170 / n)
    if not (east > lon and north > lat):
        return
    keys = set(tiles_within(BBox(lon, lat, east, north), zoom, 10_000))
    mosaic = TileMosaic.__new__(TileMosaic)
    mosaic.zoom, mosaic.tile_px, mosaic._x0, mosaic._y0 = zoom, 1, 0, 0
    lons, lats = (v.ravel() for v in np.meshgrid(np.linspace(lon, east, 5)[1:-1], np.linspace(lat, north, 5)[1:-1]))
    columns, rows = mosaic.to_pixel(lons, lats)
    places = zip(np.floor(columns + 0.5).astype(int).tolist(), np.floor(rows + 0.5).astype(int).tolist(), strict=True)
    assert set(places) <= keys
    back_lon, back_lat = mosaic.to_geodetic(columns, rows)
    assert back_lon == pytest.approx(lons, abs=1e-9)
    assert back_lat == pytest.approx(lats, abs=1e-9)


@given(
    st.dictionaries(
        st.integers(0, 8),
        st.sets(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=20),
        min_size=1,
        max_size=4,
    )
)
def test_the_chosen_zoom_lacks_little_of_any_coarser(levels: dict[int, set[tuple[int, int]]]) -> None:
    levels = {z: {(x % 2**z, y % 2**z) for x, y in keys} for z, keys in levels.items()}
    zoom, keys = choose_zoom(levels, None, None, "here")
    assert keys == levels[zoom]
    for coarser in (z for z in levels if z < zoom):
        shown = {(x >> (zoom - coarser), y >> (zoom - coarser)) for x, y in keys}
        assert len(levels[coarser] - shown) * 4 ** (zoom - coarser) < 0.25 * len(keys)


@given(SIZES, st.integers(1, 300), st.integers(1, 300), st.floats(1.0, 200.0), st.floats(0.1, 1.0))
def test_tile_centres_stay_inside_and_leave_no_gap(
    gsd_m: float, width: int, height: int, patch_m: float, share: float
) -> None:
    stride_m = max(share * patch_m, gsd_m)
    if stride_m > patch_m:
        return
    grid = Grid(-0.3 * width * gsd_m, 0.6 * height * gsd_m, gsd_m, width, height)
    centres = tile_centres(grid, patch_m, stride_m).astype(np.float64)
    slack = 1e-4 * max(width, height) * gsd_m
    for axis, low, high in ((0, grid.west_m, grid.east_m), (1, grid.south_m, grid.north_m)):
        line = np.unique(centres[:, axis])
        assert line[0] >= low - slack
        assert line[-1] <= high + slack
        # What a stride leaves free at the edge is less than one more tile would need.
        assert line[0] - low <= max(0.1 * patch_m + 0.5 * stride_m, 0.5 * (high - low)) + slack
        assert (np.diff(line) <= stride_m + slack).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(5.0, 80.0), st.integers(16, 64))
def test_a_patch_is_masked_exactly_where_there_is_no_imagery(
    east_m: float, north_m: float, patch_m: float, patch_px: int
) -> None:
    _, grid = munich_grid(100, 120)
    pixels, coverage = np.full((100, 120, 3), 200, np.uint8), np.full((100, 120), 255, np.uint8)
    patch, mask, share = cut_patch(
        pixels, coverage, grid, east_m=east_m, north_m=north_m, patch_m=patch_m, patch_px=patch_px
    )
    px = patch_m / patch_px
    across = east_m - 0.5 * patch_m + (np.arange(patch_px) + 0.5) * px
    down = north_m + 0.5 * patch_m - (np.arange(patch_px) + 0.5) * px
    soft = 0.5 * px + 0.5 * grid.gsd_m
    deep = np.ix_(
        (down < grid.north_m - soft) & (down > grid.south_m + soft),
        (across > grid.west_m + soft) & (across < grid.east_m - soft),
    )
    assert mask[deep].all()
    outside = (down > grid.north_m + soft) | (down < grid.south_m - soft)
    assert not mask[outside].any()
    assert not mask[:, (across < grid.west_m - soft) | (across > grid.east_m + soft)].any()
    assert (np.abs(patch[mask].astype(int) - 200) <= 2).all()
    assert not patch[~mask].any()
    assert 0.0 <= share <= 1.0


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> TileIndex:
    frame, grid = munich_grid(120, 120)
    imagery = ArrayImagery(frame, grid, textured(120, 120), np.full((120, 120), 255, np.uint8), "", "", "")
    out = tmp_path_factory.mktemp("index") / "map"
    embedder = ThumbnailEmbedder(patch_px=32, side=4)
    return TileIndex.open(build_package(imagery, out, embedder=embedder, patch_m=16.0, stride_m=5.0))


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=16, max_size=16),
    st.integers(1, 200),
    st.floats(-40, 40),
    st.floats(-40, 40),
    st.floats(0, 100),
)
def test_search_gives_the_best_of_what_is_near(
    index: TileIndex, query: list[float], k: int, east_m: float, north_m: float, radius_m: float
) -> None:
    descriptor = np.array(query, np.float32)
    similarities = index.similarities(descriptor)
    found = index.search_near(descriptor, k, east_m, north_m, radius_m)
    assert [(-c.similarity, c.tile) for c in found] == sorted((-c.similarity, c.tile) for c in found)
    assert all(np.hypot(c.east_m - east_m, c.north_m - north_m) <= radius_m + 1e-6 for c in found)
    assert all(c.similarity == similarities[c.tile] for c in found)
    everywhere = index.search(descriptor, len(index))
    near = [c for c in everywhere if (c.east_m - east_m) ** 2 + (c.north_m - north_m) ** 2 <= radius_m**2]
    assert found == near[:k]
