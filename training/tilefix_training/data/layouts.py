"""The pictures that the published datasets train on, by their folder layouts: paths, in an order that tells nothing.

Layouts: University-1652 (Zheng et al., arXiv 2002.12186), SUES-200 (Zhu et al., arXiv 2204.10704), DenseUAV (Dai et
al., arXiv 2201.09201), and any folder of pictures. Which place a picture shows stands in its folder's name; that is
read by `tilefix_training.evaluation.identities` only.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np

from tilefix.errors import ConfigError
from tilefix_training.data.images import IMAGE_SUFFIXES

KINDS = ("university-1652", "sues-200", "denseuav", "folder")
VIEWS = ("drone", "satellite")
SUES_HEIGHTS_M = (150, 200, 250, 300)
DENSEUAV_HEIGHTS_M = (80, 90, 100)
_NAMED = 10

log = logging.getLogger(__name__)


def _spans(*spans: int | tuple[int, int]) -> frozenset[str]:
    pairs = [(span, span) if isinstance(span, int) else span for span in spans]
    return frozenset(f"{number:04d}" for first, last in pairs for number in range(first, last + 1))


SUES_TRAINING = _spans(
    *((1, 7), 9, 10, 11, 13, 15, 16, 20, 21, (24, 34), 36, 37, 39, 43, 44, 45, 51, (55, 58), 60, 64, 66, 67, 69, 70),
    *(73, 74, 76, 77, 80, 81, 82, (84, 91), 94, 96, 97, (100, 106), 113, 116, 118, 119, 120, 123, 125, 126, 127, 129),
    *(132, 134, 137, 139, 141, 142, (145, 149), 151, 152, (155, 160), 163, (166, 169), 171, 174, 179, 180, (182, 187)),
    *(191, 192, 193, (196, 200)),
)  # the benchmark's 120 of the 200 places; the other 80 are tested


def training_pictures(kind: str, root: Path, view: str, *, height_m: int | None = None, seed: int = 0) -> list[Path]:
    """The files that a view ("drone", "satellite") is trained on, shuffled by `seed`.

    `height_m`: flight height, needed for SUES-200, optional for DenseUAV (all heights without it). Where satellite
    pictures were copied on disk beside a `satellite_origin` folder, the originals are taken. Empty folders of places
    are counted and named in the log. Raises `ConfigError` for a folder of another layout or without pictures.
    """
    if view not in VIEWS:
        raise ConfigError(f"view {view!r} is not known", mend=f"give one of {', '.join(VIEWS)}")
    check_kind(kind, height_m, root)
    if kind == "folder":
        found = all_pictures(root)
    elif kind == "sues-200":
        found = _sues(root, view, required_height(height_m, root))
    else:
        folder = root / "train" / view
        if kind == "university-1652" and view == "satellite" and (root / "train" / "satellite_origin").is_dir():
            folder = root / "train" / "satellite_origin"
        stems = height_stems(height_m) if kind == "denseuav" else None
        found = [path for place in places(folder) for path in pictures(place, stems)]
    if not found:
        raise ConfigError(f"no picture to train the {view} view on", where=root, mend="check kind and folder")
    order = np.random.default_rng([seed, VIEWS.index(view)]).permutation(len(found))
    return [found[i] for i in order]


def check_kind(kind: str, height_m: int | None, root: Path) -> None:
    """Raises `ConfigError` for a kind that is not known, a height that it has not, or a folder that is not there."""
    if kind not in KINDS:
        raise ConfigError(f"kind {kind!r} is not known", mend=f"give one of {', '.join(KINDS)}")
    heights = {"sues-200": SUES_HEIGHTS_M, "denseuav": DENSEUAV_HEIGHTS_M}.get(kind, ())
    if height_m is not None and height_m not in heights:
        what = f"give one of {', '.join(map(str, heights))}" if heights else "leave height_m out"
        raise ConfigError(f"height_m = {height_m} is none of {kind}", where=root, mend=what)
    if not root.is_dir():
        raise ConfigError("no such folder", where=root, mend="paths are relative to the working directory")


def required_height(height_m: int | None, root: Path) -> int:
    """The height; raises `ConfigError` without one."""
    if height_m is None:
        raise ConfigError(
            "SUES-200 is trained and tested at one flight height",
            where=root,
            mend=f"give height_m, one of {', '.join(map(str, SUES_HEIGHTS_M))}",
        )
    return height_m


def height_stems(height_m: int | None) -> tuple[str, ...] | None:
    """The names, without suffix, of DenseUAV's pictures of one height; `None` for all heights."""
    return None if height_m is None else (f"H{height_m}", f"H{height_m}_old")


def places(folder: Path, *, inside: str | None = None, only: Collection[str] | None = None) -> list[Path]:
    """The folders of places in `folder`, sorted; with `inside`, that folder of each. `only`: names to keep.

    Folders without any picture are left out, counted and named in the log. Raises `ConfigError` where there is no such
    folder or none of a place in it.
    """
    if not folder.is_dir():
        raise ConfigError("no such folder", where=folder, mend="check the dataset's kind and its root folder")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and (only is None or path.name in only))
    if not found:
        raise ConfigError("holds no folder of a place", where=folder, mend="check the dataset's kind and root folder")
    wanted = [path if inside is None else path / inside for path in found]
    empty = [path for path in wanted if not path.is_dir() or not pictures(path)]
    for path in empty[:_NAMED]:
        log.warning("skipped: %s holds no picture", path)
    if empty:
        log.warning("%s: %d of %d places skipped", folder, len(empty), len(wanted))
    left = set(empty)
    return [path for path in wanted if path not in left]


def pictures(folder: Path, stems: Collection[str] | None = None) -> list[Path]:
    """The picture files of one folder, sorted; `stems`: their names without suffix, to keep."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and (stems is None or path.stem in stems) and path.is_file()
    )


def all_pictures(folder: Path) -> list[Path]:
    """Every picture file below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def sues_folder(root: Path, view: str) -> Path:
    """The folder of a view in the raw layout of SUES-200; raises `ConfigError` where there is none."""
    found = sorted(path for path in root.iterdir() if path.is_dir() and path.name.lower().startswith(view))
    if not found:
        raise ConfigError(
            f"has neither a Training folder nor one whose name begins with {view}", where=root, mend="check the root"
        )
    return found[0]


def _sues(root: Path, view: str, height_m: int) -> list[Path]:
    if (root / "Training").is_dir():
        found = places(root / "Training" / str(height_m) / view)
    else:
        inside = str(height_m) if view == "drone" else None
        found = places(sues_folder(root, view), inside=inside, only=SUES_TRAINING)
    return [path for place in found for path in pictures(place)]
