"""Descriptors by ONNX Runtime on the CPU."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime as ort

from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest
from tilefix.preprocess import check_patches, to_input
from tilefix.types import BoolArray, Float32Array, UInt8Array

MAX_MODEL_BYTES = 1 << 30
BATCH = 32  # patches per call: bounds the memory of a whole map's tiles
THREADS = 1  # one core for the network: the frame's other stages have the rest, and results do not depend on the cores

_AGAIN = "export the model again with tilefix-train export"


class OnnxEmbedder:
    """The `Embedder` of one ONNX file."""

    def __init__(self, manifest: ModelManifest, file: Path, *, threads: int = THREADS) -> None:
        """Loads `file` after checking it against the manifest's SHA-256 and shapes; raises `ModelError`."""
        self._manifest = manifest
        self._session = _open(_read(file, manifest), file, threads)
        self._input = _checked_input(self._session, manifest, file)

    @property
    def manifest(self) -> ModelManifest:
        """What the model is and what it may be used for."""
        return self._manifest

    def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
        """Descriptors float32 (n, descriptor_dim), L2-normalised; see `tilefix.ports.Embedder.embed`."""
        check_patches(patches, masks, self._manifest.patch_px)
        descriptors = np.empty((len(patches), self._manifest.descriptor_dim), dtype=np.float32)
        for start in range(0, len(patches), BATCH):
            part = slice(start, start + BATCH)
            values = to_input(patches[part], None if masks is None else masks[part], self._manifest)
            (output,) = self._session.run(None, {self._input: values})
            if output.shape != descriptors[part].shape or not np.isfinite(output).all():
                raise ModelError(f"the network gave {output.shape} or values that are not finite", mend=_AGAIN)
            descriptors[part] = output
        return descriptors


def _read(file: Path, manifest: ModelManifest) -> bytes:
    """The file's bytes, as hashed: the session is made of these very bytes, and so can load no further file."""
    try:
        size = file.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelError(f"model file has {size} bytes, more than {MAX_MODEL_BYTES}", where=file, mend=_AGAIN)
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read the model file: {error.strerror}", where=file, mend="keep it beside its .json"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != manifest.sha256:
        raise ModelError(
            f"model file has SHA-256 {found[:12]}..., its manifest says {manifest.sha256[:12]}...",
            where=file,
            mend="copy the .onnx and the .json of the same model again",
        )
    return data


def _open(data: bytes, file: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; the log would repeat them
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no public base class
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"not an ONNX model that this runtime reads: {reason}", where=file, mend=_AGAIN) from error


def _checked_input(session: ort.InferenceSession, manifest: ModelManifest, file: Path) -> str:
    """The input's name, when inputs and outputs are those of the manifest: (n, 3, p, p) -> (n, descriptor_dim)."""
    for what, values, wanted in (
        ("input", session.get_inputs(), (3, manifest.patch_px, manifest.patch_px)),
        ("output", session.get_outputs(), (manifest.descriptor_dim,)),
    ):
        if len(values) != 1:
            raise ModelError(f"the network has {len(values)} {what}s, not one", where=file, mend=_AGAIN)
        shape = values[0].shape
        if values[0].type != "tensor(float)" or len(shape) != 1 + len(wanted) or tuple(shape[1:]) != wanted:
            raise ModelError(
                f"the network's {what} is {values[0].type} {shape}, its manifest says float (n, "
                f"{', '.join(map(str, wanted))})",
                where=file,
                mend=_AGAIN,
            )
        if isinstance(shape[0], int):
            raise ModelError(f"the network's {what} has a fixed batch of {shape[0]}", where=file, mend=_AGAIN)
    return str(session.get_inputs()[0].name)
