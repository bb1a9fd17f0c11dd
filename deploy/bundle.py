"""Writes and checks offline bundles: a .tar.gz with a manifest, sums and a signature. Standard library only.

    bundle.py seal DIR --version V --arch A --python X.Y --commit C    writes manifest.json and SHA256SUMS
    bundle.py pack DIR ARCHIVE                                         the sealed, signed folder: the same bytes always
    bundle.py unpack ARCHIVE --into DIR --key K                        every check, then the files
    bundle.py check ARCHIVE --key K                                    every check, no file

An archive is one folder. It starts with SHA256SUMS, SHA256SUMS.minisig and manifest.json, so that nothing else is
looked at before the signature over the sums is known to be good. Then come the files that SHA256SUMS lists, each once,
regular files only. Exit status 2 and one line for what a person can mend.
"""

from __future__ import annotations

import argparse
import binascii
import gzip
import hashlib
import json
import os
import platform
import re
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from minisign import BundleError, check_signature

FORMAT = 1
SUMS, SIGNATURE, MANIFEST = "SHA256SUMS", "SHA256SUMS.minisig", "manifest.json"
# No bundle has sums or a manifest of more; read whole before anything is trusted.
HEAD_LIMIT_BYTES = 4 << 20
VERSION = re.compile(r"[0-9][0-9A-Za-z.+]{0,63}")


# --- writing ----------------------------------------------------------------------------------------------------------


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def seal(folder: Path, facts: dict[str, object]) -> None:
    """Writes manifest.json (the `facts`, and every file with its size and SHA-256) and SHA256SUMS into `folder`."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    odd = [path for path in paths if path.is_symlink() or not path.is_file()]
    if odd:
        raise BundleError(f"{odd[0]}: only regular files go into a bundle")
    names = [path.relative_to(folder).as_posix() for path in paths]
    files = {
        name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for name, path in zip(names, paths, strict=True)
        if name not in (SUMS, SIGNATURE, MANIFEST)
    }
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"format": FORMAT, **facts, "files": files}, indent=1) + "\n", encoding="utf-8")
    sums = {MANIFEST: _sha256(manifest), **{name: str(entry["sha256"]) for name, entry in files.items()}}
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), encoding="utf-8")


def pack(folder: Path, archive: Path) -> None:
    """Writes the sealed `folder` as a .tar.gz: the same files give the same bytes, whoever packs them when."""
    first = [name for name in (SUMS, SIGNATURE, MANIFEST) if (folder / name).exists()]
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    partial = archive.with_name(archive.name + ".partial")
    with (
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in first + [name for name in names if name not in first]:
            path = folder / name
            entry = tarfile.TarInfo(f"{folder.name}/{name}")
            entry.size = path.stat().st_size
            entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            with path.open("rb") as stream:
                tar.addfile(entry, stream)
    partial.rename(archive)


# --- reading ----------------------------------------------------------------------------------------------------------


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The regular files of the archive's one folder, by their names in it, whatever else is in it refused."""
    top: str | None = None
    for member in tar:
        parts = PurePosixPath(member.name).parts
        if top is None and parts:
            top = parts[0]
        if not parts or parts[0] != top or parts[0] in ("/", "..") or ".." in parts:
            raise BundleError(f"{member.name!r} lies outside the bundle's folder")
        if member.isdir():
            continue
        if not member.isreg() or len(parts) < 2:
            raise BundleError(f"{member.name!r} is not a regular file of the bundle")
        yield "/".join(parts[1:]), member


