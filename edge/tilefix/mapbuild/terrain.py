"""From a GeoTIFF of ground heights (a DEM) to a map package's terrain, on a grid of the map's own frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyproj

from tilefix.errors import MapError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.mapbuild.imagery import GeoTiffSource, open_values
from tilefix.mapbuild.package import ArrayTerrain
from tilefix.mapbuild.resample import source_positions, to_local
from tilefix.maps.manifest import MAX_GSD_M, MAX_HEIGHT_PIXELS
from tilefix.maps.terrain import HEIGHT_RANGE_M, Terrain, bilinear
from tilefix.types import Float32Array, Float64Array

# Finer than this a model shows kerbs and bushes, which move no map pixel by its own size.
FINEST_GSD_M = 2.0
_BLOCK_PX = 256
_MAX_FINE = 64  # samples of the DEM along a height
_MAX_WINDOW_PX = 20_000
# Metres in a DEM's unit; what it says nothing of is taken to be metres.
_UNITS_M = {
    "": 1.0,
    "m": 1.0,
    "metre": 1.0,
    "meter": 1.0,
    "metres": 1.0,
    "meters": 1.0,
    "ft": 0.3048,
    "foot": 0.3048,
    "feet": 0.3048,
    "us survey foot": 1200.0 / 3937.0,
    "ftus": 1200.0 / 3937.0,
}
_LEAST_SHARE = 0.5  # of the map: with less, the terrain is of another place


def read_terrain(
    path: Path, frame: LocalFrame, imagery: Grid, progress: Callable[[float], None] | None = None
) -> ArrayTerrain:
    """The DEM `path` over the map: the mean height of each cell of a grid that covers `imagery`, float32 metres.

    The grid is as fine as the DEM, within 2 m and what 25 million heights allow. Raises `MapError` for a file that is
    no DEM, heights above an ellipsoid, absurd heights, and a DEM that shows less than half of the map.
    """
    source = open_values(path)
    try:
        unit_m, datum = _vertical(source)
        finest_m = _sampling_m(source, frame)
        grid = height_grid(imagery, finest_m)
        heights = np.full((grid.height_px, grid.width_px), np.nan, np.float32)
        fine = min(max(1, math.ceil(grid.gsd_m / finest_m - 0.01)), _MAX_FINE)
        block = max(1, _BLOCK_PX // fine) * 4
        for top in range(0, grid.height_px, block):
            for left in range(0, grid.width_px, block):
                bottom, right = min(top + block, grid.height_px), min(left + block, grid.width_px)
                heights[top:bottom, left:right] = _block(source, frame, grid, (left, top, right, bottom), fine)
            if progress is not None:
                progress(min(1.0, (top + block) / grid.height_px))
    finally:
        source.close()
    heights *= np.float32(unit_m)
    _check(heights, path)
    return ArrayTerrain(Terrain(grid, heights), path.name, datum)


def height_grid(imagery: Grid, finest_m: float) -> Grid:
    """The grid of a map's heights: over the imagery, at about `finest_m`, edges on whole multiples of its sampling."""
    area_m2 = imagery.width_px * imagery.height_px * imagery.gsd_m**2
    # A border of a cell on each side comes on top.
    gsd_m = max(FINEST_GSD_M, finest_m, imagery.gsd_m, math.sqrt(area_m2 / (0.9 * MAX_HEIGHT_PIXELS)))
    gsd_m = min(float(f"{gsd_m:.3g}"), MAX_GSD_M)
    left, top = math.floor(imagery.west_m / gsd_m), math.ceil(imagery.north_m / gsd_m)
    width = max(1, math.ceil(imagery.east_m / gsd_m) - left)
    height = max(1, top - math.floor(imagery.south_m / gsd_m))
    return Grid(left * gsd_m, top * gsd_m, gsd_m, width, height)


