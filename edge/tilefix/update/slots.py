"""A slot: a folder of versions side by side, and the link `current` to the one in use.

    SLOT/versions/0.2.0/...           a version; it is whole when its file `.complete` is there, written last
    SLOT/current -> versions/0.2.0    switched by one rename
    SLOT/previous -> versions/0.1.0   what was in use before; neither is ever swept away

A power cut leaves `current` as it was or as it was to be, and its target whole.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from tilefix.errors import UpdateError

_COMPLETE = ".complete"
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,99}")


@dataclass(frozen=True, slots=True)
class Slot:
    """`folder`: where `versions` and `current` lie."""

    folder: Path

    @property
    def current(self) -> str | None:
        """The version in use; `None` before the first."""
        return self._pointed("current")

    @property
    def previous(self) -> str | None:
        """The version that was in use before; `None` before the second."""
        return self._pointed("previous")

    def _pointed(self, name: str) -> str | None:
        link = self.folder / name
        return link.readlink().name if link.is_symlink() else None

    def _point(self, name: str, version: str) -> None:
        fresh = self.folder / f".{name}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("versions") / version)
        fresh.replace(self.folder / name)
        sync_folder(self.folder)

    def place(self, version: str) -> Path:
        """Where a version lies. Raises `UpdateError` for a name that is none."""
        if not _NAME.fullmatch(version):
            raise UpdateError(f"{version!r} is no name of a version", where=self.folder)
        return self.folder / "versions" / version

    def complete(self, version: str) -> bool:
        """True when that version was installed to its end."""
        return (self.place(version) / _COMPLETE).is_file()

    def begin(self, version: str) -> Path:
        """An empty folder for a version that is not there whole; what is not in use is removed first."""
        place = self.place(version)
        self._must_be_roots()
        self.sweep()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir()
        return place

    def _must_be_roots(self) -> None:
        """Raises `UpdateError` unless the slot, its versions and the two folders above are folders of root's (or of who
        runs this), and only theirs to write. In such a one nobody else can put a link between this look and what is
        written or removed."""
        folder = self.folder.absolute()
        for place in (folder.parent.parent, folder.parent, folder, folder / "versions"):
            try:
                found = place.lstat()
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.geteuid()) or _others_write(found):
                raise UpdateError("is no folder of root's", where=place, mend="look at it; provision.sh sets it right")

    def finish(self, version: str) -> None:
        """Marks a version as complete, once all of it is on the disk."""
        place = self.place(version)
        os.sync()
        write_whole(place / _COMPLETE, f"{version}\n")

    def switch(self, version: str) -> None:
        """Takes a complete version into use, at once."""
        if not self.complete(version):
            raise UpdateError(f"version {version} is not complete", where=self.folder, mend="install it again")
        self._must_be_roots()
        before = self.current
        if before is not None and before != version and self.complete(before):
            self._point("previous", before)
        self._point("current", version)

    def sweep(self) -> None:
        """Removes every version but the current and the previous one."""
        versions = self.folder / "versions"
        kept = (self.current, self.previous)
        for place in sorted(versions.iterdir()) if versions.is_dir() else []:
            if place.name not in kept:
                # Its mark goes first: what is cut off half removed never counts as whole.
                (place / _COMPLETE).unlink(missing_ok=True)
                shutil.rmtree(place)


def write_whole(path: Path, text: str) -> None:
    """Writes a small file so that after a power cut it is there whole, as it was before, or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Puts a folder's names on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _others_write(found: os.stat_result) -> bool:
    """True for a folder in which another user may put something."""
    by_group = bool(found.st_mode & stat.S_IWGRP) and found.st_gid not in (0, os.getegid())
    return by_group or bool(found.st_mode & stat.S_IWOTH)
