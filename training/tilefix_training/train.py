"""One training run, readable from top to bottom: two views, one network, no pairs.

DMNIL (arXiv 2502.11381): per epoch the descriptors of each view are clustered, the clusters are its classes, and each
view is contrasted against the memories of its own classes (`objective.py`); neighbourhoods across the views draw
them together, until satellites take over the labels of the drone view's clusters (`view.py`). Nothing here reads a
place or an identity; what is random follows from the seed and the epoch, so that a run cut short goes on as if it had
not been.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tilefix.errors import ConfigError
from tilefix.types import IntArray
from tilefix_training.config import FitConfig
from tilefix_training.data.loader import Batch, Loader
from tilefix_training.data.opened import margin
from tilefix_training.distributed import processes
from tilefix_training.evaluation.criterion import criteria
from tilefix_training.method.cluster import OUTLIER
from tilefix_training.network.base import Network
from tilefix_training.network.checkpoint import load_checkpoint, save_checkpoint
from tilefix_training.network.features import extract, network_input
from tilefix_training.objective import Seen, losses, remember
from tilefix_training.optimiser import set_rate
from tilefix_training.plan import plan
from tilefix_training.run import Run, open_run
from tilefix_training.state import CHECKPOINT, LOG, append_log, capture, cut_log, restore
from tilefix_training.stopwatch import Stopwatch
from tilefix_training.view import VIEWS, View, check_classes, pseudo_labels, start_memories, transfer

AfterEpoch = Callable[[int, Network, dict[str, Any]], None]
log = logging.getLogger(__name__)


def fit(config: FitConfig, *, resume: bool = False, after_epoch: AfterEpoch | None = None) -> Path:
    """Trains and returns the checkpoint's path; with `resume` goes on after the last finished epoch.

    Selection is the last epoch: nothing is chosen by a score. `after_epoch` gets the epoch, the network and the log's
    row; it may look, not steer. Raises `ConfigError` when there is nothing to train on, when the folder already holds
    a run and `resume` is not set, when that run was of another configuration, when the loss is no longer finite, or
    when the device's memory is too small; `ModelError` when the checkpoint cannot be written.
    """
    torch.set_num_threads(config.run.threads)
    path = config.out / CHECKPOINT
    with processes(config.run.device) as world:
        started = world.by_first(lambda: _started(config, path, resume))
        run = open_run(config, world)
        try:
            start = (
                restore(load_checkpoint(path), path, config, run.network, run.optimiser, run.views) if started else 0
            )
            world.by_first(lambda: _begin(run, start))
            for epoch in range(start, config.run.epochs):
                row = _epoch(run, epoch)
                world.by_first(partial(_finish, run, epoch, row, path, after_epoch))
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"the memory of {world.device} is too small",
                where=config.out,
                mend="start a new run with fewer clusters_per_batch, bfloat16 = true, or a smaller patch_px",
            ) from error
        finally:
            run.monitor.close()
    return path


def _started(config: FitConfig, path: Path, resume: bool) -> bool:
    """Whether there is a run to go on with."""
    if path.exists() and not resume:
        raise ConfigError("holds a run already", where=config.out, mend="give --resume, or another out")
    return path.exists()


def _begin(run: Run, start: int) -> None:
    """Makes the run's folder ready for the epochs from `start` on."""
    run.config.out.mkdir(parents=True, exist_ok=True)
    cut_log(run.config.out / LOG, start)
    run.monitor.start(start)


def _finish(run: Run, epoch: int, row: dict[str, Any], path: Path, after_epoch: AfterEpoch | None) -> None:
    """Puts an epoch on the disk."""
    config = run.config
    append_log(config.out / LOG, row)
    save_checkpoint(capture(config, run.shape, run.network, run.optimiser, run.views, epoch + 1), path)
    if after_epoch is not None:
        after_epoch(epoch, run.network, row)


def _epoch(run: Run, epoch: int) -> dict[str, Any]:
    """Labels, memories, one epoch of batches; what the log says of it."""
    watch = Stopwatch()
    row: dict[str, Any] = {"epoch": epoch}
    if epoch >= run.config.contrast.warmup_epochs:
        describe(run)
        watch.lap("extract")
        row |= label(run, epoch)
        watch.lap("cluster")
    row["losses"] = _train(run, epoch)
    watch.lap("train")
    for view in run.views:
        kept = view.labels[view.labels != OUTLIER]
        row[view.name] = {"classes": len(np.unique(kept)), "outliers": len(view.labels) - len(kept)}
    row |= {"seconds": watch.seconds, "cpu_seconds": watch.cpu_seconds}
    if run.world.first:
        _show(run, row)
    return row


def describe(run: Run) -> None:
    """Gives each view the descriptors of its pictures, as the network is now."""
    for view in run.views:
        view.describe(_features(run, view))


def _features(run: Run, view: View) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Descriptors of a view's pictures as the network gives them, each picture once, shared out over the processes."""
    rows = run.world.share(len(view.images))
    own = extract(
        run.network,
        view.images,
        run.manifest,
        indices=rows,
        flip=run.config.cluster.flip,
        raw=True,
        device=run.world.device,
        bfloat16=run.config.optimiser.bfloat16 and run.world.device.type == "cuda",
        threads=run.config.run.threads,
        margin=margin(view.config),
    )
    if run.world.size == 1:
        return own
    with torch.no_grad():
        gathered = run.world.gather(torch.from_numpy(own).to(run.world.device), len(view.images))
    return gathered.cpu().numpy()


