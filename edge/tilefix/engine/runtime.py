"""NVIDIA's runtime, whichever of its packages is installed: TensorRT 10 or 11 on a Jetson, TensorRT-RTX elsewhere."""

from __future__ import annotations

from collections import deque
from typing import Any

from tilefix.errors import EngineError

OLDEST = 10  # explicit quantization in a strongly typed network, and tensors by name


def load_tensorrt() -> Any:
    """The module `tensorrt`, or `tensorrt_rtx` in its place. Raises `EngineError` when there is neither."""
    try:
        import tensorrt as trt
    except ImportError:
        try:
            import tensorrt_rtx as trt
        except ImportError as error:
            raise EngineError(
                "neither tensorrt nor tensorrt_rtx is installed",
                mend="on a Jetson TensorRT comes with JetPack: make the virtual environment with "
                "--system-site-packages; elsewhere pip install 'tilefix[tensorrt-rtx]'",
            ) from error
    if not is_rtx(trt) and int(trt.__version__.split(".")[0]) < OLDEST:
        raise EngineError(f"TensorRT {trt.__version__} is too old", mend=f"TensorRT {OLDEST} comes with JetPack 6.1")
    return trt


def is_rtx(trt: Any) -> bool:
    """Whether this is TensorRT-RTX: it compiles an engine's kernels when they first run, and keeps no timings."""
    return str(trt.__name__).startswith("tensorrt_rtx")


class Complaints:
    """What the runtime complained of: TensorRT gives reasons by its logger only, and its calls just give nothing.

    `logger`: to hand to the runtime. `said`: warnings are left out, the last few errors are kept.
    """

    def __init__(self, trt: Any, *, everything: bool = False) -> None:
        """`everything`: keeps the whole log in `lines` too, at the finest level."""
        self._kept: deque[str] = deque(maxlen=4)
        self.lines: list[str] = []
        errors = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)
        kept, lines = self._kept, self.lines

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in errors:
                    kept.append(" ".join(str(message).split())[:300])
                if everything:
                    lines.append(str(message))

        self.logger = Logger()

    def take(self) -> str:
        """The complaints since the last call, or that there are none."""
        text = "; ".join(self._kept) or "the runtime gives no reason"
        self._kept.clear()
        return text
