"""Descriptors by OpenVINO on the CPU, on request: docs/engine.md says how it compares."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import openvino

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

THREADS = 1  # as for ONNX Runtime: the frame's other stages have the rest, and results do not depend on the cores


class OpenVinoEmbedder:
    """The `Embedder` of one ONNX file, a patch at a time, for one thread at a time."""

    def __init__(self, manifest: ModelManifest, file: Path, *, threads: int = THREADS) -> None:
        """Loads `file` after checking it against the manifest's SHA-256 and shapes; raises `ModelError`."""
        self._manifest = manifest
        self._inputs = Inputs(manifest.patch_px)
        self._request: Any | None = _open(read_model(file, manifest), manifest, file, threads)

    @property
    def manifest(self) -> ModelManifest:
        """What the model is and what it may be used for."""
        return self._manifest

    def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
        """Descriptors float32 (n, descriptor_dim), L2-normalised; see `tilefix.ports.Embedder.embed`."""
        if self._request is None:
            raise ModelError(CLOSED)
        return embed_in_parts(self._run, patches, masks, self._manifest, self._inputs, batch=1)

    def close(self) -> None:
        """Lets the compiled network go, with its memory; may be called twice."""
        self._request = None

    def _run(self, values: Float32Array) -> Float32Array:
        assert self._request is not None
        self._request.infer({0: values}, share_inputs=True)
        return self._request.get_output_tensor(0).data  # type: ignore[no-any-return]


def _open(data: bytes, manifest: ModelManifest, file: Path, threads: int) -> Any:
    """An inference request of the network compiled for a batch of one: with the shape known, it is the faster form."""
    core = openvino.Core()
    try:
        model = core.read_model(io.BytesIO(data))
        check_network(
            [_port(value) for value in model.inputs], [_port(value) for value in model.outputs], manifest, file
        )
        model.reshape([1, 3, manifest.patch_px, manifest.patch_px])
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                # Bound to one core it waits whenever something else runs there, be the other cores idle.
                "ENABLE_CPU_PINNING": False,
                # Not bfloat16 where a processor has it: descriptors are to be the same on every machine.
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        return compiled.create_infer_request()
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"not an ONNX model that this runtime reads: {reason}", where=file, mend=EXPORT_AGAIN
        ) from error


def _port(value: Any) -> Port:
    kind, shape = value.get_element_type(), value.get_partial_shape()
    sides = [None if side.is_dynamic else side.get_length() for side in shape] if shape.rank.is_static else []
    return Port(kind == openvino.Type.f32, sides, f"{kind} {shape}")
