"""The real imagery beside the project: every sampled place must show the source's colours, and no neighbour's."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from tilefix.geodesy import tile_corner
from tilefix.mapbuild.imagery import open_imagery
from tilefix.mapbuild.resample import fill, layout_of
from tilefix.mapbuild.sources import BBox, ImagerySource

rasterio = pytest.importorskip("rasterio")
warp = pytest.importorskip("rasterio.warp")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.imagery,
    pytest.mark.skipif(not DATA.is_dir(), reason="real imagery is not on this machine"),
]


def resampled(source: ImagerySource, bbox: BBox | None = None, gsd_m: float | None = None):  # type: ignore[no-untyped-def]
    layout = layout_of(source, bbox)
    grid = layout.grid(gsd_m or float(f"{layout.gsd_m:.3g}"))
    pixels = np.zeros((grid.height_px, grid.width_px, 3), np.uint8)
    coverage = np.zeros((grid.height_px, grid.width_px), np.uint8)
    fill(source, layout.frame, grid, pixels, coverage, finest_gsd_m=layout.finest_gsd_m)
    source.close()
    return layout.frame, grid, pixels, coverage


def offset_px(source: np.ndarray, mapped: np.ndarray, places: list[tuple[float, float, float, float]], half: int = 12):  # type: ignore[no-untyped-def]
    """Median (x, y) by which patches of the map sit beside those of the source, by phase correlation."""
    shifts = []
    window = cv2.createHanningWindow((2 * half, 2 * half), cv2.CV_64F)
    for source_x, source_y, map_x, map_y in places:
        size = (2 * half, 2 * half)
        a = cv2.getRectSubPix(source, size, (source_x, source_y)).astype(np.float64)
        b = cv2.getRectSubPix(mapped, size, (map_x, map_y)).astype(np.float64)
        if a.std() > 5.0:
            shifts.append(cv2.phaseCorrelate(a, b, window)[0])
    assert len(shifts) >= 20
    return np.median(np.array(shifts), axis=0)


def test_the_palette_orthophoto_of_nust() -> None:
    folder = DATA / "nust_islamabad"
    frame, grid, pixels, coverage = resampled(open_imagery(folder / "orthophoto.tif"))
    assert grid.gsd_m == 0.5
    assert coverage.mean() / 255 == pytest.approx(0.962, abs=0.005)
    with rasterio.open(folder / "orthophoto.tif") as data:
        index, table = data.read(1), np.zeros((256, 3), np.uint8)
        for entry, colour in data.colormap(1).items():
            table[entry] = colour[:3]
        inverse = ~data.transform
    source = cv2.cvtColor(table[index], cv2.COLOR_RGB2GRAY)
    mapped = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    places = []
    with (folder / "pseudo_truth.csv").open() as file:
        for row in csv.DictReader(file):
            utm_e, utm_n, lat, lon = (float(row[key]) for key in ("utm43n_e", "utm43n_n", "lat", "lon"))
            column = inverse.a * utm_e + inverse.b * utm_n + inverse.c - 0.5
            line = inverse.d * utm_e + inverse.e * utm_n + inverse.f - 0.5
            places.append((column, line, *grid.to_pixel(*frame.to_local(lat, lon))))
    # The map is turned by the 1.1 degrees between grid north and true north; small patches hardly show it.
    assert np.abs(offset_px(source, mapped, places)).max() < 0.1


@pytest.mark.parametrize("year", ["20090818", "20180716"])
def test_naip_is_rgb_with_infrared_not_alpha(year: str) -> None:
    path = DATA / "naip_north_dakota" / f"m_4709963_se_14_1_{year}.tif"
    frame, grid, pixels, coverage = resampled(open_imagery(path))
    assert grid.gsd_m == 5.0
    assert coverage.mean() / 255 > 0.98
    with rasterio.open(path) as data:
        source = np.moveaxis(data.read([1, 2, 3]), 0, -1)
        columns, rows = (v.ravel() for v in np.meshgrid(np.arange(30, 900, 60), np.arange(30, 690, 60)))
        east = data.transform.a * (columns + 0.5) + data.transform.c
        north = data.transform.e * (rows + 0.5) + data.transform.f
        lon, lat = warp.transform(data.crs, "EPSG:4326", east, north)
    places = [
        (float(c), float(r), *grid.to_pixel(*frame.to_local(la, lo)))
        for c, r, la, lo in zip(columns, rows, lat, lon, strict=True)
    ]
    assert np.abs(offset_px(source[..., 1].copy(), pixels[..., 1].copy(), places)).max() < 0.1
    colours = [(source[round(sy), round(sx)], pixels[round(my), round(mx)]) for sx, sy, mx, my in places]
    for band in range(3):
        a, b = (np.array([pair[i][band] for pair in colours], dtype=float) for i in (0, 1))
        assert np.corrcoef(a, b)[0, 1] > 0.9


def test_tiles_of_one_place_among_many() -> None:
    south, west = tile_corner(1277184, 1083856, 21)
    north, east = tile_corner(1277200, 1083840, 21)
    bbox = BBox(west, south, east, north)
    source = open_imagery(DATA / "oam_tiles", bbox=bbox)
    tile = cv2.imread(str(DATA / "oam_tiles" / "21_1277192_1083849.png"), cv2.IMREAD_GRAYSCALE)
    assert tile is not None
    frame, grid, pixels, _ = resampled(source, bbox)
    mapped = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    places = []
    for x in range(24, 240, 32):
        for y in range(24, 240, 32):
            lat, lon = tile_corner(1277192 + (x + 0.5) / 256, 1083849 + (y + 0.5) / 256, 21)
            places.append((float(x), float(y), *grid.to_pixel(*frame.to_local(lat, lon))))
    assert np.abs(offset_px(tile, mapped, places)).max() < 0.1
