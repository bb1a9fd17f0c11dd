"""What a map package is, for people and programs, and whether it is what it says."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tilefix.errors import MapError
from tilefix.mapbuild.package import Progress
from tilefix.mapbuild.patches import MIN_TILE_COVERAGE, cut_patch
from tilefix.maps.manifest import MANIFEST_FILE, manifest_json
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder

_CHUNK = 4096
_SAMPLED_TILES = 64
# Two runs of one network on two machines differ in the last bits only; another preprocessing shows far below this.
_MIN_AGREEMENT = 0.995
# Of two forms of one model (quantized, an engine), each within a cosine of 0.98 of it: at most twice that angle apart.
_MIN_AGREEMENT_OF_FORMS = 0.92
_REBUILD = "rebuild it with tilefix map build"


@dataclass(frozen=True, slots=True)
class ReliefSummary:
    """What a package's terrain holds: lowest and highest ground, and the share of it that is known."""

    lowest_m: float
    highest_m: float
    known_share: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What `check_map` measured. `coverage_share`: of the grid; `agreement`: lowest cosine of re-embedded tiles;
    `relief`: of the terrain, where the package has it."""

    coverage_share: float
    tiles: int
    tiles_checked: int
    agreement: float
    relief: ReliefSummary | None = None


def info_json(package: MapPackage) -> str:
    """The manifest with the figures that follow from it, as JSON text."""
    grid = package.grid
    corners = {
        name: dict(zip(("lat_deg", "lon_deg"), package.frame.to_geodetic(east_m, north_m), strict=True))
        for name, east_m, north_m in (
            ("north_west", grid.west_m, grid.north_m),
            ("south_east", grid.east_m, grid.south_m),
        )
    }
    size = {"width_m": grid.east_m - grid.west_m, "height_m": grid.north_m - grid.south_m}
    data_bytes = sum(entry.bytes for entry in package.manifest.files.values())
    extra = {"corners": corners, "size": size, "bytes": data_bytes, "coverage_share": coverage_share(package)}
    if (relief := relief_of(package)) is not None:
        extra["relief"] = asdict(relief)
    return json.dumps({**json.loads(manifest_json(package.manifest)), **extra}, indent=2, sort_keys=True)


def info_text(package: MapPackage) -> str:
    """The package in a dozen lines."""
    manifest, grid = package.manifest, package.grid
    area_km2 = (grid.east_m - grid.west_m) * (grid.north_m - grid.south_m) / 1e6
    megabytes = sum(entry.bytes for entry in manifest.files.values()) / 1e6
    lines = {
        "map": package.path,
        "centre": f"{manifest.frame.lat_deg:.6f}, {manifest.frame.lon_deg:.6f}",
        "size": f"{grid.east_m - grid.west_m:.0f} x {grid.north_m - grid.south_m:.0f} m ({area_km2:.2f} km²), "
        f"{grid.width_px} x {grid.height_px} px at {grid.gsd_m:g} m/px",
        "covered": f"{100.0 * coverage_share(package):.1f} %",
        "tiles": f"{manifest.tiles}, {manifest.patch_m:g} m wide, {manifest.stride_m:g} m apart",
        "model": f"{manifest.model.name} ({manifest.model.sha256[:12]}), {manifest.descriptor_dim} numbers a tile",
        "terrain": _terrain_text(package),
        "imagery": manifest.imagery.source or "unknown",
        "date": manifest.imagery.date or "unknown",
        "licence": manifest.imagery.licence or "unknown",
        "created": manifest.created or "not recorded",
        "on disk": f"{megabytes:.1f} MB, format version {manifest.format_version}",
    }
    return "\n".join(f"{name:<8} {printable(str(value))}" for name, value in lines.items())


def relief_of(package: MapPackage) -> ReliefSummary | None:
    """The package's terrain in three figures; `None` without terrain."""
    if package.terrain is None:
        return None
    heights = package.terrain.height_m
    known = np.isfinite(heights)
    if not known.any():
        return ReliefSummary(0.0, 0.0, 0.0)
    return ReliefSummary(float(np.nanmin(heights)), float(np.nanmax(heights)), float(known.mean()))


