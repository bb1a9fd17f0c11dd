"""What a training run is made of: a TOML file, checked before anything is computed.

Every part of the method has a name here, and so has every value in which presets (`presets.py`) differ; the file has
the last word. Figures that go with one choice alone, such as those of a kind of memory or of a way to vote, stand with
its code in `method`. Where a value's source is not told, it is the published code's.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilefix.errors import ConfigError
from tilefix.toml.fields import chosen, limited, read_section
from tilefix.toml.file import TomlFile
from tilefix_training.presets import PRESETS
from tilefix_training.sources import DatasetSource, Source, read_source

EPOCHS = (0, 100000)


@dataclass(frozen=True)
class RunConfig:
    """`initial`: weights to start from: a checkpoint, published ImageNet weights, an .onnx of ours, or "default" for
    the shipped model; none unless given. `device`: "auto" takes a GPU where there is one. `threads`: of the processor
    for arithmetic and for reading pictures each.
    """

    name: str
    out: str
    preset: str = "tilefix"
    seed: int = limited(0, 2**31 - 1, 1)
    epochs: int = limited(1, EPOCHS[1], 20)
    threads: int = limited(1, 256, 1)
    device: str = "auto"
    initial: str | None = None
    trained_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(letter.isalnum() or letter in "-_" for letter in self.name):
            raise ValueError("name may hold letters, digits, - and _")


@dataclass(frozen=True)
class NetworkConfig:
    """The backbone: a name of `network.backbone.BACKBONES` or "timm:MODEL", and what surrounds it.

    `depths`, `dims`: of another ConvNeXt than the named one. `pool_grid`, `neck`, `standardise_input`: see
    `network.base`; those of the named one unless given.
    """

    backbone: str = "tilefix-s"
    depths: tuple[int, ...] = limited(1, 64, ())
    dims: tuple[int, ...] = limited(4, 2048, ())
    pool_grid: int | None = limited(1, 4, None)
    neck: bool | None = None
    standardise_input: bool | None = None

    def __post_init__(self) -> None:
        for name in ("depths", "dims"):
            if len(getattr(self, name)) not in (0, 4):
                raise ValueError(f"{name} must be four whole numbers, one a stage")


@dataclass(frozen=True)
class PatchesConfig:
    """Side of the network's pictures and of those kept, pixels, and the metres that a patch may show.

    `stored_px`: patches are kept with 4/3 of the network's metres, room for augmentation. `augment`: "tilefix" draws
    geometry within the errors of flight, light, season and sensor; "published" colour jitter, crop and mirror.
    `rotation_deg`, `scale`, `shift`: half-widths of the drawn turn, scale (log) and shift (share of the patch) of
    "tilefix"; 180 where the heading is unknown. `mask_p`: share of patches that show a camera's turned rectangle only.
    `mirrored`: what lies outside a picture is its mirror image, not masked.
    """

    patch_px: int = limited(32, 512, 64)
    stored_px: int = limited(32, 1024, 128)
    patch_m_min: float = limited(1, 10000, 40.0)
    patch_m_max: float = limited(1, 10000, 800.0)
    augment: str = chosen("tilefix", "published")
    rotation_deg: float = limited(0.0, 180.0, 14.0)
    scale: float = limited(0.0, 1.0, 0.12)
    shift: float = limited(0.0, 0.3, 0.14)
    mask_p: float = limited(0.0, 1.0, 0.5)
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.patch_m_min > self.patch_m_max:
            raise ValueError("patch_m_min is larger than patch_m_max")
        if self.patch_px % 32:
            raise ValueError(f"patch_px = {self.patch_px} is no multiple of 32")
        if self.augment == "tilefix" and self.stored_px * 3 < self.patch_px * 4:
            raise ValueError("stored_px is less than 4/3 of patch_px")


@dataclass(frozen=True)
class ViewConfig:
    """One view's pictures and what becomes its classes.

    `labels`: "cluster" for pseudo-labels by clustering, "instance" for every picture its own class. `burst`: patches
    cut around each place, as a short piece of video gives them. `copies`: times that each picture counts (file copies
    in the published code). `augmented`: times that each picture of a batch is drawn. `eps`: DBSCAN's radius.
    """

    sources: tuple[Source, ...] = ()
    labels: str = chosen("cluster", "instance")
    burst: int = limited(1, 64, 1)
    copies: int = limited(1, 1000, 1)
    augmented: int = limited(1, 8, 1)
    eps: float = limited(0.01, 0.99, 0.4)


@dataclass(frozen=True)
class ClusterConfig:
    """k-reciprocal Jaccard distance and DBSCAN, once an epoch.

    `flip`: descriptors for clustering are the mean over the picture and its mirror image. `centroids`: a cluster's
    memory starts at the mean of its descriptors as the network gives them ("raw") or of their directions ("unit").
    """

    k1: int = limited(2, 1000, 30)
    k2: int = limited(1, 1000, 6)
    min_samples: int = limited(1, 1000, 4)
    flip: bool = False
    centroids: str = chosen("unit", "raw")


@dataclass(frozen=True)
class ContrastConfig:
    """Dual-path cluster contrast. `weight`: of each view's loss. `momentum`: share of the old memory that stays,
    `momentum_first` in the first epoch with clusters. `warmup_epochs`: in which each picture is contrasted inside the
    batch, for a network that starts from nothing.
    """

    weight: float = limited(0.0, 100.0, 1.0)
    temperature: float = limited(0.001, 10.0, 0.05)
    momentum_first: float = limited(0.0, 1.0, 0.2)
    momentum: float = limited(0.0, 1.0, 0.1)
    warmup_epochs: int = limited(*EPOCHS, 0)
    warmup_temperature: float = limited(0.001, 10.0, 0.1)


@dataclass(frozen=True)
class DhmlConfig:
    """Dynamic hierarchical memory. `memory`: "epoch" starts empty in each epoch and is not normalised; "persistent"
    keeps a row a picture over the whole run. `until_epoch`: the first epoch without it.
    """

    enabled: bool = True
    memory: str = chosen("persistent", "epoch")
    weight: float = limited(0.0, 100.0, 0.2)
    until_epoch: int = limited(*EPOCHS, EPOCHS[1])


@dataclass(frozen=True)
class IcelConfig:
    """Information consistency: neighbourhoods within a view and across views.

    `ratio`: a memory row is a neighbour above this share of the highest similarity. Weights: `intra`,
    `drone_to_satellite`, `satellite_to_drone` of the neighbourhood losses (from `intra_epoch` and `cross_epoch` on);
    `late_*` replace them once labels are transferred. `alternate`: satellite to drone in even epochs, drone to
    satellite in odd ones, instead of both. `consistency`, `information`: weights of the two terms of `method.icel`,
    from `cross_epoch` on. `momentum`: of the memory with a row a picture; `raw_update`: it takes descriptors as the
    network gives them, not their directions.
    """

    enabled: bool = True
    ratio: float = limited(0.0, 1.0, 0.9)
    temperature: float = limited(0.001, 10.0, 0.05)
    momentum: float = limited(0.0, 1.0, 0.9)
    raw_update: bool = False
    alternate: bool = False
    intra_epoch: int = limited(*EPOCHS, 1)
    cross_epoch: int = limited(*EPOCHS, 10)
    intra: float = limited(0.0, 100.0, 0.0)
    drone_to_satellite: float = limited(0.0, 100.0, 0.5)
    satellite_to_drone: float = limited(0.0, 100.0, 0.0)
    late_intra: float = limited(0.0, 100.0, 0.0)
    late_drone_to_satellite: float = limited(0.0, 100.0, 0.5)
    late_satellite_to_drone: float = limited(0.0, 100.0, 0.0)
    consistency: float = limited(0.0, 100.0, 0.0)
    information: float = limited(0.0, 100.0, 0.0)


@dataclass(frozen=True)
class PleConfig:
    """Pseudo-label enhancement: from `epoch` on satellites take the labels of drone clusters, and both views share one
    memory.

    `transfer`: "image_vote" as published (pictures without a label are left out), "cluster_vote" or "assignment"
    (satellites without a cluster, or of less than `confidence`, stay classes of their own). `balance`: a shared class
    starts in the middle of its two views' means, not at the mean over all its pictures.
    """

    enabled: bool = True
    transfer: str = chosen("assignment", "cluster_vote", "image_vote")
    epoch: int = limited(*EPOCHS, 20)
    confidence: float = limited(0.0, 1.0, 0.5)
    balance: bool = True


@dataclass(frozen=True)
class OptimiserConfig:
    """`iterations`: batches an epoch, 0 for one pass over the larger view. `schedule`: "cosine" with a warm-up over the
    first 5 %, or "step": times `step_factor` every `step_epochs`. `clip`: largest norm of the gradient, 0 for none.
    `least_images`: clusters of fewer are not drawn.
    """

    kind: str = chosen("adamw", "sgd")
    learning_rate: float = limited(1e-7, 10.0, 1e-3)
    weight_decay: float = limited(0.0, 1.0, 0.05)
    decay_all: bool = False
    schedule: str = chosen("cosine", "step")
    step_epochs: int = limited(1, EPOCHS[1], 20)
    step_factor: float = limited(0.0, 1.0, 0.1)
    clip: float = limited(0.0, 1e6, 5.0)
    clusters_per_batch: int = limited(2, 4096, 16)
    images_per_cluster: int = limited(2, 64, 4)
    least_images: int = limited(1, 64, 1)
    iterations: int = limited(0, 100000, 0)
    bfloat16: bool = False


@dataclass(frozen=True)
class FitConfig:
    """A whole run."""

    run: RunConfig
    drone: ViewConfig
    satellite: ViewConfig
    network: NetworkConfig = NetworkConfig()
    patches: PatchesConfig = PatchesConfig()
    cluster: ClusterConfig = ClusterConfig()
    contrast: ContrastConfig = ContrastConfig()
    dhml: DhmlConfig = DhmlConfig()
    icel: IcelConfig = IcelConfig()
    ple: PleConfig = PleConfig()
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    @property
    def out(self) -> Path:
        """The run's folder."""
        return Path(self.run.out)

    def view(self, name: str) -> ViewConfig:
        """The view "drone" or "satellite"."""
        return self.drone if name == "drone" else self.satellite

    def json(self) -> dict[str, Any]:
        """The configuration in JSON's types: what a checkpoint carries."""
        return dict(json.loads(json.dumps(dataclasses.asdict(self))))

    def identity(self) -> dict[str, Any]:
        """What must be the same when a run is resumed: all but where it runs."""
        found = self.json()
        for key in ("out", "threads", "device"):
            del found["run"][key]
        return found


