"""A GPU of numpy arrays that keeps CUDA's rules: nothing happens before a stream is synchronized, nothing is used after
it was freed, no thread without a context. `install` puts it behind the calls of pycuda or of cuda-bindings."""

from __future__ import annotations

import enum
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

POISON = 0xFF  # float32 of these bytes is not a number, a bool of them is no mask


class CudaFault(Exception):
    """A rule was broken, or a failure was asked for: `name` is CUDA's name of the error."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(eq=False)
class Stream:
    """`begun`: what waits to happen. `captured`: while capturing, what goes into the graph instead."""

    handle: int
    begun: list[Work] = field(default_factory=list)
    captured: list[Work] | None = None


@dataclass(eq=False)
class Work:
    """One thing that a stream does, the memory that it uses meanwhile, and that of the host which it will write."""

    run: Callable[[], None]
    uses: tuple[int, ...] = ()
    writes: tuple[np.ndarray, ...] = ()
    parts: tuple[Work, ...] = ()


class FakeCuda:
    """One GPU. `live`: what was made and not freed, by address or handle. `fail`: names of calls that fail next, once
    each: "malloc", "host_alloc", "copy_in", "copy_out", "capture", "launch", "kernel"."""

    def __init__(self, *, capability: tuple[int, int] = (8, 7), version: int = 12060, graphs: bool = True) -> None:
        self.capability, self.version, self.graphs = capability, version, graphs
        self.name = "a GPU of numpy"
        self.memory_bytes = 8 << 30
        self.live: dict[int, Any] = {}
        self.fail: list[str] = []
        self.calls: list[str] = []  # copies, launches, kernels, as they begin
        self.retained = 0
        self._contexts = threading.local()
        self._numbers = itertools.count(0x7F00_0000_0000, 1 << 28)

    def depth(self) -> int:
        """How many contexts this thread has pushed."""
        return getattr(self._contexts, "depth", 0)

    def push(self) -> None:
        if not self.retained:
            raise CudaFault("CUDA_ERROR_INVALID_CONTEXT")
        self._contexts.depth = self.depth() + 1

    def pop(self) -> None:
        if not self.depth():
            raise CudaFault("CUDA_ERROR_INVALID_CONTEXT")
        self._contexts.depth -= 1

    def need(self, call: str = "") -> None:
        """Every call but the first few: a context, and no failure asked for."""
        if not self.depth():
            raise CudaFault("CUDA_ERROR_INVALID_CONTEXT")
        if call in self.fail:
            self.fail.remove(call)
            raise CudaFault("CUDA_ERROR_UNKNOWN")

    def malloc(self, size_bytes: int) -> int:
        self.need("malloc")
        if size_bytes > self.memory_bytes:
            raise CudaFault("CUDA_ERROR_OUT_OF_MEMORY")
        address = next(self._numbers)
        self.live[address] = np.full(size_bytes, POISON, np.uint8)
        return address

    def host_alloc(self, size_bytes: int) -> np.ndarray:
        """Page-locked memory; its own address is its key in `live`."""
        self.need("host_alloc")
        memory = np.full(size_bytes, POISON, np.uint8)
        self.live[memory.ctypes.data] = memory
        return memory

    def free(self, key: int) -> None:
        self.need()
        if key not in self.live:
            raise CudaFault("CUDA_ERROR_INVALID_VALUE")  # freed twice, or never made
        for stream in self._streams():
            if any(key in work.uses for work in stream.begun):
                raise CudaFault("CUDA_ERROR_ILLEGAL_ADDRESS")
        memory = self.live.pop(key)
        if isinstance(memory, np.ndarray):
            memory.fill(POISON)

    def make_stream(self) -> int:
        self.need()
        handle = next(self._numbers)
        self.live[handle] = Stream(handle)
        return handle

    def _streams(self) -> Iterator[Stream]:
        return (item for item in self.live.values() if isinstance(item, Stream))

    def stream(self, handle: int) -> Stream:
        found = self.live.get(handle)
        if not isinstance(found, Stream):
            raise CudaFault("CUDA_ERROR_INVALID_HANDLE")
        return found

    def begin(self, handle: int, name: str, work: Work) -> None:
        """Work that waits for its turn, on a stream."""
        self.need(name)
        self.calls.append(name)
        stream = self.stream(handle)
        if stream.captured is not None:
            stream.captured.append(work)
            return
        for memory in work.writes:
            memory.fill(POISON)  # until the stream is synchronized
        stream.begun.append(work)

    def at(self, key: int, size_bytes: int) -> np.ndarray:
        """Live memory, at least that long."""
        memory = self.live.get(key)
        if not isinstance(memory, np.ndarray) or len(memory) < size_bytes:
            raise CudaFault("CUDA_ERROR_INVALID_VALUE")
        return memory[:size_bytes]

    def copy(self, handle: int, target: int, source: int, size_bytes: int, out: bool) -> None:
        self.at(source, size_bytes)
        to = self.at(target, size_bytes)

        def run() -> None:
            np.copyto(self.at(target, size_bytes), self.at(source, size_bytes))

        self.begin(handle, "copy_out" if out else "copy_in", Work(run, (target, source), (to,) if out else ()))

    def synchronize(self, handle: int) -> None:
        self.need()
        stream = self.stream(handle)
        if stream.captured is not None:
            raise CudaFault("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        begun, stream.begun = stream.begun, []
        for work in begun:
            work.run()  # what fails takes the rest with it

    def begin_capture(self, handle: int) -> None:
        self.need("capture")
        stream = self.stream(handle)
        if stream.captured is not None or not self.graphs:
            raise CudaFault("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        stream.captured = []

    def end_capture(self, handle: int) -> list[Work]:
        self.need()
        stream = self.stream(handle)
        if stream.captured is None:
            raise CudaFault("CUDA_ERROR_ILLEGAL_STATE")
        captured, stream.captured = stream.captured, None
        return captured

    def keep_graph(self, works: Iterable[Work]) -> int:
        """The works as one, under its handle."""
        works = tuple(works)

        def run() -> None:
            for work in works:
                work.run()

        handle = next(self._numbers)
        uses = [key for work in works for key in work.uses]
        self.live[handle] = Work(run, (handle, *uses), tuple([item for work in works for item in work.writes]), works)
        return handle

    def launch(self, handle: int, graph: int) -> None:
        found = self.live.get(graph)
        if not isinstance(found, Work):
            raise CudaFault("CUDA_ERROR_INVALID_HANDLE")
        self.begin(handle, "launch", found)


def install(monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda, package: str) -> None:
    """Makes `package` ("pycuda" or "cuda-bindings") the one that is installed, on that GPU, until the test ends."""
    names = ("pycuda", "pycuda.driver", "cuda", "cuda.bindings", "cuda.bindings.driver")
    for name in (*names, "tilefix.embedders.cuda_pycuda", "tilefix.embedders.cuda_bindings"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        del sys.modules[name]
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)
    made = {
        "pycuda": {"pycuda": {}, "pycuda.driver": _pycuda(cuda)},
        "cuda-bindings": {"cuda": {}, "cuda.bindings": {}, "cuda.bindings.driver": _bindings(cuda)},
    }[package]
    for name, content in made.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
        if "." in name:
            parent, child = name.rsplit(".", 1)
            setattr(sys.modules[parent], child, module)


class Result(enum.IntEnum):
    """Those of CUDA's answers that the fake gives."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_ILLEGAL_STATE = 401
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
    CUDA_ERROR_UNKNOWN = 999


