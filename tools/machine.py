"""What benchmarks share: facts of the machine, to stand beside the figures, and how figures are handed over."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import faiss

from tilefix.embedders.onnx import THREADS
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results

LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime", "faiss-cpu")
OPTIONAL = ("openvino", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx")


def facts_of_this_machine() -> dict[str, Any]:
    """What measured figures hold for: processor, load, versions and threads."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cpus": usable,
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES} | dict(_installed()),
        "threads": {
            "opencv": cv2.getNumThreads(),
            "faiss": faiss.omp_get_max_threads(),
            "onnxruntime": THREADS,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        },
    }


def report(
    program: str, out: Path, measure: Callable[[], dict[str, Any]], text: Callable[[dict[str, Any]], str]
) -> int:
    """Writes what `measure` gives to `out` as JSON, prints `text` of it and the file's name; 0.

    2, with one clear line on standard error and nothing written, when anything raises a `TilefixError`.
    """
    try:
        found = measure()
        write_results(out.parent, {out.name: json.dumps(found, indent=2) + "\n"})
    except TilefixError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    print(text(found))
    print(out)
    return 0


def _installed() -> Iterator[tuple[str, str]]:
    for name in OPTIONAL:
        with contextlib.suppress(PackageNotFoundError):
            yield name, version(name)


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")  # ARM boards
    except OSError:
        return platform.processor() or "unknown"
