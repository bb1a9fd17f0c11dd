"""A network's weights from wherever they are: a checkpoint, an exported model, published ConvNeXt weights, the hub.

Published weights come under timm's names, which are ours, or under Meta's (github.com/facebookresearch/ConvNeXt).
"""

from __future__ import annotations

import importlib
import logging
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tilefix.embedders import DEFAULT_MODEL, SHIPPED_MODEL, manifest_path
from tilefix.errors import ConfigError, ModelError
from tilefix.manifest import load_manifest
from tilefix_training.network.backbone import PUBLISHED, Backbone
from tilefix_training.network.base import Network
from tilefix_training.network.build import build
from tilefix_training.network.checkpoint import fill, load_checkpoint, load_network
from tilefix_training.network.names import shape_of, timm_names
from tilefix_training.network.onnx_weights import read_onnx
from tilefix_training.network.timm_backbone import TimmBackbone, state_of

HUB_PREFIX = "hub:"
HUB_NAMES = {"imagenet": "timm/convnext_tiny.in12k_ft_in1k"}
TIMM_NAME = "timm"
_HUB_FILE = "model.safetensors"

log = logging.getLogger(__name__)


def load_weights(source: str | Path, network: Network | None = None) -> Network:
    """A network with the weights of `source`, in evaluation mode; `network` itself where one is given.

    `source`: "default" or a shipped model's name; the .onnx (or its .json) of an exported model; a checkpoint or
    published weights (.safetensors, or .pth under timm's or Meta's names); "hub:OWNER/NAME" or "imagenet" for
    published weights from the Hugging Face hub; "timm" for those that timm publishes with a timm backbone. Without a
    network the architecture is that of the weights. With one the weights must fit it; its neck, which holds statistics
    and no weights, keeps what it has where the source has no neck. Raises `ModelError` naming what does not fit,
    `ConfigError` when the hub cannot be reached.
    """
    text = str(source)
    if text == TIMM_NAME:
        if not isinstance(network, TimmBackbone):
            raise ConfigError(f"weights {text!r} are for a backbone of timm's", mend="give another source")
        return _into(network, build(replace(network.config, pretrained=True)).state_dict(), text)
    hub = HUB_NAMES.get(text) or (text.removeprefix(HUB_PREFIX) if text.startswith(HUB_PREFIX) else None)
    path = _from_hub(hub) if hub else Path(source)
    if not hub and (text in (DEFAULT_MODEL, SHIPPED_MODEL) or path.suffix in (".onnx", ".json")):
        manifest = manifest_path(source)
        path = manifest.with_name(load_manifest(manifest).file)
        config, state = read_onnx(path)
        found: Network = build(config)
        fill(found, state, path)
    elif path.suffix == ".safetensors" and _is_checkpoint(path):
        found = load_network(load_checkpoint(path), path)
    else:
        return _published(read_published(path), path, network)
    return _into(network, found.state_dict(), path) if network is not None else found.eval()


def read_published(path: Path) -> dict[str, Tensor]:
    """Tensors of a weights file, under timm's names; raises `ModelError` for what is none. No pickle is executed."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                raw = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise ModelError(
            f"weights cannot be read: {error}",
            where=path,
            mend="give a .safetensors, or a .pth that holds tensors and nothing else",
        ) from error
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(raw, dict) and isinstance(raw.get(key), dict):
            raw = raw[key]
    if not isinstance(raw, dict) or not raw or not all(isinstance(value, Tensor) for value in raw.values()):
        raise ModelError("holds no table of tensors", where=path, mend="give the state_dict of a network")
    return timm_names(cast(dict[str, Tensor], raw))


def _published(state: dict[str, Tensor], path: Path, network: Network | None) -> Network:
    if isinstance(network, TimmBackbone):
        return _into(network, state_of(network, state), path)
    state = {name: value for name, value in state.items() if not name.startswith("head.fc.")}
    if network is None:
        depths, dims = shape_of(state, path)
        network = Backbone(replace(PUBLISHED, depths=depths, dims=dims))
    return _into(network, state, path)


def _into(network: Network, state: dict[str, Tensor], where: object) -> Network:
    """Fills the network; the neck's statistics are taken where both have one, and become part of the last norm, which
    they follow, where only the source has."""
    own = network.state_dict()
    if isinstance(network, Backbone) and "neck.running_var" in state and "neck.running_var" not in own:
        state = _folded(state)
    weights = {name: value for name, value in state.items() if name in own or not name.startswith("neck.")}
    weights |= {name: value for name, value in own.items() if name.startswith("neck.") and name not in state}
    fill(network, weights, where)
    return network.eval()


def _folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same function without a neck: (norm(x) - mean) / deviation is the norm with another weight and bias."""
    deviation = (state["neck.running_var"] + torch.nn.BatchNorm1d(1).eps).sqrt()
    weight, bias = state["head.norm.weight"], state["head.norm.bias"]
    folded = {"head.norm.weight": weight / deviation, "head.norm.bias": (bias - state["neck.running_mean"]) / deviation}
    return {**state, **folded}


def _is_checkpoint(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return "run" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _from_hub(repository: str) -> Path:
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ConfigError(
            f"weights of {repository} need huggingface_hub",
            mend=f"pip install huggingface_hub, or fetch its {_HUB_FILE} and give that file",
        ) from error
    log.info("weights: %s from the hub", repository)
    try:
        return Path(hub.hf_hub_download(repository, _HUB_FILE))
    except Exception as error:  # the hub's client, its transport and the disk each raise their own kinds
        raise ConfigError(
            f"{repository} cannot be had from the hub: {(str(error) or repr(error)).splitlines()[0]}",
            mend=f"fetch its {_HUB_FILE} where there is a network, and give that file",
        ) from error
