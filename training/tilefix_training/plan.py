"""Which pictures every batch of an epoch draws, and how they are varied: all of it follows from seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tilefix.types import IntArray
from tilefix_training.config import FitConfig
from tilefix_training.data.augment import AugmentSettings, augmenter
from tilefix_training.data.loader import Augment, Draw
from tilefix_training.data.opened import margin
from tilefix_training.data.published_augment import published_augmenter
from tilefix_training.data.sampler import class_batches
from tilefix_training.distributed import World
from tilefix_training.view import VIEWS, View


def plan(
    config: FitConfig, world: World, views: list[View], epoch: int, iterations: int, entries: list[list[IntArray]]
) -> Iterator[list[Draw]]:
    """What each batch of an epoch draws of each view, by this process; `entries` gets those of the whole batch."""
    streams = [entry_batches(view, config, epoch) for view in views]
    ways = [augmentation(config, view) for view in views]
    for iteration in range(iterations):
        chosen = [next(stream) for stream in streams]
        entries.append(chosen)
        draws = []
        for index, (view, own) in enumerate(zip(views, chosen, strict=True)):
            rows = world.share(len(own))
            key = (config.run.seed, epoch, iteration, index)
            draws.append(Draw(view.images, view.pictures(own[rows]), ways[index], key, rows))
        yield draws


def entry_batches(view: View, config: FitConfig, epoch: int) -> Iterator[IntArray]:
    """Entries of one batch after the other: some classes, several pictures of each, each drawn `augmented` times."""
    optimiser, own = config.optimiser, view.config
    classes, images = optimiser.clusters_per_batch, optimiser.images_per_cluster
    rng = np.random.default_rng([config.run.seed, epoch, 1 + VIEWS.index(view.name)])
    if view.memory is None:
        batches, times = class_batches(view.labels, classes * images // 2, 1, rng), 2
    elif own.labels == "instance":
        batches, times = class_batches(view.labels, classes * images, 1, rng), own.augmented
    else:
        batches, times = class_batches(view.labels, classes, images, rng, least=optimiser.least_images), own.augmented
    for chosen in batches:
        yield np.repeat(chosen, times)


def augmentation(config: FitConfig, view: View) -> Augment:
    """How the pictures of a view are varied."""
    patches = config.patches
    if patches.augment == "published":
        return published_augmenter(patches.patch_px)
    settings = AugmentSettings(
        rotation_deg=patches.rotation_deg,
        scale=patches.scale,
        shift=patches.shift,
        mask_p=patches.mask_p,
        mirrored=patches.mirrored,
        margin=margin(view.config),
    )
    return augmenter(patches.patch_px, settings)
