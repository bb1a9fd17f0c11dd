"""Small georeferenced rasters for tests: GeoTIFF, MBTiles, tile folders, with markers in known places."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tilefix.geodesy import Grid, LocalFrame, tile_of
from tilefix.types import UInt8Array


def write_geotiff(
    path: Path,
    bands: npt.NDArray[Any],
    *,
    crs: str | None = "EPSG:32632",
    transform: Any = None,
    palette: Mapping[int, tuple[int, int, int, int]] | None = None,
    colours: tuple[str, ...] | None = None,
    mask: npt.NDArray[np.bool_] | None = None,
    tags: Mapping[str, str] | None = None,
    **options: Any,
) -> Path:
    """Writes `bands` (b, h, w); `transform`: affine, pixel corner to CRS (default: 0.5 m/px near Munich)."""
    import rasterio
    from rasterio.enums import ColorInterp

    if transform is None and crs is not None:
        transform = rasterio.Affine(0.5, 0.0, 691000.0, 0.0, -0.5, 5335000.0)
    count, height, width = bands.shape
    profile = {"count": count, "height": height, "width": width, "dtype": bands.dtype, "crs": crs, **options}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", **({} if transform is None else {"transform": transform}), **profile
        ) as data,
    ):
        if palette is not None:
            data.write_colormap(1, dict(palette))
        if colours is not None:
            data.colorinterp = [ColorInterp[name] for name in colours]
        data.write(bands)
        if mask is not None:
            data.write_mask(mask)
        data.update_tags(**(tags or {}))
    return path


def spot(width: int, height: int, column: float, row: float, sigma_px: float = 3.0) -> UInt8Array:
    """A white Gaussian spot on grey 40; integers are pixel centres."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    bell = np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2.0 * sigma_px**2))
    return np.rint(40.0 + 200.0 * bell).astype(np.uint8)


def spot_at(image: npt.NDArray[Any], background: float = 40.0) -> tuple[float, float]:
    """(column, row) of the centre of mass of the one spot in `image` (h, w)."""
    weight = np.clip(image.astype(np.float64) - background - 8.0, 0.0, None)
    rows, columns = np.indices(weight.shape)
    return float((weight * columns).sum() / weight.sum()), float((weight * rows).sum() / weight.sum())


def write_tiles(folder: Path, lat_deg: float, lon_deg: float, zoom: int, *, flat: bool, kind: str = "png") -> Path:
    """A 3 x 3 block of 256 px tiles with a spot at the given place; `flat`: z_x_y, else z/x/y."""
    for (x, y), image in tile_block(lat_deg, lon_deg, zoom).items():
        path = folder / (f"{zoom}_{x}_{y}.{kind}" if flat else f"{zoom}/{x}/{y}.{kind}")
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
    return folder


def write_mbtiles(path: Path, lat_deg: float, lon_deg: float, zoom: int, **metadata: str) -> Path:
    """The same block as an MBTiles file."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE metadata (name text, value text)")
    connection.execute("CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data blob)")
    connection.executemany("INSERT INTO metadata VALUES (?, ?)", {"format": "png", "name": "test", **metadata}.items())
    for (x, y), image in tile_block(lat_deg, lon_deg, zoom).items():
        row = (zoom, x, 2**zoom - 1 - y, cv2.imencode(".png", image)[1].tobytes())
        connection.execute("INSERT INTO tiles VALUES (?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    return path


def tile_block(lat_deg: float, lon_deg: float, zoom: int) -> dict[tuple[int, int], UInt8Array]:
    """Tiles (x, y) -> picture (256, 256, 3) around a place, which bears the spot."""
    x, y = tile_of(lat_deg, lon_deg, zoom)
    west, north = int(x) - 1, int(y) - 1
    whole = spot(768, 768, (x - west) * 256 - 0.5, (y - north) * 256 - 0.5, sigma_px=5.0)
    whole = np.repeat(whole[..., None], 3, axis=2)
    return {
        (west + i, north + j): whole[256 * j : 256 * j + 256, 256 * i : 256 * i + 256]
        for i in range(3)
        for j in range(3)
    }


def textured(height: int, width: int, seed: int = 0) -> UInt8Array:
    """Smooth random colours (h, w, 3), different everywhere."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3.0)
    return np.asarray(cv2.normalize(blurred, np.empty_like(blurred), 0, 255, cv2.NORM_MINMAX), dtype=np.uint8)


def munich_grid(height: int, width: int, gsd_m: float = 0.5) -> tuple[LocalFrame, Grid]:
    """A local frame near Munich and a grid centred on it."""
    return LocalFrame(48.14, 11.57), Grid(-0.5 * width * gsd_m, 0.5 * height * gsd_m, gsd_m, width, height)
