"""What the embedder benchmark runs: models in each precision, made where they do not ship, and ways to run them."""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tilefix.embedders import BACKENDS, open_model_files
from tilefix.engine.calibration import Patches
from tilefix.engine.heldout import held_out_worlds
from tilefix.engine.quantize import Result, quantize
from tilefix.errors import ConfigError, ModelError
from tilefix.manifest import ModelManifest, load_manifest
from tilefix.ports import Embedder
from tilefix.preprocess import to_input

SHIPPED = "default"
FP32, INT8, INT8_DEPTHWISE = "fp32", "int8", "int8+dw"
CALIBRATION_SEED = 1900  # a validation world: neither of those that quantization is checked by, nor of those below
CALIBRATION_QUERIES = 64


@dataclass(frozen=True)
class Subject:
    """One model in both precisions. `weights`: where they come from."""

    name: str
    weights: str
    files: dict[str, Path]
    int8: Result
    quantize_s: float

    def manifest(self, precision: str) -> ModelManifest:
        """The manifest of one of the files."""
        return load_manifest(self.files[precision].with_suffix(".json"))


@dataclass(frozen=True)
class Way:
    """One way to run a model."""

    provider: str
    precision: str
    threads: int

    def open(self, subject: Subject) -> Embedder:
        """The embedder, made by its adapter. Raises `ModelError` when its package is not installed."""
        backend = BACKENDS[".onnx"][self.provider]
        try:
            adapter = getattr(importlib.import_module(backend.module), backend.adapter)
        except ImportError as error:
            raise ModelError(f"{self.provider} is not installed: {error}", mend=backend.mend) from error
        embedder: Embedder = adapter(
            subject.manifest(self.precision), subject.files[self.precision], threads=self.threads
        )
        return embedder


def prepare(name: str, px: int, patches: int, folder: Path, *, depthwise: bool = False) -> Subject:
    """A model and its int8 file in `folder`. Raises `ConfigError` for a name that is not known."""
    if name == SHIPPED:
        manifest, file = open_model_files(None)
        weights = "trained"
    else:
        file = _random(name, px, folder)
        manifest, weights = load_manifest(file.with_suffix(".json")), "random"
    calibration = _calibration(manifest, patches)
    say(f"quantizing {name}")
    begun_s = time.monotonic()
    result = quantize(file, calibration, folder / f"{manifest.name}-int8.onnx")
    subject = Subject(name, weights, {FP32: file, INT8: result.file}, result, time.monotonic() - begun_s)
    if depthwise:
        out = folder / f"{manifest.name}-int8-dw.onnx"
        subject.files[INT8_DEPTHWISE] = quantize(file, calibration, out, depthwise=True).file
    return subject


def _random(name: str, px: int, folder: Path) -> Path:
    """A ConvNeXt that was never trained, exported. Its last normalisation knows the mean of what it sees, without which
    all its descriptors would be alike."""
    try:
        import torch

        from tilefix_training.network.build import build, network_config
        from tilefix_training.network.export import export_onnx, preprocessing
    except ImportError as error:
        raise ConfigError(f"{name} needs torch: {error}", mend="pip install 'tilefix[train]'") from error
    say(f"making {name} with random weights")
    torch.manual_seed(0)
    config = network_config(name, neck=True, standardise_input=True, init="fan_in", layer_scale=0.5)
    network = build(config)
    manifest = replace(preprocessing(px, network.descriptor_dim), patch_m_min=40.0, patch_m_max=800.0)
    seen = _calibration(manifest, 64)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None  # the plain mean over all batches
    network.train()
    with torch.no_grad():
        for start in range(0, len(seen), 8):
            part = slice(start, start + 8)
            network(torch.from_numpy(to_input(seen.images[part], seen.masks[part], manifest)))
    made = export_onnx(
        network.eval(), folder, name=name, patch_px=px, patch_m_min=40.0, patch_m_max=800.0, trained_on=()
    )
    return folder / made.file


def _calibration(manifest: ModelManifest, count: int) -> Patches:
    """Half tiles, half what a drone saw, of a generated world."""
    (world,) = held_out_worlds(manifest, seeds=(CALIBRATION_SEED,), queries=min(count // 2, CALIBRATION_QUERIES))
    tiles = world.tiles[:: max(1, len(world.tiles) // (count // 2))]
    whole = np.ones(tiles.shape[:3], np.bool_)
    return Patches(np.concatenate([tiles, world.patches]), np.concatenate([whole, world.masks]))


def say(line: str) -> None:
    """Tells a person how far it is."""
    print(f"benchmark_embedders: {line}", file=sys.stderr)
