"""Where the pictures of a view come from, as a configuration names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

from tilefix_training.data.layouts import KINDS

Refuse = Callable[[str], Exception]


@dataclass(frozen=True)
class WorldsSource:
    """Generated worlds `first` to `last` (seeds), `size_m` wide, rendered once at `gsd_m` in a look of the view."""

    first: int
    last: int
    size_m: float
    gsd_m: float
    patches: int
    patch_m: tuple[float, float]
    turns: int = 1


@dataclass(frozen=True)
class TilesSource:
    """A folder of XYZ tiles `z_x_y.png`, stitched where they touch."""

    folder: str
    patches: int
    patch_m: tuple[float, float]
    turns: int = 1


@dataclass(frozen=True)
class PhotosSource:
    """A folder of nadir photos, or a video, each picture taken to show `width_m` of ground across."""

    folder: str
    width_m: float
    patches: int
    patch_m: tuple[float, float]
    turns: int = 1


@dataclass(frozen=True)
class FlightSource:
    """A flight folder: frames `first` to `last` laid flat and north up by the log's attitude and height.

    Positions are not read. `last` = -1: to the end.
    """

    folder: str
    patches: int
    patch_m: tuple[float, float]
    first: int = 0
    last: int = -1
    turns: int = 1


@dataclass(frozen=True)
class MapSource:
    """The imagery of a map package."""

    folder: str
    patches: int
    patch_m: tuple[float, float]
    turns: int = 1


@dataclass(frozen=True)
class DatasetSource:
    """The training pictures of a published data set, or any folder of whole pictures (`dataset = "folder"`).

    `height_m`: the flying height to train on; needed for SUES-200, all of them for DenseUAV unless given.
    """

    dataset: str
    folder: str
    height_m: int | None = None


PatchSource = WorldsSource | TilesSource | PhotosSource | FlightSource | MapSource
Source = PatchSource | DatasetSource
DATASETS = KINDS
SOURCES: dict[str, type[Source]] = {
    "worlds": WorldsSource,
    "tiles": TilesSource,
    "photos": PhotosSource,
    "flight": FlightSource,
    "map": MapSource,
    "dataset": DatasetSource,
}
_WHOLE = {
    "first": (0, 10**9),
    "last": (-1, 10**9),
    "patches": (1, 10**7),
    "turns": (1, 8),
    "height_m": (1, 1000),
}


def read_source(item: object, refuse: Refuse) -> Source:
    """A source from a table of a configuration; raises what `refuse` makes of a sentence about the mistake."""
    if not isinstance(item, dict) or item.get("kind") not in SOURCES:
        raise refuse(f"a source needs kind = one of {', '.join(SOURCES)}")
    kind = SOURCES[item["kind"]]
    known = {entry.name: entry for entry in fields(kind)}
    values = {key: value for key, value in item.items() if key != "kind"}
    for key in values.keys() - known.keys():
        raise refuse(f"unknown key {key} in a source of the kind {item['kind']}")
    needed = {name for name, entry in known.items() if entry.default is MISSING}
    if missing := sorted(needed - values.keys()):
        raise refuse(f"a source of the kind {item['kind']} lacks {', '.join(missing)}")
    checked: dict[str, Any] = {key: _value(key, value, refuse) for key, value in values.items()}
    source = kind(**checked)
    if isinstance(source, WorldsSource) and source.last < source.first:
        raise refuse("last is below first")
    return source


def _value(key: str, value: object, refuse: Refuse) -> object:
    if key == "folder":
        if not isinstance(value, str) or not value:
            raise refuse("folder must be a path")
    elif key == "dataset":
        if value not in DATASETS:
            raise refuse(f"dataset must be one of {', '.join(DATASETS)}")
    elif key == "patch_m":
        if not isinstance(value, list) or len(value) != 2 or not all(_in(one, 1, 10000) for one in value):
            raise refuse("patch_m must be two numbers from 1 to 10000, the smallest and the largest")
        if value[0] > value[1]:
            raise refuse("patch_m must be the smallest and the largest")
        return float(value[0]), float(value[1])
    elif key in _WHOLE:
        if type(value) is not int or not _in(value, *_WHOLE[key]):
            raise refuse(f"{key} must be a whole number from {_WHOLE[key][0]} to {_WHOLE[key][1]}")
    elif not _in(value, 0.01, 100000):
        raise refuse(f"{key} must be a number from 0.01 to 100000")
    return value


def _in(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
