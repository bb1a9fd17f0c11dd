"""Georeferencing and colours: a marker drawn at a known place must come out there, whatever the file is like."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import numpy as np
import pyproj
import pytest

from support.rasters import spot, spot_at, write_geotiff, write_mbtiles, write_tiles
from tilefix.errors import MapError
from tilefix.geodesy import Grid
from tilefix.mapbuild.imagery import open_imagery
from tilefix.mapbuild.resample import fill, layout_of
from tilefix.mapbuild.sources import BBox
from tilefix.types import UInt8Array

rasterio = pytest.importorskip("rasterio")
Affine = rasterio.Affine


def mapped(path: Path, gsd_m: float | None = None, **options: object) -> tuple[UInt8Array, UInt8Array, Grid, object]:
    """Pixels, coverage, grid and frame of imagery on its local grid."""
    source = open_imagery(path, **options)  # type: ignore[arg-type]
    layout = layout_of(source, options.get("bbox"))  # type: ignore[arg-type]
    grid = layout.grid(gsd_m or layout.gsd_m)
    pixels = np.zeros((grid.height_px, grid.width_px, 3), np.uint8)
    coverage = np.zeros((grid.height_px, grid.width_px), np.uint8)
    fill(source, layout.frame, grid, pixels, coverage, finest_gsd_m=layout.finest_gsd_m)
    source.close()
    return pixels, coverage, grid, layout.frame


def corner_to_crs(transform: Affine, x: float, y: float) -> tuple[float, float]:
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


def utm(zone: int) -> tuple[str, Affine]:
    return f"EPSG:{zone}", Affine(0.5, 0.0, 691000.0, 0.0, -0.5, 5335000.0)


# Height 300, width 400 px; each transform is pixel corner to CRS.
GEOREFERENCES = {
    "utm": utm(32632),
    "utm far from its meridian": ("EPSG:32632", Affine(0.5, 0.0, 820000.0, 0.0, -0.5, 6900000.0)),
    "utm south": ("EPSG:32734", Affine(0.7, 0.0, 262000.0, 0.0, -0.7, 6243000.0)),
    "web mercator": ("EPSG:3857", Affine(0.6, 0.0, 1288000.0, 0.0, -0.6, 6130000.0)),
    "degrees": ("EPSG:4326", Affine(6e-6, 0.0, 11.57, 0.0, -4.5e-6, 48.14)),
    "polar": ("EPSG:3031", Affine(1.0, 0.0, 1200000.0, 0.0, -1.0, 1500000.0)),
    "lambert in feet": ("EPSG:2263", Affine(1.0, 0.0, 985000.0, 0.0, -1.0, 195000.0)),
    "rotated": ("EPSG:32632", Affine(0.45, 0.2, 691000.0, 0.2, -0.45, 5335000.0)),
    "south up": ("EPSG:32632", Affine(0.5, 0.0, 691000.0, 0.0, 0.5, 5334850.0)),
    "turned by 90 degrees": ("EPSG:32632", Affine(0.0, -0.5, 691150.0, -0.5, 0.0, 5335000.0)),
}


@pytest.mark.parametrize("name", GEOREFERENCES)
@pytest.mark.parametrize("scale", [0.7, 1.0, 2.3])
def test_a_marker_lands_where_it_is(tmp_path: Path, name: str, scale: float) -> None:
    crs, transform = GEOREFERENCES[name]
    column, row = 283.37, 88.61
    band = spot(400, 300, column, row, sigma_px=4.0)
    path = write_geotiff(tmp_path / "in.tif", np.stack([band] * 3), crs=crs, transform=transform)
    source = open_imagery(path)
    gsd_m = scale * layout_of(source).gsd_m
    source.close()
    pixels, _, grid, frame = mapped(path, gsd_m)
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(
        *corner_to_crs(transform, column + 0.5, row + 0.5)
    )
    expected = grid.to_pixel(*frame.to_local(lat, lon))  # type: ignore[attr-defined]
    assert spot_at(pixels[..., 1]) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("kind", ["z/x/y", "z_x_y", "mbtiles"])
@pytest.mark.parametrize("place", [(48.1371, 11.5754), (-33.9249, 18.4241), (21.3069, -157.8583)])
def test_a_marker_on_tiles_lands_where_it_is(tmp_path: Path, kind: str, place: tuple[float, float]) -> None:
    if kind == "mbtiles":
        path = write_mbtiles(tmp_path / "in.mbtiles", *place, 18)
    else:
        path = write_tiles(tmp_path / "in", *place, 18, flat=kind == "z_x_y")
    pixels, coverage, grid, frame = mapped(path)
    expected = grid.to_pixel(*frame.to_local(*place))  # type: ignore[attr-defined]
    assert spot_at(pixels[..., 0]) == pytest.approx(expected, abs=0.05)
    metres = 2.0 * math.pi * 6378137.0 * math.cos(math.radians(place[0])) / 2**18 / 256
    assert grid.gsd_m == pytest.approx(metres, rel=0.005)
    assert coverage.mean() > 250


def test_pixel_is_point_shifts_by_half_a_pixel(tmp_path: Path) -> None:
    band = spot(400, 300, 200.0, 150.0)[None]
    spots = []
    for kind in ("Area", "Point"):
        path = write_geotiff(tmp_path / f"{kind}.tif", band, tags={"AREA_OR_POINT": kind})
        pixels, _, grid, frame = mapped(path)
        east_m, north_m = grid.to_local(*spot_at(pixels[..., 0]))
        spots.append(frame.to_geodetic(east_m, north_m))  # type: ignore[attr-defined]
    # rasterio writes the same corner for both, so the place stays the same when GDAL's rule is honoured.
    assert spots[0] == pytest.approx(spots[1], abs=1e-9)


def centre_colour(path: Path, **options: object) -> tuple[int, int, int]:
    pixels, coverage, grid, _ = mapped(path, **options)
    assert coverage[grid.height_px // 2, grid.width_px // 2] == 255
    red, green, blue = (int(v) for v in pixels[grid.height_px // 2, grid.width_px // 2])
    return red, green, blue


def flat(*values: float, dtype: str = "uint8", size: int = 64) -> np.ndarray:
    return np.stack([np.full((size, size), value, dtype) for value in values])


def test_palette_colours(tmp_path: Path) -> None:
    band = flat(7)
    band[0, :, :20] = 3
    palette = {3: (1, 2, 3, 255), 7: (200, 100, 50, 255)}
    path = write_geotiff(tmp_path / "in.tif", band, palette=palette, nodata=3)
    assert centre_colour(path) == (200, 100, 50)
    _, coverage, grid, _ = mapped(path)
    assert coverage[grid.height_px // 2, 8] == 0  # GeoTIFF's way to a transparent entry


@pytest.mark.parametrize(
    ("bands", "colours", "expected"),
    [
        ((90,), None, (90, 90, 90)),
        ((90, 255), ("gray", "alpha"), (90, 90, 90)),
        ((10, 20, 30), None, (10, 20, 30)),
        ((30, 20, 10), ("blue", "green", "red"), (10, 20, 30)),
        ((10, 20, 30, 255), ("red", "green", "blue", "alpha"), (10, 20, 30)),
        ((10, 20, 30, 0), ("gray", "undefined", "undefined", "undefined"), (10, 20, 30)),
        ((10, 20, 30, 99), ("red", "green", "blue", "undefined"), (10, 20, 30)),
        ((99, 10, 20, 30, 5), ("undefined", "red", "green", "blue", "undefined"), (10, 20, 30)),
    ],
)
def test_band_layouts(
    tmp_path: Path, bands: tuple[int, ...], colours: tuple[str, ...] | None, expected: tuple[int, ...]
) -> None:
    path = write_geotiff(tmp_path / "in.tif", flat(*bands), colours=colours, photometric="MINISBLACK")
    assert centre_colour(path) == expected


def test_chosen_bands(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "in.tif", flat(1, 2, 3, 4, 5), photometric="MINISBLACK")
    assert centre_colour(path, bands=(5, 4, 1)) == (5, 4, 1)
    assert centre_colour(path, bands=(3,)) == (3, 3, 3)
    for wrong in ((1, 2), (0, 1, 2), (1, 2, 6), ()):
        with pytest.raises(MapError, match="are not in imagery of 5 bands"):
            open_imagery(path, bands=wrong)


def half_covered(path: Path) -> None:
    pixels, coverage, grid, _ = mapped(path)
    middle = grid.height_px // 2
    west, east = coverage[middle, : grid.width_px // 2 - 3], coverage[middle, grid.width_px // 2 + 3 : -2]
    assert (int(west.max()), int(east.min())) == (0, 255)
    assert np.abs(pixels[coverage > 0].astype(int) - (200, 150, 100)).max() <= 2  # nothing mixed in from the bare half
    assert not pixels[coverage == 0].any()


@pytest.mark.parametrize("how", ["alpha", "nodata", "mask"])
def test_bare_parts_are_not_covered(tmp_path: Path, how: str) -> None:
    bands = flat(200, 150, 100)
    bare = np.zeros((64, 64), np.bool_)
    bare[:, :32] = True
    path = tmp_path / "in.tif"
    if how == "alpha":
        alpha = np.where(bare, 0, 255).astype(np.uint8)
        write_geotiff(
            path, np.concatenate([bands, alpha[None]]), colours=("red", "green", "blue", "alpha"), photometric="RGB"
        )
    elif how == "nodata":
        bands[:, bare] = 17
        bands[1, 5, 50] = 17  # one band alone may hold that value
        write_geotiff(path, bands, nodata=17)
        assert mapped(path)[1][5:8, 49:52].all()
        bands[1, 5, 50] = 150
        write_geotiff(path, bands, nodata=17)
    else:
        bands[:, bare] = 9
        write_geotiff(path, bands, mask=~bare)
    half_covered(path)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "uint32"])
def test_wide_pixels_are_scaled_by_percentiles(tmp_path: Path, dtype: str) -> None:
    ramp = np.linspace(300.0, 2300.0, 200 * 200).reshape(1, 200, 200)
    bands = np.repeat(ramp, 3, axis=0).astype(dtype)
    bands[:, 0, :3] = 30000  # a glint must not darken the rest
    path = write_geotiff(tmp_path / "in.tif", bands)
    pixels, _, grid, _ = mapped(path)
    middle = pixels[grid.height_px // 2, 5:-5, 0]
    assert np.abs(middle.astype(int) - 127).max() <= 6
    assert pixels.max() == 255
    assert pixels[grid.height_px // 4, grid.width_px // 2, 0] == pytest.approx(255 * 0.25, abs=6)


def test_float_gaps_are_not_covered(tmp_path: Path) -> None:
    bands = flat(0.2, 0.5, 0.7, dtype="float32")
    bands += np.linspace(0, 0.1, 64, dtype=np.float32)
    bands[:, :, :20] = np.nan
    bands[0, 40:45, 30:40] = np.inf
    path = write_geotiff(tmp_path / "in.tif", bands, nodata=float("nan"))
    _, coverage, grid, _ = mapped(path)
    assert not coverage[grid.height_px // 2, :16].any()
    assert coverage[grid.height_px // 2, 26:60].all()
    assert not coverage[grid.height_px - 22, 33:37].any()


def test_one_bit_pixels_become_black_and_white(tmp_path: Path) -> None:
    band = np.zeros((1, 64, 64), np.uint8)
    band[:, :, 32:] = 1
    path = write_geotiff(tmp_path / "in.tif", band, nbits=1)
    pixels, _, grid, _ = mapped(path)
    assert pixels[grid.height_px // 2, 10, 0] == 0
    assert pixels[grid.height_px // 2, 50, 0] == 255


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "jpeg", "photometric": "ycbcr", "tiled": True, "blockxsize": 64, "blockysize": 64},
        {"compress": "deflate", "tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "band"},
        {"compress": "lzw", "predictor": 2},
        {"bigtiff": "YES"},
        {"endianness": "BIG"},
    ],
)
def test_ways_of_storing(tmp_path: Path, options: dict[str, object]) -> None:
    path = write_geotiff(tmp_path / "in.tif", flat(200, 100, 50, size=128), **options)
    assert np.abs(np.array(centre_colour(path)) - (200, 100, 50)).max() <= 2


def test_a_cloud_optimised_geotiff(tmp_path: Path) -> None:
    plain = write_geotiff(tmp_path / "in.tif", flat(200, 100, 50, size=600))
    with rasterio.open(plain) as data:
        profile = {key: data.profile[key] for key in ("count", "height", "width", "dtype", "crs", "transform")}
        with rasterio.open(tmp_path / "cog.tif", "w", driver="COG", **profile) as cog:
            cog.write(data.read())
    assert centre_colour(tmp_path / "cog.tif") == (200, 100, 50)


def test_downscaling_averages(tmp_path: Path) -> None:
    checks = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    path = write_geotiff(tmp_path / "in.tif", np.stack([checks] * 3))
    pixels, coverage, _, _ = mapped(path, 5.3)
    inner = pixels[3:-3, 3:-3]
    assert coverage[3:-3, 3:-3].all()
    assert np.abs(inner.astype(int) - 128).max() <= 8


def test_blocks_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    path = write_geotiff(tmp_path / "in.tif", rng.integers(0, 256, (3, 300, 400), dtype=np.uint8))
    whole = mapped(path, 0.8)
    monkeypatch.setattr("tilefix.mapbuild.resample._BLOCK_PX", 64)
    parts = mapped(path, 0.8)
    assert np.abs(whole[0].astype(int) - parts[0]).max() <= 2
    np.testing.assert_array_equal(whole[1], parts[1])


def test_a_box_cuts_the_imagery(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "in.tif", flat(10, 20, 30, size=600))
    source = open_imagery(path)
    layout = layout_of(source)
    (south, west), (north, east) = layout.frame.to_geodetic(10.0, 20.0), layout.frame.to_geodetic(60.0, 90.0)
    cut = layout_of(source, BBox(west, south, east, north))
    assert cut.east_m - cut.west_m == pytest.approx(50.0, abs=0.1)
    assert cut.north_m - cut.south_m == pytest.approx(70.0, abs=0.1)
    assert layout.frame.to_local(cut.frame.lat_deg, cut.frame.lon_deg) == pytest.approx((35.0, 55.0), abs=0.1)
    with pytest.raises(MapError, match="no imagery within --bbox"):
        layout_of(source, BBox(0.0, 0.0, 1.0, 1.0))
    loose = layout_of(source, BBox(0.0, 40.0, 80.0, 60.0))  # as if there were none
    assert layout.frame.to_local(loose.frame.lat_deg, loose.frame.lon_deg) == pytest.approx((0.0, 0.0), abs=1.0)
    assert loose.east_m - loose.west_m == pytest.approx(layout.east_m - layout.west_m, abs=0.1)
    source.close()


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    tags = {"TIFFTAG_COPYRIGHT": "CC0 somebody", "TIFFTAG_DATETIME": "2024:05:06 07:08:09"}
    source = open_imagery(write_geotiff(tmp_path / "in.tif", flat(1, 2, 3), tags=tags))
    assert (source.source, source.licence, source.date) == ("in.tif", "CC0 somebody", "2024:05:06 07:08:09")
    source.close()


def test_mbtiles_written_by_gdal(tmp_path: Path) -> None:
    half_m = math.pi * 6378137.0
    px_m = 2.0 * half_m / 2**18 / 256
    # On the tile grid's own pixels: GDAL moves other pictures there by up to half a pixel when it writes.
    west_m, north_m = 35711292 * px_m - half_m, half_m - 23289250 * px_m
    plain = write_geotiff(
        tmp_path / "in.tif",
        np.stack([spot(600, 500, 400.5, 130.25, sigma_px=5.0)] * 3),
        crs="EPSG:3857",
        transform=Affine(px_m, 0.0, west_m, 0.0, -px_m, north_m),
    )
    from rasterio.shutil import copy

    copy(plain, tmp_path / "gdal.mbtiles", driver="MBTILES", name="orthophoto", TILE_FORMAT="PNG")
    to_geodetic = pyproj.Transformer.from_crs(3857, 4326, always_xy=True)
    place = to_geodetic.transform(west_m + 401.0 * px_m, north_m - 130.75 * px_m)
    pixels, coverage, grid, frame = mapped(tmp_path / "gdal.mbtiles")
    expected = grid.to_pixel(*frame.to_local(place[1], place[0]))  # type: ignore[attr-defined]
    assert spot_at(pixels[..., 0]) == pytest.approx(expected, abs=0.1)
    assert 0.2 < coverage.mean() / 255 < 0.9  # whole tiles, transparent around the picture
    source = open_imagery(tmp_path / "gdal.mbtiles")
    assert source.source.casefold() == "orthophoto"
    source.close()


def test_mbtiles_of_shared_pictures(tmp_path: Path) -> None:
    """The common other layout: a view over addresses and pictures, so that equal tiles are stored once."""
    path = write_mbtiles(tmp_path / "in.mbtiles", 48.1371, 11.5754, 18)
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE images AS SELECT rowid AS tile_id, tile_data FROM tiles;
        CREATE TABLE map AS SELECT zoom_level, tile_column, tile_row, rowid AS tile_id FROM tiles;
        DROP TABLE tiles;
        CREATE VIEW tiles AS SELECT zoom_level, tile_column, tile_row, tile_data
            FROM map JOIN images ON images.tile_id = map.tile_id;
        """
    )
    connection.close()
    pixels, _, grid, frame = mapped(path)
    expected = grid.to_pixel(*frame.to_local(48.1371, 11.5754))  # type: ignore[attr-defined]
    assert spot_at(pixels[..., 0]) == pytest.approx(expected, abs=0.05)
