"""Decodes small pictures from outside (map tiles): PNG, JPEG and WebP, whole ones only, never larger than allowed."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.errors import MapError
from tilefix.types import UInt8Array

MAX_TILE_BYTES = 16 << 20
MAX_TILE_PX = 4096
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# JPEG start-of-frame markers: all of C0..CF but C4 (Huffman), C8 (reserved), CC (arithmetic).
_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What a picture's own header says. `kind`: png, jpg or webp."""

    kind: str
    width: int
    height: int


def picture_info(data: bytes, where: object) -> PictureInfo:
    """Kind and size, by content and not by name; raises `MapError` for anything else, cut short or too large."""
    if len(data) > MAX_TILE_BYTES:
        raise MapError(f"picture has {len(data)} bytes, at most {MAX_TILE_BYTES} are read", where=where)
    if data.startswith(_PNG_MAGIC):
        info = _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        info = _jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        info = _webp(data)
    else:
        raise MapError("not a PNG, JPEG or WebP picture", where=where, mend="remove it or load it again")
    if info is None:
        raise MapError("picture is damaged or cut short", where=where, mend="load it again")
    if not (1 <= info.width <= MAX_TILE_PX and 1 <= info.height <= MAX_TILE_PX):
        raise MapError(
            f"picture claims {info.width} x {info.height} px, a map tile has at most {MAX_TILE_PX} px a side",
            where=where,
            mend="give tiles of 256 or 512 px, or a GeoTIFF",
        )
    return info


def decode_picture(data: bytes, where: object) -> tuple[UInt8Array, UInt8Array]:
    """RGB uint8 (H, W, 3) and coverage uint8 (H, W), 255 where the picture is opaque; raises `MapError`."""
    info = picture_info(data, where)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or image.shape[:2] != (info.height, info.width):
        raise MapError("picture is damaged or cut short", where=where, mend="load it again")
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise MapError(f"picture has pixels of type {image.dtype}", where=where, mend="give 8-bit tiles")
    covered = np.full(image.shape[:2], 255, np.uint8)
    if image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8), covered
    if image.shape[2] == 4:
        covered[image[..., 3] < 128] = 0
    return np.ascontiguousarray(image[..., 2::-1], dtype=np.uint8), covered


def _png(data: bytes) -> PictureInfo | None:
    """Walks every chunk to the end mark: a cut or changed PNG fails its CRC."""
    at, size = len(_PNG_MAGIC), None
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return None
        if kind == b"IHDR" and length == 13:
            size = struct.unpack_from(">II", data, at + 8)
        if kind == b"IEND":
            return None if size is None else PictureInfo("png", *size)
        at = end
    return None


def _jpeg(data: bytes) -> PictureInfo | None:
    if data.rfind(b"\xff\xd9", -1024) < 0:  # a little padding behind the end mark is common
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _SOF_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return PictureInfo("jpg", width, height)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _webp(data: bytes) -> PictureInfo | None:
    if len(data) < 30 or struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1:
        return None
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = (1 + int.from_bytes(data[i : i + 3], "little") for i in (24, 27))
    elif chunk == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[i : i + 2], "little") & 0x3FFF for i in (26, 28))
    else:
        return None
    return PictureInfo("webp", width, height)
