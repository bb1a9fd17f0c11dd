"""A training run's state on disk: safetensors, with the configuration and the epoch inside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tilefix.errors import ModelError
from tilefix_training.network.backbone import Backbone, BackboneConfig


@dataclass(frozen=True)
class Checkpoint:
    """`tensors`: by name, `network.*` the weights. `run`: the run's identity, in JSON's types. `epoch`: those done."""

    tensors: dict[str, Tensor]
    run: dict[str, Any]
    epoch: int

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The tensors `prefix.*`, without the prefix."""
        start = prefix + "."
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the file beside its place, then renames it."""
    partial = path.with_name(path.name + ".partial")
    tensors = {name: value.detach().contiguous().clone() for name, value in checkpoint.tensors.items()}
    save_file(tensors, partial, metadata={"run": json.dumps(checkpoint.run), "epoch": str(checkpoint.epoch)})
    partial.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; raises `ModelError` for what is none."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Checkpoint(tensors, dict(json.loads(metadata["run"])), int(metadata["epoch"]))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"not a checkpoint of tilefix-train: {error}", where=path, mend="give a .safetensors"
        ) from error


def load_network(checkpoint: Checkpoint, where: Path) -> Backbone:
    """The network of a checkpoint, in evaluation mode; raises `ModelError` when the weights do not fit."""
    try:
        run = checkpoint.run
        network = Backbone(BackboneConfig(tuple(run["depths"]), tuple(run["dims"]), run["pool_grid"]))
        network.load_state_dict(checkpoint.group("network"))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"the checkpoint's weights do not fit its configuration: {error}", where=where) from error
    return network.eval()
