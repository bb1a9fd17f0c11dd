"""What a training run works with, made from its configuration."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.parallel import DistributedDataParallel

from tilefix.manifest import ModelManifest
from tilefix_training.config import FitConfig
from tilefix_training.data.opened import open_images
from tilefix_training.distributed import World
from tilefix_training.monitor import Monitor
from tilefix_training.network.base import Encoder, Network
from tilefix_training.network.build import NetworkConfig, build, network_config
from tilefix_training.network.export import preprocessing
from tilefix_training.network.weights import load_weights
from tilefix_training.optimiser import open_optimiser
from tilefix_training.view import VIEWS, View


@dataclass
class Run:
    """What an epoch works with."""

    config: FitConfig
    world: World
    shape: NetworkConfig
    network: Network
    encoder: torch.nn.Module
    optimiser: torch.optim.Optimizer
    manifest: ModelManifest
    views: list[View]
    iterations: int
    monitor: Monitor

    @property
    def autocast(self) -> torch.autocast:
        """Mixed precision where it is configured."""
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.config.optimiser.bfloat16)


def open_run(config: FitConfig, world: World) -> Run:
    """The run of a configuration before its first epoch; raises `TilefixError` for what it cannot use."""
    torch.manual_seed(config.run.seed)
    shape = _network_config(config)
    network = build(shape)
    if config.run.initial is not None:
        load_weights(config.run.initial, network)
    network = network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    encoder: torch.nn.Module = Encoder(network)
    if world.size > 1:
        encoder = DistributedDataParallel(encoder, forward_sync_buffers=False)
    views = [View.of(name, config, open_images(name, config)) for name in VIEWS]
    return Run(
        config,
        world,
        shape,
        network,
        encoder,
        open_optimiser(network, config),
        preprocessing(config.patches.patch_px, network.descriptor_dim),
        views,
        config.optimiser.iterations or _one_pass(views, config),
        Monitor(config.out, enabled=world.first),
    )


def _network_config(config: FitConfig) -> NetworkConfig:
    own = config.network
    changes = {name: getattr(own, name) for name in ("depths", "dims") if getattr(own, name)}
    for name in ("pool_grid", "neck", "standardise_input"):
        if getattr(own, name) is not None:
            changes[name] = getattr(own, name)
    return network_config(own.backbone, **changes)


def _one_pass(views: list[View], config: FitConfig) -> int:
    """Batches for one pass over the larger view."""
    size = config.optimiser.clusters_per_batch * config.optimiser.images_per_cluster
    return max(1, max(len(view.images) for view in views) // size)
