"""Imagery made of Web-Mercator tiles: folders `z/x/y.png` or `z_x_y.png`, and MBTiles files."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tilefix.errors import MapError
from tilefix.geodesy import tile_of
from tilefix.mapbuild.pictures import MAX_TILE_BYTES, decode_picture, picture_info
from tilefix.mapbuild.sources import BBox
from tilefix.types import Float64Array, UInt8Array

SOURCE_FILE = "source.json"  # written by `tilefix map fetch` beside its tiles
MAX_ZOOM = 26
MAX_TILE_COUNT = 5_000_000
_CACHED_PX = 1 << 24
_SQL_STEPS = 20_000  # times 10,000 virtual-machine steps: a query in a hostile file ends
_NAME = re.compile(r"(?P<z>\d{1,2})_(?P<x>\d{1,9})_(?P<y>\d{1,9})\.(?:png|jpe?g|webp)", re.IGNORECASE)
_LEAF = re.compile(r"(?P<y>\d{1,9})\.(?:png|jpe?g|webp)", re.IGNORECASE)

TileKey = tuple[int, int]  # x, y in the XYZ scheme: y grows south
Levels = dict[int, set[TileKey]]


class TileMosaic:
    """Tiles of one zoom as one picture: the smallest box of whole tiles around them. An `ImagerySource`."""

    def __init__(
        self,
        where: Path,
        zoom: int,
        keys: set[TileKey],
        load: Callable[[int, int], bytes],
        *,
        close: Callable[[], None] = lambda: None,
        source: str = "",
        date: str = "",
        licence: str = "",
    ) -> None:
        self.where: object = where
        self.source, self.date, self.licence = source, date, licence
        self.zoom = zoom
        self._path, self._keys, self._load, self._close = where, keys, load, close
        first = min(keys)
        info = picture_info(load(*first), self._name(*first))
        if info.width != info.height or info.width < 64:
            raise MapError(
                f"tile has {info.width} x {info.height} px", where=self._name(*first), mend="give square tiles"
            )
        self.tile_px = info.width
        self._x0, self._y0 = min(x for x, _ in keys), min(y for _, y in keys)
        self.width_px = (max(x for x, _ in keys) - self._x0 + 1) * self.tile_px
        self.height_px = (max(y for _, y in keys) - self._y0 + 1) * self.tile_px
        self._cache: OrderedDict[TileKey, tuple[UInt8Array, UInt8Array]] = OrderedDict()

    def to_pixel(self, lon_deg: Float64Array, lat_deg: Float64Array) -> tuple[Float64Array, Float64Array]:
        """See `ImagerySource`. Source: OGC TMS WebMercatorQuad."""
        n = 2.0**self.zoom
        x = (lon_deg + 180.0) / 360.0 * n
        y = (1.0 - np.arcsinh(np.tan(np.radians(lat_deg))) / math.pi) / 2.0 * n
        return (x - self._x0) * self.tile_px - 0.5, (y - self._y0) * self.tile_px - 0.5

    def to_geodetic(self, columns: Float64Array, rows: Float64Array) -> tuple[Float64Array, Float64Array]:
        """See `ImagerySource`."""
        n = 2.0**self.zoom
        x = (columns + 0.5) / self.tile_px + self._x0
        y = (rows + 0.5) / self.tile_px + self._y0
        return x / n * 360.0 - 180.0, np.degrees(np.arctan(np.sinh(math.pi * (1.0 - 2.0 * y / n))))

    def read(self, left: int, top: int, right: int, bottom: int) -> tuple[UInt8Array, UInt8Array]:
        """See `ImagerySource`; tiles that do not exist are not covered."""
        pixels = np.zeros((bottom - top, right - left, 3), np.uint8)
        coverage = np.zeros((bottom - top, right - left), np.uint8)
        size = self.tile_px
        for row in range(top // size, (bottom - 1) // size + 1):
            for column in range(left // size, (right - 1) // size + 1):
                tile = self._tile(column + self._x0, row + self._y0)
                if tile is None:
                    continue
                x0, y0 = column * size, row * size
                xs, xe = max(left, x0), min(right, x0 + size)
                ys, ye = max(top, y0), min(bottom, y0 + size)
                target = (slice(ys - top, ye - top), slice(xs - left, xe - left))
                inner = (slice(ys - y0, ye - y0), slice(xs - x0, xe - x0))
                pixels[target], coverage[target] = tile[0][inner], tile[1][inner]
        return pixels, coverage

    def close(self) -> None:
        """See `ImagerySource`."""
        self._close()

    def _tile(self, x: int, y: int) -> tuple[UInt8Array, UInt8Array] | None:
        key = (x, y)
        if key not in self._keys:
            return None
        if key not in self._cache:
            tile = decode_picture(self._load(x, y), self._name(x, y))
            if tile[1].shape != (self.tile_px, self.tile_px):
                raise MapError(
                    f"tile has {tile[1].shape[1]} x {tile[1].shape[0]} px, others {self.tile_px}",
                    where=self._name(x, y),
                    mend="give tiles of one size",
                )
            self._cache[key] = tile
            if len(self._cache) > max(4, _CACHED_PX // self.tile_px**2):
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _name(self, x: int, y: int) -> str:
        return f"{self._path}: tile {self.zoom}/{x}/{y}"


def open_tile_folder(path: Path, *, zoom: int | None = None, bbox: BBox | None = None) -> TileMosaic:
    """The tiles of a folder `z/x/y.png` or `z_x_y.png` (PNG, JPEG, WebP); raises `MapError`."""
    files: dict[int, dict[TileKey, Path]] = {}
    for count, (z, x, y, file) in enumerate(_tile_files(path)):
        if count >= MAX_TILE_COUNT:
            raise MapError(f"folder holds more than {MAX_TILE_COUNT} tiles", where=path, mend="give a part of it")
        if 0 <= z <= MAX_ZOOM and max(x, y) < 2**z:
            other = files.setdefault(z, {}).setdefault((x, y), file)
            if other != file:
                raise MapError(f"tile {z}/{x}/{y} is there twice", where=file, mend=f"remove it or {other.name}")
    if not files:
        raise MapError(
            "folder holds no map tiles", where=path, mend="give a folder of z/x/y.png or z_x_y.png (png, jpg, webp)"
        )
    chosen = choose_zoom({z: set(keys) for z, keys in files.items()}, zoom, bbox, path)
    paths = files[chosen[0]]
    source, date, licence = _about(path / SOURCE_FILE)

    def load(x: int, y: int) -> bytes:
        return read_bounded(paths[x, y], MAX_TILE_BYTES)

    return TileMosaic(path, *chosen, load, source=source, date=date, licence=licence)


def open_mbtiles(path: Path, *, zoom: int | None = None, bbox: BBox | None = None) -> TileMosaic:
    """The tiles of an MBTiles file (raster, MBTiles 1.3); raises `MapError`."""
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(uri, uri=True)
    except sqlite3.Error as error:
        raise MapError(f"cannot open: {error}", where=path, mend="give an MBTiles file") from error
    mend = "the file is damaged or no MBTiles; export it again"
    if sys.version_info >= (3, 11):  # before, a view may make SQLite build a value of up to its own limit, 1 GB
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_TILE_BYTES + (1 << 20))

    def query(sql: str, *values: int) -> Iterator[tuple[Any, ...]]:
        steps = 0

        def count_steps() -> int:
            nonlocal steps
            steps += 1
            return int(steps > _SQL_STEPS)

        try:
            connection.set_progress_handler(count_steps, 10_000)
            yield from connection.execute(sql, values)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise MapError(f"not readable as MBTiles: {error}", where=path, mend=mend) from error

    def load(x: int, y: int) -> bytes:
        row = 2 ** chosen[0] - 1 - y  # MBTiles counts rows from the south
        sql = (
            "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ? "
            f"AND length(tile_data) <= {MAX_TILE_BYTES} LIMIT 1"
        )
        for (data,) in query(sql, chosen[0], x, row):
            if isinstance(data, bytes):
                return data
        raise MapError("tile is not a picture of usual size", where=f"{path}: tile {chosen[0]}/{x}/{y}", mend=mend)

    try:
        for _ in query("PRAGMA trusted_schema = OFF"):
            pass
        about = {
            str(name): str(value)[:10_000]
            for name, value in query("SELECT name, value FROM metadata LIMIT 1000")
            if isinstance(name, str)
        }
        if about.get("format", "png").lower() in ("pbf", "mvt"):
            raise MapError("holds vector tiles, not imagery", where=path, mend="give raster MBTiles (png, jpg, webp)")
        levels: Levels = {}
        sql = f"SELECT zoom_level, tile_column, tile_row FROM tiles LIMIT {MAX_TILE_COUNT + 1}"
        for count, (z, x, row) in enumerate(query(sql)):
            if count >= MAX_TILE_COUNT:
                raise MapError(f"holds more than {MAX_TILE_COUNT} tiles", where=path, mend="give a part of it")
            if type(z) is not int or type(x) is not int or type(row) is not int:
                raise MapError("a tile has no whole-number address", where=path, mend=mend)
            if 0 <= z <= MAX_ZOOM and 0 <= x < 2**z and 0 <= row < 2**z:
                levels.setdefault(z, set()).add((x, 2**z - 1 - row))
        if not levels:
            raise MapError("holds no tiles", where=path, mend=mend)
        chosen = choose_zoom(levels, zoom, bbox, path)
        licence = about.get("license", about.get("attribution", ""))
        source = about.get("name", "") or path.name
        return TileMosaic(path, *chosen, load, close=connection.close, source=source, licence=licence)
    except BaseException:
        connection.close()
        raise


def choose_zoom(levels: Levels, zoom: int | None, bbox: BBox | None, where: object) -> tuple[int, set[TileKey]]:
    """The zoom to use and its tiles within the box.

    `zoom` when given; else the finest, unless a coarser one shows ground that it lacks, of at least a quarter of
    what it shows (so neither a pyramid's top nor a few fine tiles win).
    """
    if zoom is not None and zoom not in levels:
        raise MapError(
            f"no tiles of zoom {zoom}", where=where, mend=f"choose --zoom from {', '.join(map(str, sorted(levels)))}"
        )
    wanted = {z: _within(keys, z, bbox) for z, keys in levels.items() if zoom is None or z == zoom}
    wanted = {z: keys for z, keys in wanted.items() if keys}
    if not wanted:
        raise MapError("no tiles within --bbox", where=where, mend="choose another --bbox or --zoom")
    best, *coarser = sorted(wanted, reverse=True)
    for z in coarser:
        shown = {(x >> (best - z), y >> (best - z)) for x, y in wanted[best]}
        lacking = len(wanted[z] - shown)
        if lacking * 4 ** (best - z) >= 0.25 * len(wanted[best]):
            best = z
    return best, wanted[best]


def read_bounded(path: Path, limit: int) -> bytes:
    """A regular file's bytes; raises `MapError` when it is larger than `limit` or cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise MapError(f"cannot read: {error.strerror}", where=path, mend="check the file") from error
    if len(data) > limit:
        raise MapError(f"file is larger than {limit} bytes", where=path, mend="remove it or load it again")
    return data


def _within(keys: set[TileKey], zoom: int, bbox: BBox | None) -> set[TileKey]:
    if bbox is None:
        return keys
    west, north = tile_of(bbox.north_deg, bbox.west_deg, zoom)
    east, south = tile_of(bbox.south_deg, bbox.east_deg, zoom)
    return {(x, y) for x, y in keys if x + 1 > west and x < east and y + 1 > north and y < south}


def _tile_files(path: Path) -> Iterator[tuple[int, int, int, Path]]:
    try:
        for entry in path.iterdir():
            if match := _NAME.fullmatch(entry.name):
                if entry.is_file():
                    yield int(match["z"]), int(match["x"]), int(match["y"]), entry
            elif re.fullmatch(r"\d{1,2}", entry.name) and entry.is_dir():
                for column in entry.iterdir():
                    if re.fullmatch(r"\d{1,9}", column.name) and column.is_dir():
                        for file in column.iterdir():
                            if (leaf := _LEAF.fullmatch(file.name)) and file.is_file():
                                yield int(entry.name), int(column.name), int(leaf["y"]), file
    except OSError as error:
        raise MapError(f"cannot list the folder: {error.strerror}", where=path, mend="check its rights") from error


def _about(path: Path) -> tuple[str, str, str]:
    """Source, date and licence from the file that `tilefix map fetch` leaves; the folder's name without it."""
    raw: object = None
    if path.is_file():
        try:
            raw = json.loads(read_bounded(path, 1 << 20))
        except (ValueError, RecursionError) as error:
            raise MapError(f"not JSON: {error}", where=path, mend="remove or repair it") from error
    about = raw if isinstance(raw, dict) else {}
    source, date, licence = (str(about.get(key, ""))[:10_000] for key in ("source", "date", "licence"))
    return source or path.parent.name, date, licence
