"""From imagery on disk to a map package on disk, with defaults taken from the imagery and the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tilefix.errors import MapError
from tilefix.geodesy import Grid
from tilefix.manifest import ModelManifest
from tilefix.mapbuild.imagery import open_imagery
from tilefix.mapbuild.package import (
    Progress,
    check_output,
    check_tiling,
    create_arrays,
    new_package_folder,
    write_tiles,
)
from tilefix.mapbuild.resample import fill, layout_of
from tilefix.mapbuild.sources import BBox
from tilefix.mapbuild.terrain import read_terrain
from tilefix.maps.manifest import ImageryInfo
from tilefix.maps.package import MapPackage
from tilefix.ports import Embedder

_STRIDES_PER_PATCH = 4


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a person may choose; `None` takes the default.

    `gsd_m`: ground sampling of the map, by default the imagery's, though not finer than half of what the model
    sees at its smallest patch. `patch_m`: by default the model's patch at that sampling, moved into its trained
    range. `stride_m`: by default a quarter of the patch. `zoom`, `bbox`, `bands`: which part of the imagery.
    `source`, `date`, `licence`: by default what the imagery says of itself. `terrain`: a GeoTIFF of ground heights; the
    ground is taken to be flat without.
    """

    gsd_m: float | None = None
    patch_m: float | None = None
    stride_m: float | None = None
    zoom: int | None = None
    bbox: BBox | None = None
    bands: Sequence[int] | None = None
    source: str | None = None
    date: str | None = None
    licence: str | None = None
    terrain: Path | None = None
    created: str = ""


def default_gsd_m(imagery_gsd_m: float, model: ModelManifest) -> float:
    """The imagery's sampling to three digits, at least half of the model's finest."""
    return float(f"{max(imagery_gsd_m, 0.5 * model.patch_m_min / model.patch_px):.3g}")


# What a camera of 60 to 75 degrees sees at 100 m; a smaller patch throws away picture that tells places apart.
USUAL_FOOTPRINT_M = 120.0


def default_patch_m(grid: Grid, model: ModelManifest) -> float:
    """The model's patch at the map's sampling, though no less than a usual footprint, within the trained range.

    On a map under four footprints wide, a quarter of its shorter side stands for the footprint.
    """
    shorter_m = min(grid.width_px, grid.height_px) * grid.gsd_m
    least_m = max(min(USUAL_FOOTPRINT_M, shorter_m / 4.0), model.patch_m_min)
    return float(min(max(grid.gsd_m * model.patch_px, least_m), model.patch_m_max))


def build_map(
    imagery: Path,
    out: Path,
    *,
    embedder: Embedder,
    options: BuildOptions = BuildOptions(),
    progress: Progress | None = None,
) -> MapPackage:
    """Builds the map package `out` from `imagery` and opens it.

    Pixels go straight from the source to the package's memory-mapped files, a block at a time. Raises `MapError` or
    `ModelError`; then `out` is as it was before.
    """
    check_output(out)
    source = open_imagery(imagery, zoom=options.zoom, bands=options.bands, bbox=options.bbox)
    try:
        layout = layout_of(source, options.bbox)
        model = embedder.manifest
        gsd_m = options.gsd_m if options.gsd_m is not None else default_gsd_m(layout.gsd_m, model)
        grid = layout.grid(gsd_m)
        patch_m = options.patch_m if options.patch_m is not None else default_patch_m(grid, model)
        stride_m = options.stride_m if options.stride_m is not None else patch_m / _STRIDES_PER_PATCH
        check_tiling(grid, embedder, patch_m, stride_m, "--patch-m, --stride-m")
        with new_package_folder(out) as folder:
            pixels, coverage = create_arrays(folder, grid)
            fill(
                source,
                layout.frame,
                grid,
                pixels,
                coverage,
                finest_gsd_m=layout.finest_gsd_m,
                progress=None if progress is None else lambda done: progress("resampling imagery", done),
            )
            if not coverage.any():
                raise MapError("imagery shows nothing there", where=imagery, mend="check --bbox, nodata and alpha")
            heights = None
            if options.terrain is not None:
                told = None if progress is None else partial(progress, "reading terrain")
                heights = read_terrain(options.terrain, layout.frame, grid, told)
            write_tiles(
                folder,
                pixels,
                coverage,
                frame=layout.frame,
                grid=grid,
                info=ImageryInfo(
                    source=source.source if options.source is None else options.source,
                    date=source.date if options.date is None else options.date,
                    licence=source.licence if options.licence is None else options.licence,
                ),
                embedder=embedder,
                patch_m=patch_m,
                stride_m=stride_m,
                terrain=heights,
                progress=progress,
                created=options.created,
            )
    finally:
        source.close()
    return MapPackage.open(out, model=embedder.manifest, verify=False)