SECTIONS: dict[str, type[Any]] = {
    "run": RunConfig,
    "network": NetworkConfig,
    "patches": PatchesConfig,
    "drone": ViewConfig,
    "satellite": ViewConfig,
    "cluster": ClusterConfig,
    "contrast": ContrastConfig,
    "dhml": DhmlConfig,
    "icel": IcelConfig,
    "ple": PleConfig,
    "optimiser": OptimiserConfig,
}


def read_changes(items: Sequence[str]) -> dict[str, Any]:
    """Changes for `load_config` out of texts SECTION.KEY=VALUE: values as JSON writes them, anything else is text.

    Raises `ConfigError` for a text without an equals sign.
    """
    found: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--set {item!r} is not SECTION.KEY=VALUE", mend="such as --set run.epochs=4")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def load_config(path: Path, changes: Mapping[str, Any] | None = None) -> FitConfig:
    """The run that a TOML file describes; raises `ConfigError` with file and line for anything not understood.

    `changes`: values by "section.key" that replace those of the file, checked as they are; `None` takes the file's out.
    """
    toml = TomlFile(path, ConfigError)
    for name, value in (changes or {}).items():
        section, _, key = name.partition(".")
        if section not in SECTIONS or not key:
            raise ConfigError(f"{name} names no value", where=path, mend="give section.key, such as run.seed")
        if value is None:
            toml.table.get(section, {}).pop(key, None)
        else:
            toml.table.setdefault(section, {})[key] = value
    toml.section("", tuple(SECTIONS))
    preset = toml.table.get("run", {}).get("preset", "tilefix")
    if preset not in PRESETS:
        raise toml.refuse(f"preset = {preset!r} is not known", "run", "preset", f"one of {', '.join(PRESETS)}")
    values: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        defaults = PRESETS[preset].get(name, {})
        if kind is ViewConfig:
            values[name] = _view(toml, name, defaults)
        else:
            values[name] = read_section(toml, name, kind, required=name == "run", defaults=defaults)
    return FitConfig(**values)


def _view(toml: TomlFile, name: str, defaults: Mapping[str, Any]) -> ViewConfig:
    """Sources are tables of their own kinds; the rest is read as every section is."""
    items = toml.section(name, [one.name for one in dataclasses.fields(ViewConfig)]).pop("sources", None)

    def refuse(what: str) -> Exception:
        return toml.refuse(what, name, "sources")

    if not isinstance(items, list) or not items:
        raise toml.refuse(f"[{name}] needs sources", name, "sources", 'such as [{ kind = "photos", folder = "..." }]')
    sources = tuple(read_source(item, refuse) for item in items)
    if len(sources) > 1 and any(isinstance(source, DatasetSource) for source in sources):
        raise refuse("a data set must be the only source of its view")
    return read_section(toml, name, ViewConfig, defaults={**defaults, "sources": sources})
