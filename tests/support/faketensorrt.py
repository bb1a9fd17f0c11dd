"""A TensorRT whose engines are ONNX Runtime sessions, on the GPU of `support.fakecuda`: as particular as the real one.

An engine belongs to the version and the GPU that built it, tensors are set by name and address, and work happens on a
stream, when its turn comes.
"""

from __future__ import annotations

import enum
import json
import weakref
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

from support.fakecuda import CudaFault, FakeCuda, Work

_MAGIC = b"FAKE ENGINE\n"
_KINDS = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(float16)": np.float16}


class DataType(enum.Enum):
    """Of tensors."""

    FLOAT = np.float32
    HALF = np.float16
    UINT8 = np.uint8


class FakeTensorRT(ModuleType):
    """The module: put it into `sys.modules` as "tensorrt". `fail`: names of calls that fail next, once each: "parse",
    "build", "deserialize", "context", "enqueue" (refused at once), "kernel" (fails on the GPU). `noise`: what is added
    to each descriptor. `live`: how many engines, contexts and runtimes there are."""

    def __init__(
        self, cuda: FakeCuda, *, version: str = "10.3.0", operators: Callable[[str], bool] | None = None
    ) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.cuda = cuda
        self.fail: list[str] = []
        self.noise = 0.0
        self.live: list[str] = []
        self.built = 0
        self.knows = operators or (lambda name: True)
        self.ILogger = _Logger
        self.DataType = DataType
        self.TensorIOMode = enum.Enum("TensorIOMode", "INPUT OUTPUT")
        self.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")
        self.ProfilingVerbosity = enum.Enum("ProfilingVerbosity", "DETAILED")
        self.MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE")
        self.LayerInformationFormat = enum.Enum("LayerInformationFormat", "JSON")
        self.Builder = lambda logger: _Builder(self, logger)
        self.OnnxParser = lambda network, logger: _Parser(self, network, logger)
        self.Runtime = lambda logger: _Runtime(self, logger)

    def fails(self, name: str) -> bool:
        """Whether that call was asked to fail, this once."""
        if name not in self.fail:
            return False
        self.fail.remove(name)
        return True

    def born(self, thing: object) -> None:
        """Counts the thing until it is freed."""
        name = type(thing).__name__
        self.live.append(name)
        weakref.finalize(thing, self.live.remove, name)


class _Logger:
    Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")

    def complain(self, message: str) -> None:
        self.log(self.Severity.ERROR, message)  # type: ignore[attr-defined]


class _Network:
    def __init__(self, flags: int) -> None:
        self.strongly_typed = bool(flags >> 1 & 1)
        self.onnx = b""
        self.inputs: list[Any] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, index: int) -> Any:
        return self.inputs[index]


class _Parser:
    def __init__(self, trt: FakeTensorRT, network: _Network, logger: _Logger) -> None:
        self._trt, self._network, self._errors = trt, network, list[str]()

    def supports_operator(self, name: str) -> bool:
        return self._trt.knows(name)

    def parse(self, data: bytes) -> bool:
        try:
            session = _session(data)
        except Exception as error:
            self._errors = [str(error)]
            return False
        if self._trt.fails("parse"):
            self._errors = ["In node 7 (importLoop): UNSUPPORTED_NODE"]
            return False
        self._network.onnx = data
        self._network.inputs = [
            SimpleNamespace(name=item.name, shape=(-1, *item.shape[1:])) for item in session.get_inputs()
        ]
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: self._errors[index])


class _Cache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data


class _Config:
    def __init__(self, trt: FakeTensorRT) -> None:
        self._trt = trt
        self._cache: _Cache | None = None
        self.profiles: list[_Profile] = []

    def set_memory_pool_limit(self, pool: Any, size_bytes: int) -> None:
        assert size_bytes > 0

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, data: bytes) -> _Cache | None:
        if data and not data.startswith(b"timings of "):
            return None
        return _Cache(data or f"timings of {self._trt.__version__}\n".encode())

    def set_timing_cache(self, cache: _Cache, ignore_mismatch: bool) -> bool:
        if not cache.data.startswith(f"timings of {self._trt.__version__}\n".encode()):
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> _Cache:
        assert self._cache is not None
        return self._cache

    def timed(self) -> None:
        """What a build adds to the timings."""
        if self._cache is not None and not self._cache.data.endswith(b"conv 3 us\n"):
            self._cache.data += b"conv 3 us\n"


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Any, Any, Any]] = {}

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self.shapes[name] = (least, usual, most)


class _Builder:
    def __init__(self, trt: FakeTensorRT, logger: _Logger) -> None:
        self._trt, self._logger = trt, logger

    def create_network(self, flags: int) -> _Network:
        return _Network(flags)

    def create_builder_config(self) -> _Config:
        return _Config(self._trt)

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        if not network.strongly_typed or self._trt.fails("build"):
            self._logger.complain("Error Code 10: Could not find any implementation for node conv")
            return None
        (profile,) = config.profiles
        if set(profile.shapes) != {item.name for item in network.inputs}:
            self._logger.complain("Network has dynamic inputs, but no optimization profile has been defined")
            return None
        config.timed()
        self._trt.built += 1
        header = {
            "version": self._trt.__version__,
            "capability": self._trt.cuda.capability,
            "most": {name: shapes[2] for name, shapes in profile.shapes.items()},
        }
        return _MAGIC + json.dumps(header).encode() + b"\n" + network.onnx


