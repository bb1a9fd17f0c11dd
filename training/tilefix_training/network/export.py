"""A trained network as an ONNX file with its manifest."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest, save_manifest, sha256_of
from tilefix_training.network.base import Network
from tilefix_training.network.checkpoint import Checkpoint, load_network

OPSET = 20  # onnxruntime 1.23, the last one for Python 3.10, reads it
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
METRIC = "cosine"


def preprocessing(patch_px: int, descriptor_dim: int) -> ModelManifest:
    """The manifest of a network still in training: what `tilefix.preprocess.to_input` needs of it."""
    return ModelManifest("training", "none", "none", patch_px, 1.0, 1.0, MEAN, STD, descriptor_dim, METRIC, ())


def export_onnx(
    network: Network,
    folder: Path,
    *,
    name: str,
    patch_px: int,
    patch_m_min: float,
    patch_m_max: float,
    trained_on: tuple[str, ...],
) -> ModelManifest:
    """Writes `folder/name.onnx` (any batch size, weights inside) and `folder/name.json`; returns the manifest.

    The network stays as it is, on its device. Both files are written beside their place and renamed. Raises
    `ModelError` when the folder cannot be written.
    """
    network = copy.deepcopy(network).cpu().eval()
    example = torch.randn(2, 3, patch_px, patch_px, generator=torch.Generator().manual_seed(0))
    file = folder / f"{name}.onnx"
    partial = file.with_name(file.name + ".partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["patches"],
                output_names=["descriptors"],
                dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
            )
        if program is None:
            raise ModelError("the network could not be exported", where=file)
        program.save(partial, external_data=False)
        manifest = ModelManifest(
            name=name,
            file=file.name,
            sha256=sha256_of(partial),
            patch_px=patch_px,
            patch_m_min=patch_m_min,
            patch_m_max=patch_m_max,
            mean=MEAN,
            std=STD,
            descriptor_dim=network.descriptor_dim,
            metric=METRIC,
            trained_on=trained_on,
        )
        partial.replace(file)
        save_manifest(manifest, file.with_suffix(".json"))
    except OSError as error:
        raise ModelError(f"cannot write the model: {error.strerror}", where=folder) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return manifest


def export_checkpoint(checkpoint: Checkpoint, where: Path, folder: Path, *, name: str | None = None) -> Path:
    """Exports a run's network to `folder` under `name`, that of the run unless given; gives the .onnx file.

    Raises `ModelError` when the checkpoint does not say what its network was trained for.
    """
    try:
        run, patches = checkpoint.run["run"], checkpoint.run["patches"]
        manifest = export_onnx(
            load_network(checkpoint, where),
            folder,
            name=name or str(run["name"]),
            patch_px=int(patches["patch_px"]),
            patch_m_min=float(patches["patch_m_min"]),
            patch_m_max=float(patches["patch_m_max"]),
            trained_on=tuple(run["trained_on"]),
        )
    except (KeyError, TypeError) as error:
        raise ModelError(f"the checkpoint lacks {error}", where=where, mend="give one of tilefix-train fit") from error
    return folder / manifest.file


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's progress on standard output, its log and its warnings about its own libraries."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
