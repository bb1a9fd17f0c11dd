"""Imagery in any projection, resampled to a local metric grid with correct north, a block at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pyproj

from tilefix.errors import MapError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.mapbuild.sources import BBox, ImagerySource
from tilefix.maps.manifest import MAX_GSD_M, MAX_PIXELS
from tilefix.types import Float64Array, UInt8Array

MAX_SIDE_M = 100_000.0  # beyond it the local plane is no plane: scale off by over 3e-5, north by over half a degree
_BLOCK_PX = 2048  # side of a block at the finer of source and target sampling
_MAX_WINDOW_PX = 12_000  # side of the source window behind one block: 600 MB at the very worst
_MAX_FINE = 256  # source samples along a target pixel
_NODE_PX = 32  # target pixels between exactly projected nodes


@dataclass(frozen=True, slots=True)
class Layout:
    """Where imagery lies: the local frame around its centre, its box in local metres, and its own sampling."""

    frame: LocalFrame
    west_m: float
    south_m: float
    east_m: float
    north_m: float
    gsd_m: float
    finest_gsd_m: float

    def grid(self, gsd_m: float) -> Grid:
        """The grid over the box, its edges on whole multiples of `gsd_m`; raises `MapError` when it is too large."""
        if not 1e-3 <= gsd_m <= MAX_GSD_M:
            raise MapError(f"{gsd_m:g} m/px is no sampling of a map", where="--gsd-m", mend="choose 0.01 to 100")
        left, top = math.floor(self.west_m / gsd_m + 1e-6), math.ceil(self.north_m / gsd_m - 1e-6)
        width = max(1, math.ceil(self.east_m / gsd_m - 1e-6) - left)
        height = max(1, top - math.floor(self.south_m / gsd_m + 1e-6))
        if width * height > MAX_PIXELS:
            raise MapError(
                f"map would have {width} x {height} px", where="--gsd-m", mend="choose a larger --gsd-m or a --bbox"
            )
        return Grid(left * gsd_m, top * gsd_m, gsd_m, width, height)


def layout_of(source: ImagerySource, bbox: BBox | None = None) -> Layout:
    """Frame, box and sampling of imagery, cut to `bbox`; raises `MapError` for a georeference that makes no sense."""
    # Twice the one place: pyproj 3.7.1 takes arrays of one number for numbers, which NumPy deprecates.
    middle = np.full(2, (source.width_px - 1) / 2.0), np.full(2, (source.height_px - 1) / 2.0)
    columns, rows = _outline(source.width_px, source.height_px)
    lon, lat = source.to_geodetic(columns, rows)
    lon_mid, lat_mid = (float(v[0]) for v in source.to_geodetic(*middle))
    sane = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 85.0) & (np.abs(lon) <= 180.0 + 1e-9)
    if not (sane.all() and abs(lat_mid) <= 85.0 and abs(lon_mid) <= 180.0):
        raise MapError(
            "georeference puts the imagery off the earth or beyond 85 degrees of latitude",
            where=source.where,
            mend="the CRS does not fit the coordinates; set the right one with gdal_edit.py -a_srs EPSG:...",
        )
    if bbox is not None:
        bbox = _meet(bbox, lon, lat, source.where)
        lon_mid, lat_mid = 0.5 * (bbox.west_deg + bbox.east_deg), 0.5 * (bbox.south_deg + bbox.north_deg)
    frame = LocalFrame(lat_mid, lon_mid)
    east, north = to_local(frame).transform(lon, lat)
    box = [east.min(), north.min(), east.max(), north.max()]
    if bbox is not None:
        x, y = _outline_box(bbox)
        east, north = to_local(frame).transform(x, y)
        box = [max(box[0], east.min()), max(box[1], north.min()), min(box[2], east.max()), min(box[3], north.max())]
    if not np.isfinite(box).all() or max(box[2] - box[0], box[3] - box[1]) > MAX_SIDE_M:
        raise MapError(
            f"imagery spans more than {MAX_SIDE_M / 1000:.0f} km",
            where=source.where,
            mend="cut a part with --bbox W,S,E,N",
        )
    column, row = (float(v[0]) for v in source.to_pixel(np.full(2, lon_mid), np.full(2, lat_mid)))
    around = source.to_geodetic(np.array([column, column + 1, column]), np.array([row, row, row + 1]))
    e, n = to_local(frame).transform(*around)
    steps = np.array([[e[1] - e[0], e[2] - e[0]], [n[1] - n[0], n[2] - n[0]]])
    area, sides = abs(float(np.linalg.det(steps))), np.linalg.norm(steps, axis=0)
    if not math.isfinite(area) or not 1e-8 < area < MAX_GSD_M**2 or sides.max() > 20.0 * sides.min():
        raise MapError(
            f"pixels cover {sides[0]:.3g} x {sides[1]:.3g} m of ground",
            where=source.where,
            mend="check the georeference",
        )
    west_m, south_m, east_m, north_m = (float(v) for v in box)
    return Layout(frame, west_m, south_m, east_m, north_m, math.sqrt(area), float(sides.min()))


def fill(
    source: ImagerySource,
    frame: LocalFrame,
    grid: Grid,
    pixels: UInt8Array,
    coverage: UInt8Array,
    *,
    finest_gsd_m: float,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Writes the imagery into `pixels` (H, W, 3) and `coverage` (H, W) on `grid`, both zero before.

    Every target pixel is the mean of samples at least as dense as the source's pixels, so downscaling does not
    alias; upscaling is bilinear. A pixel is covered when half of it is.
    """
    fine = max(1, math.ceil(grid.gsd_m / finest_gsd_m - 0.01))
    if fine > _MAX_FINE:
        raise MapError(
            f"{grid.gsd_m:g} m/px is {fine} times coarser than the imagery",
            where="--gsd-m",
            mend="choose a smaller --gsd-m, a lower --zoom, or coarser imagery",
        )
    block = _BLOCK_PX // fine
    tops, lefts = range(0, grid.height_px, block), range(0, grid.width_px, block)
    for number, top in enumerate(tops):
        for left in lefts:
            bottom, right = min(top + block, grid.height_px), min(left + block, grid.width_px)
            result = _block(source, frame, grid, left, top, right, bottom, fine)
            if result is not None:
                pixels[top:bottom, left:right], coverage[top:bottom, left:right] = result
        if progress is not None:
            progress((number + 1) / len(tops))


