"""Why a part of the method helps or does not, in a run of ablate.py: what its losses pull at, how right it guesses.

Takes a finished run as its next epoch would begin, and a few batches of that epoch, without training. Which place a
picture shows is read here, to judge by; the run never saw it.

    python tools/examine_parts.py published:all tilefix:all --seed 9000
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate import checked, configured, variants
from tilefix.errors import ConfigError, TilefixError
from tilefix.evaluation.results import write_results
from tilefix.types import BoolArray, IntArray
from tilefix_training import train
from tilefix_training.config import FitConfig
from tilefix_training.data.images import FolderImages
from tilefix_training.data.loader import Loader
from tilefix_training.distributed import processes
from tilefix_training.network.checkpoint import load_checkpoint
from tilefix_training.objective import losses, remember
from tilefix_training.plan import plan
from tilefix_training.run import Run, open_run
from tilefix_training.state import CHECKPOINT, restore
from tilefix_training.view import View

WARM, MEASURED = 16, 32  # batches: the first fill what starts empty in every epoch


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table for each run and writes JSON; 2 with one clear line for bad arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", help="of ablate.py, with finished runs")
    parser.add_argument("--seed", type=int, default=9000, help="of the data set")
    parser.add_argument("--odd", action="store_true", help="take the epoch after the next, where losses take turns")
    parser.add_argument("--out", type=Path, default=Path("out/ablation"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    known = variants()
    try:
        for name in checked(args.variants):
            config = configured(name, known[name], args.seed, args.out)
            found = examine(config, skip=int(args.odd))
            print(f"{name}, data set {args.seed}, epoch {found['epoch']}\n{text(found)}\n")
            file = f"{config.out.name}-{found['epoch']}.json"
            write_results(args.out / "parts", {file: json.dumps(found, indent=1) + "\n"})
    except TilefixError as error:
        print(f"examine_parts: {error}", file=sys.stderr)
        return 2
    return 0


def examine(config: FitConfig, *, skip: int = 0, warm: int = WARM, measured: int = MEASURED) -> dict[str, Any]:
    """What `guesses` and `pulls` find in the epoch that follows the run's last one, or `skip` epochs later."""
    path = config.out / CHECKPOINT
    if not path.exists():
        raise ConfigError("holds no finished run", where=config.out, mend="python tools/ablate.py run")
    torch.set_num_threads(config.run.threads)
    with processes(config.run.device) as world:
        run = open_run(config, world)
        epoch = skip + restore(load_checkpoint(path), path, config, run.network, run.optimiser, run.views)
        train.describe(run)
        train.label(run, epoch)
        run.monitor.close()
        return {"epoch": epoch, "guesses": guesses(run, epoch), "pulls": pulls(run, epoch, warm, measured)}


def places(views: Sequence[View]) -> list[IntArray]:
    """Which place each entry of each view shows, (n,), by its folder's name; numbers from 0 on, the same in all."""
    names = []
    for view in views:
        assert isinstance(view.images, FolderImages)
        own = np.array([path.parent.name for path in view.images.paths])
        names.append(own[view.pictures(np.arange(len(view.labels)))])
    numbers = np.unique(np.concatenate(names), return_inverse=True)[1]
    return np.split(numbers, np.cumsum([len(own) for own in names])[:-1])


def guesses(run: Run, epoch: int) -> dict[str, float]:
    """Shares of what the method took for the same place that are the same place.

    `clusters`: clustered drone pictures in a cluster whose commonest place is theirs. `transferred`: satellites with
    the label of a drone cluster whose commonest place is theirs. `drone_to_satellite`, `satellite_to_drone`: pictures
    in the neighbourhoods of ICEL across the views, and how many there are in the mean, `..._size`. `nearest`: drone
    pictures whose nearest satellite picture is theirs, R@1 on the places that the run was trained on.
    """
    drone, satellite = run.views
    own, other = places(run.views)
    commonest = np.array([np.bincount(own[drone.labels == k]).argmax() for k in range(drone.classes)])
    clustered = drone.labels >= 0
    similar = drone.directions @ satellite.directions.T
    found = {"nearest": float((other[similar.argmax(axis=1)] == own).mean())}
    found["clusters"] = float((commonest[drone.labels[clustered]] == own[clustered]).mean())
    if run.config.ple.enabled and epoch >= run.config.ple.epoch:
        given = (satellite.labels >= 0) & (satellite.labels < drone.classes)
        found["transferred"] = float((commonest[satellite.labels[given]] == other[given]).mean())
        found["transferred_size"] = float(given.sum())
    if run.config.icel.enabled:
        for name, rows, truth in (
            ("drone_to_satellite", similar, own[:, None] == other[None]),
            ("satellite_to_drone", similar.T, other[:, None] == own[None]),
        ):
            near = rows > run.config.icel.ratio * rows.max(axis=1, keepdims=True)
            found[name], found[f"{name}_size"] = _right(near, truth), float(near.sum(axis=1).mean())
    return found


def _right(near: BoolArray, truth: BoolArray) -> float:
    return float((near & truth).sum() / max(near.sum(), 1))


def pulls(run: Run, epoch: int, warm: int, measured: int) -> dict[str, dict[str, float]]:
    """Of each loss: its `size`, the norm of its mean gradient over that of the cluster contrast of both views, and the
    cosine of the angle between the two, `to_contrast`."""
    config, world = run.config, run.world
    parameters = [value for value in run.network.parameters() if value.requires_grad]
    totals: dict[str, Tensor] = {}
    entries: list[list[IntArray]] = []
    run.network.train()
    with Loader(config.run.threads) as loader:
        batches = loader.batches(plan(config, world, run.views, epoch, warm + measured, entries))
        for iteration, batch in enumerate(batches):
            seen = train.look(run, batch, entries.pop(0))
            found = losses(seen[0], seen[1], config, epoch)
            if iteration >= warm:
                for name, value in found.items():
                    grads = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
                    flat = torch.cat(
                        [
                            (torch.zeros_like(own) if grad is None else grad).flatten()
                            for own, grad in zip(parameters, grads, strict=True)
                        ]
                    )
                    totals[name] = totals.get(name, torch.zeros(())) + flat / measured
            with torch.no_grad():
                for own in seen:
                    remember(own, config, config.contrast.momentum)
    contrast = sum((total for name, total in totals.items() if name.startswith("contrast_")), torch.zeros(()))
    return {
        name: {
            "size": float(total.norm() / contrast.norm()),
            "to_contrast": _cosine(total, contrast),
        }
        for name, total in {"contrast": contrast, **totals}.items()
    }


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one, other) / (one.norm() * other.norm()).clamp_min(1e-12))


def text(found: Mapping[str, Any]) -> str:
    """The two tables as people read them."""
    lines = [f"  {name:<28}{value:8.3f}" for name, value in found["guesses"].items()]
    lines.append(f"  {'loss':<22}{'size':>8}{'to contrast':>14}")
    for name, row in found["pulls"].items():
        lines.append(f"  {name:<22}{row['size']:>8.3f}{row['to_contrast']:>14.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
