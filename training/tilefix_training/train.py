"""One training run, readable from top to bottom: two views, one network, no pairs.

The dual-path cluster-contrast baseline of the unpaired setting: per epoch each view's descriptors are clustered, the
clusters are its classes, and each view is contrasted against the memory of its own classes (Dai et al., arXiv
2103.11568, for two views with one shared encoder). As it starts from nothing, and not from weights trained with
labels, a warm-up comes first that tells the patches of a batch apart. Nothing here reads a place or an identity.
"""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tilefix.errors import ConfigError
from tilefix.manifest import ModelManifest
from tilefix.preprocess import to_input
from tilefix.types import UInt8Array
from tilefix_training.config import FitConfig, ViewConfig
from tilefix_training.data.augment import augment
from tilefix_training.data.patches import view_patches
from tilefix_training.data.sampler import class_batches
from tilefix_training.method.cluster import OUTLIER, cluster_labels, cluster_means
from tilefix_training.method.jaccard import IntArray
from tilefix_training.method.losses import cluster_nce, pair_nce
from tilefix_training.method.memory import ClusterMemory
from tilefix_training.network.backbone import Backbone, BackboneConfig
from tilefix_training.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tilefix_training.network.export import preprocessing
from tilefix_training.network.features import extract

VIEWS = ("drone", "satellite")
CHECKPOINT = "last.safetensors"
LOG = "log.csv"
_LOG_COLUMNS = ("epoch", "loss_drone", "loss_satellite", "classes_drone", "outliers_drone", "classes_satellite")

log = logging.getLogger(__name__)


@dataclass
class View:
    """One path: its patches and, for the epoch, their labels and the memory of the classes; `None` in the warm-up."""

    name: str
    config: ViewConfig
    patches: UInt8Array
    eps: float
    labels: IntArray
    memory: ClusterMemory | None = None


