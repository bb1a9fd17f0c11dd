"""A model's TensorRT engine for this machine: built, held against the model, and only then put in its place."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tilefix.embedders import SHIPPED_FOLDER, open_model_files
from tilefix.embedders.device import open_device
from tilefix.embedders.modelfile import read_model
from tilefix.embedders.onnx import OnnxEmbedder
from tilefix.embedders.tensorrt import TensorRTEmbedder
from tilefix.engine.calibration import Patches
from tilefix.engine.check import FP16, INT8, Agreement, compare
from tilefix.engine.fingerprint import Fingerprint, fingerprint_path, machine_facts, write_fingerprint
from tilefix.engine.heldout import HeldOut, held_out_worlds
from tilefix.engine.lowering import GELU, write_out_gelu
from tilefix.engine.pixels import take_pixels
from tilefix.engine.place import put_in_place
from tilefix.engine.plan import build_plan, parser_knows
from tilefix.engine.precision import to_half
from tilefix.engine.qdq import check_qdq, parse_onnx
from tilefix.engine.runtime import load_tensorrt
from tilefix.errors import EngineError, ModelError
from tilefix.manifest import ModelManifest, load_manifest, save_manifest

LIMITS = {"fp16": FP16, "int8": INT8}
SUFFIX = ".engine"


@dataclass(frozen=True, slots=True)
class Built:
    """A built engine: how it agrees with the FP32 model, its size, and how long the builder took."""

    fingerprint: Fingerprint
    agreement: Agreement
    size_bytes: int
    build_s: float


def build_engine(
    model: str | Path | None,
    precision: str,
    out: Path,
    *,
    timing_cache: Path | None = None,
    held_out: Sequence[HeldOut] | None = None,
    patches: Patches | None = None,
) -> Built:
    """Builds the engine of an ONNX model for this machine's GPU: `out`, its manifest and fingerprint beside it.

    `precision`: "fp16", of an FP32 model, or "int8", of a model that `tilefix engine quantize` made, where what is not
    quantized is FP16. `held_out`: what its descriptors are checked on, by default generated worlds; `patches`: further
    ones. Raises `ModelError` or `EngineError`, and leaves everything as it was, when the engine cannot be built or does
    not describe as the FP32 model does (`LIMITS`).
    """
    manifest, file = open_model_files(model)
    _check_out(out)
    if precision not in LIMITS:
        raise EngineError(f"no precision {precision!r}", mend=f"use one of {', '.join(LIMITS)}")
    data = read_model(file, manifest)
    trt = load_tensorrt()
    network = prepared_network(data, manifest, precision, file, write_out=not parser_knows(trt, GELU))
    reference = OnnxEmbedder(*_fp32_model(manifest, file))
    gpu = open_device()
    facts = machine_facts(trt, gpu.facts)
    begun_s = time.monotonic()
    try:
        with gpu.active():
            plan = build_plan(trt, network, timing_cache=timing_cache).data
    finally:
        gpu.close()
    build_s = time.monotonic() - begun_s
    sha256 = hashlib.sha256(plan).hexdigest()
    engine_manifest = replace(
        manifest, name=f"{manifest.name}-{precision}", file=out.name, sha256=sha256, descriptors_of=manifest.identity
    )
    fingerprint = Fingerprint(
        model=str(file.resolve()),
        model_sha256=manifest.sha256,
        descriptors_of=manifest.identity,
        engine_sha256=sha256,
        precision=precision,
        **facts,
    )
    with _partial_folder(out) as folder:
        candidate = Path(folder) / out.name
        with _writing(out):
            candidate.write_bytes(plan)
            write_fingerprint(fingerprint, fingerprint_path(candidate))
            save_manifest(engine_manifest, candidate.with_suffix(".json"))
        with TensorRTEmbedder(engine_manifest, candidate) as embedder:
            worlds = held_out_worlds(manifest) if held_out is None else held_out
            agreement = compare(
                reference,
                embedder,
                *((patches.images, patches.masks) if patches else ()),
                held_out=worlds,
                limits=LIMITS[precision],
            )
        with _writing(out):
            put_in_place((candidate, fingerprint_path(candidate), candidate.with_suffix(".json")), out.parent)
    return Built(fingerprint, agreement, len(plan), build_s)


def prepared_network(
    data: bytes, manifest: ModelManifest, precision: str, where: Path, *, write_out: bool = False
) -> bytes:
    """The ONNX network that TensorRT is given: pixels as its input, in the precision that is asked for.

    `data`: the model file at `where`. `precision`: "fp16" or "int8", or "fp32" to compare with. `write_out`: without
    the operator that an older parser lacks. Raises `ModelError` when it is no such model, or quantized in a form that
    TensorRT does not take.
    """
    model = parse_onnx(data, where)
    quantized = bool(check_qdq(model, where).int8)
    if quantized != (precision == "int8"):
        raise EngineError(
            f"a model that is {'' if quantized else 'not '}quantized cannot be built as {precision}",
            where=where,
            mend="use --precision int8" if quantized else "make one first with tilefix engine quantize",
        )
    try:
        take_pixels(model, manifest)
        if write_out:
            write_out_gelu(model)
        if precision != "fp32":
            to_half(model)
    except (ValueError, RuntimeError) as error:  # what onnx and numpy raise for a graph that does not fit together
        reason = " ".join(str(error).split())[:200]
        raise EngineError(f"not a model that can be built: {reason}", where=where) from error
    return bytes(model.SerializeToString())


def _check_out(out: Path) -> None:
    """Raises `EngineError` when `out` is no place for an engine: its manifest must not be another model's."""
    if out.suffix != SUFFIX:
        raise EngineError(f"an engine's file ends in {SUFFIX}", where=out, mend=f"use --out {out.with_suffix(SUFFIX)}")
    if not out.parent.is_dir():
        raise EngineError("no such folder", where=out.parent, mend="make it first")
    beside = out.with_suffix(".json")
    if beside.exists() and load_manifest(beside).file != out.name:
        raise EngineError(
            "this is another model's manifest, the engine's would take its place",
            where=beside,
            mend=f"use another name, as --out {out.with_name(out.stem + '-engine' + SUFFIX)}",
        )


def _fp32_model(manifest: ModelManifest, file: Path) -> tuple[ModelManifest, Path]:
    """The FP32 model that the file reproduces: itself, or one beside it or shipped. Raises `ModelError` without one."""
    if manifest.descriptors_of is None:
        return manifest, file
    for path in (*sorted(file.parent.glob("*.json")), *sorted(SHIPPED_FOLDER.glob("*.json"))):
        try:
            found = load_manifest(path)
        except ModelError:  # some other JSON file
            continue
        if found.sha256 == manifest.descriptors_of:
            return found, path.with_name(found.file)
    raise ModelError(
        "the FP32 model that this one was made of is not here: nothing to check the engine by",
        where=file,
        mend=f"put the .onnx of SHA-256 {manifest.descriptors_of[:12]}... and its .json beside it",
    )


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Raises `EngineError` for what the system refuses in the block."""
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"the engine cannot be written: {error.strerror}", where=out, mend="check the disk and --out"
        ) from error


def _partial_folder(out: Path) -> Any:
    try:
        return tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.partial-")
    except OSError as error:
        raise EngineError(f"cannot write: {error.strerror}", where=out.parent) from error