def _bindings(cuda: FakeCuda) -> dict[str, Any]:
    """The functions of `cuda.bindings.driver` that the adapter calls: each gives a tuple, the result first."""

    def answering(count: int, work: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            try:
                value = work(*arguments)
            except CudaFault as fault:
                return (Result[fault.name], *(None,) * count)
            return (Result.CUDA_SUCCESS, *((value,) if count else ()))

        return call

    attributes = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=0, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=1
    )

    def retain(device: int) -> int:
        cuda.retained += 1
        return 1

    def release(device: int) -> None:
        if not cuda.retained:
            raise CudaFault("CUDA_ERROR_INVALID_CONTEXT")
        cuda.retained -= 1

    none: dict[str, Callable[..., Any]] = {
        "cuInit": lambda flags: None,
        "cuDevicePrimaryCtxRelease": release,
        "cuCtxPushCurrent": lambda context: cuda.push(),
        "cuMemFree": cuda.free,
        "cuMemFreeHost": cuda.free,
        "cuStreamDestroy": cuda.free,
        "cuStreamSynchronize": cuda.synchronize,
        "cuStreamBeginCapture": lambda stream, mode: cuda.begin_capture(stream),
        "cuGraphDestroy": cuda.free,
        "cuGraphExecDestroy": cuda.free,
        "cuGraphLaunch": lambda graph, stream: cuda.launch(stream, graph),
        "cuMemcpyHtoDAsync": lambda to, at, size, stream: cuda.copy(stream, to, at, size, False),
        "cuMemcpyDtoHAsync": lambda to, at, size, stream: cuda.copy(stream, to, at, size, True),
    }
    one: dict[str, Callable[..., Any]] = {
        "cuDeviceGet": lambda ordinal: ordinal,
        "cuDeviceGetName": lambda length, device: cuda.name.encode().ljust(length, b"\0"),
        "cuDeviceGetAttribute": lambda which, device: cuda.capability[which],
        "cuDriverGetVersion": lambda: cuda.version,
        "cuDevicePrimaryCtxRetain": retain,
        "cuCtxPopCurrent": cuda.pop,
        "cuMemAlloc": cuda.malloc,
        "cuMemHostAlloc": lambda size, flags: cuda.host_alloc(size).ctypes.data,
        "cuStreamCreate": lambda flags: cuda.make_stream(),
        "cuStreamEndCapture": lambda stream: cuda.keep_graph(cuda.end_capture(stream)),
        "cuGraphInstantiate": lambda graph, flags: cuda.keep_graph(cuda.live[graph].parts),
        "cuGetErrorName": lambda result: result.name.encode(),
    }
    return {
        **{name: answering(0, work) for name, work in none.items()},
        **{name: answering(1, work) for name, work in one.items()},
        "CUdevice_attribute": attributes,
        "CUstreamCaptureMode": SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1),
    }


