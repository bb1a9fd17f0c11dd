"""JPEG and PNG files from outside: size from the header before anything is allocated, RGB as the sensor gave it."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from tilefix.errors import FlightError
from tilefix.types import UInt8Array

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_SIDE_PX = 32768
MAX_PIXELS = 1 << 27
_MAX_BYTES = 1 << 28
_MEND = "give a JPEG or PNG file of at most 134 megapixels"


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels from the header. Raises `FlightError` for what is no usable JPEG or PNG."""
    return _size(_bytes(path), path)


def read_picture(path: Path) -> UInt8Array:
    """The picture as uint8 (height, width, 3) RGB, without EXIF rotation. Raises `FlightError`, also when cut short."""
    data = _bytes(path)
    width, height = _size(data, path)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None or image.shape[:2] != (height, width):
        raise FlightError("picture cannot be decoded", where=path, mend=_MEND)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise FlightError("picture does not exist", where=path, mend="check the path")
        if path.stat().st_size > _MAX_BYTES:
            raise FlightError("picture file is larger than 256 MiB", where=path, mend=_MEND)
        return path.read_bytes()
    except OSError as error:
        raise FlightError(f"picture cannot be read: {error.strerror}", where=path, mend="check the file") from error


def _size(data: bytes, path: Path) -> tuple[int, int]:
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 33:
        width, height = struct.unpack(">II", data[16:24])
        whole = _png_is_whole(data)
    elif data.startswith(b"\xff\xd8"):
        width, height, whole = _jpeg_size(data)
    else:
        raise FlightError("is neither JPEG nor PNG", where=path, mend=_MEND)
    if not (16 <= width <= MAX_SIDE_PX and 16 <= height <= MAX_SIDE_PX and width * height <= MAX_PIXELS):
        raise FlightError(f"picture claims {width} x {height} px", where=path, mend=_MEND)
    if not whole:
        raise FlightError(
            "picture is cut short", where=path, mend="copy the file again, or take its row out of the log"
        )
    return width, height


def _png_is_whole(data: bytes) -> bool:
    """True when every chunk up to the last lies within the file: a decoder allocates what a chunk claims."""
    at = 8
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def _jpeg_size(data: bytes) -> tuple[int, int, bool]:
    """(width, height, whole) by walking the segments to the scan. Source: ITU-T T.81 annex B."""
    width = height = 0
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 9 <= len(data):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
        if marker == 0xDA:
            return width, height, data.find(b"\xff\xd9", at) >= 0
        at += 2 + max(length, 2)
    return width, height, False
