"""The losses of one batch, by name: what each part of the method adds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tilefix.types import IntArray
from tilefix_training.config import FitConfig
from tilefix_training.method.icel import consistency_loss, information_loss, neighbourhood_loss
from tilefix_training.method.losses import cluster_nce, pair_nce
from tilefix_training.method.memory import InstanceMemory
from tilefix_training.view import View


@dataclass(frozen=True)
class Seen:
    """What a batch shows of a view: descriptors as the network gives them (b, d), their directions, their entries."""

    view: View
    raw: Tensor
    features: Tensor
    entries: IntArray

    @property
    def labels(self) -> Tensor:
        """(b,)."""
        return torch.from_numpy(self.view.labels[self.entries]).to(self.features.device)

    @property
    def rows(self) -> InstanceMemory:
        """The memory with a row an entry; there is one where ICEL is switched on."""
        assert self.view.rows is not None
        return self.view.rows

    @property
    def indices(self) -> Tensor:
        """(b,), of the entries."""
        return torch.from_numpy(self.entries).to(self.features.device)


def losses(drone: Seen, satellite: Seen, config: FitConfig, epoch: int) -> dict[str, Tensor]:
    """Weighted losses by name; their sum is what is minimised. Memories are not changed, but for that form of DHML's
    which takes a batch in before it is compared with."""
    found: dict[str, Tensor] = {}
    for seen in (drone, satellite):
        view, name = seen.view, seen.view.name
        if view.memory is None:
            found[f"warmup_{name}"] = pair_nce(seen.features, config.contrast.warmup_temperature)
            continue
        contrast = cluster_nce(seen.features, seen.labels, view.memory.centroids, config.contrast.temperature)
        found[f"contrast_{name}"] = config.contrast.weight * contrast
        if view.hierarchy is not None and epoch < config.dhml.until_epoch:
            if view.hierarchy.takes_batch_first:
                view.hierarchy.update(seen.features, seen.indices, seen.labels)
            term = cluster_nce(seen.features, seen.labels, view.hierarchy.centroids(), config.contrast.temperature)
            found[f"dhml_{name}"] = config.dhml.weight * term
    if drone.view.rows is not None and satellite.view.rows is not None:
        found |= _icel(drone, satellite, config, epoch)
    return found


def _icel(drone: Seen, satellite: Seen, config: FitConfig, epoch: int) -> dict[str, Tensor]:
    icel = config.icel
    late = config.ple.enabled and epoch >= config.ple.epoch
    found: dict[str, Tensor] = {}

    def add(name: str, weight: float, queries: Seen, memory: Seen) -> None:
        if weight > 0.0:
            own_rows = queries.rows.rows[queries.indices]
            term = neighbourhood_loss(queries.features, own_rows, memory.rows.rows, icel.ratio, icel.temperature)
            found[name] = weight * term

    if epoch >= icel.intra_epoch:
        weight = icel.late_intra if late else icel.intra
        add("intra_drone", weight, drone, drone)
        add("intra_satellite", weight, satellite, satellite)
    if epoch >= icel.cross_epoch:
        if not icel.alternate or epoch % 2 == 1:
            weight = icel.late_drone_to_satellite if late else icel.drone_to_satellite
            add("drone_to_satellite", weight, drone, satellite)
        if not icel.alternate or epoch % 2 == 0:
            weight = icel.late_satellite_to_drone if late else icel.satellite_to_drone
            add("satellite_to_drone", weight, satellite, drone)
        own, other = drone.rows, satellite.rows
        if icel.consistency > 0.0:
            term = consistency_loss(drone.features, own.rows[drone.indices], other.rows, icel.temperature)
            found["consistency"] = icel.consistency * term
        if icel.information > 0.0:
            found["information"] = icel.information * information_loss(drone.features, other.rows, icel.temperature)
    return found


def remember(seen: Seen, config: FitConfig, momentum: float) -> None:
    """Takes a batch into the memories of its view, once its losses have been differentiated."""
    view = seen.view
    if view.memory is None:
        return
    view.memory.update(seen.features, seen.labels, momentum)
    if view.rows is not None:
        view.rows.update(seen.raw if config.icel.raw_update else seen.features, seen.indices, config.icel.momentum)
    if view.hierarchy is not None and not view.hierarchy.takes_batch_first:
        view.hierarchy.update(seen.features, seen.indices, seen.labels)
