"""Writes map packages: imagery on a local grid in, a folder with tiles and their index out, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilefix.errors import MapError, ModelError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.manifest import sha256_of
from tilefix.mapbuild.patches import MIN_TILE_COVERAGE, check_crop, cut_patch, tile_centres
from tilefix.maps.manifest import (
    DATA_FILES,
    HEIGHT_FILE,
    MANIFEST_FILE,
    MAX_TILES,
    FileEntry,
    HeightInfo,
    ImageryInfo,
    MapManifest,
    ModelRef,
    manifest_json,
)
from tilefix.maps.package import FLAT_INDEX_HEADER, MapPackage, flat_index_header
from tilefix.maps.terrain import Terrain
from tilefix.ports import Embedder
from tilefix.types import BoolArray, Float32Array, UInt8Array

Progress = Callable[[str, float], None]  # what is being done, and the share of it that is done
_BATCH = 32
_STRIP_ROWS = 512


@dataclass(frozen=True, eq=False)
class ArrayImagery:
    """Imagery already on a local grid: `pixels` uint8 (H, W, 3) RGB, `coverage` uint8 (H, W), 255 where it exists."""

    frame: LocalFrame
    grid: Grid
    pixels: UInt8Array
    coverage: UInt8Array
    source: str
    date: str
    licence: str


@dataclass(frozen=True, eq=False)
class ArrayTerrain:
    """Terrain for a package: heights on a grid in the imagery's frame; `datum`: what they are counted from, or ""."""

    terrain: Terrain
    source: str
    datum: str = ""


def build_package(
    imagery: ArrayImagery,
    out: str | Path,
    *,
    embedder: Embedder,
    patch_m: float,
    stride_m: float,
    terrain: ArrayTerrain | None = None,
    progress: Progress | None = None,
    created: str = "",
) -> MapPackage:
    """Writes a map package to the folder `out` and opens it; equal input gives equal bytes.

    Tiles stand `stride_m` apart and show `patch_m` metres; those with less than 60 % imagery are left out. Raises
    `MapError` or `ModelError`; then `out` is as it was before. An older map package at `out` is replaced.
    """
    out = Path(out)
    shape = (imagery.grid.height_px, imagery.grid.width_px)
    if imagery.pixels.dtype != np.uint8 or imagery.pixels.shape != (*shape, 3):
        raise MapError(f"imagery is {imagery.pixels.dtype} {imagery.pixels.shape}, not uint8 {(*shape, 3)}")
    if imagery.coverage.dtype != np.uint8 or imagery.coverage.shape != shape:
        raise MapError(f"coverage is {imagery.coverage.dtype} {imagery.coverage.shape}, not uint8 {shape}")
    check_tiling(imagery.grid, embedder, patch_m, stride_m, out)
    with new_package_folder(out) as folder:
        pixels, coverage = create_arrays(folder, imagery.grid)
        for top in range(0, shape[0], _STRIP_ROWS):
            rows = slice(top, top + _STRIP_ROWS)
            coverage[rows] = np.where(imagery.coverage[rows] >= 128, 255, 0)
            pixels[rows] = np.where(coverage[rows, :, None] > 0, imagery.pixels[rows], 0)
        write_tiles(
            folder,
            pixels,
            coverage,
            frame=imagery.frame,
            grid=imagery.grid,
            info=ImageryInfo(imagery.source, imagery.date, imagery.licence),
            embedder=embedder,
            patch_m=patch_m,
            stride_m=stride_m,
            terrain=terrain,
            progress=progress,
            created=created,
        )
    return MapPackage.open(out, model=embedder.manifest, verify=False)


def check_tiling(grid: Grid, embedder: Embedder, patch_m: float, stride_m: float, where: object) -> None:
    """Raises before any work when patch and stride suit neither the model nor the map."""
    embedder.manifest.check_patch_m(patch_m, where)
    check_crop(grid, patch_m)
    if not 0.0 < stride_m <= patch_m:
        raise MapError(
            f"stride of {stride_m:g} m leaves gaps between patches of {patch_m:g} m",
            where=where,
            mend="choose --stride-m above 0 and at most --patch-m",
        )
    side_m = max(grid.gsd_m, stride_m)
    count = (grid.width_px * grid.gsd_m / side_m + 1) * (grid.height_px * grid.gsd_m / side_m + 1)
    if stride_m < grid.gsd_m or count > MAX_TILES:
        raise MapError(
            f"stride of {stride_m:g} m is too fine for this map", where=where, mend="choose a larger --stride-m"
        )


