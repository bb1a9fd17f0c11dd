"""Spectra of a map's blocks, kept from search to search within a number of bytes that all levels share."""

from __future__ import annotations

from collections import OrderedDict

from tilefix.localization.correlation import Spectra

CACHE_BYTES = 256 << 20

Key = tuple[int, int, int, int]  # level's factor, margin, column and row of the block's corner
Kept = tuple[Spectra, tuple[int, int]]  # with the shape of the transform


class SpectraCache:
    """The blocks used last, within `limit_bytes`; the newest stays however large it is."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self.kept_bytes = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def get(self, key: Key) -> Kept | None:
        """What is kept under that key, now the block used last; `None` when nothing is."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Key, kept: Kept) -> None:
        """Keeps a block, and lets go of those used longest ago."""
        self._kept[key] = kept
        self.kept_bytes += kept[0].nbytes
        while self.kept_bytes > self._limit_bytes and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def has_room(self) -> bool:
        """True while one more block of the largest kind would let go of none."""
        largest = max((spectra.nbytes for spectra, _ in self._kept.values()), default=0)
        return self.kept_bytes + largest <= self._limit_bytes

    def forget(self, factor: int) -> None:
        """Lets go of a level's blocks."""
        for key in [key for key in self._kept if key[0] == factor]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        self.kept_bytes -= self._kept.pop(key)[0].nbytes
