"""Facts of the machine that a benchmark runs on, to stand beside its figures."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import faiss

from tilefix.embedders.onnx import THREADS

LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime", "faiss-cpu")


def facts_of_this_machine() -> dict[str, Any]:
    """What measured figures hold for: processor, load, versions and threads."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cpus": usable,
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "threads": {
            "opencv": cv2.getNumThreads(),
            "faiss": faiss.omp_get_max_threads(),
            "onnxruntime": THREADS,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        },
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")  # ARM boards
    except OSError:
        return platform.processor() or "unknown"
