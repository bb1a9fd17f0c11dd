"""The GPU behind an embedder: the port of page-locked memory, device memory and streams, and its adapters."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, cast

from tilefix.errors import EngineError
from tilefix.types import UInt8Array

# Package -> (module, class) of its adapter, the first that is installed is used.
ADAPTERS = {
    "pycuda": ("tilefix.embedders.cuda_pycuda", "PyCudaDevice"),
    "cuda-bindings": ("tilefix.embedders.cuda_bindings", "CudaBindingsDevice"),
}


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What GPU it is: `compute_capability` as "8.7", `cuda` the driver's CUDA version as "12.6"."""

    name: str
    compute_capability: str
    cuda: str


def cuda_version(number: int) -> str:
    """A CUDA version as people write it, "12.6", of the driver's number, 12060."""
    return f"{number // 1000}.{number % 1000 // 10}"


class HostMemory(Protocol):
    """Page-locked bytes of the host: `array`, uint8 (size_bytes,), until `close`."""

    array: UInt8Array

    def close(self) -> None:
        """Frees the memory; may be called twice."""
        ...


class DeviceMemory(Protocol):
    """Bytes of the GPU at `address`, until `close`."""

    address: int
    size_bytes: int

    def close(self) -> None:
        """Frees the memory; may be called twice."""
        ...


class Graph(Protocol):
    """Work that was captured once, and is launched as a whole."""

    def close(self) -> None:
        """Frees the graph; may be called twice."""
        ...


class Stream(Protocol):
    """Work in order. Nothing that is begun here has happened before `synchronize` returns."""

    handle: int

    def copy_in(self, target: DeviceMemory, source: HostMemory, size_bytes: int) -> None:
        """Begins to copy the first `size_bytes` from the host."""
        ...

    def copy_out(self, target: HostMemory, source: DeviceMemory, size_bytes: int) -> None:
        """Begins to copy the first `size_bytes` to the host."""
        ...

    def synchronize(self) -> None:
        """Waits for all that was begun. Raises `EngineError` when any of it failed."""
        ...

    def capture(self, work: Callable[[], None]) -> Graph:
        """What `work` begins on this stream, as a graph; none of it runs. Raises `EngineError` when it cannot be
        captured, and what `work` raises; either way the stream can be used again."""
        ...

    def launch(self, graph: Graph) -> None:
        """Begins a graph's work."""
        ...

    def close(self) -> None:
        """Frees the stream; may be called twice."""
        ...


class Device(Protocol):
    """One GPU. Every call but `close` raises `EngineError` when CUDA refuses it."""

    facts: DeviceFacts

    def active(self) -> AbstractContextManager[None]:
        """The block in which this thread may use the device; threads may take turns."""
        ...

    def host_memory(self, size_bytes: int) -> HostMemory:
        """New page-locked memory of the host."""
        ...

    def device_memory(self, size_bytes: int) -> DeviceMemory:
        """New memory of the GPU."""
        ...

    def stream(self) -> Stream:
        """A new stream."""
        ...

    def close(self) -> None:
        """Lets the device go, after all that was made of it is closed; may be called twice."""
        ...


def open_device() -> Device:
    """The first GPU, by the first package of `ADAPTERS` that is installed. Raises `EngineError` when none works."""
    for module, name in ADAPTERS.values():
        try:
            adapter = getattr(importlib.import_module(module), name)
        except ImportError:  # not installed, or built for another CUDA: the next one may serve
            continue
        return cast(Device, adapter())
    raise EngineError(
        f"neither {' nor '.join(ADAPTERS)} can be loaded",
        mend="pip install pycuda, or cuda-bindings of the driver's CUDA version: 12.x on JetPack 6, 13.x on JetPack 7",
    )
