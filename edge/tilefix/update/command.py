"""`tilefix update`: a new version, map or model beside what runs, tried, taken into use, and taken back if need be.

Everything is staged whole first; then one trial covers all slots, each switched by one rename. A self-test on the
spot, and `deploy/guard.sh` before every start of the service until it served well, decide whether it stays.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tilefix.errors import UpdateError
from tilefix.maps.manifest import MANIFEST_FILE
from tilefix.maps.package import MapPackage
from tilefix.update.slots import Slot
from tilefix.update.trial import Change, begin_trial, take_back, trial_of

SOFTWARE = Path("/opt/tilefix")
STATE = Path("/var/lib/tilefix")
OWN = "state"  # the service's own folder in it: the rest is root's
USER = "tilefix"
CONFIG = Path("/etc/tilefix/tilefix.toml")
SERVICE = "tilefix.service"
# A service that proves itself does so in half a minute; three starts that fail take longer.
_PATIENCE_S = 180.0
_POLL_S = 0.5
_VERSION_CHARS = 16


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tilefix update`."""
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="a bundle made by deploy/bundle.sh")
    parser.add_argument("--map", type=Path, action="append", default=[], metavar="DIR", help="a map package")
    parser.add_argument("--model", type=Path, metavar="FILE", help="a model's .onnx, its .json beside it")
    parser.add_argument("--back", action="store_true", help="go back to the previous version")
    parser.add_argument("--status", action="store_true", help="say what is in use and what is on trial")
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help=f"tried with it ({CONFIG})")
    parser.add_argument("--software", type=Path, default=SOFTWARE, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--state", type=Path, default=STATE, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--no-restart", action="store_true", help="leave the service as it runs")
    parser.add_argument("--key", type=Path, action="append", default=[], metavar="FILE", help="minisign's public key")
    parser.add_argument("--unsigned", action="store_true", help="take a bundle without a signature")


def run(args: argparse.Namespace) -> int:
    """0 when the new versions are in use (and, with the service running, proved), 1 when they were taken back."""
    os.umask(0o022)  # the service reads what root puts there
    args.software, args.state = args.software.resolve(), args.state.resolve()
    own = args.state / OWN
    if args.status:
        return _status(args.software, args.state)
    with _alone(args.software):
        if args.back:
            _back(args.software, own)
            return 0 if args.no_restart else _restart()
        if trial_of(args.software, own):
            raise UpdateError(
                "the last update is still on trial", where=args.state, mend="let the service run, or update --back"
            )
        changes = _stage(args)
        if not changes:
            raise UpdateError("nothing to install", mend="give a bundle, --map or --model")
        begin_trial(args.software, changes)
        for one in changes:
            one.slot.switch(one.version)
        if not _selftest(args.software, args.config):
            _back(args.software, own)
            return 1
    if args.no_restart:
        sys.stdout.write("in use with the next start of the service\n")
        return 0
    _restart()
    return _await(args.software, own, changes)


