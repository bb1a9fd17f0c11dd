"""Boots a Debian root under a real systemd, in namespaces of its own and without a network. Needs root on this machine.

debootstrap --variant=minbase bookworm DIR
chroot DIR apt-get install -y systemd-sysv dbus udev python3-venv openssl procps iproute2 libglib2.0-0
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tilefix.errors import TilefixError

_CGROUPS = Path("/sys/fs/cgroup")
_BOOT_S = 90.0
# The tree of mounts that systemd expects of a container; cgroup controllers stay the machine's own.
_SCRIPT = """
root=$0
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
if [ -d /sys/fs/cgroup/systemd ]; then
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/unified" "$root/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
else
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
fi
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/shared"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"
mount --bind "$1" "$root/run/shared"
mount -o remount,bind,ro "$root/run/shared"
ip link set lo up
exec chroot "$root" /usr/bin/env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
"""


class BootedRoot:
    """A root that runs. `shared`: a folder of this machine that it sees, read-only, at /run/shared. `boot_s`: how long
    it may take until everything that its start brings along is over."""

    def __init__(self, root: Path, shared: Path, *, boot_s: float = _BOOT_S) -> None:
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            raise TilefixError("booting a root needs root rights and unshare", mend="run it with sudo")
        if not (root / "sbin" / "init").exists():
            raise TilefixError("is no Debian root with systemd", where=root, mend="make one by debootstrap")
        self._root = root.resolve()
        self._groups = self._own_groups()
        command = ["unshare", "--fork", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--kill-child"]
        self._process = subprocess.Popen(
            [*command, "sh", "-ec", _SCRIPT, str(self._root), str(shared.resolve())],
            stdin=subprocess.DEVNULL,
            preexec_fn=self._join_groups,
        )
        self._init = self._await_init()
        self._await_boot(boot_s)

    def _own_groups(self) -> list[Path]:
        trees = [_CGROUPS / "unified", _CGROUPS / "systemd"] if (_CGROUPS / "systemd").is_dir() else [_CGROUPS]
        groups = [tree / f"booted-{os.getpid()}" for tree in trees if tree.is_dir()]
        for group in groups:
            group.mkdir(exist_ok=True)
        return groups

    def _join_groups(self) -> None:
        for group in self._groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    def _await_init(self) -> int:
        deadline = time.monotonic() + _BOOT_S
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise TilefixError(f"did not boot: unshare ended with {self._process.returncode}", where=self._root)
            for word in children.read_text().split():
                if Path(f"/proc/{word}/comm").read_text().strip() == "systemd":
                    return int(word)
            time.sleep(0.1)
        raise TilefixError("did not boot", where=self._root)

    def _await_boot(self, boot_s: float) -> None:
        deadline = time.monotonic() + boot_s
        while time.monotonic() < deadline:
            if self.run(["systemctl", "is-system-running"], check=False).stdout.strip() in ("running", "degraded"):
                return
            time.sleep(0.2)
        raise TilefixError("systemd did not come up", where=self._root)

    def run(self, command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command inside; its output, standard error with it. Raises `TilefixError` when it fails."""
        enter = ["nsenter", "-t", str(self._init), "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w"]
        clean = ["/usr/bin/env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        done = subprocess.run(
            [*enter, *clean, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if check and done.returncode != 0:
            raise TilefixError(
                f"{' '.join(command)}: status {done.returncode}: {done.stdout[-2000:]}", where=self._root
            )
        return done

    def show(self, unit: str, field: str) -> str:
        """One property of a unit."""
        return self.run(["systemctl", "show", unit, "-p", field, "--value"]).stdout.strip()

    def stop(self) -> None:
        """Ends everything that runs inside; may be called twice."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline and Path(f"/proc/{self._init}").exists():
            time.sleep(0.05)
        for group in self._groups:
            for inner in sorted(group.rglob("*"), reverse=True):
                if inner.is_dir():
                    inner.rmdir()
            if group.is_dir():
                group.rmdir()
