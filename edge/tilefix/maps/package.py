"""The map package: what the drone carries of the world, opened, checked and memory-mapped.

A folder with `manifest.json` and four files: `imagery.npy` (uint8, RGB), `coverage.npy` (uint8, 255 where imagery
exists), `tiles.npy` (float32 tile centres, local metres), `tiles.faiss` (flat inner-product index of descriptors in
the same order); with terrain a fifth, `height.npy` (float32, metres, NaN where unknown). The folder comes from
outside, so it is hostile: sizes are checked before anything is allocated, links and unknown names are refused,
nothing is unpickled.
"""

from __future__ import annotations

import math
import re
import stat
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilefix.errors import MapError, ModelError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.manifest import ModelManifest, sha256_of
from tilefix.maps.manifest import HEIGHT_FILE, MANIFEST_FILE, MapManifest, load_map_manifest
from tilefix.maps.terrain import HEIGHT_RANGE_M, Terrain
from tilefix.types import Float32Array, UInt8Array

# faiss IndexFlatIP: fourcc, dimension, count, two unused words, trained, metric (0 = inner product), float count.
FLAT_INDEX_HEADER = struct.Struct("<4siqqqBiQ")
_MAX_NPY_HEADER = 512
_HEIGHT_ROWS = 512
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(?P<descr>[|<][a-z]\d)', 'fortran_order': False, "
    rb"'shape': \((?P<shape>\d{1,12}(?:, \d{1,12}){0,3},?)\), \} *\n",
    re.DOTALL,
)
_REBUILD = "copy the package again, or rebuild it with tilefix map build"


@dataclass(frozen=True, eq=False)
class MapPackage:
    """An open map package. Arrays are read-only; imagery and coverage stay on disk until touched.

    `imagery`: uint8 (H, W, 3) RGB. `coverage`: uint8 (H, W), 255 where imagery exists, 0 elsewhere.
    `tile_centres_m`: float32 (N, 2), east and north in `frame`, in the order of the index.
    `terrain`: the ground's height, where the package has it.
    """

    path: Path
    manifest: MapManifest
    imagery: UInt8Array
    coverage: UInt8Array
    tile_centres_m: Float32Array
    terrain: Terrain | None = None

    @property
    def frame(self) -> LocalFrame:
        """Where the local metres are."""
        return self.manifest.frame

    @property
    def grid(self) -> Grid:
        """The pixel grid of `imagery` and `coverage`."""
        return self.manifest.grid

    def moved(self, east_m: float, north_m: float) -> MapPackage:
        """The same map with its imagery and tiles that far from where the package says that they lie. Terrain, which
        has a source of its own, stays."""
        if east_m == 0.0 and north_m == 0.0:
            return self
        grid = replace(self.grid, west_m=self.grid.west_m + east_m, north_m=self.grid.north_m + north_m)
        centres = self.tile_centres_m + np.array([east_m, north_m], np.float32)
        return replace(self, manifest=replace(self.manifest, grid=grid), tile_centres_m=centres)

    @classmethod
    def open(cls, path: str | Path, *, model: ModelManifest | None = None, verify: bool = True) -> MapPackage:
        """Opens a package; raises `MapError`, or `ModelError` when it was built with another model.

        `verify` compares every file with its SHA-256: reads the whole package, about 1 s per GB. Without it the
        sizes, types and shapes are still checked.
        """
        path = Path(path)
        manifest = load_map_manifest(path / MANIFEST_FILE)
        if model is not None:
            check_model(manifest, model, path)
        for name in manifest.data_files:
            _check_file(path / name, manifest, verify)
        grid = manifest.grid
        imagery = _open_array(path / "imagery.npy", (grid.height_px, grid.width_px, 3), np.uint8)
        coverage = _open_array(path / "coverage.npy", (grid.height_px, grid.width_px), np.uint8)
        centres = _open_array(path / "tiles.npy", (manifest.tiles, 2), np.float32)
        _check_centres(centres, manifest, path / "tiles.npy")
        _check_index_header(path / "tiles.faiss", manifest)
        return cls(path, manifest, imagery, coverage, centres, _open_terrain(path / HEIGHT_FILE, manifest))


def flat_index_header(descriptor_dim: int, count: int) -> bytes:
    """The first bytes of a faiss flat inner-product index; float32 descriptors follow, row by row."""
    unused = 1 << 20  # as faiss itself writes
    return FLAT_INDEX_HEADER.pack(b"IxFI", descriptor_dim, count, unused, unused, 1, 0, count * descriptor_dim)


def check_model(manifest: MapManifest, model: ModelManifest, where: object) -> None:
    """Raises `ModelError` unless the map was built with a model of that identity, within its trained range."""
    mend = "fly with the model the map was built with, or rebuild the map with --model"
    if manifest.model.identity != model.identity:
        raise ModelError(
            f"map was built with model {manifest.model.name} ({manifest.model.identity[:12]}), "
            f"not with {model.name} ({model.identity[:12]})",
            where=where,
            mend=mend,
        )
    if (manifest.descriptor_dim, manifest.metric) != (model.descriptor_dim, model.metric):
        raise ModelError(
            f"map has descriptors of {manifest.descriptor_dim} numbers ({manifest.metric}), "
            f"model {model.name} gives {model.descriptor_dim} ({model.metric})",
            where=where,
            mend=mend,
        )
    model.check_patch_m(manifest.patch_m, where)


