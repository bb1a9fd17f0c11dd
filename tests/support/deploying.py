"""What the deploy scripts are tested with: signed bundles, a fake BSP, and programs that say what they were asked."""

from __future__ import annotations

import base64
import ensurepip
import hashlib
import importlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
BUNDLE_PY = DEPLOY / "bundle.py"
INSTALLER = ("lib.sh", "bundle.py", "minisign.py", "install.sh", "provision.sh", "uninstall.sh", "power.sh")


def run(
    command: list[str | Path], *, path: Path | None = None, **environment: str | Path
) -> subprocess.CompletedProcess[str]:
    """A finished program, whatever its status; `path`: a folder whose programs come before the system's."""
    variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    if path is not None:
        variables["PATH"] = f"{path}{os.pathsep}{variables['PATH']}"
    return subprocess.run(
        [str(word) for word in command],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def bundle_py(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """What bundle.py does with these arguments, within the test's process."""
    if str(DEPLOY) not in sys.path:
        sys.path.insert(0, str(DEPLOY))
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = importlib.import_module("bundle").main([str(word) for word in words])
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def script(folder: Path, name: str, body: str) -> Path:
    """A program of that name in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


@dataclass(frozen=True, slots=True)
class Signer:
    """An Ed25519 key in minisign's formats, made and used by openssl."""

    folder: Path
    key_id: bytes = b"tilefix!"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._openssl("genpkey", "-algorithm", "ed25519", "-out", str(self.folder / "secret.pem"))

    @staticmethod
    def _openssl(*words: str) -> bytes:
        return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout

    @property
    def public(self) -> Path:
        """The public key's file, as `minisign -G` writes it."""
        file = self.folder / "release.pub"
        raw = self._openssl("pkey", "-in", str(self.folder / "secret.pem"), "-pubout", "-outform", "DER")[-32:]
        text = base64.b64encode(b"Ed" + self.key_id + raw).decode()
        file.write_text(f"untrusted comment: minisign public key\n{text}\n", encoding="utf-8")
        return file

    def _sign(self, message: bytes) -> bytes:
        file = self.folder / "message"
        file.write_bytes(message)
        return self._openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(self.folder / "secret.pem"), "-in", str(file))

    def sign(self, file: Path, comment: str = "tilefix test") -> None:
        """`file`.minisig beside `file`, as `minisign -S` writes it."""
        proof = self._sign(hashlib.blake2b(file.read_bytes()).digest())
        whole = self._sign(proof + comment.encode())
        lines = [
            "untrusted comment: signature from minisign secret key",
            base64.b64encode(b"ED" + self.key_id + proof).decode(),
            f"trusted comment: {comment}",
            base64.b64encode(whole).decode(),
        ]
        file.with_name(file.name + ".minisig").write_text("\n".join(lines) + "\n", encoding="utf-8")


def bundle_tree(folder: Path, **files: str) -> Path:
    """A bundle's folder with `files` (double underscores stand for slashes), not sealed yet."""
    tree = folder / "tilefix-1.0-test"
    for name, content in {"config__tilefix_toml": "# a configuration\n", **files}.items():
        file = tree / name.replace("__", "/").replace("_toml", ".toml").replace("_json", ".json")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return tree


def seal(
    tree: Path, *, version: str = "1.0", arch: str = "aarch64", python: str = "3.10", commit: str = "0" * 40
) -> None:
    """Writes manifest and sums by bundle.py."""
    done = bundle_py("seal", tree, "--version", version, "--arch", arch, "--python", python, "--commit", commit)
    assert done.returncode == 0, done.stderr


def pack(tree: Path, archive: Path) -> Path:
    """The archive of a sealed tree."""
    done = bundle_py("pack", tree, archive)
    assert done.returncode == 0, done.stderr
    return archive


def signed_bundle(folder: Path, signer: Signer, *, python: str = "3.10", **files: str) -> Path:
    """A small bundle that every check holds for."""
    tree = bundle_tree(folder, **files)
    seal(tree, python=python)
    signer.sign(tree / "SHA256SUMS")
    return pack(tree, folder / "bundle.tar.gz")


def _add(tar: tarfile.TarFile, name: str, content: str, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    raw = content.encode()
    entry.size = len(raw)
    tar.addfile(entry, io.BytesIO(raw))


# The configurations that NVIDIA's releases have for Orin boards.
BOARD_CONFIGS = ("jetson-orin-nano-devkit", "jetson-orin-nano-devkit-super", "jetson-agx-orin-devkit")


def fake_bsp(folder: Path, release: tuple[int, int, int], *, left_out: tuple[str, ...] = ()) -> Path:
    """An archive laid out like NVIDIA's BSP, whose tools write into calls.txt what they were asked."""
    branch, major, minor = release
    asks = '#!/bin/bash\necho "$(basename "$0") $*" >> "$CALLS"\n'
    files = {f"{name}.conf": "# a board\n" for name in BOARD_CONFIGS}
    files |= {
        "nv_tegra/bsp_version": f"BSP_BRANCH={branch}\nBSP_MAJOR={major}\nBSP_MINOR={minor}\n",
        "apply_binaries.sh": asks,
        "tools/l4t_create_default_user.sh": asks + 'echo "$2:x:1000:1000::/home/$2:/bin/bash" >> rootfs/etc/passwd\n',
        "tools/kernel_flash/l4t_initrd_flash.sh": asks,
    }
    if branch >= 38:
        files["l4t_initrd_flash.sh"] = asks
    archive = folder / f"Jetson_Linux_R{branch}.{major}.{minor}_aarch64.tbz2"
    with tarfile.open(archive, "w:bz2") as tar:
        for name, content in files.items():
            if name not in left_out:
                _add(tar, f"Linux_for_Tegra/{name}", content, 0o755 if name.endswith(".sh") else 0o644)
    return archive


def fake_rootfs(folder: Path, python: str) -> Path:
    """An archive laid out like NVIDIA's sample root file system, with that Python."""
    archive = folder / f"Tegra_Linux_Sample-Root-Filesystem_{python}_aarch64.tbz2"
    with tarfile.open(archive, "w:bz2") as tar:
        _add(tar, f"usr/bin/python{python}", "", 0o755)
        _add(tar, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
    return archive


# What install.sh imports of a version before it counts as whole.
IMPORTED = ("cv2", "faiss", "numpy", "onnxruntime", "pymavlink/mavutil", "pyproj", "tilefix/cli")
COMMAND = """
import sys

def main():
    if "--help" in sys.argv:
        print("    selftest        try the parts")
    if sys.argv[1:2] == ["selftest"]:
        import pathlib
        return int(pathlib.Path(sys.argv[2]).read_text().strip("# \\n") or 0)
    print("tilefix of the test")
    return 0
"""


def fake_wheel(folder: Path, *, broken: bool = False) -> Path:
    """One wheel with a module of each name that install.sh imports, and a command `tilefix`; quick to install."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "tilefix-1.0-py3-none-any.whl"
    files = {f"{name}.py": COMMAND if name == "tilefix/cli" else "" for name in IMPORTED}
    files |= {"tilefix/__init__.py": "", "pymavlink/__init__.py": ""}
    if broken:
        files["faiss.py"] = "raise ImportError('built for another machine')\n"
    info = "tilefix-1.0.dist-info"
    files[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: tilefix\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = "[console_scripts]\ntilefix = tilefix.cli:main\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file


def installable_bundle(
    folder: Path,
    signer: Signer,
    *,
    version: str = "1.0",
    commit: str = "0" * 40,
    broken: bool = False,
    debs: Sequence[Path] = (),
) -> Path:
    """A signed bundle for this machine and this Python that install.sh installs within seconds."""
    tree = bundle_tree(
        folder, config__tilefix_toml="# 0\n", maps__site__manifest_json="{}\n", maps__site__tiles="tiles\n"
    )
    wheels = tree / "wheels"
    wheel = fake_wheel(wheels, broken=broken)
    pip = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    shutil.copy(pip, wheels)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tree / "requirements.txt").write_text(f"tilefix==1.0 --hash=sha256:{digest}\n", encoding="utf-8")
    for name in ("systemd", "udev"):
        shutil.copytree(DEPLOY / name, tree / name)
    (tree / "deploy").mkdir()
    for name in INSTALLER:
        shutil.copy(DEPLOY / name, tree / "deploy")
    for deb in debs:
        (tree / "debs").mkdir(exist_ok=True)
        shutil.copy(deb, tree / "debs")
    python = "{}.{}".format(*sys.version_info)
    seal(tree, version=version, arch=platform.machine(), python=python, commit=commit)
    signer.sign(tree / "SHA256SUMS")
    return pack(tree, folder / f"bundle-{version}.tar.gz")


def tiny_deb(folder: Path) -> Path:
    """A Debian package that needs nothing and brings one file, /opt/of-jetpack."""
    tree = folder / "deb"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "opt").mkdir()
    (tree / "opt/of-jetpack").write_text("TensorRT\n", encoding="utf-8")
    fields = {
        "Package": "of-jetpack",
        "Version": "10.3",
        "Architecture": "all",
        "Maintainer": "test",
        "Description": "x",
    }
    control = "".join(f"{name}: {value}\n" for name, value in fields.items())
    (tree / "DEBIAN/control").write_text(control, encoding="utf-8")
    done = run(["dpkg-deb", "--root-owner-group", "--build", tree, folder / "of-jetpack.deb"])
    assert done.returncode == 0, done.stderr
    return folder / "of-jetpack.deb"
