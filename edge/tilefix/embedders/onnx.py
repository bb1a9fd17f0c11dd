"""Descriptors by ONNX Runtime: on the CPU, or on a GPU where its CUDA provider is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import onnxruntime as ort

from tilefix.embedders.modelfile import (
    CLOSED,
    EXPORT_AGAIN,
    Inputs,
    Port,
    check_network,
    embed_in_parts,
    read_model,
)
from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest
from tilefix.types import BoolArray, Float32Array, UInt8Array

BATCH = 32  # patches per call: bounds the memory of a whole map's tiles
THREADS = 1  # one core for the network: the frame's other stages have the rest, and results do not depend on the cores


class OnnxEmbedder:
    """The `Embedder` of one ONNX file, on the CPU, for one thread at a time."""

    providers: ClassVar[Sequence[str]] = ("CPUExecutionProvider",)

    def __init__(self, manifest: ModelManifest, file: Path, *, threads: int = THREADS) -> None:
        """Loads `file` after checking it against the manifest's SHA-256 and shapes; raises `ModelError`."""
        self._manifest = manifest
        self._inputs = Inputs(manifest.patch_px)
        session = _open(read_model(file, manifest), file, threads, self.providers)
        inputs = session.get_inputs()
        check_network(_ports(inputs), _ports(session.get_outputs()), manifest, file)
        self._input = str(inputs[0].name)
        self._session: ort.InferenceSession | None = session

    @property
    def manifest(self) -> ModelManifest:
        """What the model is and what it may be used for."""
        return self._manifest

    def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
        """Descriptors float32 (n, descriptor_dim), L2-normalised; see `tilefix.ports.Embedder.embed`."""
        if self._session is None:
            raise ModelError(CLOSED)
        return embed_in_parts(self._run, patches, masks, self._manifest, self._inputs, batch=BATCH)

    def close(self) -> None:
        """Lets the session go, with its memory; may be called twice."""
        self._session = None

    def _run(self, values: Float32Array) -> Float32Array:
        assert self._session is not None
        (output,) = self._session.run(None, {self._input: values})
        return output  # type: ignore[no-any-return]


class CudaOnnxEmbedder(OnnxEmbedder):
    """The `Embedder` of one ONNX file, on the GPU; what CUDA has no kernel for runs on the CPU."""

    providers: ClassVar[Sequence[str]] = ("CUDAExecutionProvider", "CPUExecutionProvider")


def _open(data: bytes, file: Path, threads: int, providers: Sequence[str]) -> ort.InferenceSession:
    first = providers[0]
    if first not in ort.get_available_providers():
        raise ModelError(
            f"this ONNX Runtime has no {first}",
            where=file,
            mend="pip install onnxruntime-gpu in its place, or use provider onnxruntime",
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; the log would repeat them
    try:
        session = ort.InferenceSession(data, options, providers=list(providers))
    except Exception as error:  # the runtime's exceptions share no public base class
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"not an ONNX model that this runtime reads: {reason}", where=file, mend=EXPORT_AGAIN
        ) from error
    if first not in session.get_providers():  # it falls back to the CPU without an error
        raise ModelError(
            f"{first} does not start on this machine", where=file, mend="check the driver, or use provider onnxruntime"
        )
    return session


def _ports(values: Sequence[ort.NodeArg]) -> list[Port]:
    return [Port(value.type == "tensor(float)", value.shape, f"{value.type} {value.shape}") for value in values]