def _head(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > HEAD_LIMIT_BYTES:
        raise BundleError(f"{member.name!r} is too large")
    stream = tar.extractfile(member)
    assert stream is not None  # a regular file
    return stream.read()


def _read_sums(text: str) -> dict[str, str]:
    sums = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  ([^\0]+)", line)
        if match is None or match[2] in sums:
            raise BundleError(f"{SUMS} has a bad line: {line[:80]!r}")
        sums[match[2]] = match[1]
    if MANIFEST not in sums:
        raise BundleError(f"{SUMS} does not list {MANIFEST}")
    return sums


def _check_manifest(manifest: object, arch: str, python: str) -> dict[str, object]:
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{MANIFEST} is not of format {FORMAT}: this bundle needs another version of the installer")
    if not VERSION.fullmatch(str(manifest.get("version"))):
        raise BundleError(f"{MANIFEST} has no proper version")
    if manifest.get("arch") != arch:
        raise BundleError(
            f"the bundle is for {manifest.get('arch')}, this machine is {arch} (take the bundle for {arch})"
        )
    if manifest.get("python") != python:
        raise BundleError(
            f"the bundle is for Python {manifest.get('python')}, here is {python} (take the one for {python})"
        )
    return manifest


def _copy(source: IO[bytes], target: IO[bytes] | None, length: int) -> str:
    digest = hashlib.sha256()
    while length > 0:
        block = source.read(min(length, 1 << 20))
        if not block:
            raise BundleError("the archive ends too early")
        digest.update(block)
        if target is not None:
            target.write(block)
        length -= len(block)
    return digest.hexdigest()


def read(
    archive: Path, *, keys: Sequence[Path], arch: str, python: str, into: Path | None = None, unsigned: bool = False
) -> dict[str, object]:
    """The manifest of a bundle whose every check held; its files in the new folder `into`, when one is given.

    `unsigned` accepts a bundle that has no signature (a present one is checked all the same). What was written before a
    check failed is the caller's to remove. Raises `BundleError`.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            return _read(tar, keys, arch, python, into, unsigned)
    except (tarfile.TarError, EOFError, OSError, binascii.Error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{archive}: not a whole bundle ({error})") from None
    except BundleError as error:
        raise BundleError(f"{archive}: {error}") from None


def _read(
    tar: tarfile.TarFile, keys: Sequence[Path], arch: str, python: str, into: Path | None, unsigned: bool
) -> dict[str, object]:
    members = _members(tar)
    name, member = next(members, ("", None))
    if member is None or name != SUMS:
        raise BundleError(f"does not start with {SUMS}: no bundle of tilefix")
    text = _head(tar, member)
    name, member = next(members, ("", None))
    if member is not None and name == SIGNATURE:
        # What is signed in vain when no key is known is as good as unsigned, where that was asked for.
        if keys or not unsigned:
            check_signature(text, _head(tar, member).decode(), keys)
        name, member = next(members, ("", None))
    elif not unsigned:
        raise BundleError("is not signed (sign it: bundle.sh --key)")
    sums = _read_sums(text.decode())
    if member is None or name != MANIFEST:
        raise BundleError(f"has no {MANIFEST} after its sums")
    raw = _head(tar, member)
    if hashlib.sha256(raw).hexdigest() != sums[MANIFEST]:
        raise BundleError(f"{MANIFEST} was changed")
    manifest = _check_manifest(json.loads(raw), arch, python)
    if into is not None:
        into.mkdir(parents=True)
        for kept, content in ((SUMS, text), (MANIFEST, raw)):
            (into / kept).write_bytes(content)
    files = manifest.get("files")
    missing = set(sums) - {MANIFEST}
    for name, member in members:
        if name not in missing:
            raise BundleError(f"{name!r} is not listed in {SUMS}, or is there twice")
        missing.remove(name)
        # Before a byte is written: what was put in its place cannot fill the disk.
        entry = files.get(name) if isinstance(files, dict) else None
        if not isinstance(entry, dict) or entry.get("bytes") != member.size:
            raise BundleError(f"{name!r} was changed: it does not have the size that was signed")
        stream = tar.extractfile(member)
        assert stream is not None  # a regular file
        if into is None:
            found = _copy(stream, None, member.size)
        else:
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                found = _copy(stream, file, member.size)
            target.chmod(0o755 if member.mode & 0o100 else 0o644)
        if found != sums[name]:
            raise BundleError(f"{name!r} was changed: it does not have the sum that was signed")
    if missing:
        raise BundleError(f"{sorted(missing)[0]!r} is missing")
    return manifest


# --- the command line -------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bundle.py", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sealing = commands.add_parser("seal")
    sealing.add_argument("folder", type=Path)
    for name in ("--version", "--arch", "--python", "--commit"):
        sealing.add_argument(name, required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("archive", type=Path)
    for command in ("unpack", "check"):
        reading = commands.add_parser(command)
        reading.add_argument("archive", type=Path)
        reading.add_argument("--key", type=Path, action="append", default=[])
        reading.add_argument("--arch", default=platform.machine())
        reading.add_argument("--python", default="{}.{}".format(*sys.version_info))
        reading.add_argument("--unsigned", action="store_true")
        if command == "unpack":
            reading.add_argument("--into", type=Path, required=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; prints the bundle's manifest without its files after `check` and `unpack`."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "seal":
            if not VERSION.fullmatch(args.version):
                raise BundleError(f"version {args.version!r}: digits first, then digits, letters, dots and pluses")
            facts = {key: getattr(args, key) for key in ("version", "arch", "python", "commit")}
            seal(args.folder, facts)
        elif args.command == "pack":
            pack(args.folder, args.archive)
        else:
            into = args.into if args.command == "unpack" else None
            manifest = read(
                args.archive, keys=args.key, arch=args.arch, python=args.python, into=into, unsigned=args.unsigned
            )
            sys.stdout.write(json.dumps({key: manifest[key] for key in manifest if key != "files"}) + "\n")
    except BundleError as error:
        sys.stderr.write(f"bundle: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