def _pycuda(cuda: FakeCuda) -> dict[str, Any]:
    """The functions of `pycuda.driver` that the adapter calls: each raises when it fails."""

    class Error(Exception):
        pass

    def raising(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            try:
                return work(*arguments)
            except CudaFault as fault:
                raise Error(fault.name) from fault

        return call

    class Allocation:
        def __init__(self, size_bytes: int) -> None:
            self._address = raising(cuda.malloc)(size_bytes)

        def __int__(self) -> int:
            return self._address

        def free(self) -> None:
            raising(cuda.free)(self._address)

    class Locked:  # what pycuda's array stands on
        def __init__(self, size_bytes: int) -> None:
            self._memory = raising(cuda.host_alloc)(size_bytes)
            self.__array_interface__ = self._memory.__array_interface__

        def free(self) -> None:
            raising(cuda.free)(self._memory.ctypes.data)

    class FakeStream:
        def __init__(self, flags: int = 0) -> None:
            self.handle = raising(cuda.make_stream)()
            weakref.finalize(self, cuda.live.pop, self.handle, None)

        def synchronize(self) -> None:
            raising(cuda.synchronize)(self.handle)

    class Context:
        push = staticmethod(raising(cuda.push))
        pop = staticmethod(raising(cuda.pop))

        def detach(self) -> None:
            cuda.retained -= 1

    def retain() -> Context:
        cuda.retained += 1
        return Context()

    def copy_in(to: int, source: np.ndarray, stream: FakeStream) -> None:
        raising(cuda.copy)(stream.handle, to, source.ctypes.data, source.nbytes, False)

    def copy_out(to: np.ndarray, source: int, stream: FakeStream) -> None:
        raising(cuda.copy)(stream.handle, to.ctypes.data, source, to.nbytes, True)

    return {
        "Error": Error,
        "init": lambda: None,
        "get_driver_version": lambda: cuda.version,
        "Device": lambda ordinal: SimpleNamespace(
            name=lambda: cuda.name, compute_capability=lambda: cuda.capability, retain_primary_context=retain
        ),
        "Context": Context,
        "Stream": FakeStream,
        "mem_alloc": Allocation,
        "pagelocked_empty": lambda shape, dtype: np.asarray(Locked(int(np.prod(shape)))),
        "memcpy_htod_async": copy_in,
        "memcpy_dtoh_async": copy_out,
    }
