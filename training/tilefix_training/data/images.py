"""Pictures that training and evaluation draw from: square, all of one size, known by their index only.

No identity, place or file name leaves a set of pictures on the way to a loss: what it gives is pixels.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from tilefix.errors import ConfigError, FlightError
from tilefix.pictures import MAX_PIXELS, PICTURE_SUFFIXES, read_picture
from tilefix.types import UInt8Array

IMAGE_SUFFIXES = (*PICTURE_SUFFIXES, ".tif", ".tiff")
KEEP_BYTES = 1 << 29
_MAX_TIFF_BYTES = 1 << 28
_NAMED = 10

log = logging.getLogger(__name__)


class Images(Protocol):
    """`name`: for messages. `stored_px`: the side s of every picture."""

    @property
    def name(self) -> str: ...

    @property
    def stored_px(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> UInt8Array:
        """Picture `index`, uint8 (s, s, 3) RGB."""
        ...


class PatchImages:
    """Pictures held in one array, uint8 (n, s, s, 3) RGB, which may be a memory map."""

    def __init__(self, patches: UInt8Array, name: str) -> None:
        if patches.ndim != 4 or patches.shape[1] != patches.shape[2] or patches.shape[3] != 3:
            raise ValueError(f"patches have the shape {patches.shape}, not (n, s, s, 3)")
        self.patches = patches
        self.name = name
        self.stored_px = int(patches.shape[1])

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> UInt8Array:
        return np.asarray(self.patches[index])


class FolderImages:
    """Picture files, each resized as a whole to s x s, decoded when it is asked for.

    `skipped`: what could not be read, in words. Opening decodes every file once, in `threads` threads: a broken file is
    left out, counted and named in the log rather than met in the middle of a run. Where all pictures together take no
    more than `keep_bytes`, that one time is enough. Raises `ConfigError` when fewer than 2 can be read.
    """

    def __init__(
        self, paths: Sequence[Path], stored_px: int, name: str, *, threads: int = 4, keep_bytes: int = KEEP_BYTES
    ) -> None:
        self.name = name
        self.stored_px = stored_px
        keep = len(paths) * 3 * stored_px**2 <= keep_bytes
        with ThreadPoolExecutor(max(1, threads)) as pool:
            found = list(pool.map(lambda path: _tried(path, stored_px, keep), paths))
        self.skipped = tuple(result for result in found if isinstance(result, str))
        read = [(path, result) for path, result in zip(paths, found, strict=True) if not isinstance(result, str)]
        self.paths = tuple(path for path, _ in read)
        self._kept = [result for _, result in read if result is not None]
        for text in self.skipped[:_NAMED]:
            log.warning("%s: skipped: %s", name, text)
        if self.skipped:
            log.warning("%s: %d of %d pictures skipped", name, len(self.skipped), len(paths))
        if len(self.paths) < 2:
            raise ConfigError(
                f"{len(self.paths)} of {len(paths)} pictures can be read, at least 2 are needed",
                where=name,
                mend=f"give {', '.join(IMAGE_SUFFIXES)} files",
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> UInt8Array:
        return self._kept[index] if self._kept else fitted(read_image(self.paths[index]), self.stored_px)


def fitted(image: UInt8Array, side: int) -> UInt8Array:
    """The whole picture at side x side: area-averaged where that shrinks it, bilinear elsewhere."""
    if image.shape[:2] == (side, side):
        return image
    way = cv2.INTER_AREA if min(image.shape[:2]) >= side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=way), np.uint8)


def read_image(path: Path) -> UInt8Array:
    """The picture of a JPEG, PNG or TIFF file as uint8 (h, w, 3) RGB; raises `FlightError` for what is none."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return read_picture(path)
    mend = f"give an 8-bit TIFF file of at most {MAX_PIXELS // 10**6} megapixels"
    try:
        if path.stat().st_size > _MAX_TIFF_BYTES:
            raise FlightError("TIFF file is larger than 256 MiB", where=path, mend=mend)
        data = path.read_bytes()
    except OSError as error:
        raise FlightError(f"picture cannot be read: {error.strerror}", where=path, mend="check the file") from error
    width, height = _tiff_size(data)
    if not (0 < width * height <= MAX_PIXELS):
        raise FlightError(f"TIFF claims {width} x {height} px", where=path, mend=mend)
    if cv2.utils.logging.getLogLevel() > cv2.utils.logging.LOG_LEVEL_ERROR:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # it warns of every GeoTIFF tag of every tile
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None or image.dtype != np.uint8:
        raise FlightError("picture cannot be decoded", where=path, mend=mend)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _tiff_size(data: bytes) -> tuple[int, int]:
    """(width, height) from the first directory of a TIFF file, zeros without one. Source: TIFF 6.0, section 2."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 10:
        return 0, 0
    (at,) = struct.unpack_from(order + "I", data, 4)
    if at + 2 > len(data):
        return 0, 0
    (entries,) = struct.unpack_from(order + "H", data, at)
    sizes = {256: 0, 257: 0}
    for start in range(at + 2, min(at + 2 + 12 * entries, len(data) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", data, start)
        if tag in sizes and kind in (3, 4):
            (sizes[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, start + 8)
    return sizes[256], sizes[257]


def _tried(path: Path, side: int, keep: bool) -> UInt8Array | str | None:
    """The fitted picture when it is to be kept, else nothing; in words why it cannot be read."""
    try:
        image = read_image(path)
    except FlightError as error:
        return str(error)
    if not keep:
        return None
    kept = fitted(image, side)
    kept.setflags(write=False)  # every caller gets the same one
    return kept
