"""What every adapter does alike: read the model file that the manifest names, and embed many patches in parts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tilefix import timing
from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest
from tilefix.preprocess import check_patches, to_input
from tilefix.types import BoolArray, Float32Array, UInt8Array

MAX_MODEL_BYTES = 1 << 30
EXPORT_AGAIN = "export the model again with tilefix-train export"
CLOSED = "the embedder is closed"

# The key by which an ONNX tensor says that its values lie in another file: in protobuf a field 1 of 8 bytes,
# "location", lengths and tags written short or long. ONNX Runtime up to 1.23 follows an absolute path there even when
# it is given bytes.
_ELSEWHERE = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")


def read_model(file: Path, manifest: ModelManifest, *, again: str = EXPORT_AGAIN) -> bytes:
    """The file's bytes, as hashed: a runtime that is given these very bytes can load no further file.

    Raises `ModelError` when the file cannot be read, is too large, does not have the manifest's SHA-256, or is an ONNX
    file with values in another one; `again` is the mend of a file that is wrong.
    """
    try:
        size = file.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelError(f"model file has {size} bytes, more than {MAX_MODEL_BYTES}", where=file, mend=again)
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
            mend=f"copy the {file.suffix} and the .json of the same model again",
        )
    if file.suffix == ".onnx" and _ELSEWHERE.search(data):
        raise ModelError("the model keeps weights in another file", where=file, mend="export it as one file")
    return data


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a network. `sides`: whole numbers where they are fixed. `text`: kind and shape as the
    runtime writes them."""

    is_float32: bool
    sides: Sequence[object]
    text: str


def check_network(inputs: Sequence[Port], outputs: Sequence[Port], manifest: ModelManifest, file: Path) -> None:
    """Raises `ModelError` unless the network is the manifest's: float32 (n, 3, p, p) -> (n, descriptor_dim), any n."""
    for what, ports, wanted in (
        ("input", inputs, (3, manifest.patch_px, manifest.patch_px)),
        ("output", outputs, (manifest.descriptor_dim,)),
    ):
        if len(ports) != 1:
            raise ModelError(f"the network has {len(ports)} {what}s, not one", where=file, mend=EXPORT_AGAIN)
        (port,) = ports
        if not port.is_float32 or len(port.sides) != 1 + len(wanted) or tuple(port.sides[1:]) != wanted:
            raise ModelError(
                f"the network's {what} is {port.text}, its manifest says float (n, {', '.join(map(str, wanted))})",
                where=file,
                mend=EXPORT_AGAIN,
            )
        if isinstance(port.sides[0], int):
            raise ModelError(
                f"the network's {what} has a fixed batch of {port.sides[0]}", where=file, mend=EXPORT_AGAIN
            )


class Inputs:
    """The network's input, float32 (n, 3, p, p), kept from call to call: a frame in flight allocates none."""

    def __init__(self, patch_px: int) -> None:
        self._kept: Float32Array = np.empty((0, 3, patch_px, patch_px), dtype=np.float32)

    def of(self, count: int) -> Float32Array:
        """Room for `count` patches; the same memory as before, so one thread may use it at a time."""
        if len(self._kept) < count:
            self._kept = np.empty((count, *self._kept.shape[1:]), dtype=np.float32)
        return self._kept[:count]


def embed_in_parts(
    run: Callable[[Float32Array], Float32Array],
    patches: UInt8Array,
    masks: BoolArray | None,
    manifest: ModelManifest,
    inputs: Inputs,
    *,
    batch: int,
) -> Float32Array:
    """What `tilefix.ports.Embedder.embed` gives, by a network that takes up to `batch` patches at a time.

    `run`: input float32 (n, 3, p, p), a part of `inputs`, to descriptors (n, descriptor_dim), which may lie in a buffer
    that the next call writes again. Raises `ModelError` on wrong patches or masks, and on descriptors of a wrong shape
    or not finite.
    """
    check_patches(patches, masks, manifest.patch_px)
    descriptors = np.empty((len(patches), manifest.descriptor_dim), dtype=np.float32)
    for start in range(0, len(patches), batch):
        part = slice(start, start + batch)
        pixels = patches[part]
        with timing.part("copy_in"):
            values = to_input(pixels, None if masks is None else masks[part], manifest, out=inputs.of(len(pixels)))
        with timing.part("engine"):
            output = run(values)
        with timing.part("copy_out"):
            if output.shape != descriptors[part].shape or not np.isfinite(output).all():
                raise ModelError(f"the network gave {output.shape} or values that are not finite", mend=EXPORT_AGAIN)
            descriptors[part] = output
    return descriptors
