"""The house's own promises: what importing costs, which packages are shipped."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "osgeo", "rasterio", "tensorrt", "pycuda", "onnxruntime", "pymavlink", "cv2", "faiss")


@pytest.mark.parametrize("module", ["tilefix", "tilefix.cli", "tilefix.types", "tilefix.ports"])
def test_importing_brings_no_back_end(module) -> None:
    code = f"import sys, {module}; print(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_what_flies_needs_no_torch_gdal_or_accelerator() -> None:
    code = (
        "import sys, tilefix.localizer, tilefix.replay, tilefix.daemon, tilefix.simulation.world\n"
        "print(','.join(m for m in ('torch', 'osgeo', 'rasterio', 'tensorrt', 'pycuda', 'onnxruntime', 'pymavlink')"
        " if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_setup_cfg_lists_every_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    found = {
        str(init.parent.relative_to(source)).replace("/", ".")
        for source in (ROOT / "edge", ROOT / "training")
        for init in source.rglob("__init__.py")
    }
    assert listed == found
