"""What a training run is made of: a TOML file, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tilefix.errors import ConfigError
from tilefix.tomlfile import TomlFile


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
    """A folder of nadir photos, each taken to show `width_m` of ground across."""

    folder: str
    width_m: float
    patches: int
    patch_m: tuple[float, float]
    turns: int = 1


Source = WorldsSource | TilesSource | PhotosSource
SOURCES: dict[str, type[Source]] = {"worlds": WorldsSource, "tiles": TilesSource, "photos": PhotosSource}


@dataclass(frozen=True)
class ViewConfig:
    """One view's pictures. `burst`: patches cut around each place, as a short piece of video gives them.

    `labels`: "cluster" for pseudo-labels by clustering, "instance" for every patch its own class.
    """

    sources: tuple[Source, ...]
    burst: int
    labels: str


@dataclass(frozen=True)
class FitConfig:
    """A whole run. The defaults are those of the method, except where training from nothing needs others.

    `stored_px`: side of the patches kept in the cache, which show 4/3 of the network's metres: room for augmentation.
    """

    name: str
    out: Path
    drone: ViewConfig
    satellite: ViewConfig
    seed: int = 1
    epochs: int = 20
    threads: int = 1
    depths: tuple[int, ...] = (2, 2, 4, 2)
    dims: tuple[int, ...] = (32, 64, 128, 256)
    pool_grid: int = 1
    patch_px: int = 64
    stored_px: int = 128
    patch_m_min: float = 40.0
    patch_m_max: float = 800.0
    k1: int = 30
    k2: int = 6
    drone_eps: float = 0.4
    satellite_eps: float = 0.3
    min_samples: int = 4
    warmup_epochs: int = 2
    bfloat16: bool = False
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    clusters_per_batch: int = 16
    images_per_cluster: int = 4
    iterations: int = 0
    temperature: float = 0.05
    warmup_temperature: float = 0.1
    momentum_first: float = 0.2
    momentum: float = 0.1
    trained_on: tuple[str, ...] = field(default=())


# Section -> key -> (lowest, highest) of a number; whole numbers where FitConfig has an int.
_NUMBERS: dict[str, dict[str, tuple[float, float]]] = {
    "run": {"seed": (0, 2**31 - 1), "epochs": (1, 10000), "threads": (1, 256)},
    "network": {"pool_grid": (1, 4)},
    "patches": {"patch_px": (32, 512), "stored_px": (43, 1024), "patch_m_min": (1, 10000), "patch_m_max": (1, 10000)},
    "cluster": {
        "k1": (2, 1000),
        "k2": (1, 1000),
        "drone_eps": (0.01, 0.99),
        "satellite_eps": (0.01, 0.99),
        "min_samples": (1, 1000),
        "warmup_epochs": (0, 10000),
    },
    "optimiser": {
        "learning_rate": (1e-7, 1.0),
        "weight_decay": (0.0, 1.0),
        "clusters_per_batch": (2, 4096),
        "images_per_cluster": (2, 64),
        "iterations": (0, 100000),
    },
    "memory": {
        "temperature": (0.001, 10.0),
        "warmup_temperature": (0.001, 10.0),
        "momentum_first": (0.0, 1.0),
        "momentum": (0.0, 1.0),
    },
}
_TEXTS = {"run": ("name", "out", "trained_on"), "network": ("depths", "dims"), "optimiser": ("bfloat16",)}
_VIEW = ("sources", "burst", "labels")


def load_config(path: Path) -> FitConfig:
    """The run that a TOML file describes; raises `ConfigError` with file and line for anything not understood."""
    file = TomlFile(path, ConfigError)
    file.section("", (*_NUMBERS, "drone", "satellite"))
    whole = {item.name for item in fields(FitConfig) if item.type == "int"}
    values: dict[str, Any] = {}
    for section, ranges in _NUMBERS.items():
        table = file.section(section, (*ranges, *_TEXTS.get(section, ())), required=section == "run")
        for key, (low, high) in ranges.items():
            if key in table:
                number = file.number(section, key, low, high)
                if key in whole and not number.is_integer():
                    raise file.refuse(f"{key} = {number:g} is not a whole number", section, key)
                values[key] = int(number) if key in whole else number
    values["bfloat16"] = file.table.get("optimiser", {}).get("bfloat16", False)
    if not isinstance(values["bfloat16"], bool):
        raise file.refuse("bfloat16 must be true or false", "optimiser", "bfloat16")
    for key in ("depths", "dims"):
        if key in (table := file.section("network", (*_NUMBERS["network"], *_TEXTS["network"]), required=False)):
            values[key] = _four_stages(table[key], file, key)
    values["name"] = file.text("run", "name")
    if not all(letter.isalnum() or letter in "-_" for letter in values["name"]):
        raise file.refuse("name may hold letters, digits, - and _", "run", "name")
    values["out"] = Path(file.text("run", "out"))
    trained_on = file.table["run"].get("trained_on", [])
    if not isinstance(trained_on, list) or not all(isinstance(item, str) for item in trained_on):
        raise file.refuse("trained_on must be a list of texts", "run", "trained_on")
    values["trained_on"] = tuple(trained_on)
    config = FitConfig(drone=_view(file, "drone"), satellite=_view(file, "satellite"), **values)
    if config.patch_m_min > config.patch_m_max:
        raise file.refuse("patch_m_min is larger than patch_m_max", "patches", "patch_m_min")
    if config.patch_px % 32:
        raise file.refuse(f"patch_px = {config.patch_px} is no multiple of 32", "patches", "patch_px")
    if config.stored_px * 3 < config.patch_px * 4:
        raise file.refuse("stored_px is less than 4/3 of patch_px", "patches", "stored_px")
    return config


def _four_stages(value: object, file: TomlFile, key: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != 4 or not all(type(v) is int and 1 <= v <= 2048 for v in value):
        raise file.refuse(f"{key} must be four whole numbers from 1 to 2048", "network", key)
    return tuple(value)


def _view(file: TomlFile, name: str) -> ViewConfig:
    table = file.section(name, _VIEW)
    sources = table.get("sources")
    if not isinstance(sources, list) or not sources:
        raise file.refuse(f"[{name}] needs sources", name, "sources", 'such as [{ kind = "photos", folder = "..." }]')
    labels = table.get("labels", "cluster")
    if labels not in ("cluster", "instance"):
        raise file.refuse(f"labels = {labels!r} is not known", name, "labels", 'give "cluster" or "instance"')
    burst = file.number(name, "burst", 1, 64, 1)
    return ViewConfig(tuple(_source(file, name, item) for item in sources), int(burst), labels)


def _source(file: TomlFile, view: str, item: object) -> Source:
    def refuse(what: str) -> Exception:
        return file.refuse(what, view, "sources")

    if not isinstance(item, dict) or item.get("kind") not in SOURCES:
        raise refuse(f"a source needs kind = one of {', '.join(SOURCES)}")
    kind = SOURCES[item["kind"]]
    known = {entry.name: entry for entry in fields(kind)}
    for key in item.keys() - known.keys() - {"kind"}:
        raise refuse(f"unknown key {key} in a source of the kind {item['kind']}")
    values = {key: value for key, value in item.items() if key != "kind"}
    if missing := sorted(known.keys() - values.keys() - {"turns"}):
        raise refuse(f"a source of the kind {item['kind']} lacks {', '.join(missing)}")
    limits = {"first": (0, 10**9), "last": (0, 10**9), "patches": (1, 10**7), "turns": (1, 8)}
    for key, value in values.items():
        if key == "folder":
            if not isinstance(value, str) or not value:
                raise refuse("folder must be a path")
        elif key == "patch_m":
            if not isinstance(value, list) or len(value) != 2 or not all(_in(v, 1, 10000) for v in value):
                raise refuse("patch_m must be two numbers from 1 to 10000, the smallest and the largest")
            if value[0] > value[1]:
                raise refuse("patch_m must be the smallest and the largest")
            values[key] = (float(value[0]), float(value[1]))
        elif key in limits:
            if type(value) is not int or not _in(value, *limits[key]):
                raise refuse(f"{key} must be a whole number from {limits[key][0]} to {limits[key][1]}")
        elif not _in(value, 0.01, 100000):
            raise refuse(f"{key} must be a number from 0.01 to 100000")
    source = kind(**values)
    if isinstance(source, WorldsSource) and source.last < source.first:
        raise refuse("last is below first")
    return source


def _in(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