@contextmanager
def _alone(software: Path) -> Iterator[None]:
    """One update at a time. Raises `UpdateError` where another is under way. The lock lies where only root writes: in
    its own folder the service could put a link to any file in its place."""
    software.mkdir(parents=True, exist_ok=True)
    with (software / ".update.lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UpdateError("another update is under way", where=software) from None
        yield


def _back(software: Path, own: Path) -> None:
    """Takes back what is on trial; without a trial, the software's previous version comes into use."""
    if trial_of(software, own):
        for one in take_back(software, own):
            sys.stdout.write(f"{one.slot.folder}: back to {one.before}\n")
        return
    slot = Slot(software)
    if slot.previous is None:
        raise UpdateError("there is no previous version", where=software)
    slot.switch(slot.previous)
    sys.stdout.write(f"{software}: back to {slot.current}\n")


def _stage(args: argparse.Namespace) -> list[Change]:
    """Everything new, whole and beside what is in use; only what differs from that counts."""
    staged: list[tuple[Slot, str]] = []
    if args.bundle is not None:
        options = [word for key in args.key for word in ("--key", str(key))]
        options += ["--unsigned"] if args.unsigned else []
        staged.append((Slot(args.software), _staged_bundle(args.software, args.bundle, options)))
    for folder in args.map:
        slot = Slot(args.state / "maps" / folder.resolve().name)
        staged.append((slot, _staged_files(slot, folder, folder / MANIFEST_FILE)))
        MapPackage.open(slot.place(staged[-1][1]))  # every checksum of what was copied
    if args.model is not None:
        manifest = args.model.with_suffix(".json")
        for file in (args.model, manifest):
            if not file.is_file():
                raise UpdateError("is not there", where=file, mend="give an .onnx with its .json beside it")
        slot = Slot(args.state / "models" / args.model.stem)
        staged.append((slot, _staged_files(slot, args.model.parent, manifest, (args.model.name, manifest.name))))
    return [Change(slot, version, slot.current) for slot, version in staged if slot.current != version]


def _staged_bundle(software: Path, bundle: Path, options: Sequence[str]) -> str:
    """The version in a bundle, installed by the installer of the version in use."""
    installer = software / "current" / "deploy" / "install.sh"
    try:
        done = subprocess.run([str(installer), "--stage", *options, str(bundle)], stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise UpdateError(f"cannot be run: {error.strerror}", where=installer, mend="install.sh BUNDLE") from None
    if done.returncode != 0:
        raise UpdateError("was not installed; what runs stays as it is", where=bundle)
    return done.stdout.split()[-1]


def _staged_files(slot: Slot, folder: Path, manifest: Path, names: Sequence[str] | None = None) -> str:
    """A copy of the folder's files (or of those `names`) as the version named by its manifest's content."""
    version = hashlib.sha256(manifest.read_bytes()).hexdigest()[:_VERSION_CHARS]
    if not slot.complete(version):
        place = slot.begin(version)
        for name in sorted(one.name for one in folder.iterdir() if one.is_file()) if names is None else names:
            shutil.copyfile(folder / name, place / name)
        slot.finish(version)
    return version


def _selftest(software: Path, config: Path) -> bool:
    """The new version's own judgement of engine, map and disk; camera and link are in use by what still runs."""
    program = software / "current" / "venv" / "bin" / "tilefix"
    command = [*_as_service(), str(program), "selftest", str(config), "--without", "camera", "--without", "link"]
    try:
        return subprocess.run(command).returncode == 0
    except OSError as error:
        sys.stderr.write(f"tilefix: {program}: {error.strerror}\n")
        return False


def _as_service() -> list[str]:
    """What puts a command under the service's user: an engine in its folder is not for root to load."""
    with suppress(KeyError):
        if os.geteuid() == 0 and pwd.getpwnam(USER):
            return ["runuser", "-u", USER, "--"]
    return []


def _restart() -> int:
    return subprocess.run(["systemctl", "restart", "--no-block", SERVICE]).returncode


def _await(software: Path, own: Path, changes: Sequence[Change]) -> int:
    """Waits until the service proved itself, or the guard took the update back."""
    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s:
        if not trial_of(software, own):
            kept = all(one.slot.current == one.version for one in changes)
            sys.stdout.write("in use, and serving well\n" if kept else "did not serve well: taken back\n")
            return 0 if kept else 1
        time.sleep(_POLL_S)
    sys.stdout.write("in use, still on trial: it is taken back unless it serves well within the next starts\n")
    return 0


def _status(software: Path, state: Path) -> int:
    slots = [Slot(software), *(Slot(one) for kind in ("maps", "models") for one in sorted((state / kind).glob("*")))]
    for slot in slots:
        if slot.current is not None:
            sys.stdout.write(f"{slot.folder}: {slot.current}, before {slot.previous or 'nothing'}\n")
    for one in trial_of(software, state / OWN):
        sys.stdout.write(f"on trial: {one.slot.folder} {one.version} in the place of {one.before or 'nothing'}\n")
    return 0