def _sampling_m(source: GeoTiffSource, frame: LocalFrame) -> float:
    """The shorter side of the DEM's pixels on the ground, in the middle of the map."""
    column, row = (float(v[0]) for v in source.to_pixel(np.full(2, frame.lon_deg), np.full(2, frame.lat_deg)))
    around = source.to_geodetic(np.array([column, column + 1.0, column]), np.array([row, row, row + 1.0]))
    east, north = to_local(frame).transform(*around)
    sides = np.hypot(east[1:] - east[0], north[1:] - north[0])
    if not (np.isfinite(sides).all() and 1e-3 <= sides.min() <= MAX_GSD_M):
        raise MapError("terrain does not cover the map", where=source.where, mend="give a DEM of the map's place")
    return float(sides.min())


def _block(
    source: GeoTiffSource, frame: LocalFrame, grid: Grid, box: tuple[int, int, int, int], fine: int
) -> Float32Array:
    """Mean heights of a block (left, top, right, bottom) of the grid."""
    left, top, right, bottom = box
    columns, rows = source_positions(source, frame, grid, left, top, right, bottom, fine)
    seen = np.isfinite(columns) & np.isfinite(rows)
    seen &= (columns >= -0.5) & (columns <= source.width_px - 0.5) & (rows >= -0.5) & (rows <= source.height_px - 0.5)
    if not seen.any():
        return np.full((bottom - top, right - left), np.nan, np.float32)
    x0, x1 = max(0, math.floor(columns[seen].min())), min(source.width_px, math.floor(columns[seen].max()) + 2)
    y0, y1 = max(0, math.floor(rows[seen].min())), min(source.height_px, math.floor(rows[seen].max()) + 2)
    if max(x1 - x0, y1 - y0) > _MAX_WINDOW_PX:
        raise MapError("the terrain's sampling varies too much", where=source.where, mend="reproject it first")
    values = source.values(x0, y0, x1, y1)
    sampled = bilinear(values, np.where(seen, columns - x0, 0.0), np.where(seen, rows - y0, 0.0))
    known = seen & np.isfinite(sampled)
    share = _mean(known.astype(np.float64), fine)
    with np.errstate(invalid="ignore"):
        heights = _mean(np.where(known, sampled, 0.0), fine) / share
    return np.where(share >= 0.5, heights, np.nan).astype(np.float32)


def _mean(values: Float64Array, fine: int) -> Float64Array:
    if fine == 1:
        return values
    size = (values.shape[1] // fine, values.shape[0] // fine)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), dtype=np.float64)


def _vertical(source: GeoTiffSource) -> tuple[float, str]:
    """Metres in a unit of height, and the name of what heights are counted from ("" when the file does not say)."""
    mend = "give heights above sea level, for example with gdalwarp -s_srs ... -t_srs EPSG:4326+5773 in.tif out.tif"
    crs = pyproj.CRS.from_wkt(source.wkt)
    if len(crs.axis_info) == 3 and not crs.is_compound:
        raise MapError("terrain has heights above the ellipsoid, not above sea level", where=source.where, mend=mend)
    unit, datum, unit_m = source.unit.strip().lower(), "", None
    for part in crs.sub_crs_list if crs.is_compound else ():
        if part.is_vertical:
            datum = str(part.name)[:200]
            unit_m = float(part.axis_info[0].unit_conversion_factor) if part.axis_info else None
    if unit in _UNITS_M:
        # What the band says comes first: a vertical system's own unit is often left at its default.
        return (_UNITS_M[unit] if unit or unit_m is None else unit_m), datum
    raise MapError(f"terrain has heights in {source.unit[:40]!r}", where=source.where, mend="give metres or feet")


def _check(heights: Float32Array, path: Path) -> None:
    known = heights[np.isfinite(heights)]
    low, high = HEIGHT_RANGE_M
    if known.size and not (low <= known.min() and known.max() <= high):
        raise MapError(
            f"terrain has heights of {known.min():g} to {known.max():g}, beyond {low:g} to {high:g} m",
            where=path,
            mend="set the value that stands for 'unknown': gdal_edit.py -a_nodata VALUE dem.tif",
        )
    if known.size < _LEAST_SHARE * heights.size:
        raise MapError(
            f"terrain knows {100.0 * known.size / heights.size:.0f} % of the map",
            where=path,
            mend="give a DEM that covers the map",
        )
