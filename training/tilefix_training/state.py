"""What a run keeps between epochs: its checkpoint, and one line of JSON an epoch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tilefix.errors import ConfigError
from tilefix_training.config import FitConfig
from tilefix_training.network.base import Network
from tilefix_training.network.build import NetworkConfig, config_to_json
from tilefix_training.network.checkpoint import Checkpoint
from tilefix_training.view import View

CHECKPOINT = "last.safetensors"
LOG = "epochs.jsonl"


def capture(
    config: FitConfig,
    shape: NetworkConfig,
    network: Network,
    optimiser: torch.optim.Optimizer,
    views: list[View],
    epoch: int,
) -> Checkpoint:
    """The state after `epoch` finished epochs."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": value for key, value in state.items() if value is not None}
    for view in views:
        tensors[f"labels.{view.name}"] = torch.from_numpy(view.labels)
        if view.hierarchy is not None:
            tensors |= {f"hierarchy_{view.name}.{key}": value for key, value in view.hierarchy.state().items()}
    return Checkpoint(tensors, {**config.json(), "backbone": config_to_json(shape)}, epoch)


def restore(
    checkpoint: Checkpoint,
    path: Path,
    config: FitConfig,
    network: Network,
    optimiser: torch.optim.Optimizer,
    views: list[View],
) -> int:
    """Puts a state back; gives the number of finished epochs. What is not here is made anew in each epoch.

    Raises `ConfigError` when the run was started with other values, with their names, or with other pictures.
    """
    changed = [
        f"{section}.{key}"
        for section, values in config.identity().items()
        for key, value in values.items()
        if checkpoint.run.get(section, {}).get(key) != value
    ]
    if changed:
        raise ConfigError(f"the run was started with another {', '.join(changed)}", where=path, mend="start a new run")
    for view in views:
        there, now = len(checkpoint.tensors[f"labels.{view.name}"]), len(view.labels)
        if there != now:
            raise ConfigError(
                f"the run was started with {there} entries of the {view.name} view, now there are {now}",
                where=path,
                mend="bring back the pictures it had, or start a new run",
            )
    network.load_state_dict(checkpoint.group("network"))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in checkpoint.group("optimiser").items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for view in views:
        view.labels = checkpoint.tensors[f"labels.{view.name}"].numpy()
        if view.hierarchy is not None:
            view.hierarchy.load(checkpoint.group(f"hierarchy_{view.name}"))
    return checkpoint.epoch


def cut_log(path: Path, epochs: int) -> None:
    """Keeps the rows of finished epochs: a run may have ended between the log and the checkpoint, or within a row."""
    rows = path.read_text().splitlines() if path.exists() else []
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(row + "\n" for row in rows if _epoch(row) < epochs))
    partial.replace(path)


def _epoch(row: str) -> float:
    """Of a row of the log; one that was not written to its end is of no epoch that is finished."""
    try:
        return int(json.loads(row)["epoch"])
    except (ValueError, TypeError, KeyError):
        return math.inf


def append_log(path: Path, row: dict[str, Any]) -> None:
    """One more line."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