def label(run: Run, epoch: int) -> dict[str, Any]:
    """Gives the described views the epoch's classes, decided by the first process, and their memories; what the log
    says of them."""
    shared = run.config.ple.enabled and epoch >= run.config.ple.epoch
    drone, satellite = run.views
    found, drone.labels, satellite.labels = run.world.by_first(lambda: _decide(run, epoch, shared))
    start_memories(run.views, run.config, run.world.device, shared=shared)
    return found


def _decide(run: Run, epoch: int, shared: bool) -> tuple[dict[str, Any], IntArray, IntArray]:
    """What the log says of the epoch's labels, those of the drone view and those of the satellite view."""
    config, device = run.config, str(run.world.device)
    drone, satellite = run.views
    before = drone.labels if epoch > config.contrast.warmup_epochs else None
    for view in run.views:
        view.labels = pseudo_labels(view, config, device)
        check_classes(view, view.labels, epoch)
    found: dict[str, Any] = {"clusters": {view.name: view.classes for view in run.views}}
    with np.errstate(invalid="ignore"):
        found["criteria"] = criteria(drone.directions, drone.labels, satellite.directions, before)
    if shared:
        satellite.labels = transfer(drone, satellite, config, epoch, device)
        check_classes(satellite, satellite.labels, epoch)
        given = satellite.labels[(satellite.labels >= 0) & (satellite.labels < drone.classes)]
        found["transferred"], found["transferred_clusters"] = len(given), len(np.unique(given))
    return found, drone.labels, satellite.labels


def _train(run: Run, epoch: int) -> dict[str, float]:
    """One epoch of batches; the mean of each loss."""
    config = run.config
    run.network.train()
    momentum = config.contrast.momentum
    if epoch == config.contrast.warmup_epochs:
        momentum = config.contrast.momentum_first
    totals: dict[str, float] = {}
    entries: list[list[IntArray]] = []
    with Loader(config.run.threads) as loader:
        batches = loader.batches(plan(config, run.world, run.views, epoch, run.iterations, entries))
        for iteration, batch in enumerate(run.monitor.progress(batches, run.iterations, f"epoch {epoch}")):
            set_rate(run.optimiser, config, epoch + iteration / run.iterations)
            chosen = entries.pop(0)
            seen = look(run, batch, chosen)
            found = losses(seen[0], seen[1], config, epoch)
            terms = torch.stack(list(found.values()))
            run.optimiser.zero_grad()
            terms.sum().backward()  # type: ignore[no-untyped-call]
            if config.optimiser.clip > 0.0:
                torch.nn.utils.clip_grad_norm_(run.network.parameters(), config.optimiser.clip)
            run.optimiser.step()
            for own in seen:
                remember(own, config, momentum)
            for name, value in zip(found, terms.tolist(), strict=True):
                totals[name] = totals.get(name, 0.0) + value
            if not math.isfinite(sum(totals.values())):
                raise _diverged(run, f"epoch {epoch}, batch {iteration}: the loss is not finite")
    if not all(bool(parameter.isfinite().all()) for parameter in run.network.parameters()):
        raise _diverged(run, f"epoch {epoch}: the weights are not finite")
    return {name: round(total / run.iterations, 6) for name, total in totals.items()}


def look(run: Run, batch: list[Batch], chosen: list[IntArray]) -> list[Seen]:
    """Both views' entries `chosen` as the network sees them, through this process's share of their pictures."""
    values = torch.cat([network_input(images, masks, run.manifest, run.world.device) for images, masks in batch])
    with run.autocast:
        cells, coverage = run.encoder(values)
    raw = _descriptors(run, cells, coverage, [len(own) for own in chosen])
    return [
        Seen(view, own, normalize(own, dim=1), indices)
        for view, own, indices in zip(run.views, raw, chosen, strict=True)
    ]


def _diverged(run: Run, what: str) -> ConfigError:
    """Raised before anything of the epoch is written."""
    mend = "start a new run with a lower [optimiser] learning_rate, or with a clip; the last checkpoint is whole"
    return ConfigError(what, where=run.config.out, mend=mend)


def _descriptors(run: Run, cells: Tensor, coverage: Tensor, counts: list[int]) -> list[Tensor]:
    """Each view's descriptors of the whole batch, not normalised, out of all processes' shares of it."""
    shares = [len(run.world.share(count)) for count in counts]
    whole = [
        (run.world.gather(own, count), run.world.gather(covered, count))
        for own, covered, count in zip(torch.split(cells, shares), torch.split(coverage, shares), counts, strict=True)
    ]
    every = run.network.descriptors(
        torch.cat([own for own, _ in whole]), torch.cat([covered for _, covered in whole]), raw=True
    )
    return list(torch.split(every, counts))


def _show(run: Run, row: dict[str, Any]) -> None:
    """Curves, histograms and a sheet of retrieved pictures, and a line for people."""
    drone, satellite = run.views
    run.monitor.epoch(row)
    if drone.memory is not None:
        for view in run.views:
            run.monitor.clusters(view.name, view.labels, row["epoch"])
        features = [view.features[:: view.config.copies] for view in run.views]
        run.monitor.retrieval(drone.images, satellite.images, features[0], features[1], row["epoch"])
    log.info(_line(row))


def _line(row: dict[str, Any]) -> str:
    values = " ".join(f"{name} {value:.3f}" for name, value in row["losses"].items())
    classes = ", ".join(f"{row[name]['classes']} {name} classes" for name in VIEWS)
    return f"epoch {row['epoch']}: {values}; {classes}, {row['drone']['outliers']} drone outliers"
