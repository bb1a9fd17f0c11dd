"""Patches to calibrate a quantization with: cut from map packages, flight folders and folders of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from tilefix.engine.heldout import patch_seen
from tilefix.errors import ModelError
from tilefix.flights.flight import Flight, FlightRow, open_flight
from tilefix.localization.rectify import Rectifier
from tilefix.manifest import ModelManifest
from tilefix.mapbuild.patches import cut_patch
from tilefix.maps.manifest import MANIFEST_FILE
from tilefix.maps.package import MapPackage
from tilefix.pictures import PICTURE_SUFFIXES, read_picture
from tilefix.types import BoolArray, IntArray, UInt8Array

FLIGHT_FILE = "flight.toml"
KEEP_BACK = 4  # of so many patches one is not calibrated with, to check with
_KINDS = "a map package, a flight folder or a folder of JPEG or PNG pictures"


@dataclass(frozen=True, eq=False)
class Patches:
    """`images`: uint8 (n, p, p, 3) RGB, north up where north is known. `masks`: bool (n, p, p), True on ground."""

    images: UInt8Array
    masks: BoolArray

    def __len__(self) -> int:
        return len(self.images)

    def split(self) -> tuple[Patches, Patches]:
        """Those to calibrate with, and every `KEEP_BACK`-th, to check with."""
        back = np.arange(len(self)) % KEEP_BACK == KEEP_BACK - 1
        return Patches(self.images[~back], self.masks[~back]), Patches(self.images[back], self.masks[back])


def read_patches(folders: Sequence[Path], manifest: ModelManifest, *, count: int) -> Patches:
    """About `count` patches, equally many of each folder, spread evenly over what it holds; the same on every run.

    Tiles are as wide as their map says; what a flight saw is cut as the localizer does, as wide as the tiles of the
    first map given, else as its footprints. Raises `ModelError` for a folder that holds nothing of use, and what
    opening a map or flight raises.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ModelError("no folder to calibrate with", where=folder, mend=f"give {_KINDS}")
    each = math.ceil(count / max(1, len(folders)))
    maps = {folder: MapPackage.open(folder) for folder in folders if (folder / MANIFEST_FILE).is_file()}
    patch_m = next((package.manifest.patch_m for package in maps.values()), None)
    parts: list[tuple[UInt8Array, BoolArray]] = []
    for folder in folders:
        if folder in maps:
            found = _of_map(maps[folder], manifest, each)
        elif (folder / FLIGHT_FILE).is_file():
            found = _of_flight(open_flight(folder), manifest, patch_m, each)
        else:
            found = _of_pictures(folder, manifest.patch_px, each)
        if not found:
            raise ModelError("no patch to calibrate with shows ground", where=folder, mend=f"give {_KINDS}")
        parts += found
    if len(parts) < 2 * KEEP_BACK:
        raise ModelError(
            f"{len(parts)} patches are too few to calibrate with", mend=f"give {_KINDS} with at least {2 * KEEP_BACK}"
        )
    return Patches(np.stack([image for image, _ in parts]), np.stack([mask for _, mask in parts]))


def _spread(available: int, count: int) -> IntArray:
    """Up to `count` numbers below `available`, evenly spread."""
    return np.unique(np.linspace(0, available - 1, min(count, available)).round().astype(np.int64))


def _of_map(package: MapPackage, manifest: ModelManifest, count: int) -> list[tuple[UInt8Array, BoolArray]]:
    patch_m = package.manifest.patch_m
    manifest.check_patch_m(patch_m, package.path)
    found = []
    for east_m, north_m in package.tile_centres_m[_spread(len(package.tile_centres_m), count)]:
        image, mask, _ = cut_patch(
            package.imagery,
            package.coverage,
            package.grid,
            east_m=float(east_m),
            north_m=float(north_m),
            patch_m=patch_m,
            patch_px=manifest.patch_px,
        )
        if mask.any():
            found.append((image, mask))
    return found


def _of_flight(
    flight: Flight, manifest: ModelManifest, patch_m: float | None, count: int
) -> list[tuple[UInt8Array, BoolArray]]:
    rows = [row for row in flight.rows if _attitude_deg(row) is not None and (row.state.agl_m or 0.0) > 0.0]
    if not rows:
        return []
    rectifier = Rectifier(flight.camera, flight.mount)
    chosen = replace(flight, rows=tuple(rows[i] for i in _spread(len(rows), count)))
    found = []
    for row, frame in chosen.frames():
        attitude_deg, agl_m = _attitude_deg(row), row.state.agl_m
        assert attitude_deg is not None and agl_m is not None  # noqa: PT018
        wide_m = patch_m
        if wide_m is None:
            view = rectifier.view(*attitude_deg, agl_m)
            if view is None:
                continue
            wide_m = min(max(view.extent_m, manifest.patch_m_min), manifest.patch_m_max)
        manifest.check_patch_m(wide_m, flight.folder)
        patch = patch_seen(rectifier, frame.image, attitude_deg, agl_m, wide_m, manifest.patch_px)
        if patch is not None:
            found.append((patch.image, patch.mask))
    return found


def _attitude_deg(row: FlightRow) -> tuple[float, float, float] | None:
    state = row.state
    if state.roll_deg is None or state.pitch_deg is None or state.yaw_deg is None:
        return None
    return state.roll_deg, state.pitch_deg, state.yaw_deg


def _of_pictures(folder: Path, patch_px: int, count: int) -> list[tuple[UInt8Array, BoolArray]]:
    """The middle square of each picture, as a patch that shows ground all over."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES)
    found = []
    for number in _spread(len(files), count) if files else []:
        picture = read_picture(files[int(number)])
        side = min(picture.shape[:2])
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        square = picture[top : top + side, left : left + side]
        image = np.asarray(cv2.resize(square, (patch_px, patch_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        found.append((image, np.ones((patch_px, patch_px), np.bool_)))
    return found