def fit(config: FitConfig, *, resume: bool = False) -> Path:
    """Trains and returns the checkpoint's path; with `resume` goes on after the last finished epoch.

    Selection is the last epoch: nothing is chosen by a score. Raises `ConfigError` when there is nothing to train on,
    when the folder already holds a run and `resume` is not set, or when that run was of another configuration.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    network = Backbone(BackboneConfig(config.depths, config.dims, config.pool_grid))
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(_parameters(network, config.weight_decay), lr=config.learning_rate)
    manifest = preprocessing(config.patch_px, network.config.descriptor_dim)
    path = config.out / CHECKPOINT
    views = [_open_view(name, config) for name in VIEWS]
    iterations = config.iterations or _iterations(views, config)
    start = 0
    if path.exists():
        if not resume:
            raise ConfigError("holds a run already", where=config.out, mend="give --resume, or another out")
        start = _restore(load_checkpoint(path), config, network, optimiser, path)
    config.out.mkdir(parents=True, exist_ok=True)
    for epoch in range(start, config.epochs):
        for view in views:
            _label(view, network, config, manifest, epoch)
        losses = _train_epoch(network, optimiser, views, config, manifest, epoch, iterations)
        drone, satellite = views
        row = (
            epoch,
            *(f"{value:.4f}" for value in losses),
            int(drone.labels.max()) + 1,
            int((drone.labels == OUTLIER).sum()),
            int(satellite.labels.max()) + 1,
        )
        log.info(" ".join(f"{key} {value}" for key, value in zip(_LOG_COLUMNS, row, strict=True)))
        save_checkpoint(_state(network, optimiser, config, epoch + 1), path)
        _append(config.out / LOG, row, new=epoch == 0)
    return path


def _open_view(name: str, config: FitConfig) -> View:
    view = config.drone if name == "drone" else config.satellite
    patches = view_patches(name, view, config.stored_px, config.seed, config.out.parent / "cache")
    eps = config.drone_eps if name == "drone" else config.satellite_eps
    return View(name, view, patches, eps, np.arange(len(patches)))


def _iterations(views: list[View], config: FitConfig) -> int:
    """Batches for one pass over the larger view."""
    size = config.clusters_per_batch * config.images_per_cluster
    return max(1, max(len(view.patches) for view in views) // size)


def _label(view: View, network: Backbone, config: FitConfig, manifest: ModelManifest, epoch: int) -> None:
    """The epoch's classes and their memory.

    Descriptors of an untrained network cluster by colour alone, and it changes faster than a memory follows: in the
    first epochs every patch is its own class and is contrasted inside the batch.
    """
    if epoch < config.warmup_epochs:
        return
    features = extract(network, view.patches, manifest)
    labels = np.arange(len(features))
    if view.config.labels == "cluster":
        k1, k2 = config.k1, config.k2
        labels = cluster_labels(features, k1=k1, k2=k2, eps=view.eps, min_samples=config.min_samples)
        if labels.max() < 1:
            raise ConfigError(
                f"epoch {epoch}: the {view.name} view has {labels.max() + 1} clusters",
                mend=f"change {view.name}_eps or min_samples, give more patches, or a larger burst",
            )
    view.labels = labels
    view.memory = ClusterMemory(torch.from_numpy(cluster_means(features, labels)))


def _train_epoch(
    network: Backbone,
    optimiser: torch.optim.Optimizer,
    views: list[View],
    config: FitConfig,
    manifest: ModelManifest,
    epoch: int,
    iterations: int,
) -> list[float]:
    """One epoch; the mean loss of each view. All that is random follows from the seed and the epoch."""
    network.train()
    rng = np.random.default_rng([config.seed, epoch])
    batches = []
    for index, view in enumerate(views):
        single = view.memory is None or view.config.labels == "instance"  # classes of one image: each is seen twice
        images = 2 if single else config.images_per_cluster
        classes = config.clusters_per_batch * config.images_per_cluster // images
        batches.append(
            class_batches(view.labels, classes, images, np.random.default_rng([config.seed, epoch, 1 + index]))
        )
    momentum = config.momentum_first if epoch == config.warmup_epochs else config.momentum
    totals = [0.0 for _ in views]
    for iteration in range(iterations):
        _set_rate(optimiser, config, (epoch * iterations + iteration) / (config.epochs * iterations))
        chosen = [next(batch) for batch in batches]
        values = [
            _batch(view.patches, indices, config, rng, manifest) for view, indices in zip(views, chosen, strict=True)
        ]
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            together = network(torch.cat(values).contiguous(memory_format=torch.channels_last))
        features = together.split([len(value) for value in values])
        losses: list[Tensor] = []
        for view, indices, own in zip(views, chosen, features, strict=True):
            if view.memory is None:
                losses.append(pair_nce(own, config.warmup_temperature))
                continue
            labels = torch.from_numpy(view.labels[indices])
            losses.append(cluster_nce(own, labels, view.memory.centroids, config.temperature))
            view.memory.update(own, labels, momentum)
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        totals = [total + float(loss.detach()) / iterations for total, loss in zip(totals, losses, strict=True)]
    return totals


def _batch(
    patches: UInt8Array, indices: IntArray, config: FitConfig, rng: np.random.Generator, manifest: ModelManifest
) -> Tensor:
    drawn = [augment(patches[i], config.patch_px, rng) for i in indices]
    return torch.from_numpy(to_input(np.stack([p for p, _ in drawn]), np.stack([m for _, m in drawn]), manifest))


def _parameters(network: Backbone, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay on matrices and kernels only."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _set_rate(optimiser: torch.optim.Optimizer, config: FitConfig, progress: float) -> None:
    """Linear warm-up over the first 5 %, then a cosine down to a hundredth."""
    cosine = 0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * progress))
    for group in optimiser.param_groups:
        group["lr"] = config.learning_rate * min(1.0, (progress + 1e-3) / 0.05) * float(cosine)


def _run(config: FitConfig) -> dict[str, object]:
    """The configuration in JSON's types."""
    return dict(json.loads(json.dumps(asdict(config), default=str)))


def _state(network: Backbone, optimiser: torch.optim.Optimizer, config: FitConfig, epoch: int) -> Checkpoint:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": value for key, value in state.items()}
    return Checkpoint(tensors, _run(config), epoch)


def _restore(
    checkpoint: Checkpoint,
    config: FitConfig,
    network: Backbone,
    optimiser: torch.optim.Optimizer,
    path: Path,
) -> int:
    """Puts a state back; gives the number of finished epochs. Memories and labels are made anew in each."""
    if checkpoint.run != _run(config):
        changed = sorted(key for key, value in _run(config).items() if checkpoint.run.get(key) != value)
        raise ConfigError(f"the run was started with another {', '.join(changed)}", where=path, mend="start a new run")
    network.load_state_dict(checkpoint.group("network"))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in checkpoint.group("optimiser").items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return checkpoint.epoch


def _append(path: Path, row: tuple[object, ...], *, new: bool) -> None:
    with path.open("w" if new else "a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(_LOG_COLUMNS)
        writer.writerow(row)
