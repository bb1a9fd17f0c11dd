"""Opens imagery of every kind that maps are built from; the only module that imports rasterio (GDAL).

GDAL is kept on a short lead: the GeoTIFF driver only, no side files, no network, a bounded cache, and sizes checked
against the file's own before a pixel is read.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from tilefix.errors import MapError
from tilefix.mapbuild.sources import BBox, ImagerySource
from tilefix.mapbuild.tiles import open_mbtiles, open_tile_folder
from tilefix.types import Float64Array, UInt8Array

GDAL_SETTINGS = {
    "GDAL_CACHEMAX": 256,  # MB
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no .aux.xml, .ovr, .msk beside the file
    "GDAL_GEOREF_SOURCES": "INTERNAL",  # no .tfw either
    "GDAL_MAX_DATASET_POOL_SIZE": 2,
    "GDAL_NUM_THREADS": "1",
    "GDAL_HTTP_MAX_RETRY": 0,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "GTIFF_REPORT_COMPD_CS": "YES",  # the vertical datum of terrain
}
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_BANDS = 64
PIXEL_TYPES = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"})
MAX_BLOCK_BYTES = 1 << 29
# No codec in use packs tighter than about 1,500 to 1; sparse files leave blocks out, so some slack.
MAX_EXPANSION = 5000
_SMALL_PX = 1 << 22
_SAMPLE_WINDOWS, _SAMPLE_PX = 8, 256  # a side: where the brightness range of 16-bit imagery is looked for
_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.5
_SET_CRS = "set it, for example with gdal_translate -a_srs EPSG:32643 -a_ullr W N E S in.tif out.tif"


def open_values(path: Path) -> GeoTiffSource:
    """A GeoTIFF whose first band holds numbers, such as heights; raises `MapError`."""
    path = path.absolute()
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise MapError(f"cannot read the terrain: {error.strerror}", where=path, mend="check --terrain") from error
    if magic not in _TIFF_MAGICS:
        raise MapError("not a GeoTIFF", where=path, mend="give a GeoTIFF, or make one: gdal_translate in.hgt out.tif")
    return GeoTiffSource(path, (1,), stretched=False)


def open_imagery(
    path: Path, *, zoom: int | None = None, bands: Sequence[int] | None = None, bbox: BBox | None = None
) -> ImagerySource:
    """Imagery of whatever kind `path` holds, told by content: GeoTIFF/COG, MBTiles, or a folder of XYZ tiles.

    `zoom` and `bbox` choose among tiles; `bands` (counted from 1: red, green, blue) among a GeoTIFF's. Raises
    `MapError`.
    """
    path = path.absolute()
    if path.is_dir():
        return open_tile_folder(path, zoom=zoom, bbox=bbox)
    try:
        with path.open("rb") as file:
            magic = file.read(16)
    except OSError as error:
        raise MapError(f"cannot read the imagery: {error.strerror}", where=path, mend="check --imagery") from error
    if magic[:4] in _TIFF_MAGICS:
        return GeoTiffSource(path, bands)
    if magic == b"SQLite format 3\0":
        return open_mbtiles(path, zoom=zoom, bbox=bbox)
    if magic.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        raise MapError("picture without georeference", where=path, mend=_SET_CRS)
    raise MapError(
        "not imagery that tilefix reads", where=path, mend="give a GeoTIFF, an MBTiles file or a folder of XYZ tiles"
    )


class GeoTiffSource:
    """A GeoTIFF or COG as RGB: palette, 1 to 4 bands and more, alpha, mask or nodata, 8 to 64 bits.

    `stretched=False`: only `values` will be asked for, not pictures.
    """

    def __init__(self, path: Path, bands: Sequence[int] | None = None, *, stretched: bool = True) -> None:
        self.where: object = path
        self._data = _open(path)
        try:
            _check_size(self._data, path)
            self.width_px, self.height_px = int(self._data.width), int(self._data.height)
            self._to_world, self._to_grid = self._georeference(path)
            self._bands, self._alpha = self._choose_bands(bands)
            self._palette = self._colour_table()
            self._has_mask = self._alpha is None and self._data.mask_flag_enums[0] == [_mask_flags().per_dataset]
            self._range = None if self._is_plain() or not stretched else self._brightness_range()
        except BaseException:
            self._data.close()
            raise
        tags = self._data.tags()
        self.source = path.name
        self.date = str(tags.get("TIFFTAG_DATETIME", ""))[:100]
        self.licence = str(tags.get("TIFFTAG_COPYRIGHT", ""))[:10_000]

    def to_pixel(self, lon_deg: Float64Array, lat_deg: Float64Array) -> tuple[Float64Array, Float64Array]:
        """See `ImagerySource`."""
        x, y = self._to_grid.transform(lon_deg, lat_deg)
        column, row = _apply(~self._data.transform, np.asarray(x), np.asarray(y))
        return column - 0.5, row - 0.5

    def to_geodetic(self, columns: Float64Array, rows: Float64Array) -> tuple[Float64Array, Float64Array]:
        """See `ImagerySource`."""
        lon, lat = self._to_world.transform(*_apply(self._data.transform, columns + 0.5, rows + 0.5))
        return np.asarray(lon), np.asarray(lat)

    def read(self, left: int, top: int, right: int, bottom: int) -> tuple[UInt8Array, UInt8Array]:
        """See `ImagerySource`."""
        raw, covered = self._raw(left, top, right, bottom)
        if self._palette is not None:
            colours = self._palette[np.minimum(raw[0], len(self._palette) - 1)]
            covered &= colours[..., 3] >= 128
            rgb = colours[..., :3]
        else:
            rgb = np.moveaxis(raw if self._range is None else self._scaled(raw), 0, -1)
            if rgb.shape[2] == 1:
                rgb = np.repeat(rgb, 3, axis=2)
        return np.ascontiguousarray(rgb, dtype=np.uint8), np.where(covered, 255, 0).astype(np.uint8)

    def values(self, left: int, top: int, right: int, bottom: int) -> Float64Array:
        """The first chosen band of a window in the file's own unit, float64 (h, w), NaN where it holds nothing."""
        raw, covered = self._raw(left, top, right, bottom)
        band = self._bands[0] - 1
        scaled = raw[0].astype(np.float64) * float(self._data.scales[band]) + float(self._data.offsets[band])
        return np.where(covered, scaled, np.nan)

    @property
    def unit(self) -> str:
        """The unit that the first chosen band says of itself; empty when it says none."""
        return str(self._data.units[self._bands[0] - 1] or "")

    @property
    def wkt(self) -> str:
        """The file's coordinate reference system as WKT, with its vertical part where it has one."""
        return str(self._data.crs.to_wkt())

    def close(self) -> None:
        """See `ImagerySource`."""
        self._data.close()

    def _georeference(self, path: Path) -> tuple[pyproj.Transformer, pyproj.Transformer]:
        if self._data.transform.is_identity:
            what = "only ground control points" if self._data.gcps[0] else "no georeference"
            mend = "make it a map first with gdalwarp" if self._data.gcps[0] else _SET_CRS
            raise MapError(f"GeoTIFF has {what}", where=path, mend=mend)
        if self._data.crs is None:
            raise MapError("GeoTIFF has no coordinate reference system", where=path, mend=_SET_CRS)
        if not all(math.isfinite(v) for v in self._data.transform) or self._data.transform.is_degenerate:
            raise MapError("GeoTIFF's geotransform is degenerate", where=path, mend=_SET_CRS)
        try:
            crs = pyproj.CRS.from_wkt(self._data.crs.to_wkt())
            return (
                pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True),
                pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True),
            )
        except pyproj.exceptions.ProjError as error:
            raise MapError(
                f"GeoTIFF's coordinate reference system has no way to WGS84: {error}", where=path, mend=_SET_CRS
            ) from error

    def _choose_bands(self, bands: Sequence[int] | None) -> tuple[list[int], int | None]:
        count, kinds = int(self._data.count), [kind.name for kind in self._data.colorinterp]
        alpha = kinds.index("alpha") + 1 if "alpha" in kinds else None
        if bands is not None:
            if len(bands) not in (1, 3) or not all(1 <= band <= count for band in bands):
                raise MapError(
                    f"bands {','.join(map(str, bands))} are not in imagery of {count} bands",
                    where=self.where,
                    mend="give one or three, counted from 1",
                )
            return list(bands), alpha
        if all(colour in kinds for colour in ("red", "green", "blue")):
            return [kinds.index(colour) + 1 for colour in ("red", "green", "blue")], alpha
        colours = [band for band in range(1, count + 1) if band != alpha]
        # Unnamed bands: a fourth is near infrared far more often than alpha, which writers do name.
        return (colours[:3] if len(colours) >= 3 else colours[:1]), alpha

    def _colour_table(self) -> UInt8Array | None:
        if self._data.colorinterp[self._bands[0] - 1].name != "palette" or len(self._bands) != 1:
            return None
        table = np.zeros((256 if self._data.dtypes[0] == "uint8" else 65536, 4), np.uint8)
        for index, colour in self._data.colormap(self._bands[0]).items():
            if 0 <= index < len(table):
                table[index] = colour
        return table

    def _is_plain(self) -> bool:
        bits = [int(self._data.tags(b, ns="IMAGE_STRUCTURE").get("NBITS", 8)) for b in self._bands]
        return self._palette is not None or all(
            self._data.dtypes[b - 1] == "uint8" and n == 8 for b, n in zip(self._bands, bits, strict=True)
        )

    def _raw(self, left: int, top: int, right: int, bottom: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """The chosen bands (b, h, w) in their own type, and where they hold imagery."""
        window = ((top, bottom), (left, right))
        with _gdal(self.where):
            raw = self._data.read(self._bands, window=window)
            covered = np.ones(raw.shape[1:], np.bool_)
            if self._alpha is not None:
                alpha = self._data.read(self._alpha, window=window)
                top_value = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1.0
                covered &= alpha >= 0.5 * top_value
            if self._has_mask:
                covered &= self._data.read_masks(self._bands[0], window=window) >= 128
        if raw.dtype.kind == "f":
            covered &= np.isfinite(raw).all(axis=0)
        if self._data.nodata is not None and self._alpha is None:
            covered &= (raw != self._data.nodata).any(axis=0)
        return raw, covered

    def _brightness_range(self) -> Float64Array:
        """(bands, 2): what becomes black and white, percentiles of evenly spread windows over the imagery."""
        samples: list[Float64Array] = []
        across, down = (min(_SAMPLE_WINDOWS, math.ceil(n / _SAMPLE_PX)) for n in (self.width_px, self.height_px))
        for row in range(down):
            for column in range(across):
                left = (self.width_px - min(_SAMPLE_PX, self.width_px)) * column // max(1, across - 1)
                top = (self.height_px - min(_SAMPLE_PX, self.height_px)) * row // max(1, down - 1)
                right, bottom = min(left + _SAMPLE_PX, self.width_px), min(top + _SAMPLE_PX, self.height_px)
                raw, covered = self._raw(left, top, right, bottom)
                samples.append(raw[:, covered].astype(np.float64))
        values = np.concatenate(samples, axis=1)
        if values.shape[1] == 0:
            raise MapError(
                "imagery is empty wherever it was looked at", where=self.where, mend="check nodata and alpha"
            )
        limits = np.percentile(values, [_LOW_PERCENT, _HIGH_PERCENT], axis=1).T
        out: Float64Array = np.where(limits[:, 1:] > limits[:, :1], limits, limits + np.array([-0.5, 0.5]))
        return out

    def _scaled(self, raw: npt.NDArray[Any]) -> UInt8Array:
        assert self._range is not None
        low, high = (self._range[:, i, None, None] for i in (0, 1))
        values = np.nan_to_num(raw.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray(np.rint(np.clip((values - low) / (high - low), 0.0, 1.0) * 255.0), dtype=np.uint8)


def _apply(affine: Any, x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    """An affine map of arrays, written out: the operator for it differs between the versions in use."""
    a, b, c, d, e, f = (float(v) for v in tuple(affine)[:6])
    return a * x + b * y + c, d * x + e * y + f


def _open(path: Path) -> Any:
    rasterio = _rasterio(path)
    with _gdal(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path, driver="GTiff")


def _check_size(data: Any, path: Path) -> None:
    """Refuses what a small file claims before anything of that size is allocated."""
    size = path.stat().st_size
    if unread := sorted(set(data.dtypes) - PIXEL_TYPES):
        raise MapError(f"GeoTIFF has pixels of type {unread[0]}", where=path, mend="give integers or floats")
    item = max(np.dtype(kind).itemsize for kind in data.dtypes)
    if data.count > MAX_BANDS:
        raise MapError(f"GeoTIFF has {data.count} bands, at most {MAX_BANDS} are read", where=path, mend="choose bands")
    together = int(data.count) if data.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL" else 1
    block = max(height * width for height, width in data.block_shapes) * item * together
    pixels = int(data.width) * int(data.height)
    claimed = pixels * item * int(data.count)
    if pixels > _SMALL_PX and claimed > MAX_EXPANSION * size:
        raise MapError(
            f"claims {data.width} x {data.height} px in a file of {size} bytes",
            where=path,
            mend="the file is cut short or made up; copy it again",
        )
    if block > MAX_BLOCK_BYTES:
        raise MapError(
            f"GeoTIFF is stored in blocks of {block / 1e6:.0f} MB",
            where=path,
            mend="make it tiled: gdal_translate -co TILED=YES in.tif out.tif",
        )


@contextmanager
def _gdal(where: object) -> Iterator[None]:
    """GDAL with this module's limits, and its errors as `MapError`."""
    rasterio = _rasterio(where)
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # every error is raised; its log lines repeat it
    try:
        with rasterio.Env(**GDAL_SETTINGS):
            yield
    except (rasterio.errors.RasterioError, ValueError, MemoryError) as error:
        text = " ".join(str(error.__cause__ or error).split())
        raise MapError(
            f"GeoTIFF is damaged or cut short: {text[:300]}", where=where, mend="copy it again, check it with gdalinfo"
        ) from error


def _rasterio(where: object) -> Any:
    try:
        import rasterio
    except ImportError as error:
        raise MapError(
            "reading a GeoTIFF needs rasterio", where=where, mend="install it with pip install 'tilefix[map]'"
        ) from error
    return rasterio


def _mask_flags() -> Any:
    from rasterio.enums import MaskFlags

    return MaskFlags
