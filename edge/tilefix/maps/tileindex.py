"""Search over the tile descriptors: everywhere, or near a place. Exact, and equal on every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilefix.errors import MapError, ModelError
from tilefix.maps.package import MapPackage
from tilefix.types import Candidate, Float32Array, IntArray


class TileIndex:
    """Cosine similarity of one descriptor with the tiles of a map, memory-mapped (pages are read on touch).

    Exhaustive on purpose: 100,000 tiles take about 10 ms on one core, and an approximate index would drop the one
    tile that matters now and then. Ties are broken by tile number.
    """

    def __init__(self, index: Any, centres_m: Float32Array) -> None:
        self._index = index
        self._centres_m = np.ascontiguousarray(centres_m, dtype=np.float32)
        # From south to north, so that what lies near a place is found without a look at every tile.
        self._northward = np.argsort(self._centres_m[:, 1], kind="stable")
        self._norths_m = self._centres_m[self._northward, 1]

    @classmethod
    def open(cls, package: MapPackage) -> TileIndex:
        """Maps the package's index; raises `MapError`. The package's own checks bound its size and kind."""
        import faiss

        path = package.path / "tiles.faiss"
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise MapError("faiss cannot read the tile index", where=path, mend="rebuild the map") from error
        if (index.ntotal, index.d) != (package.manifest.tiles, package.manifest.descriptor_dim):
            raise MapError("tile index does not fit the manifest", where=path, mend="rebuild the map")
        return cls(index, package.tile_centres_m)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def descriptor_dim(self) -> int:
        """Numbers per descriptor."""
        return int(self._index.d)

    def descriptors(self, first: int, count: int) -> Float32Array:
        """The stored descriptors of `count` tiles from `first` on, float32 (count, D)."""
        return np.asarray(self._index.reconstruct_n(first, count), dtype=np.float32)

    def similarities(self, descriptor: Float32Array) -> Float32Array:
        """Cosine of the descriptor with every tile, float32 (N,), in tile order."""
        import faiss

        query = self._query(descriptor)
        out = np.empty(len(self), dtype=np.float32)
        faiss.fvec_inner_products_ny(  # type: ignore[attr-defined]
            faiss.swig_ptr(out), faiss.swig_ptr(query), self._index.get_xb(), self.descriptor_dim, len(self)
        )
        return out

    def search(self, descriptor: Float32Array, k: int) -> list[Candidate]:
        """The `k` most similar tiles of the whole map, best first (fewer when the map has fewer)."""
        return self._best(np.arange(len(self)), self.similarities(descriptor), k)

    def search_near(
        self, descriptor: Float32Array, k: int, east_m: float, north_m: float, radius_m: float
    ) -> list[Candidate]:
        """The `k` most similar tiles whose centre lies within `radius_m` of a place, best first; maybe none."""
        return self._best(*self.similarities_near(descriptor, east_m, north_m, radius_m), k)

    def similarities_near(
        self, descriptor: Float32Array, east_m: float, north_m: float, radius_m: float
    ) -> tuple[IntArray, Float32Array]:
        """The tiles whose centre lies within `radius_m` of a place, in tile order, and their cosines with the
        descriptor; only their descriptors are read."""
        import faiss

        query = self._query(descriptor)
        tiles = self._near(east_m, north_m, radius_m)
        out = np.empty(tiles.size, dtype=np.float32)
        if not tiles.size:
            return tiles, out
        faiss.fvec_inner_products_by_idx(  # type: ignore[attr-defined]
            faiss.swig_ptr(out),
            faiss.swig_ptr(query),
            self._index.get_xb(),
            faiss.swig_ptr(tiles),
            self.descriptor_dim,
            1,
            tiles.size,
        )
        return tiles, out

    def _near(self, east_m: float, north_m: float, radius_m: float) -> IntArray:
        if radius_m < 0.0:
            return np.empty(0, np.int64)
        # A little wider than the circle: the centres are rounded to single precision.
        low, high = np.searchsorted(
            self._norths_m, (np.float32(north_m - radius_m - 1.0), np.float32(north_m + radius_m + 1.0))
        )
        band = self._northward[low:high]
        offset = self._centres_m[band].astype(np.float64) - (east_m, north_m)
        near = band[np.einsum("ij,ij->i", offset, offset) <= radius_m * radius_m]
        return np.ascontiguousarray(np.sort(near), dtype=np.int64)

    def _query(self, descriptor: Float32Array) -> Float32Array:
        query = np.ascontiguousarray(descriptor, dtype=np.float32)
        if query.shape != (self.descriptor_dim,):
            raise ModelError(
                f"descriptor has shape {query.shape}, the map's have ({self.descriptor_dim},)",
                mend="fly with the model the map was built with",
            )
        return query

    def _best(self, tiles: IntArray, similarity: Float32Array, k: int) -> list[Candidate]:
        similarity = np.nan_to_num(similarity, nan=-1.0)  # a broken descriptor matches nothing
        count = min(max(k, 0), tiles.size)
        if count == 0:
            return []
        kept = np.flatnonzero(similarity >= np.partition(similarity, -count)[-count])
        order = kept[np.lexsort((tiles[kept], -similarity[kept]))][:count]
        return [
            Candidate(
                tile=int(tiles[i]),
                east_m=float(self._centres_m[tiles[i], 0]),
                north_m=float(self._centres_m[tiles[i], 1]),
                similarity=float(similarity[i]),
            )
            for i in order
        ]
