"""Patches cut from the sheets of a view, cached on disk: all that training sees."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from tilefix.errors import ConfigError
from tilefix.types import UInt8Array
from tilefix_training.config import ViewConfig
from tilefix_training.data.imagery import is_video, sheets
from tilefix_training.data.sheet import Report, Sheet
from tilefix_training.sources import DatasetSource, FlightSource, PatchSource, Source, WorldsSource

MARGIN = 4 / 3  # metres of a stored patch over those of the network's: room for shift, rotation and scale
_BURST_SHIFT = 0.08  # of the patch: how far the pictures of one burst lie apart
_CUT_VERSION = 1
_TRIES = 200

log = logging.getLogger(__name__)


def view_patches(view: str, config: ViewConfig, stored_px: int, seed: int, cache: Path) -> UInt8Array:
    """The patches of a view, uint8 (n, s, s, 3) RGB, s = stored_px; read from `cache` when they were cut before.

    Only pixels are kept: no place, no name, nothing that a label could be made of. The cache knows the sources by their
    configuration, and their files by name, size and time: where one has changed, the patches are cut anew.
    Raises `ConfigError` when the sources give no patch.
    """
    sources = [[asdict(source), _stamp(source)] for source in config.sources]
    key = json.dumps([_CUT_VERSION, view, sources, config.burst, stored_px, seed], sort_keys=True)
    file = cache / f"{view}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not file.exists():
        report = Report()
        rng = np.random.default_rng([seed, 0 if view == "drone" else 1])
        parts = [
            _cut_source(source, view, config.burst, stored_px, rng, report)
            for source in config.sources
            if not isinstance(source, DatasetSource)
        ]
        patches = np.concatenate(parts or [np.empty((0, stored_px, stored_px, 3), np.uint8)])
        for text in report.skipped[:10]:
            log.warning("skipped: %s", text)
        log.info("%s: %d patches of %d pictures, %d skipped", view, len(patches), report.pictures, len(report.skipped))
        if len(patches) < 2:
            raise ConfigError(
                f"the sources of [{view}] give {len(patches)} patches", mend="widen patch_m or add pictures"
            )
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}.partial")  # two processes may cut the same
        with partial.open("wb") as out:
            np.save(out, patches)
        partial.replace(file)
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _stamp(source: Source) -> str:
    """Changes when a file of the source does."""
    if isinstance(source, WorldsSource):
        return ""
    root = Path(source.folder)
    files = [root] if root.is_file() else sorted(root.rglob("*")) if root.is_dir() else []
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            status = file.stat()
            digest.update(f"{file.relative_to(root)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _cut_source(
    source: PatchSource, view: str, burst: int, side: int, rng: np.random.Generator, report: Report
) -> UInt8Array:
    """Up to `source.patches` patches, spread over the source's sheets by their share of it."""
    wanted = max(1, source.patches // (burst * source.turns))
    cut: list[UInt8Array] = []
    if isinstance(source, FlightSource) or is_video(source):  # too much to hold at once
        finest_m = 0.5 * source.patch_m[0] * MARGIN / side
        due = 0.0
        for sheet in sheets(source, view, report, wanted=wanted, finest_m=finest_m):
            due += wanted * (sheet.share or 0.0)
            found = _cut_sheet(sheet, round(due), source.patch_m, burst, source.turns, side, rng)
            due -= len(found) / (burst * source.turns)
            cut += found
    else:
        pictures: Iterable[Sheet]
        if isinstance(source, WorldsSource):  # all of one size, and each large: one at a time
            count = source.last - source.first + 1
            pictures, shares = sheets(source, view, report), [1.0 / count] * count
        else:
            pictures = list(sheets(source, view, report))
            areas = [_area_m2(sheet) for sheet in pictures]
            shares = [area / max(sum(areas), 1e-9) for area in areas]
        for sheet, share in zip(pictures, shares, strict=True):
            cut += _cut_sheet(sheet, max(1, round(wanted * share)), source.patch_m, burst, source.turns, side, rng)
    return np.stack(cut[: source.patches]) if cut else np.empty((0, side, side, 3), np.uint8)


def _area_m2(sheet: Sheet) -> float:
    pixels = sheet.pixels.shape[0] * sheet.pixels.shape[1] if sheet.coverage is None else int(sheet.coverage.sum())
    return float(pixels) * sheet.gsd_m**2


def _cut_sheet(
    sheet: Sheet, places: int, patch_m: tuple[float, float], burst: int, turns: int, side: int, rng: np.random.Generator
) -> list[UInt8Array]:
    """Patches around `places` spots at least half a patch apart, each spot `burst` times, each in `turns` turns."""
    height_m, width_m = (extent * sheet.gsd_m for extent in sheet.pixels.shape[:2])
    room = 1.0 + (2 * _BURST_SHIFT if burst > 1 else 0.0)
    largest = min(patch_m[1], min(height_m, width_m) / (MARGIN * room))
    if largest < patch_m[0]:
        return []
    taken: list[tuple[float, float, float]] = []
    cut: list[UInt8Array] = []
    for _ in range(places):
        for _ in range(_TRIES):
            metres = math.exp(rng.uniform(math.log(patch_m[0]), math.log(largest)))
            half = 0.5 * metres * MARGIN * room
            x, y = rng.uniform(half, width_m - half), rng.uniform(half, height_m - half)
            clear = all(
                math.hypot(x - a, y - b) > 0.5 * min(metres, m) or max(metres, m) > 2 * min(metres, m)
                for a, b, m in taken
            )
            if clear and _covered(sheet, x, y, half / MARGIN if sheet.mirrored else half):
                break
        else:
            break
        taken.append((x, y, metres))
        for _ in range(burst):
            dx, dy = rng.uniform(-_BURST_SHIFT, _BURST_SHIFT, 2) * metres if burst > 1 else (0.0, 0.0)
            patch = _cut(sheet, x + dx, y + dy, metres * MARGIN, side)
            cut.append(patch)
        if turns > 1:
            originals = cut[-burst:]
            for turn in range(1, turns):
                cut += [_turned(patch, turn) for patch in originals]
    return cut


def _covered(sheet: Sheet, x_m: float, y_m: float, half_m: float) -> bool:
    if sheet.coverage is None:
        return True
    top, left = int((y_m - half_m) / sheet.gsd_m), int((x_m - half_m) / sheet.gsd_m)
    size = math.ceil(2 * half_m / sheet.gsd_m)
    return bool(sheet.coverage[top : top + size : 4, left : left + size : 4].all())


def _cut(sheet: Sheet, x_m: float, y_m: float, side_m: float, side: int) -> UInt8Array:
    top, left = round((y_m - side_m / 2) / sheet.gsd_m), round((x_m - side_m / 2) / sheet.gsd_m)
    size = max(2, round(side_m / sheet.gsd_m))
    window = sheet.pixels[max(top, 0) : max(top, 0) + size, max(left, 0) : max(left, 0) + size]
    shrink = size >= side
    return np.asarray(
        cv2.resize(window, (side, side), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR), np.uint8
    )


def _turned(patch: UInt8Array, turn: int) -> UInt8Array:
    """One of the 8 symmetries of the square: of ground without a north, each is a different place."""
    return np.ascontiguousarray(np.rot90(patch if turn < 4 else patch[:, ::-1], turn % 4))
