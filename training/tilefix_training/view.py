"""One path of the two: its pictures and, epoch by epoch, their pseudo-labels and memories."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tilefix.errors import ConfigError
from tilefix.types import Float32Array, IntArray
from tilefix_training.config import DhmlConfig, FitConfig, ViewConfig
from tilefix_training.data.images import Images
from tilefix_training.method.cluster import OUTLIER, cluster_labels, cluster_means
from tilefix_training.method.enhancement import by_assignment, by_cluster_vote, by_image_vote
from tilefix_training.method.hierarchy import EpochHierarchy, Hierarchy, PersistentHierarchy
from tilefix_training.method.memory import ClusterMemory, InstanceMemory
from tilefix_training.method.neighbours import unit

VIEWS = ("drone", "satellite")


@dataclass
class View:
    """The state of a path. An entry is a picture, or one of its copies where the configuration asks for copies.

    `labels`: one an entry, `OUTLIER` for none. `memory`, `rows`, `hierarchy`: `None` in the warm-up, and where the
    method's part is switched off. `features`: the entries' descriptors as the network gives them (n, d), at the
    beginning of the epoch; `directions`: the same with L2 norm 1.
    """

    name: str
    config: ViewConfig
    images: Images
    labels: IntArray
    memory: ClusterMemory | None = None
    rows: InstanceMemory | None = None
    hierarchy: Hierarchy | None = None
    features: Float32Array = field(default_factory=lambda: np.empty((0, 0), np.float32))
    directions: Float32Array = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @classmethod
    def of(cls, name: str, config: FitConfig, images: Images) -> View:
        """A view before its first epoch: every entry a class of its own."""
        own = config.view(name)
        hierarchy = _hierarchy(config.dhml) if config.dhml.enabled else None
        return cls(name, own, images, np.arange(len(images) * own.copies), hierarchy=hierarchy)

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(self.labels.max(initial=OUTLIER)) + 1

    def pictures(self, entries: IntArray) -> IntArray:
        """The pictures that entries show: copies stand side by side."""
        return entries // self.config.copies

    def describe(self, features: Float32Array) -> None:
        """Takes the descriptors of the pictures, as the network gives them, for all entries."""
        self.features = np.repeat(features, self.config.copies, axis=0) if self.config.copies > 1 else features
        self.directions = unit(self.features)

    def averaged(self, centroids: str) -> Float32Array:
        """The features that a class's memory starts at the mean of: "raw" ones or their "unit" directions."""
        return self.features if centroids == "raw" else self.directions


def _hierarchy(config: DhmlConfig) -> Hierarchy:
    return EpochHierarchy() if config.memory == "epoch" else PersistentHierarchy()


def pseudo_labels(view: View, config: FitConfig, device: str = "cpu") -> IntArray:
    """Labels of a view's entries: its clusters, or each entry its own."""
    if view.config.labels == "instance":
        return np.arange(len(view.features))
    cluster = config.cluster
    return cluster_labels(
        view.directions,
        k1=cluster.k1,
        k2=cluster.k2,
        eps=view.config.eps,
        min_samples=cluster.min_samples,
        device=device,
    )


def check_classes(view: View, labels: IntArray, epoch: int) -> None:
    """Raises `ConfigError` when there is nothing to tell apart."""
    found = len(np.unique(labels[labels != OUTLIER]))
    if found < 2:
        raise ConfigError(
            f"epoch {epoch}: the {view.name} view has {found} clusters and {int((labels == OUTLIER).sum())} outliers",
            mend=f"change [{view.name}] eps or [cluster] min_samples, or give more patches, a larger burst, "
            "or better initial weights",
        )


def transfer(drone: View, satellite: View, config: FitConfig, epoch: int, device: str = "cpu") -> IntArray:
    """Satellite labels out of the drone view's clusters; what gets none keeps a class of its own, or is left out."""
    if config.ple.transfer == "image_vote":
        rng = np.random.default_rng([config.run.seed, epoch, 3])
        labels = by_image_vote(drone.directions, drone.labels, satellite.directions, rng, device=device)
        return np.where(satellite.labels == OUTLIER, OUTLIER, labels)
    way = by_assignment if config.ple.transfer == "assignment" else by_cluster_vote
    given, confidence = way(drone.directions, drone.labels, satellite.directions, device=device)
    given = np.where(confidence >= config.ple.confidence, given, OUTLIER)
    own = (given == OUTLIER) & (satellite.labels != OUTLIER)
    labels = np.array(given)
    labels[own] = drone.classes + np.unique(satellite.labels[own], return_inverse=True)[1]
    return labels


def start_memories(views: list[View], config: FitConfig, device: torch.device, *, shared: bool) -> None:
    """The epoch's memories out of the views' features and labels."""
    if shared:
        memory = ClusterMemory(_shared(views, config).to(device))
        for view in views:
            view.memory = memory
    for view in views:
        if not shared:
            view.memory = ClusterMemory(_means(view, config).to(device))
        directions = torch.from_numpy(view.directions).to(device)
        if config.icel.enabled:
            view.rows = InstanceMemory(directions)
        if view.hierarchy is not None:
            view.hierarchy.begin_epoch(directions, torch.from_numpy(view.labels).to(device))


def _means(view: View, config: FitConfig) -> Tensor:
    return torch.from_numpy(cluster_means(view.averaged(config.cluster.centroids), view.labels))


def _shared(views: list[View], config: FitConfig) -> Tensor:
    """One memory of both views' classes: the middle of the views' means, or the mean over all their pictures."""
    if config.ple.balance:
        means = [_means(view, config) for view in views]
        total = torch.zeros(max(map(len, means)), means[0].shape[1])
        for mean in means:
            total[: len(mean)] += mean
        return F.normalize(total, dim=1)
    together = np.concatenate([view.averaged(config.cluster.centroids) for view in views])
    return torch.from_numpy(cluster_means(together, np.concatenate([view.labels for view in views])))
