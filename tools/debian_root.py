"""A Debian root to try an installation in: copied, compared file by file, and worked in without a network."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tilefix.errors import TilefixError
from tilefix.manifest import sha256_of

# Mounted, or gone with the next start.
_NOT_OF_THE_ROOT = ("proc", "sys", "dev", "run")
_ENTER = """
root=$0 shared=$1
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mkdir "$root/run/shared"
mount --bind "$shared" "$root/run/shared"
mount -o remount,bind,ro "$root/run/shared"
exec chroot "$root" /usr/bin/env -i LANG=C.UTF-8 PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""


def copy_root(root: Path, work: Path) -> Path:
    """A copy of a root, in the place of an earlier copy at `work`. Raises `TilefixError` for what is no Debian root,
    and where something else stands."""
    if not (root / "etc" / "debian_version").exists():
        raise TilefixError("is no Debian root", where=root, mend="make one by debootstrap")
    mark = work.with_name(work.name + ".copy")
    if work.exists() and not mark.exists():
        raise TilefixError("is no copy of a root made here", where=work, mend="give --work a folder that is not there")
    mark.touch()
    if work.exists():
        shutil.rmtree(work)  # what was left of it would get the copy inside
    subprocess.run(["cp", "-a", str(root), str(work)], check=True)
    return work


def put_bundle(root: Path, bundle: Path, name: str = "bundle") -> str:
    """Puts a bundle into the root's /root and unpacks it to /root/`name`; its path inside."""
    shutil.copy(bundle, root / "root" / bundle.name)
    folder = root / "root" / name
    folder.mkdir()
    subprocess.run(["tar", "-xzf", str(bundle), "-C", str(folder), "--strip-components=1"], check=True)
    return f"/root/{bundle.name}"


def put_map(root: Path, package: Path) -> None:
    """Brings a map package into use as `site`, as provision.sh does with the map of a bundle."""
    version = root / "var/lib/tilefix/maps/site/versions/first"
    shutil.copytree(package, version)
    (version / ".complete").touch()
    (version.parent.parent / "current").symlink_to("versions/first")


def tree(root: Path) -> dict[str, str]:
    """Path -> kind, mode, owner and SHA-256 or target, of everything in a root but what is mounted there."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if name.parts[0] in _NOT_OF_THE_ROOT:
            continue
        status = path.lstat()
        content = ""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = sha256_of(path)
        found[str(name)] = f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {content}"
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Every path that came (+), went (-) or is another one (~), in the order of paths."""
    marks = {}
    for path in before.keys() | after.keys():
        if before.get(path) != after.get(path):
            marks[path] = "+" if path not in before else "-" if path not in after else "~"
    return [f"{marks[path]} {path}" for path in sorted(marks)]


def size_mib(folder: Path) -> int:
    """What the files below a folder hold together, links not followed."""
    return round(sum(one.lstat().st_size for one in folder.rglob("*") if not one.is_symlink()) / (1 << 20))


class OfflineRoot:
    """A root whose programs run without a network. `shared`: a folder that they see, read-only, at /run/shared."""

    def __init__(self, root: Path, shared: Path) -> None:
        self.root, self._shared = root.resolve(), shared.resolve()

    def run(self, command: Sequence[str], *, statuses: Sequence[int] = (0,)) -> str:
        """What a command prints, standard error with it. Raises `TilefixError` when it ends with another status."""
        enter = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec", _ENTER]
        done = subprocess.run(
            [*enter, str(self.root), str(self._shared), *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode not in statuses:
            raise TilefixError(f"{' '.join(command)}: status {done.returncode}: {done.stdout[-2000:]}", where=self.root)
        return done.stdout