def _terrain_text(package: MapPackage) -> str:
    height, relief = package.manifest.height, relief_of(package)
    if height is None or relief is None:
        return "none: the ground is taken to be flat"
    return (
        f"{relief.lowest_m:.0f} to {relief.highest_m:.0f} m above {height.datum or 'an unknown datum'}, "
        f"{height.grid.gsd_m:g} m/px, {100.0 * relief.known_share:.1f} % known, from {height.source or 'unknown'}"
    )


def printable(text: str) -> str:
    """Text from outside without what could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def coverage_share(package: MapPackage) -> float:
    """Share of the grid that shows imagery; raises `MapError` for other values than 0 and 255."""
    covered = 0
    for rows in _strips(package):
        strip = package.coverage[rows]
        count = int(np.count_nonzero(strip == 255))
        if count != int(np.count_nonzero(strip)):
            raise MapError("coverage holds other values than 0 and 255", where=package.path, mend=_REBUILD)
        covered += count
    return covered / package.coverage.size


def check_map(path: Path, embedder: Embedder, progress: Progress | None = None) -> Findings:
    """Checks a package in depth: checksums, model, descriptors, tiles against imagery. Raises on the first fault.

    Up to 64 tiles, evenly spread, are cut and embedded again and must agree with what is stored.
    """
    package = MapPackage.open(path, model=embedder.manifest)
    if unknown := sorted({e.name for e in path.iterdir()} - {MANIFEST_FILE, *package.manifest.data_files}):
        raise MapError(f"unknown file {printable(unknown[0])}", where=path, mend="remove what is not part of the map")
    share = coverage_share(package)
    index, tiles = TileIndex.open(package), package.manifest.tiles
    for first in range(0, tiles, _CHUNK):
        lengths = np.linalg.norm(index.descriptors(first, min(_CHUNK, tiles - first)).astype(np.float64), axis=1)
        if not (np.abs(lengths - 1.0) < 1e-3).all():
            raise MapError("a descriptor has not length 1", where=path / "tiles.faiss", mend=_REBUILD)
    same = package.manifest.model.sha256 == embedder.manifest.sha256
    least = _MIN_AGREEMENT if same else _MIN_AGREEMENT_OF_FORMS
    worst = 1.0
    chosen = np.unique(np.linspace(0, tiles - 1, min(tiles, _SAMPLED_TILES)).round().astype(int))
    for number, tile in enumerate(chosen):
        patch, mask, covered = cut_patch(
            package.imagery,
            package.coverage,
            package.grid,
            east_m=float(package.tile_centres_m[tile, 0]),
            north_m=float(package.tile_centres_m[tile, 1]),
            patch_m=package.manifest.patch_m,
            patch_px=embedder.manifest.patch_px,
        )
        if covered < MIN_TILE_COVERAGE - 0.01:
            raise MapError(f"tile {tile} shows {covered:.0%} imagery only", where=path, mend=_REBUILD)
        again = embedder.embed(patch[None], None if bool(mask.all()) else mask[None])[0]
        worst = min(worst, float(again @ index.descriptors(int(tile), 1)[0]))
        if worst < least:
            raise MapError(
                f"tile {tile} does not show what its descriptor says (cosine {worst:.3f})", where=path, mend=_REBUILD
            )
        if progress is not None:
            progress("embedding tiles again", (number + 1) / len(chosen))
    return Findings(
        coverage_share=share, tiles=tiles, tiles_checked=len(chosen), agreement=worst, relief=relief_of(package)
    )


def _strips(package: MapPackage, rows: int = 1024) -> list[slice]:
    return [slice(top, top + rows) for top in range(0, package.grid.height_px, rows)]
