"""One picture of ground with its scale: what every kind of source is turned into before patches are cut."""

from __future__ import annotations

from dataclasses import dataclass, field

from tilefix.types import BoolArray, UInt8Array


@dataclass(frozen=True)
class Sheet:
    """One picture of ground. `pixels`: uint8 (h, w, 3) RGB; `coverage`: bool (h, w), `None` = everywhere.

    `mirrored`: beyond its coverage the picture goes on as its mirror image, good enough for a patch's margin. `share`:
    of the source's patches that this sheet should give, where the source knows it before all of it is read.
    """

    name: str
    pixels: UInt8Array
    gsd_m: float
    coverage: BoolArray | None = None
    mirrored: bool = False
    share: float | None = None


@dataclass
class Report:
    """What was read and what was skipped."""

    pictures: int = 0
    skipped: list[str] = field(default_factory=list)