@contextmanager
def new_package_folder(out: Path) -> Iterator[Path]:
    """A folder to write a package in; it becomes `out` when the block ends well and vanishes when it does not."""
    check_output(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{out.name}.", suffix=".partial", dir=out.parent))
        folder.chmod(0o755)
    except OSError as error:
        raise MapError(f"cannot write here: {error.strerror}", where=out, mend="choose another --out") from error
    try:
        yield folder
        _put_in_place(folder, out)
    except OSError as error:
        raise MapError(
            f"cannot write the map package: {error.strerror or error}", where=out, mend="check space and rights"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_output(out: Path) -> None:
    """Raises `MapError` unless `out` is free, an empty folder, or a map package that may be replaced."""
    if not out.name:
        raise MapError("not a folder name", where=out, mend="choose another --out")
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_dir():
        raise MapError("exists and is not a map package", where=out, mend="choose another --out")
    names = {entry.name for entry in out.iterdir()}
    if names and (MANIFEST_FILE not in names or not names <= {MANIFEST_FILE, HEIGHT_FILE, *DATA_FILES}):
        raise MapError("folder holds other things than a map package", where=out, mend="choose another --out")


def _put_in_place(folder: Path, out: Path) -> None:
    check_output(out)
    if not out.exists():
        folder.rename(out)
        return
    with tempfile.TemporaryDirectory(prefix=f"{out.name}.", suffix=".old", dir=out.parent) as attic:
        old = Path(attic) / out.name
        out.rename(old)
        try:
            folder.rename(out)
        except OSError:
            old.rename(out)
            raise


def create_arrays(folder: Path, grid: Grid) -> tuple[UInt8Array, UInt8Array]:
    """Writable memory maps of `imagery.npy` and `coverage.npy`, all zero; raises `MapError` when the disk is short."""
    needed = 4 * grid.width_px * grid.height_px
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MapError(
            f"map of {grid.width_px} x {grid.height_px} px needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            where=folder.parent,
            mend="choose a larger --gsd-m or another --out",
        )
    shape = (grid.height_px, grid.width_px)
    return _create(folder / "imagery.npy", (*shape, 3)), _create(folder / "coverage.npy", shape)


def _create(path: Path, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        # A memory map over a full disk kills the process; space that is there already cannot run out.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


class IndexWriter:
    """Writes a flat inner-product index in faiss' own format, a batch at a time: none of it stays in memory."""

    def __init__(self, path: Path, descriptor_dim: int) -> None:
        self._file = path.open("wb")
        self._dim, self._count = descriptor_dim, 0
        self._file.write(bytes(FLAT_INDEX_HEADER.size))

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.seek(0)
        self._file.write(flat_index_header(self._dim, self._count))
        self._file.close()

    def add(self, descriptors: Float32Array) -> None:
        """Appends descriptors (n, D); raises `ModelError` unless they are finite and of that length."""
        if descriptors.ndim != 2 or descriptors.shape[1] != self._dim or not np.isfinite(descriptors).all():
            raise ModelError(f"model gave descriptors {descriptors.shape} that are not finite or not (n, {self._dim})")
        self._file.write(np.ascontiguousarray(descriptors, dtype="<f4").tobytes())
        self._count += len(descriptors)


def write_tiles(
    folder: Path,
    pixels: UInt8Array,
    coverage: UInt8Array,
    *,
    frame: LocalFrame,
    grid: Grid,
    info: ImageryInfo,
    embedder: Embedder,
    patch_m: float,
    stride_m: float,
    terrain: ArrayTerrain | None = None,
    progress: Progress | None,
    created: str = "",
) -> None:
    """Cuts and embeds the tiles of the imagery in `folder`, and writes terrain, centres, index and manifest."""
    model = embedder.manifest
    centres = tile_centres(grid, patch_m, stride_m)
    kept = np.zeros(len(centres), np.bool_)
    batch: list[tuple[UInt8Array, BoolArray]] = []
    with IndexWriter(folder / "tiles.faiss", model.descriptor_dim) as index:
        for number, (east_m, north_m) in enumerate(centres):
            patch, mask, share = cut_patch(
                pixels,
                coverage,
                grid,
                east_m=float(east_m),
                north_m=float(north_m),
                patch_m=patch_m,
                patch_px=model.patch_px,
            )
            if share >= MIN_TILE_COVERAGE:
                kept[number] = True
                batch.append((patch, mask))
            if len(batch) == _BATCH or (batch and number == len(centres) - 1):
                masks = np.stack([mask for _, mask in batch])
                patches = np.stack([patch for patch, _ in batch])
                index.add(embedder.embed(patches, None if bool(masks.all()) else masks))
                batch.clear()
            if progress is not None and number % 64 == 0:
                progress("embedding tiles", number / len(centres))
    tiles = int(kept.sum())
    if tiles == 0:
        raise MapError(
            f"no place has imagery over 60 % of a patch of {patch_m:g} m",
            where="--patch-m",
            mend="choose a smaller --patch-m or imagery of a larger area",
        )
    np.save(folder / "tiles.npy", centres[kept], allow_pickle=False)
    for array in (pixels, coverage):
        if isinstance(array, np.memmap):
            array.flush()
    height = None
    if terrain is not None:
        np.save(folder / HEIGHT_FILE, np.ascontiguousarray(terrain.terrain.height_m, "<f4"), allow_pickle=False)
        height = HeightInfo(terrain.terrain.grid, terrain.source, terrain.datum)
    names = DATA_FILES if height is None else (*DATA_FILES, HEIGHT_FILE)
    manifest = MapManifest(
        frame=frame,
        grid=grid,
        patch_m=float(patch_m),
        stride_m=float(stride_m),
        tiles=tiles,
        descriptor_dim=model.descriptor_dim,
        metric=model.metric,
        model=ModelRef(model.name, model.sha256, model.descriptors_of),
        imagery=info,
        files={name: FileEntry(sha256_of(folder / name), (folder / name).stat().st_size) for name in names},
        created=created,
        height=height,
    )
    (folder / MANIFEST_FILE).write_text(manifest_json(manifest), encoding="utf-8")
    if progress is not None:
        progress("embedding tiles", 1.0)
