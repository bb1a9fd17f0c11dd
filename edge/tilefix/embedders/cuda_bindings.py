"""The `Device` port by NVIDIA's cuda-bindings (driver API). A wheel for every CUDA version: nothing is compiled."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from cuda.bindings import driver

from tilefix.embedders.device import DeviceFacts, DeviceMemory, Graph, HostMemory, cuda_version
from tilefix.errors import EngineError

_NO_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: work of the default stream does not hold this one up


def _done(answer: tuple[Any, ...], what: str) -> Any:
    """The value of a driver call's answer `(result, value, ...)`; raises `EngineError` when it failed."""
    if int(answer[0]) != 0:
        _, name = driver.cuGetErrorName(answer[0])
        reason = name.decode() if isinstance(name, bytes) else f"error {int(answer[0])}"
        raise EngineError(f"CUDA cannot {what}: {reason}")
    return answer[1] if len(answer) > 1 else None


class _Host:
    def __init__(self, size_bytes: int) -> None:
        self._pointer = int(_done(driver.cuMemHostAlloc(size_bytes, 0), f"lock {size_bytes} bytes of memory"))
        self.array = np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(self._pointer))

    def close(self) -> None:
        if self._pointer:
            pointer, self._pointer = self._pointer, 0
            self.array = np.empty(0, np.uint8)
            _done(driver.cuMemFreeHost(pointer), "free page-locked memory")


class _Memory:
    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.address = int(_done(driver.cuMemAlloc(size_bytes), f"allocate {size_bytes} bytes on the GPU"))

    def close(self) -> None:
        if self.address:
            address, self.address = self.address, 0
            _done(driver.cuMemFree(address), "free memory of the GPU")


class _Graph:
    def __init__(self, graph: Any) -> None:
        try:
            self.ready = _done(driver.cuGraphInstantiate(graph, 0), "make a graph ready")
        finally:
            driver.cuGraphDestroy(graph)

    def close(self) -> None:
        if self.ready is not None:
            ready, self.ready = self.ready, None
            _done(driver.cuGraphExecDestroy(ready), "free a graph")


class _Stream:
    def __init__(self) -> None:
        self._stream = _done(driver.cuStreamCreate(_NO_BLOCKING), "make a stream")
        self.handle = int(self._stream)

    def copy_in(self, target: DeviceMemory, source: HostMemory, size_bytes: int) -> None:
        pointer = source.array.ctypes.data
        _done(driver.cuMemcpyHtoDAsync(target.address, pointer, size_bytes, self._stream), "copy to the GPU")

    def copy_out(self, target: HostMemory, source: DeviceMemory, size_bytes: int) -> None:
        pointer = target.array.ctypes.data
        _done(driver.cuMemcpyDtoHAsync(pointer, source.address, size_bytes, self._stream), "copy from the GPU")

    def synchronize(self) -> None:
        _done(driver.cuStreamSynchronize(self._stream), "finish the stream's work")

    def capture(self, work: Callable[[], None]) -> Graph:
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _done(driver.cuStreamBeginCapture(self._stream, mode), "begin a capture")
        try:
            work()
        except BaseException:
            result, graph = driver.cuStreamEndCapture(self._stream)  # always, or the stream stays in capture
            if int(result) == 0:
                driver.cuGraphDestroy(graph)
            raise
        return _Graph(_done(driver.cuStreamEndCapture(self._stream), "capture the work"))

    def launch(self, graph: Graph) -> None:
        assert isinstance(graph, _Graph)
        _done(driver.cuGraphLaunch(graph.ready, self._stream), "launch a graph")

    def close(self) -> None:
        if self.handle:
            self.handle = 0
            _done(driver.cuStreamDestroy(self._stream), "free a stream")


class CudaBindingsDevice:
    """The first GPU, in the primary context that TensorRT uses too."""

    def __init__(self) -> None:
        try:
            _done(driver.cuInit(0), "start")
            self._device = _done(driver.cuDeviceGet(0), "find a GPU")
        except RuntimeError as error:  # how the package says that there is no libcuda
            raise EngineError(f"no NVIDIA driver: {error}", mend="run on the Jetson, or use an .onnx model") from error
        self.facts = self._read_facts()
        self._context = _done(driver.cuDevicePrimaryCtxRetain(self._device), "open the GPU")

    def _read_facts(self) -> DeviceFacts:
        attribute = driver.CUdevice_attribute
        major, minor = (
            int(_done(driver.cuDeviceGetAttribute(which, self._device), "describe the GPU"))
            for which in (
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        name = _done(driver.cuDeviceGetName(128, self._device), "name the GPU")
        return DeviceFacts(
            name=name.split(b"\0")[0].decode(errors="replace"),
            compute_capability=f"{major}.{minor}",
            cuda=cuda_version(int(_done(driver.cuDriverGetVersion(), "say its version"))),
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        _done(driver.cuCtxPushCurrent(self._context), "use the GPU")
        try:
            yield
        finally:
            _done(driver.cuCtxPopCurrent(), "leave the GPU")

    def host_memory(self, size_bytes: int) -> HostMemory:
        return _Host(size_bytes)

    def device_memory(self, size_bytes: int) -> DeviceMemory:
        return _Memory(size_bytes)

    def stream(self) -> _Stream:
        return _Stream()

    def close(self) -> None:
        if self._context is not None:
            self._context = None
            _done(driver.cuDevicePrimaryCtxRelease(self._device), "let the GPU go")
