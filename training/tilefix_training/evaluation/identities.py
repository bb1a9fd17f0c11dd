"""Which test picture shows which place: for evaluation alone. What trains may not import this module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tilefix.errors import ConfigError
from tilefix.types import Float64Array, IntArray
from tilefix_training.data.layouts import (
    SUES_TRAINING,
    check_kind,
    height_stems,
    pictures,
    places,
    required_height,
    sues_folder,
)

DIRECTIONS = ("drone_to_satellite", "satellite_to_drone")
_GPS_FILES = ("Dense_GPS_ALL.txt", "Dense_GPS_test.txt")
_GPS_LINE = re.compile(r"^(?P<path>\S.*?)\s+E(?P<lon>[-+\d.eE]+)\s+N(?P<lat>[-+\d.eE]+)(\s+[-+\d.eE]+)?$")


@dataclass(frozen=True)
class RetrievalSplit:
    """Queries and gallery, with distractors: gallery places that no query shows.

    `*_ids`: int64 (n,), the same number for the same place. `*_lonlat`: float64 (n, 2) degrees, where the dataset
    gives positions.
    """

    queries: tuple[Path, ...]
    query_ids: IntArray
    gallery: tuple[Path, ...]
    gallery_ids: IntArray
    query_lonlat: Float64Array | None = None
    gallery_lonlat: Float64Array | None = None


def retrieval_split(kind: str, root: Path, direction: str, *, height_m: int | None = None) -> RetrievalSplit:
    """The published test split of a dataset in one of `DIRECTIONS`.

    `height_m`: as for training (SUES-200 needs it). Empty folders of places are counted and named in the log; a query
    whose place is missing from the gallery stays, and can only fail. Raises `ConfigError` for another layout.
    """
    if direction not in DIRECTIONS:
        raise ConfigError(f"direction {direction!r} is not known", mend=f"give one of {', '.join(DIRECTIONS)}")
    check_kind(kind, height_m, root)
    query, gallery = direction.split("_to_")
    if kind == "folder":
        raise ConfigError("plain folders do not tell places apart", where=root, mend="give a published layout")
    if kind == "sues-200":
        asked, answers = _sues(root, query, gallery, required_height(height_m, root))
    else:
        stems = height_stems(height_m) if kind == "denseuav" else None
        asked = _named(places(root / "test" / f"query_{query}"), stems)
        answers = _named(places(root / "test" / f"gallery_{gallery}"), stems)
    if not asked or not answers:
        raise ConfigError(f"has {len(asked)} queries and {len(answers)} gallery pictures", where=root)
    numbers = {name: i for i, name in enumerate(sorted({name for name, _ in asked + answers}))}
    lonlat = _denseuav_positions(root) if kind == "denseuav" else None
    return RetrievalSplit(
        tuple(path for _, path in asked),
        np.array([numbers[name] for name, _ in asked], np.int64),
        tuple(path for _, path in answers),
        np.array([numbers[name] for name, _ in answers], np.int64),
        None if lonlat is None else _positions(asked, lonlat, root),
        None if lonlat is None else _positions(answers, lonlat, root),
    )


def _named(
    folders: Sequence[Path], stems: Sequence[str] | None = None, *, above: bool = False
) -> list[tuple[str, Path]]:
    """(name of the place, picture); `above`: the place is named by the folder above."""
    named = [(folder.parent.name if above else folder.name, folder) for folder in folders]
    return [(name, path) for name, folder in named for path in pictures(folder, stems)]


def _sues(root: Path, query: str, gallery: str, height_m: int) -> tuple[list[tuple[str, Path]], list[tuple[str, Path]]]:
    """Queries of the 80 test places, and a gallery of all 200: those of training are its distractors."""
    if (root / "Testing").is_dir():
        folder = root / "Testing" / str(height_m)
        return _named(places(folder / f"query_{query}")), _named(places(folder / f"gallery_{gallery}"))
    pairs = {}
    for view in ("drone", "satellite"):
        inside = str(height_m) if view == "drone" else None
        pairs[view] = _named(places(sues_folder(root, view), inside=inside), above=view == "drone")
    return [pair for pair in pairs[query] if pair[0] not in SUES_TRAINING], pairs[gallery]


def _denseuav_positions(root: Path) -> dict[str, tuple[float, float]]:
    """(lon, lat) by the name of the place: the folder that the path of each line ends in.

    Lines: path, E<lon>, N<lat>, height. As in the benchmark's own metric, the last line of a place counts.
    """
    file = next((root / name for name in _GPS_FILES if (root / name).is_file()), None)
    if file is None:
        raise ConfigError(f"has no {' or '.join(_GPS_FILES)}", where=root, mend="copy it beside train and test")
    found: dict[str, tuple[float, float]] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=file) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _GPS_LINE.match(line.strip())
        parts = re.split(r"[/\\]", match["path"]) if match else []
        try:
            lon_deg, lat_deg = (float(match["lon"]), float(match["lat"])) if match else (np.nan, np.nan)
        except ValueError:
            lon_deg, lat_deg = np.nan, np.nan
        if len(parts) < 2 or not (abs(lon_deg) <= 180.0 and abs(lat_deg) <= 90.0):
            raise ConfigError("is no line of path, E<lon>, N<lat>, height", where=f"{file}:{number}")
        found[parts[-2]] = (lon_deg, lat_deg)
    return found


def _positions(named: list[tuple[str, Path]], lonlat: dict[str, tuple[float, float]], root: Path) -> Float64Array:
    if missing := sorted({name for name, _ in named} - lonlat.keys()):
        raise ConfigError(
            f"{len(missing)} places have no position, such as {', '.join(missing[:5])}", where=root / _GPS_FILES[0]
        )
    return np.array([lonlat[name] for name, _ in named], np.float64)