def _check_file(path: Path, manifest: MapManifest, verify: bool) -> None:
    try:
        status = path.lstat()
    except OSError as error:
        raise MapError(f"map file is missing: {error.strerror}", where=path, mend=_REBUILD) from error
    if not stat.S_ISREG(status.st_mode):
        raise MapError("map file is not a regular file (links are not followed)", where=path, mend=_REBUILD)
    entry = manifest.files[path.name]
    if status.st_size != entry.bytes:
        raise MapError(f"map file has {status.st_size} bytes, manifest says {entry.bytes}", where=path, mend=_REBUILD)
    if verify:
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise MapError(f"cannot read the map file: {error.strerror}", where=path, mend=_REBUILD) from error
        if digest != entry.sha256:
            raise MapError("map file differs from its checksum in the manifest", where=path, mend=_REBUILD)


def _open_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """A read-only memory map. NumPy's own header reader evaluates text and lets odd errors out; this one matches."""
    wanted = np.dtype(dtype)
    with path.open("rb") as file:
        head = file.read(_MAX_NPY_HEADER)
    match = _NPY_HEADER.match(head)
    if match is None or len(match[0]) != 10 + struct.unpack_from("<H", head, 8)[0]:
        raise MapError("not a plain NumPy array", where=path, mend=_REBUILD)
    found = match["descr"].decode(), tuple(int(n) for n in re.findall(rb"\d+", match["shape"]))
    if found != (wanted.str, shape):
        raise MapError(f"is {found[0]} {found[1]}, manifest says {wanted.str} {shape}", where=path, mend=_REBUILD)
    if path.stat().st_size != len(match[0]) + math.prod(shape) * wanted.itemsize:
        raise MapError("array is cut short or too long", where=path, mend=_REBUILD)
    array: npt.NDArray[Any] = np.memmap(path, dtype=wanted, mode="r", offset=len(match[0]), shape=shape)
    return array


def _open_terrain(path: Path, manifest: MapManifest) -> Terrain | None:
    """The terrain, every height looked at: one infinite or absurd height would throw the position far off."""
    if manifest.height is None:
        return None
    grid = manifest.height.grid
    heights: Float32Array = _open_array(path, (grid.height_px, grid.width_px), np.float32)
    for top in range(0, grid.height_px, _HEIGHT_ROWS):
        rows = heights[top : top + _HEIGHT_ROWS]
        with np.errstate(invalid="ignore"):
            absurd = (rows < HEIGHT_RANGE_M[0]) | (rows > HEIGHT_RANGE_M[1])
        if absurd.any():
            low, high = HEIGHT_RANGE_M
            raise MapError(
                f"terrain has a height of {float(rows[absurd][0]):g} m, beyond {low:g} to {high:g} m",
                where=path,
                mend=_REBUILD,
            )
    return Terrain(grid, heights)


def _check_centres(centres: Float32Array, manifest: MapManifest, path: Path) -> None:
    if not np.isfinite(centres).all():
        raise MapError("a tile centre is not finite", where=path, mend=_REBUILD)
    grid = manifest.grid
    slack = grid.gsd_m + 1e-6 * max(abs(grid.west_m), abs(grid.north_m), abs(grid.east_m), abs(grid.south_m))
    east, north = centres[:, 0], centres[:, 1]
    inside = (
        (east >= grid.west_m - slack)
        & (east <= grid.east_m + slack)
        & (north >= grid.south_m - slack)
        & (north <= grid.north_m + slack)
    )
    if not inside.all():
        raise MapError("a tile centre lies outside the map", where=path, mend=_REBUILD)


def _check_index_header(path: Path, manifest: MapManifest) -> None:
    """Every byte of the header is known in advance, so faiss never sees an index of another kind or size."""
    floats = manifest.tiles * manifest.descriptor_dim
    with path.open("rb") as file:
        head = file.read(FLAT_INDEX_HEADER.size)
    if len(head) != FLAT_INDEX_HEADER.size:
        raise MapError("tile index is cut short", where=path, mend=_REBUILD)
    fourcc, dim, count, _, _, trained, metric, stored = FLAT_INDEX_HEADER.unpack(head)
    if fourcc != b"IxFI" or trained != 1 or metric != 0:
        raise MapError("tile index is not a flat inner-product faiss index", where=path, mend=_REBUILD)
    if (dim, count, stored) != (manifest.descriptor_dim, manifest.tiles, floats):
        raise MapError(
            f"tile index holds {count} descriptors of {dim} numbers, manifest says "
            f"{manifest.tiles} of {manifest.descriptor_dim}",
            where=path,
            mend=_REBUILD,
        )
    if path.stat().st_size != FLAT_INDEX_HEADER.size + 4 * floats:
        raise MapError("tile index has the wrong size", where=path, mend=_REBUILD)
