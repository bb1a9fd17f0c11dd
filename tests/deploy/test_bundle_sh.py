"""bundle.sh with a stand-in for pip: what goes into a bundle, and what is refused before anything is fetched."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from support.deploying import DEPLOY, INSTALLER, bundle_py, run, script

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or not (DEPLOY.parent / ".git").exists(), reason="bundles are made of a commit"
)
BUNDLE_SH = DEPLOY / "bundle.sh"
# `python -m pip wheel` and `python -m pip download`: wheels by name, without the index. All else is Python.
PIP = f"""
if [ "$1 $2" != "-m pip" ]; then exec {sys.executable} "$@"; fi
echo "$*" >> "$CALLS"
where() {{ while [ "$1" != "$2" ]; do set -- "$1" "${{@:3}}"; done; echo "$3"; }}
case " $* " in
*" wheel "*) echo wheel > "$(where --wheel-dir "$@")/tilefix-0.1.0-py3-none-any.whl" ;;
*" download "*)
    lock="${{!#}}"
    sed -n 's/^\\([^#=]*\\)==\\([^ ]*\\) .*/\\1 \\2/p' "$lock" | while read -r name version; do
        echo "$name" > "$(where --dest "$@")/${{name//-/_}}-$version-py3-none-any.whl"
    done
    ;;
esac
"""


def make(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    python = script(folder / "bin", "python", PIP)
    return run([BUNDLE_SH, "--out", folder / "out", *words], PYTHON=python, CALLS=folder / "calls")


def members(archive: Path) -> dict[str, bytes]:
    """The files of a bundle by their names in it."""
    with tarfile.open(archive) as tar:
        return {one.name.split("/", 1)[1]: stream.read() for one in tar if (stream := tar.extractfile(one)) is not None}


def test_a_bundle_has_all_that_a_board_needs(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/manifest.json").write_text("{}", encoding="utf-8")
    own = tmp_path / "opencv_python_headless-4.12.0-cp310-cp310-linux_aarch64.whl"
    own.write_text("with GStreamer", encoding="utf-8")
    deb = tmp_path / "tensorrt.deb"
    deb.write_text("TensorRT", encoding="utf-8")
    words = ("--map", tmp_path / "site", "--wheel", own, "--deb", deb)
    done = make(tmp_path, "--jetpack", "6", "--unsigned", "--version", "7.0", *words)
    assert done.returncode == 0, done.stderr
    (archive,) = (tmp_path / "out").iterdir()
    assert archive.name == "tilefix-7.0-aarch64-py310.tar.gz"
    assert bundle_py("check", archive, "--unsigned", "--arch", "aarch64", "--python", "3.10").returncode == 0
    files = members(archive)
    manifest = json.loads(files["manifest.json"])
    assert (manifest["version"], manifest["arch"], manifest["python"]) == ("7.0", "aarch64", "3.10")
    wanted = {f"deploy/{name}" for name in INSTALLER}
    wanted |= {"model/tilefix-s.onnx", "model/tilefix-s.json", "config/tilefix.toml", "udev/70-tilefix.rules"}
    wanted |= {"maps/site/manifest.json", "debs/tensorrt.deb", "docs/deploy.md", "README.md"}
    assert wanted < set(files)
    # One wheel of a name, and pip reads what lies there: all but itself.
    wheels = {name.removeprefix("wheels/") for name in files if name.startswith("wheels/")}
    assert [name for name in wheels if name.startswith("opencv")] == [own.name]
    requirements = files["requirements.txt"].decode().splitlines()
    assert len(requirements) == len(wheels) - 1
    digest = hashlib.sha256(own.read_bytes()).hexdigest()
    assert f"opencv_python_headless==4.12.0 --hash=sha256:{digest}" in requirements
    assert not [line for line in requirements if line.startswith("pip==")]


def test_wheels_are_fetched_by_the_locks_hashes_for_that_machine(tmp_path: Path) -> None:
    assert make(tmp_path, "--jetpack", "7", "--unsigned").returncode == 0
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    (download,) = (line for line in calls if " download " in line)
    assert "--require-hashes" in download
    assert "--no-deps --only-binary :all: --implementation cp --python-version 3.12 --abi cp312" in download
    assert "manylinux_2_39_aarch64" in download
    assert "x86_64" not in download
    assert download.endswith("deploy/locks/py312-aarch64.txt")


def test_a_dry_run_makes_nothing(tmp_path: Path) -> None:
    done = make(tmp_path, "--arch", "x86_64", "--python", "3.10", "--unsigned", "--dry-run")
    assert done.returncode == 0
    assert "x86_64-py310.tar.gz of commit" in done.stdout
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--unsigned",), "for which machine?"),
        (("--jetpack", "5"), "--jetpack 5: 6 or 7"),
        (("--arch", "riscv64", "--python", "3.11", "--unsigned"), "no lock for Python 3.11 on riscv64"),
        (("--jetpack", "6"), "sign it with --key"),
        (("--jetpack", "6", "--key", "/missing"), "--key: no file /missing"),
        (("--jetpack", "6", "--unsigned", "--map", "/missing"), "--map: no file /missing/manifest.json"),
        (("--jetpack", "6", "--unsigned", "--version", "v1"), "--version v1: digits first"),
        (("--jetpack", "6", "--unsigned", "--wheel", "OTHER"), "not for aarch64"),
        (("--jetpack", "6", "--unsigned", "--colour", "red"), "unknown option --colour"),
    ],
)
def test_what_cannot_be_made_is_said(words: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    other = tmp_path / "pycuda-2026.1-cp310-cp310-linux_x86_64.whl"
    other.touch()
    done = make(tmp_path, *(other if word == "OTHER" else word for word in words))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "calls").exists()
