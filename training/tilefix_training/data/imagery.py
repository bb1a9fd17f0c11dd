"""Pictures of ground with their scale, from every kind of source: what patches are cut from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tilefix.errors import ConfigError, FlightError
from tilefix.geodesy import tile_corner
from tilefix.pictures import PICTURE_SUFFIXES, read_picture
from tilefix.types import UInt8Array
from tilefix_training.data.flights import flight_sheets, map_sheet, video_sheets
from tilefix_training.data.sheet import Report, Sheet
from tilefix_training.sources import (
    FlightSource,
    MapSource,
    PatchSource,
    PhotosSource,
    TilesSource,
    WorldsSource,
)

_TILE_NAME = re.compile(r"(\d{1,2})_(\d{1,8})_(\d{1,8})\.png$")
_EQUATOR_M = 40075016.686
_MAX_SHEET_PX = 1 << 28


def sheets(
    source: PatchSource, view: str, report: Report, *, wanted: int = 1, finest_m: float = 0.0
) -> Iterator[Sheet]:
    """The sheets of a source, one at a time. Pictures that cannot be read are skipped and told in `report`.

    `wanted`: patches; no more frames of footage are read. `finest_m`: sampling below which footage is reduced.
    Raises `ConfigError` for a folder that is missing or holds nothing to read.
    """
    if isinstance(source, WorldsSource):
        return _worlds(source, view, report)
    if isinstance(source, TilesSource):
        return _tiles(source, report)
    if isinstance(source, FlightSource):
        return flight_sheets(source, report, wanted, finest_m)
    if isinstance(source, MapSource):
        return iter([map_sheet(source, report)])
    return video_sheets(source, report, wanted, finest_m) if is_video(source) else _photos(source, report)


def is_video(source: PatchSource) -> bool:
    """True for a source of photos that is one file: a video."""
    return isinstance(source, PhotosSource) and Path(source.folder).is_file()


def _worlds(source: WorldsSource, view: str, report: Report) -> Iterator[Sheet]:
    from tilefix.simulation.world import drone_look, generate_world, satellite_look

    look = drone_look if view == "drone" else satellite_look
    for seed in range(source.first, source.last + 1):
        world = generate_world(seed, size_m=source.size_m, gsd_m=source.gsd_m)
        report.pictures += 1
        yield Sheet(f"world {seed}", world.render(look(seed)), source.gsd_m)


def _photos(source: PhotosSource, report: Report) -> Iterator[Sheet]:
    for path in _files(source.folder, PICTURE_SUFFIXES):
        pixels = _read(path, report)
        if pixels is not None:
            yield Sheet(path.name, pixels, source.width_m / pixels.shape[1])


def _tiles(source: TilesSource, report: Report) -> Iterator[Sheet]:
    places: dict[tuple[int, int, int], Path] = {}
    for path in _files(source.folder, (".png",)):
        if match := _TILE_NAME.match(path.name):
            zoom, x, y = map(int, match.groups())
            places[zoom, x, y] = path
    if not places:
        raise ConfigError("no tile of a name z_x_y.png", where=source.folder, mend="check the folder")
    for zoom, block in _blocks(set(places)):
        west, north = min(x for x, _ in block), min(y for _, y in block)
        width, height = (max(x for x, _ in block) - west + 1) * 256, (max(y for _, y in block) - north + 1) * 256
        if width * height > _MAX_SHEET_PX:
            raise ConfigError(f"a block of tiles spans {width} x {height} px", where=source.folder)
        pixels = np.zeros((height, width, 3), np.uint8)
        coverage = np.zeros((height, width), np.bool_)
        for x, y in block:
            tile = _read(places[zoom, x, y], report)
            if tile is not None and tile.shape == (256, 256, 3):
                rows, columns = (
                    slice((y - north) * 256, (y - north + 1) * 256),
                    slice((x - west) * 256, (x - west + 1) * 256),
                )
                pixels[rows, columns] = tile
                coverage[rows, columns] = True
        lat_deg, _ = tile_corner(west, north + height / 512, zoom)
        gsd_m = _EQUATOR_M * math.cos(math.radians(lat_deg)) / 2**zoom / 256
        yield Sheet(f"{zoom}_{west}_{north}", pixels, gsd_m, coverage)


def _blocks(places: set[tuple[int, int, int]]) -> list[tuple[int, list[tuple[int, int]]]]:
    """Groups of tiles of one zoom that touch along an edge, in the order of their names."""
    left = set(places)
    blocks = []
    for start in sorted(places):
        if start not in left:
            continue
        left.discard(start)
        stack, block = [start], []
        while stack:
            zoom, x, y = stack.pop()
            block.append((x, y))
            for near in ((zoom, x + 1, y), (zoom, x - 1, y), (zoom, x, y + 1), (zoom, x, y - 1)):
                if near in left:
                    left.discard(near)
                    stack.append(near)
        blocks.append((start[0], block))
    return blocks


def _files(folder: str, suffixes: tuple[str, ...]) -> list[Path]:
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError("no such folder", where=path, mend="paths are relative to the working directory")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes)
    if not files:
        raise ConfigError(f"no {' or '.join(suffixes)} file in the folder", where=path, mend="check the folder")
    return files


def _read(path: Path, report: Report) -> UInt8Array | None:
    try:
        pixels = read_picture(path)
    except FlightError as error:
        report.skipped.append(str(error))
        return None
    report.pictures += 1
    return pixels
