"""Descriptors by OpenVINO on the CPU, on request: docs/engine.md says how it compares."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import openvino

from tilefix.embedders.modelfile import CLOSED, EXPORT_AGAIN, Inputs, embed_in_parts, read_model
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
        _check(model, manifest, file)
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


def _check(model: Any, manifest: ModelManifest, file: Path) -> None:
    """Raises `ModelError` unless inputs and outputs are those of the manifest: (n, 3, p, p) -> (n, descriptor_dim)."""
    for what, values, wanted in (
        ("input", model.inputs, (3, manifest.patch_px, manifest.patch_px)),
        ("output", model.outputs, (manifest.descriptor_dim,)),
    ):
        if len(values) != 1:
            raise ModelError(f"the network has {len(values)} {what}s, not one", where=file, mend=EXPORT_AGAIN)
        shape = values[0].get_partial_shape()
        sides = [None if side.is_dynamic else side.get_length() for side in shape] if shape.rank.is_static else []
        if values[0].get_element_type() != openvino.Type.f32 or tuple(sides[1:]) != wanted:
            raise ModelError(
                f"the network's {what} is {values[0].get_element_type()} {shape}, its manifest says float (n, "
                f"{', '.join(map(str, wanted))})",
                where=file,
                mend=EXPORT_AGAIN,
            )
        if sides[0] is not None:
            raise ModelError(f"the network's {what} has a fixed batch of {sides[0]}", where=file, mend=EXPORT_AGAIN)
