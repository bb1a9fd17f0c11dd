"""Embedders: adapters of the inference runtimes. This table is the only place that names them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest, load_manifest
from tilefix.ports import Embedder

DEFAULT_MODEL = "default"
SHIPPED_MODEL = "tilefix-s"
SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True, slots=True)
class Backend:
    """One adapter: `adapter` of `module`, called with the manifest and the model file's path. `mend`: what installs
    the package that it stands on."""

    module: str
    adapter: str
    mend: str


# Suffix of the model file -> provider -> its adapter. "auto" takes the first: the best that was measured, of those that
# are always there (docs/engine.md).
BACKENDS = {
    ".onnx": {
        "onnxruntime": Backend("tilefix.embedders.onnx", "OnnxEmbedder", "pip install onnxruntime"),
        "onnxruntime-cuda": Backend("tilefix.embedders.onnx", "CudaOnnxEmbedder", "pip install onnxruntime-gpu"),
        "openvino": Backend("tilefix.embedders.openvino", "OpenVinoEmbedder", "pip install 'tilefix[openvino]'"),
    },
    ".engine": {
        "tensorrt": Backend("tilefix.embedders.tensorrt", "TensorRTEmbedder", "TensorRT comes with JetPack"),
    },
}
AUTO = "auto"
PROVIDERS = (AUTO, *(provider for providers in BACKENDS.values() for provider in providers))


def manifest_path(model: str | Path | None) -> Path:
    """The manifest of a model: `None` or "default" (the shipped one), a shipped name, or a model file's or .json path.

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
                mend=f"give a .onnx, .engine or .json path, or one of {', '.join(sorted([DEFAULT_MODEL, *shipped]))}",
            )
        return shipped[str(model)]
    return path if path.suffix == ".json" else path.with_suffix(".json")


def open_model_files(model: str | Path | None = None) -> tuple[ModelManifest, Path]:
    """The manifest of a model given as `open_embedder` takes it, and the path of the model file that it names.

    Raises `ModelError` when the manifest is missing or wrong, or belongs to another file. The file is not read.
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
    if Path(model or DEFAULT_MODEL).suffix in BACKENDS and Path(str(model)).name != manifest.file:
        raise ModelError(f"the manifest {path.name} belongs to {manifest.file}", where=model)
    return manifest, file


def open_embedder(model: str | Path | None = None, provider: str = AUTO) -> Embedder:
    """The embedder of a model: `None` or "default", a shipped model's name, or the path of a model file or its .json.

    `provider`: the runtime, one of `PROVIDERS`; "auto" takes the first that runs the file. Raises
    `ModelError` when the manifest is missing or wrong, when the model file does not have the manifest's SHA-256, when
    its inputs and outputs are not what the manifest says, or when the provider is not installed or cannot run it.
    """
    manifest, file = open_model_files(model)
    providers = BACKENDS[file.suffix]
    if provider != AUTO and provider not in providers:
        raise ModelError(
            f"the provider {provider!r} does not run {file.suffix} files",
            where=file,
            mend=f"use one of {', '.join([AUTO, *providers])}",
        )
    backend = providers[next(iter(providers)) if provider == AUTO else provider]
    try:
        module = importlib.import_module(backend.module)
    except ImportError as error:
        raise ModelError(f"the provider {provider!r} cannot be loaded: {error}", mend=backend.mend) from error
    return cast(Embedder, getattr(module, backend.adapter)(manifest, file))
