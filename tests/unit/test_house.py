"""The house's own promises: what importing costs, which packages are shipped."""

from __future__ import annotations

import configparser
import os
import shutil
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
        "import sys, tilefix.localization.localizer, tilefix.evaluation.replay, tilefix.service.daemon\n"
        "import tilefix.simulation.world\n"
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


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_takes_the_first_python_that_works(tmp_path: Path) -> None:
    for name in ("Makefile", "setup.cfg", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    names = tmp_path / "bin"
    names.mkdir()

    def put(name: str, body: str) -> None:
        (names / name).write_text(f"#!/bin/sh\n{body}\n")
        (names / name).chmod(0o755)

    def dry_run() -> subprocess.CompletedProcess[str]:
        make = shutil.which("make")
        assert make is not None
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHON", "MAKEFLAGS")}
        return subprocess.run(
            [make, "-n", "demo"],
            cwd=tmp_path,
            env={**environment, "PATH": str(names)},
            capture_output=True,
            text=True,
            check=False,
        )

    put("python3.11", "exit 127")  # the name of one that a version manager has not installed
    done = dry_run()
    assert done.returncode == 2
    assert "no Python 3.10 to 3.12" in done.stderr
    put("python3.12", f'exec {sys.executable} "$@"')
    done = dry_run()
    assert done.returncode == 0
    assert "|| python3.12 -m venv .venv" in done.stdout
