"""Descriptors by a TensorRT engine (`tilefix engine build`): pixels in, descriptors out, no allocation per frame."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tilefix import timing
from tilefix.embedders.device import Device, Graph, Stream, open_device
from tilefix.embedders.modelfile import read_model
from tilefix.engine.fingerprint import Fingerprint, read_fingerprint
from tilefix.engine.pixels import DESCRIPTORS, MASKS, PIXELS
from tilefix.engine.runtime import Complaints, load_tensorrt
from tilefix.errors import EngineError, TilefixError
from tilefix.manifest import ModelManifest
from tilefix.preprocess import check_patches
from tilefix.types import BoolArray, Float32Array, UInt8Array

_CLOSE_S = 2.0  # that closing waits for a call of another thread

_logger = logging.getLogger(__name__)


class TensorRTEmbedder:
    """The `Embedder` of one engine file, on the GPU that it was built on.

    The engine takes pixels and masks as bytes and preprocesses them itself, so a frame is one copy into page-locked
    memory, then one chain of copies and kernels on one stream. A call that fails raises `EngineError`; the next one
    starts afresh. `close`, or the end of a `with` block, frees everything. Threads may take turns.
    """

    _runtime: Any
    _engine: Any
    _context: Any
    _stream: Stream
    _pixels: _Tensor
    _masks: _Tensor
    _found: _Tensor

    def __init__(self, manifest: ModelManifest, file: Path, *, graphs: bool = True) -> None:
        """Loads the engine; raises `ModelError` or `EngineError` when it is not this model's or not this machine's.

        `graphs`: launches what repeats, a batch of the same size, as one CUDA graph; where that cannot be captured
        the embedder goes on without.
        """
        self._manifest = manifest
        self._graphs = graphs
        self._graph: Graph | None = None
        self._count = 0  # the batch that the context's shapes, and the graph, are for
        self._context = self._engine = self._runtime = None
        self._owned = ExitStack()
        self._turn = threading.Lock()
        data = read_model(file, manifest, again="build the engine again with tilefix engine build")
        fingerprint = read_fingerprint(file)
        trt = load_tensorrt()
        self._complaints = Complaints(trt)
        self._device: Device | None = open_device()
        try:
            fingerprint.check(manifest, trt, self._device.facts, file)
            with self._device.active():
                self._load(trt, data, file, fingerprint)
        except BaseException:
            self.close()
            raise

    def _load(self, trt: Any, data: bytes, file: Path, fingerprint: Fingerprint) -> None:
        def refuse(what: str) -> EngineError:
            mend = f"run {fingerprint.command(file)}"
            return EngineError(f"{what}: {self._complaints.take()}", where=file, mend=mend)

        assert self._device is not None
        runtime = trt.Runtime(self._complaints.logger)
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise refuse("not an engine that this TensorRT loads")
        self._batch = _checked_batch(trt, engine, self._manifest, file)
        self._context = engine.create_execution_context()
        if self._context is None:
            raise refuse("the engine cannot be made ready")
        self._runtime, self._engine = runtime, engine
        self._as_json = trt.LayerInformationFormat.JSON
        self._stream = self._device.stream()
        self._owned.callback(self._stream.close)
        side = self._manifest.patch_px
        self._pixels = self._tensor(PIXELS, (side, side, 3), np.uint8)
        self._masks = self._tensor(MASKS, (side, side), np.bool_)
        self._found = self._tensor(DESCRIPTORS, (self._manifest.descriptor_dim,), np.float32)

    def _tensor(self, name: str, shape: tuple[int, ...], kind: type[np.generic]) -> _Tensor:
        assert self._device is not None
        tensor = _Tensor(self._device, self._owned, (self._batch, *shape), kind)
        if not self._context.set_tensor_address(name, tensor.there.address):
            raise EngineError(f"the engine refuses the memory of {name}: {self._complaints.take()}")
        return tensor

    @property
    def manifest(self) -> ModelManifest:
        """What the model is and what it may be used for."""
        return self._manifest

    def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
        """Descriptors float32 (n, descriptor_dim), L2-normalised; see `tilefix.ports.Embedder.embed`.

        Raises `EngineError` when the GPU fails: for this call only, unless the driver gave the GPU up.
        """
        check_patches(patches, masks, self._manifest.patch_px)
        descriptors = np.empty((len(patches), self._manifest.descriptor_dim), dtype=np.float32)
        with self._turn:
            if self._device is None:
                raise EngineError("the engine is closed")
            with self._device.active():
                for start in range(0, len(patches), self._batch):
                    part = slice(start, start + self._batch)
                    self._embed(patches[part], None if masks is None else masks[part], descriptors[part])
        return descriptors

    def _embed(self, patches: UInt8Array, masks: BoolArray | None, descriptors: Float32Array) -> None:
        count = len(patches)
        with timing.part("copy_in"):
            self._pixels.here[:count] = patches
            self._masks.here[:count] = True if masks is None else masks
        with timing.part("engine"):
            self._run(count)
        with timing.part("copy_out"):
            found = self._found.here[:count]
            if not np.isfinite(found).all():
                raise EngineError("the engine gave values that are not finite", mend="build it again")
            descriptors[:] = found

    def describe(self) -> str:
        """The engine's layers as TensorRT's inspector writes them, JSON."""
        if self._device is None:
            raise EngineError("the engine is closed")
        with self._device.active():
            return str(self._engine.create_engine_inspector().get_engine_information(self._as_json))

    def _run(self, count: int) -> None:
        """Descriptors of the first `count` patches; after a failure the stream is empty and nothing is remembered."""
        try:
            if count != self._count:
                self._shape(count)
                self._begin()
            else:
                graph = self._captured()
                self._begin() if graph is None else self._stream.launch(graph)
            self._stream.synchronize()
        except TilefixError:
            self._forget()
            with suppress(TilefixError):  # what failed is reported already
                self._stream.synchronize()
            raise

    def _shape(self, count: int) -> None:
        self._forget()  # a graph belongs to the shapes that it was captured with
        for name, tensor in ((PIXELS, self._pixels), (MASKS, self._masks)):
            if not self._context.set_input_shape(name, (count, *tensor.here.shape[1:])):
                raise EngineError(f"the engine refuses a batch of {count}: {self._complaints.take()}")
        self._count = count

    def _begin(self) -> None:
        for tensor in (self._pixels, self._masks):
            self._stream.copy_in(tensor.there, tensor.memory, self._count * tensor.item_bytes)
        if not self._context.execute_async_v3(self._stream.handle):
            raise EngineError(f"the engine did not start: {self._complaints.take()}")
        self._stream.copy_out(self._found.memory, self._found.there, self._count * self._found.item_bytes)

    def _captured(self) -> Graph | None:
        """The graph of the present batch size, captured when that comes a second time; None where there is none."""
        if self._graph is None and self._graphs:
            try:
                self._graph = self._stream.capture(self._begin)
            except TilefixError as error:
                self._graphs = False
                _logger.info("no CUDA graph, the engine goes on without: %s", error)
        return self._graph

    def _forget(self) -> None:
        self._count = 0
        if self._graph is not None:
            graph, self._graph = self._graph, None
            with suppress(TilefixError):
                graph.close()

    def close(self) -> None:
        """Frees the engine, its memory and the GPU; may be called twice. Under a call of another thread that does not
        end, nothing is freed: the process's end does it."""
        if not self._turn.acquire(timeout=_CLOSE_S):
            _logger.warning("the engine is still at work: its memory is left to the end of the process")
            return
        try:
            device, self._device = self._device, None
            if device is not None:
                self._free(device)
        finally:
            self._turn.release()

    def _free(self, device: Device) -> None:
        try:
            with device.active():
                self._forget()
                self._context = None  # then the engine, then the runtime: each stands on the next
                self._engine = None
                self._runtime = None
                self._owned.close()
        finally:
            device.close()

    def __enter__(self) -> TensorRTEmbedder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Tensor:
    """One of the engine's tensors: `here`, an array in page-locked `memory`, and `there` on the GPU."""

    def __init__(self, device: Device, owned: ExitStack, shape: tuple[int, ...], kind: type[np.generic]) -> None:
        self.item_bytes = int(np.prod(shape[1:])) * np.dtype(kind).itemsize
        self.memory = device.host_memory(shape[0] * self.item_bytes)
        owned.callback(self.memory.close)
        self.there = device.device_memory(shape[0] * self.item_bytes)
        owned.callback(self.there.close)
        self.here = self.memory.array.view(kind).reshape(shape)


def _checked_batch(trt: Any, engine: Any, manifest: ModelManifest, file: Path) -> int:
    """The largest batch, when the engine's tensors are those of `tilefix.engine.pixels` and of the manifest."""
    side = manifest.patch_px
    wanted = {
        PIXELS: (trt.TensorIOMode.INPUT, trt.DataType.UINT8, (-1, side, side, 3)),
        MASKS: (trt.TensorIOMode.INPUT, trt.DataType.UINT8, (-1, side, side)),
        DESCRIPTORS: (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT, (-1, manifest.descriptor_dim)),
    }
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = {
        name: (engine.get_tensor_mode(name), engine.get_tensor_dtype(name), tuple(engine.get_tensor_shape(name)))
        for name in names
    }
    if found != wanted:
        shapes = ", ".join(f"{name} {kind[2]}" for name, kind in found.items())
        raise EngineError(
            f"the engine's tensors are {shapes}, not those of its manifest",
            where=file,
            mend="build it again with tilefix engine build",
        )
    return int(engine.get_tensor_profile_shape(PIXELS, 0)[2][0])
