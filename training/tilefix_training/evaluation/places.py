"""Dense localisation of a real flight on a real map: the flight's truth is what its answers are measured by."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from tilefix.errors import ConfigError, FlightError
from tilefix.flights.flight import Flight, FlightRow
from tilefix.geodesy import Grid, LocalFrame
from tilefix.localization.rectify import Patch, Rectifier
from tilefix.manifest import ModelManifest
from tilefix.mapbuild.build import default_gsd_m, default_patch_m
from tilefix.mapbuild.imagery import open_imagery
from tilefix.mapbuild.patches import MIN_TILE_COVERAGE, check_crop, cut_patch, tile_centres
from tilefix.mapbuild.resample import fill, layout_of
from tilefix.maps.manifest import MANIFEST_FILE
from tilefix.maps.package import MapPackage
from tilefix.types import BoolArray, Float32Array, IntArray, UInt8Array
from tilefix_training.evaluation.dense import HIT, Case, check_tiles

STRIDE = 0.125  # of the patch

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Ground:
    """Imagery on a local grid: `pixels` uint8 (H, W, 3) RGB, `coverage` uint8 (H, W); `patch_m`: of its tiles."""

    frame: LocalFrame
    grid: Grid
    pixels: UInt8Array
    coverage: UInt8Array
    patch_m: float


def open_ground(path: Path, manifest: ModelManifest, patch_m: float | None = None) -> Ground:
    """The ground of a map package, whatever model it was built with, or of a GeoTIFF, MBTiles file or tile folder.

    `patch_m`: the package's, or what a map of that imagery would get, unless given. Raises `MapError` or `ModelError`.
    """
    if (path / MANIFEST_FILE).is_file():
        package = MapPackage.open(path)
        patch_m = package.manifest.patch_m if patch_m is None else patch_m
        ground = Ground(package.frame, package.grid, package.imagery, package.coverage, patch_m)
    else:
        source = open_imagery(path)
        try:
            layout = layout_of(source)
            grid = layout.grid(default_gsd_m(layout.gsd_m, manifest))
            pixels = np.zeros((grid.height_px, grid.width_px, 3), np.uint8)
            coverage = np.zeros(pixels.shape[:2], np.uint8)
            fill(source, layout.frame, grid, pixels, coverage, finest_gsd_m=layout.finest_gsd_m)
        finally:
            source.close()
        patch_m = default_patch_m(grid, manifest) if patch_m is None else patch_m
        ground = Ground(layout.frame, grid, pixels, coverage, patch_m)
    manifest.check_patch_m(ground.patch_m, path)
    check_crop(ground.grid, ground.patch_m)
    return ground


def flight_case(
    ground: Ground,
    flight: Flight,
    patch_px: int,
    *,
    stride_m: float | None = None,
    frames: tuple[int, int] | None = None,
    turns: int = 1,
) -> Case:
    """The rows of a flight that have a truth on the map, searched among tiles `stride_m` apart (an eighth of the patch
    unless given).

    `frames`: first and last, both included: numbers in the video, or of the row, counted from 0, where the frames are
    files. `turns`: 1, the log's heading is taken; more, none is known, and that many are tried. Positions are east and
    north in the map's frame, errors those of the vehicle's place. Rows that cannot be used are counted in the log.
    Raises `FlightError` when none is left.
    """
    stride_m = STRIDE * ground.patch_m if stride_m is None else stride_m
    if not 0.0 < stride_m <= ground.patch_m:
        raise ConfigError(f"a stride of {stride_m:g} m leaves gaps", mend="choose --stride-m above 0, up to the patch")
    centres = _covered(ground, stride_m)

    def cut(numbers: IntArray) -> tuple[UInt8Array, BoolArray | None]:
        cuts = [
            cut_patch(
                ground.pixels,
                ground.coverage,
                ground.grid,
                east_m=float(centres[number, 0]),
                north_m=float(centres[number, 1]),
                patch_m=ground.patch_m,
                patch_px=patch_px,
            )
            for number in numbers
        ]
        masks = np.stack([mask for _, mask, _ in cuts])
        return np.stack([patch for patch, _, _ in cuts]), None if masks.all() else masks

    seen = list(_views(ground, flight, patch_px, frames, turns))
    return Case(
        tile_centres_m=centres.astype(np.float64),
        cut=cut,
        queries=np.stack([[patch.image for patch in patches] for _, patches in seen]),
        masks=np.stack([[patch.mask for patch in patches] for _, patches in seen]),
        targets_m=np.array([target for target, _ in seen]),
        offsets_m=np.array([[(patch.east_m, patch.north_m) for patch in patches] for _, patches in seen]),
        hit_m=HIT * ground.patch_m,
    )


def _covered(ground: Ground, stride_m: float) -> Float32Array:
    """The tile centres, as a map of that stride has them, where enough of the patch is imagery."""
    grid = ground.grid
    check_tiles(int((grid.width_px * grid.gsd_m / stride_m + 1) * (grid.height_px * grid.gsd_m / stride_m + 1)))
    centres = tile_centres(grid, ground.patch_m, stride_m)
    total = cv2.integral((np.asarray(ground.coverage) > 127).astype(np.uint8), sdepth=cv2.CV_64F)
    side_px = ground.patch_m / grid.gsd_m
    left, top = (centres[:, 0] - grid.west_m) / grid.gsd_m, (grid.north_m - centres[:, 1]) / grid.gsd_m
    x0, x1 = (np.clip(np.rint(left + s * side_px), 0, grid.width_px).astype(int) for s in (-0.5, 0.5))
    y0, y1 = (np.clip(np.rint(top + s * side_px), 0, grid.height_px).astype(int) for s in (-0.5, 0.5))
    share = (total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]) / side_px**2
    kept: Float32Array = centres[share >= MIN_TILE_COVERAGE]
    if not len(kept):
        raise ConfigError(
            f"no place has imagery over 60 % of a patch of {ground.patch_m:g} m", mend="choose a smaller --patch-m"
        )
    return kept


def _views(
    ground: Ground, flight: Flight, patch_px: int, frames: tuple[int, int] | None, turns: int
) -> Iterator[tuple[tuple[float, float], list[Patch]]]:
    """Place (east, north) and north-up patches, one for each heading, of every row that can be used."""
    left_out: Counter[str] = Counter()
    wanted = [row for number, row in enumerate(flight.rows) if _inside(flight, number, row, frames)]
    usable = []
    for row in wanted:
        s = row.state
        if row.truth is None:
            left_out["no truth"] += 1
        elif None in (s.roll_deg, s.pitch_deg, s.yaw_deg, s.agl_m) or (s.agl_m or 0.0) <= 0.0:
            left_out["no attitude or height"] += 1
        elif not ground.grid.contains(*ground.frame.to_local(*row.truth)):
            left_out["outside the map"] += 1
        else:
            usable.append(row)
    rectifier = Rectifier(flight.camera, flight.mount)
    gsd_m = ground.patch_m / patch_px
    found = 0
    for row, frame in replace(flight, rows=tuple(usable)).frames():
        patches = []
        for turn in range(turns):
            s = row.state
            assert s.roll_deg is not None and s.pitch_deg is not None and s.yaw_deg is not None and s.agl_m is not None  # noqa: PT018
            view = rectifier.view(s.roll_deg, s.pitch_deg, s.yaw_deg + 360.0 * turn / turns, s.agl_m)
            if view is not None:
                prepared = rectifier.prepare(frame.image, s.agl_m, gsd_m)
                patches.append(prepared.patch(view, gsd_m=gsd_m, size_px=patch_px, centre_m=view.centre_m))
        if len(patches) == turns and row.truth is not None:
            found += 1
            yield ground.frame.to_local(*row.truth), patches
        else:
            left_out["horizon in view"] += 1
    if left_out:
        log.warning("rows left out: %s", ", ".join(f"{count} {what}" for what, count in left_out.items()))
    if not found:
        raise FlightError(
            f"none of {len(wanted)} rows can be searched",
            where=flight.folder,
            mend="give a flight with truth (lat_deg, lon_deg) on this map, and --frames that it has",
        )


def _inside(flight: Flight, number: int, row: FlightRow, frames: tuple[int, int] | None) -> bool:
    index = number if flight.video is None else int(row.frame)
    return frames is None or frames[0] <= index <= frames[1]