class _Runtime:
    def __init__(self, trt: FakeTensorRT, logger: _Logger) -> None:
        self._trt, self._logger = trt, logger
        trt.born(self)

    def deserialize_cuda_engine(self, data: bytes) -> _Engine | None:
        self._trt.cuda.need()
        if not data.startswith(_MAGIC) or self._trt.fails("deserialize"):
            self._logger.complain("Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed")
            return None
        header, network = data[len(_MAGIC) :].split(b"\n", 1)
        facts = json.loads(header)
        if (facts["version"], tuple(facts["capability"])) != (self._trt.__version__, self._trt.cuda.capability):
            self._logger.complain("The engine plan file is not compatible with this version of TensorRT")
            return None
        return _Engine(self._trt, self._logger, network, facts["most"])


class _Engine:
    def __init__(self, trt: FakeTensorRT, logger: _Logger, network: bytes, most: dict[str, list[int]]) -> None:
        self._trt, self._logger = trt, logger
        self.session = _session(network)
        self.most = {name: tuple(shape) for name, shape in most.items()}
        self.tensors = {item.name: item for item in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.inputs = [item.name for item in self.session.get_inputs()]
        trt.born(self)

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self._trt.TensorIOMode.INPUT if name in self.inputs else self._trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(_KINDS[self.tensors[name].type])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *self.tensors[name].shape[1:])

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        most = self.most[name]
        return [(1, *most[1:]), (1, *most[1:]), most]

    def create_execution_context(self) -> _Context | None:
        self._trt.cuda.need()
        if self._trt.fails("context"):
            self._logger.complain("Error Code 2: OutOfMemory")
            return None
        return _Context(self._trt, self._logger, self)

    def create_engine_inspector(self) -> Any:
        layer = {"Name": "conv", "LayerType": "CaskConvolution",
                 "Inputs": [{"Name": "x", "Format/Datatype": "Half"}],
                 "Outputs": [{"Name": "y", "Format/Datatype": "Half"}]}  # fmt: skip
        return SimpleNamespace(get_engine_information=lambda kind: json.dumps({"Layers": [layer]}))


class _Context:
    def __init__(self, trt: FakeTensorRT, logger: _Logger, engine: _Engine) -> None:
        self._trt, self._logger, self._engine = trt, logger, engine
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        trt.born(self)

    def set_tensor_address(self, name: str, address: int) -> bool:
        if name not in self._engine.tensors or address % 256:
            self._logger.complain(f"setTensorAddress: {name} is no tensor, or its address is not aligned")
            return False
        self._addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        most = self._engine.most.get(name, ())
        if len(shape) != len(most) or not 1 <= shape[0] <= most[0] or tuple(shape[1:]) != most[1:]:
            self._logger.complain(f"setInputShape: {shape} does not satisfy any optimization profile")
            return False
        self._shapes[name] = tuple(shape)
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        cuda, engine = self._trt.cuda, self._engine
        if self._trt.fails("enqueue"):
            self._logger.complain("enqueueV3: Error Code 1: Cuda Runtime (an illegal memory access was encountered)")
            return False
        if set(self._shapes) != set(engine.inputs) or set(self._addresses) != set(engine.tensors):
            self._logger.complain("enqueueV3: not all shapes and addresses are specified")
            return False
        shapes = dict(self._shapes)
        (counts,) = {shape[0] for shape in shapes.values()}
        (output,) = set(engine.tensors) - set(engine.inputs)
        shapes[output] = (counts, *engine.tensors[output].shape[1:])
        addresses = dict(self._addresses)

        def run() -> None:
            if self._trt.fails("kernel"):
                raise CudaFault("CUDA_ERROR_ILLEGAL_ADDRESS")
            arrays = {
                name: _array(cuda, addresses[name], shape, engine.tensors[name]) for name, shape in shapes.items()
            }
            (found,) = engine.session.run(None, {name: arrays[name] for name in engine.inputs})
            arrays[output][...] = found
            if self._trt.noise:
                arrays[output][...] += self._trt.noise * np.random.default_rng(0).normal(size=found.shape)

        try:
            cuda.begin(stream_handle, "kernel", Work(run, tuple(addresses.values())))
        except CudaFault as fault:
            self._logger.complain(f"enqueueV3: {fault}")
            return False
        return True


def _array(cuda: FakeCuda, address: int, shape: tuple[int, ...], tensor: Any) -> np.ndarray:
    kind = np.dtype(_KINDS[tensor.type])
    return cuda.at(address, int(np.prod(shape)) * kind.itemsize).view(kind).reshape(shape)


def _session(data: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
