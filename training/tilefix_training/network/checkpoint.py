"""A training run's state on disk: safetensors, with the configuration and the epoch inside."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tilefix.errors import ModelError
from tilefix_training.network.backbone import BackboneConfig
from tilefix_training.network.base import Network
from tilefix_training.network.build import NetworkConfig, build, config_from_json

_NAMED = 4  # of the tensors that do not fit


@dataclass(frozen=True)
class Checkpoint:
    """`tensors`: by name, `network.*` the weights, other groups as the run wants. `run`: in JSON's types, the run's
    configuration, with that of the network under "backbone" (`config_to_json`). `epoch`: those done.
    """

    tensors: dict[str, Tensor]
    run: dict[str, Any]
    epoch: int

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The tensors `prefix.*`, without the prefix."""
        start = prefix + "."
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the file beside its place, forces it to the disk, then renames it: at any time one whole file is there.

    Raises `ModelError` when it cannot be written; the file that was there before is then untouched.
    """
    partial = path.with_name(path.name + ".partial")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in checkpoint.tensors.items()}
    try:
        save_file(tensors, partial, metadata={"run": json.dumps(checkpoint.run), "epoch": str(checkpoint.epoch)})
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        # safetensors reports the system's error as text
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        what = "the disk is full" if full else str(error)
        mend = "free some space, then resume" if full else "check the folder, then resume"
        raise ModelError(f"epoch {checkpoint.epoch} cannot be saved: {what}", where=path, mend=mend) from error


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


def checkpoint_config(checkpoint: Checkpoint, where: Path) -> NetworkConfig:
    """The network's configuration in a checkpoint; raises `ModelError` when there is none.

    The first checkpoints had depths, dims and pool_grid beside the run's other values.
    """
    run = checkpoint.run
    try:
        if "backbone" in run:
            return config_from_json(run["backbone"])
        return BackboneConfig(tuple(run["depths"]), tuple(run["dims"]), run["pool_grid"])
    except (KeyError, TypeError, ModelError) as error:
        raise ModelError(f"the checkpoint does not say what network it is of: {error}", where=where) from error


def load_network(checkpoint: Checkpoint, where: Path) -> Network:
    """The network of a checkpoint, in evaluation mode; raises `ModelError` when the weights do not fit."""
    network = build(checkpoint_config(checkpoint, where))
    fill(network, checkpoint.group("network"), where)
    return network.eval()


def fill(network: Network, state: dict[str, Tensor], where: object) -> None:
    """Puts weights into a network; raises `ModelError` naming what is missing, what is too much and what has another
    shape. The network is untouched then.
    """
    own = network.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    other = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    parts = ((missing, "missing"), (extra, "not known"), (other, "of another shape"))
    if texts := [f"{len(names)} {what}: {_some(names)}" for names, what in parts if names]:
        raise ModelError(
            f"the weights do not fit the network; {'; '.join(texts)}",
            where=where,
            mend="they are of another architecture: give its configuration",
        )
    network.load_state_dict(state)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
