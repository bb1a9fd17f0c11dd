"""A model to be scored, from whatever file it is in: a shipped one, an .onnx with its manifest, or a checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tilefix.embedders import open_embedder
from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest
from tilefix_training.evaluation.descriptors import Describe, describe_with
from tilefix_training.network.backbone import BackboneConfig
from tilefix_training.network.build import NetworkConfig, build
from tilefix_training.network.checkpoint import checkpoint_config, load_checkpoint, load_network
from tilefix_training.network.export import preprocessing

CHECKPOINT_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Model:
    """`describe`: its descriptors. `manifest`: its name, its patches' side and their metres. `shape`: of the network,
    where that is known."""

    describe: Describe
    manifest: ModelManifest
    shape: NetworkConfig | None = None

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.manifest.name


def open_model(model: str, device: str = "auto") -> Model:
    """`model`: "default", a shipped model's name, a .onnx or its .json, or a checkpoint (.safetensors), which runs on
    `device` ("auto": a GPU where there is one). Raises `ModelError`."""
    if Path(model).suffix != CHECKPOINT_SUFFIX:
        embedder = open_embedder(model)
        return Model(embedder.embed, embedder.manifest)
    path = Path(model)
    checkpoint = load_checkpoint(path)
    shape, network = checkpoint_config(checkpoint, path), load_network(checkpoint, path)
    name, patches = checkpoint.run.get("run", checkpoint.run), checkpoint.run.get("patches", checkpoint.run)
    try:
        manifest = replace(
            preprocessing(int(patches["patch_px"]), network.descriptor_dim),
            name=str(name["name"]),
            file=path.name,
            patch_m_min=float(patches["patch_m_min"]),
            patch_m_max=float(patches["patch_m_max"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the checkpoint does not say what patches it takes: {error}", where=path) from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Model(describe_with(network.to(device), manifest.patch_px), manifest, shape)


def untrained(model: Model, seed: int = 0) -> Describe:
    """A network of the model's shape with random weights, on the processor: what training has to be better than."""
    shape = model.shape
    if shape is None:
        usual = BackboneConfig()
        grid = max(1, math.isqrt(model.manifest.descriptor_dim // usual.dims[-1]))
        shape = replace(usual, pool_grid=grid)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(shape).eval()
    return describe_with(network, model.manifest.patch_px)