def _block(
    source: ImagerySource, frame: LocalFrame, grid: Grid, left: int, top: int, right: int, bottom: int, fine: int
) -> tuple[UInt8Array, UInt8Array] | None:
    columns, rows = source_positions(source, frame, grid, left, top, right, bottom, fine)
    seen = np.isfinite(columns) & np.isfinite(rows)
    seen &= (columns > -1.0) & (columns < source.width_px) & (rows > -1.0) & (rows < source.height_px)
    if not seen.any():
        return None
    x0, x1 = max(0, math.floor(columns[seen].min())), min(source.width_px, math.floor(columns[seen].max()) + 2)
    y0, y1 = max(0, math.floor(rows[seen].min())), min(source.height_px, math.floor(rows[seen].max()) + 2)
    if max(x1 - x0, y1 - y0) > _MAX_WINDOW_PX:
        raise MapError("imagery's sampling varies too much over the map", where=source.where, mend="reproject it first")
    patch, cover = source.read(x0, y0, x1, y1)
    if not cover.any():
        return None
    map_x = np.where(seen, columns - x0, -9.0).astype(np.float32)
    map_y = np.where(seen, rows - y0, -9.0).astype(np.float32)
    patch[cover == 0] = 0

    def sample(image: UInt8Array) -> UInt8Array:
        at = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0))
        if fine > 1:
            at = cv2.resize(at, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        return np.asarray(at, dtype=np.uint8)

    pixels, share = sample(patch), sample(cover)
    covered = share >= 128
    mixed = covered & (share < 255)
    if mixed.any():
        # Half-covered pixels were mixed with black: take the black out again.
        scaled = pixels[mixed].astype(np.float32) * (255.0 / share[mixed].astype(np.float32))[:, None]
        pixels[mixed] = np.minimum(np.rint(scaled), 255.0).astype(np.uint8)
    pixels[~covered] = 0
    return pixels, np.where(covered, 255, 0).astype(np.uint8)


def source_positions(
    source: ImagerySource, frame: LocalFrame, grid: Grid, left: int, top: int, right: int, bottom: int, fine: int
) -> tuple[Float64Array, Float64Array]:
    """Source (columns, rows), each float64 (h * fine, w * fine), of the sample points of a block of `grid`.

    Projected exactly on nodes, bilinear between: within 1e-3 of a source pixel for smooth projections.
    """
    nodes_x, nodes_y = _nodes(left, right), _nodes(top, bottom)
    east, north = grid.to_local(*np.meshgrid(nodes_x, nodes_y))  # type: ignore[arg-type]
    lon, lat = to_local(frame).transform(east, north, direction="INVERSE")
    column, row = source.to_pixel(lon, lat)
    at_x = left - 0.5 + (np.arange((right - left) * fine) + 0.5) / fine
    at_y = top - 0.5 + (np.arange((bottom - top) * fine) + 0.5) / fine
    return _bilinear(column, nodes_x, nodes_y, at_x, at_y), _bilinear(row, nodes_x, nodes_y, at_x, at_y)


def _nodes(low: int, high: int) -> Float64Array:
    return np.linspace(low - 0.5, high - 0.5, max(2, math.ceil((high - low) / _NODE_PX) + 1))


def _bilinear(
    values: Float64Array, nodes_x: Float64Array, nodes_y: Float64Array, at_x: Float64Array, at_y: Float64Array
) -> Float64Array:
    along = np.stack([np.interp(at_x, nodes_x, line) for line in values])
    index = np.clip(np.searchsorted(nodes_y, at_y, side="right") - 1, 0, len(nodes_y) - 2)
    weight = ((at_y - nodes_y[index]) / (nodes_y[index + 1] - nodes_y[index]))[:, None]
    out: Float64Array = along[index] * (1.0 - weight) + along[index + 1] * weight
    return out


def to_local(frame: LocalFrame) -> pyproj.Transformer:
    """From (lon_deg, lat_deg) to (east_m, north_m) of the frame."""
    return pyproj.Transformer.from_crs("EPSG:4326", frame.proj4, always_xy=True)


def _outline(width: int, height: int) -> tuple[Float64Array, Float64Array]:
    """Pixel positions along the outer edge, 33 a side."""
    x, y = np.linspace(-0.5, width - 0.5, 33), np.linspace(-0.5, height - 0.5, 33)
    columns = np.concatenate([x, x, np.full_like(y, x[0]), np.full_like(y, x[-1])])
    rows = np.concatenate([np.full_like(x, y[0]), np.full_like(x, y[-1]), y, y])
    return columns, rows


def _meet(bbox: BBox, lon_deg: Float64Array, lat_deg: Float64Array, where: object) -> BBox:
    """The part of the box that the imagery's outline reaches, so that a loose box does not move the frame away."""
    west, east = max(bbox.west_deg, float(lon_deg.min())), min(bbox.east_deg, float(lon_deg.max()))
    south, north = max(bbox.south_deg, float(lat_deg.min())), min(bbox.north_deg, float(lat_deg.max()))
    if not (west < east and south < north):
        raise MapError("no imagery within --bbox", where=where, mend="choose another --bbox")
    return BBox(west, south, east, north)


def _outline_box(bbox: BBox) -> tuple[Float64Array, Float64Array]:
    x, y = np.linspace(bbox.west_deg, bbox.east_deg, 33), np.linspace(bbox.south_deg, bbox.north_deg, 33)
    return (
        np.concatenate([x, x, np.full_like(y, x[0]), np.full_like(y, x[-1])]),
        np.concatenate([np.full_like(x, y[0]), np.full_like(x, y[-1]), y, y]),
    )
