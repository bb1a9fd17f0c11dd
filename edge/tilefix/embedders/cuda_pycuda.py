"""The `Device` port by pycuda. It has no CUDA graphs: capturing is refused, and the caller goes on without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pycuda.driver as driver

from tilefix.embedders.device import DeviceFacts, DeviceMemory, Graph, HostMemory, cuda_version
from tilefix.errors import EngineError

_NO_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: work of the default stream does not hold this one up


@contextmanager
def _doing(what: str) -> Iterator[None]:
    """Raises `EngineError` for what pycuda raises in the block."""
    try:
        yield
    except driver.Error as error:
        raise EngineError(f"CUDA cannot {what}: {' '.join(str(error).split())[:200]}") from error


class _Host:
    def __init__(self, size_bytes: int) -> None:
        with _doing(f"lock {size_bytes} bytes of memory"):
            self._locked = driver.pagelocked_empty((size_bytes,), np.uint8)
        self.array = self._locked

    def close(self) -> None:
        if self._locked is not None:
            locked, self._locked = self._locked, None
            self.array = np.empty(0, np.uint8)
            with _doing("free page-locked memory"):
                locked.base.free()


class _Memory:
    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        with _doing(f"allocate {size_bytes} bytes on the GPU"):
            self._allocation = driver.mem_alloc(size_bytes)
        self.address = int(self._allocation)

    def close(self) -> None:
        if self.address:
            self.address = 0
            with _doing("free memory of the GPU"):
                self._allocation.free()


class _Stream:
    def __init__(self) -> None:
        with _doing("make a stream"):
            self._stream = driver.Stream(_NO_BLOCKING)
        self.handle = int(self._stream.handle)

    def copy_in(self, target: DeviceMemory, source: HostMemory, size_bytes: int) -> None:
        with _doing("copy to the GPU"):
            driver.memcpy_htod_async(target.address, source.array[:size_bytes], self._stream)

    def copy_out(self, target: HostMemory, source: DeviceMemory, size_bytes: int) -> None:
        with _doing("copy from the GPU"):
            driver.memcpy_dtoh_async(target.array[:size_bytes], source.address, self._stream)

    def synchronize(self) -> None:
        with _doing("finish the stream's work"):
            self._stream.synchronize()

    def capture(self, work: Callable[[], None]) -> Graph:  # noqa: ARG002
        raise EngineError("pycuda has no CUDA graphs", mend="pip install cuda-bindings")

    def launch(self, graph: Graph) -> None:  # noqa: ARG002
        raise EngineError("pycuda has no CUDA graphs", mend="pip install cuda-bindings")

    def close(self) -> None:
        if self.handle:
            self.handle = 0
            del self._stream  # pycuda destroys a stream with its last reference


class PyCudaDevice:
    """The first GPU, in the primary context that TensorRT uses too."""

    def __init__(self) -> None:
        with _doing("find a GPU"):
            driver.init()
            device = driver.Device(0)
            major, minor = device.compute_capability()
            self.facts = DeviceFacts(device.name(), f"{major}.{minor}", cuda_version(driver.get_driver_version()))
            self._context = device.retain_primary_context()

    @contextmanager
    def active(self) -> Iterator[None]:
        with _doing("use the GPU"):
            self._context.push()
        try:
            yield
        finally:
            with _doing("leave the GPU"):
                driver.Context.pop()

    def host_memory(self, size_bytes: int) -> HostMemory:
        return _Host(size_bytes)

    def device_memory(self, size_bytes: int) -> DeviceMemory:
        return _Memory(size_bytes)

    def stream(self) -> _Stream:
        return _Stream()

    def close(self) -> None:
        if self._context is not None:
            context, self._context = self._context, None
            with _doing("let the GPU go"):
                context.detach()
