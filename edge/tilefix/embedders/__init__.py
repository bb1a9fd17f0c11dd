"""Embedders: adapters of the inference runtimes. This table is the only place that names them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from tilefix.errors import ModelError
from tilefix.manifest import load_manifest
from tilefix.ports import Embedder

DEFAULT_MODEL = "default"
SHIPPED_MODEL = "tilefix-s"
SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / "models"

# Suffix of the model file -> (module, class) of its adapter, called with the manifest and the model file's path.
BACKENDS = {".onnx": ("tilefix.embedders.onnx", "OnnxEmbedder")}


def manifest_path(model: str | Path | None) -> Path:
    """The manifest of a model given as `None` or "default" (the shipped one), a shipped name, or a .onnx or .json path.

    Raises `ModelError` when there is no such model.
    """
    if model is None or str(model) == DEFAULT_MODEL:
        model = SHIPPED_MODEL
    path = Path(model)
    if path.suffix not in BACKENDS and path.suffix != ".json":
        shipped = {file.stem: file for file in SHIPPED_FOLDER.glob("*.json")}
        if str(model) not in shipped:
            raise ModelError(
                f"no model of the name {str(model)!r}",
                mend=f"give a .onnx or .json path, or one of {', '.join(sorted([DEFAULT_MODEL, *shipped]))}",
            )
        return shipped[str(model)]
    return path if path.suffix == ".json" else path.with_suffix(".json")


def open_embedder(model: str | Path | None = None) -> Embedder:
    """The embedder of a model: `None` or "default", a shipped model's name, or the path of a .onnx file or its .json.

    Raises `ModelError` when the manifest is missing or wrong, when the model file does not have the manifest's
    SHA-256, or when its inputs and outputs are not what the manifest says.
    """
    path = manifest_path(model)
    manifest = load_manifest(path)
    file = path.with_name(manifest.file)
    if file.suffix not in BACKENDS:
        raise ModelError(
            f"no runtime for a model file of the kind {file.suffix!r}",
            where=path,
            mend=f"use one of {', '.join(sorted(BACKENDS))}",
        )
    if Path(model or DEFAULT_MODEL).suffix == file.suffix and Path(str(model)).name != manifest.file:
        raise ModelError(f"the manifest {path.name} belongs to {manifest.file}", where=model)
    module, name = BACKENDS[file.suffix]
    return cast(Embedder, getattr(importlib.import_module(module), name)(manifest, file))
