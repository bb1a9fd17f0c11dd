"""An ONNX network made into an engine by NVIDIA's parser and builder."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilefix.engine.layers import Layer, layers_of_log
from tilefix.engine.runtime import Complaints, is_rtx
from tilefix.errors import EngineError

MAX_BATCH = 32  # patches at once: a map's tiles; a frame is one
WORKSPACE_BYTES = 1 << 30  # the Jetson's memory is the GPU's and everyone else's


@dataclass(frozen=True, slots=True)
class Plan:
    """A built engine: `data`, and its `layers` where the builder's log tells them (TensorRT-RTX)."""

    data: bytes
    layers: tuple[Layer, ...]


def build_plan(trt: Any, network: bytes, *, timing_cache: Path | None = None, max_batch: int = MAX_BATCH) -> Plan:
    """The engine of an ONNX network with inputs (n, ...), for n from 1, which it is tuned for, to `max_batch`.

    The network is strongly typed: each operation has the type that the ONNX graph gives it. `timing_cache`: a file of
    kernel timings, used and added to; it makes the next build on this machine quicker, and choose the same kernels.
    Raises `EngineError` with the parser's or the builder's own words.
    """
    complaints = Complaints(trt, everything=is_rtx(trt))
    builder = trt.Builder(complaints.logger)
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    definition = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = trt.OnnxParser(definition, complaints.logger)
    if not parser.parse(network):
        reasons = "; ".join(_reason(parser.get_error(index)) for index in range(min(parser.num_errors, 4)))
        raise EngineError(f"TensorRT's parser refuses the network: {reasons}", mend="export the model again")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for `tilefix engine inspect`
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    profile = builder.create_optimization_profile()
    for index in range(definition.num_inputs):
        tensor = definition.get_input(index)
        item = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, (1, *item), (1, *item), (max_batch, *item))
    config.add_optimization_profile(profile)
    cached = None if timing_cache is None or is_rtx(trt) else _load_cache(config, timing_cache)
    data = builder.build_serialized_network(definition, config)
    if data is None:
        raise EngineError(f"TensorRT cannot build the engine: {complaints.take()}", mend="free memory of the GPU")
    if cached is not None and timing_cache is not None:
        _save_cache(config, cached, timing_cache)
    return Plan(bytes(data), layers_of_log(complaints.lines))


def parser_knows(trt: Any, operator: str) -> bool:
    """Whether this TensorRT's parser takes the ONNX operator."""
    logger = Complaints(trt).logger
    definition = trt.Builder(logger).create_network(0)
    return bool(trt.OnnxParser(definition, logger).supports_operator(operator))


def _reason(error: Any) -> str:
    return " ".join(str(error.desc()).split())[:300]


def _load_cache(config: Any, path: Path) -> bytes:
    """Gives the configuration the timings in the file, or none where there is no file or it is another version's.

    That it can be written again is tried now: a build takes minutes.
    """
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise _refuse_cache("read", path, error) from error
    partial = _partial(path)
    try:
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise _refuse_cache("written", path, error) from error
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        data = b""  # no timings, or of another TensorRT or GPU: begun anew, and the file is written over
        config.set_timing_cache(config.create_timing_cache(data), ignore_mismatch=False)
    return data


def _save_cache(config: Any, before: bytes, path: Path) -> None:
    data = bytes(config.get_timing_cache().serialize())
    if data != before:
        partial = _partial(path)
        try:
            partial.write_bytes(data)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise _refuse_cache("written", path, error) from error


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.partial")


def _refuse_cache(done: str, path: Path, error: OSError) -> EngineError:
    mend = "give another --timing-cache"
    return EngineError(f"the timing cache cannot be {done}: {error.strerror}", where=path, mend=mend)
