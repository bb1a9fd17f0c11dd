"""Tells of bundles how large they are, how many wheels they bring, and what their native libraries ask for.

    python tools/examine_bundle.py out/bundle/*.tar.gz

One line of JSON a bundle. `libraries`: ELF files in its wheels; `machines`: what they are for; `glibc`: the newest
version of it that one of them names. Nothing is checked here: that is install.sh --verify.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tilefix.errors import TilefixError

# e_machine of the ELF header, a little-endian half word at byte 18.
_MACHINES = {62: "x86_64", 183: "aarch64"}
_MACHINE_AT = slice(18, 20)
_GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)\0")


def libraries(wheel: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    """(machine, newest glibc it names; (0, 0) where it names none) of every ELF file in a wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if data[:4] == b"\x7fELF":
                machine = int.from_bytes(data[_MACHINE_AT], "little")
                versions = [(int(major), int(minor)) for major, minor in _GLIBC.findall(data)]
                yield _MACHINES.get(machine, f"machine {machine}"), max(versions, default=(0, 0))


def examine(bundle: Path) -> dict[str, Any]:
    """What one bundle is. Raises `TilefixError` for a file that is none."""
    wheels, found = 0, []
    try:
        with tarfile.open(bundle) as archive:
            for member in archive:
                if member.name.endswith(".whl"):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    wheels += 1
                    found += list(libraries(stream.read()))
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise TilefixError(f"is no whole bundle: {error}", where=bundle) from None
    newest = max((glibc for _, glibc in found), default=(0, 0))
    return {
        "bundle": bundle.name,
        "mib": round(bundle.stat().st_size / (1 << 20)),
        "wheels": wheels,
        "libraries": len(found),
        "machines": sorted({machine for machine, _ in found}),
        "glibc": ".".join(map(str, newest)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for each bundle; 2 with one line for a file that is none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundles", type=Path, nargs="+", metavar="FILE")
    try:
        for bundle in parser.parse_args(argv).bundles:
            sys.stdout.write(json.dumps(examine(bundle)) + "\n")
    except TilefixError as error:
        sys.stderr.write(f"examine_bundle: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
