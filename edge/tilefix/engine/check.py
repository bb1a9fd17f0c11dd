"""Whether one embedder describes as another does: a quantized file or an engine against the FP32 file it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilefix.engine.heldout import HeldOut
from tilefix.errors import ModelError
from tilefix.ports import Embedder
from tilefix.types import BoolArray, Float32Array, Float64Array, UInt8Array

RECALL_AT = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class Limits:
    """`cosine`: the least, of every patch. `points`: percentage points of recall and localisation that may be lost."""

    cosine: float
    points: float = 1.0


FP16 = Limits(cosine=0.999)
INT8 = Limits(cosine=0.98)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a candidate's descriptors compare with the reference's.

    `cosine_*`: between the two descriptors of one patch. `recall_lost_points`: of 100 queries, how many fewer find a
    tile of their place among the first 1, 5 or 10, whichever lost most; below 0 where the candidate finds more.
    `localisation_lost_points`: the same of those whose best tile lies within half a patch of their place.
    """

    cosine_min: float
    cosine_median: float
    recall_lost_points: float
    localisation_lost_points: float
    patches: int
    queries: int

    def beyond(self, limits: Limits) -> str:
        """What breaks the limits, as text; empty when nothing does."""
        broken = []
        if not self.cosine_min >= limits.cosine:
            broken.append(f"cosine {self.cosine_min:.4f} is below {limits.cosine:g}")
        for what, lost in (("recall", self.recall_lost_points), ("localisation", self.localisation_lost_points)):
            if not lost <= limits.points + 1e-9:
                broken.append(f"{what} is {lost:.1f} points worse, more than {limits.points:g}")
        return ", ".join(broken)

    def __str__(self) -> str:
        return (
            f"cosine {self.cosine_min:.4f} at least, {self.cosine_median:.4f} in the middle of {self.patches} patches; "
            f"{self.recall_lost_points:+.1f} points of recall and {self.localisation_lost_points:+.1f} of localisation "
            f"lost in {self.queries} queries"
        )


class Yardstick:
    """The reference's descriptors of golden patches and held-out maps, computed once, to hold candidates against.

    `found`: the reference's recall at each of `RECALL_AT`, then its share localised, 0 to 1.
    """

    def __init__(
        self,
        reference: Embedder,
        patches: UInt8Array | None = None,
        masks: BoolArray | None = None,
        held_out: Sequence[HeldOut] = (),
    ) -> None:
        """`patches`: uint8 (n, p, p, 3) with `masks` bool (n, p, p) or None, compared by cosine, as are the held-out
        maps' tiles and patches; these also by what is found. Raises `ModelError` when there is nothing at all."""
        self._parts: list[tuple[UInt8Array, BoolArray | None]] = []
        if patches is not None and len(patches):
            self._parts.append((patches, masks))
        self._first = len(self._parts)
        for one in held_out:
            self._parts += [(one.tiles, None), (one.patches, one.masks)]
        if not self._parts:
            raise ModelError("there is no patch to compare embedders by", mend="give patches, or a held-out map")
        self._held_out = tuple(held_out)
        self._reference = self._describe(reference)
        self.found = self._look(self._reference)

    def agreement(self, candidate: Embedder) -> Agreement:
        """The candidate held against the reference."""
        described = self._describe(candidate)
        cosines = np.concatenate([(a * b).sum(axis=1) for a, b in zip(described, self._reference, strict=True)])
        lost = 100.0 * (self.found - self._look(described)) if self._held_out else np.zeros(len(RECALL_AT) + 1)
        return Agreement(
            cosine_min=float(cosines.min()),
            cosine_median=float(np.median(cosines)),
            recall_lost_points=float(lost[:-1].max()),
            localisation_lost_points=float(lost[-1]),
            patches=len(cosines),
            queries=sum(len(one.patches) for one in self._held_out),
        )

    def _describe(self, embedder: Embedder) -> list[Float32Array]:
        return [embedder.embed(patches, masks) for patches, masks in self._parts]

    def _look(self, described: Sequence[Float32Array]) -> Float64Array:
        """Recall at each of `RECALL_AT`, and the share localised, over the queries of all held-out maps."""
        found = [
            _found(one, described[self._first + 2 * i], described[self._first + 2 * i + 1])
            for i, one in enumerate(self._held_out)
        ]
        return np.concatenate(found).mean(axis=0) if found else np.zeros(len(RECALL_AT) + 1)


def _found(held_out: HeldOut, tiles: Float32Array, queries: Float32Array) -> Float64Array:
    """1 or 0 per query: found at each of `RECALL_AT`, and localised; (q, len(RECALL_AT) + 1).

    Similarities are compared to six decimals, and among equals the wrong tiles come first: descriptors that tell
    nothing apart find nothing.
    """
    similarity = np.rint(1e6 * (queries @ tiles.T))
    off_m = np.abs(held_out.centres_m[None] - held_out.places_m[:, None])
    hit = off_m.max(axis=2) <= held_out.hit_m
    best_hit = np.where(hit, similarity, -np.inf).max(axis=1)
    rank = (~hit & (similarity >= best_hit[:, None])).sum(axis=1)
    rank = np.where(hit.any(axis=1), rank, len(tiles))
    away_m = np.hypot(off_m[..., 0], off_m[..., 1])
    # Of several best tiles, the furthest.
    at_best_m = np.where(similarity == similarity.max(axis=1, keepdims=True), away_m, -np.inf).max(axis=1)
    return np.column_stack([*(rank < k for k in RECALL_AT), at_best_m <= 0.5 * held_out.patch_m]).astype(np.float64)


def compare(
    reference: Embedder,
    candidate: Embedder,
    patches: UInt8Array | None = None,
    masks: BoolArray | None = None,
    *,
    held_out: Sequence[HeldOut] = (),
    limits: Limits = INT8,
) -> Agreement:
    """The candidate held against the reference; see `Yardstick`. Raises `ModelError` when it is beyond the limits."""
    agreement = Yardstick(reference, patches, masks, held_out).agreement(candidate)
    require(agreement, limits, candidate.manifest.file)
    return agreement


def require(agreement: Agreement, limits: Limits, where: object) -> None:
    """Raises `ModelError` when the agreement is beyond the limits."""
    if broken := agreement.beyond(limits):
        raise ModelError(
            f"does not describe as the model that it is made of: {broken}",
            where=where,
            mend="make it with higher precision, or quantize with patches of the kind that will be flown over",
        )
