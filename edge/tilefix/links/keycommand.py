"""`tilefix link-key`: makes the key of a signed link."""

from __future__ import annotations

import argparse
import getpass
import hashlib
import secrets
import sys
from pathlib import Path

from tilefix.errors import LinkError
from tilefix.links.signing import KEY_BYTES
from tilefix.links.signingfiles import save_key

_SHORTEST = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tilefix link-key`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="where the key is written, for [link] signing_key_file")
    parser.add_argument(
        "--random",
        action="store_true",
        help="a random key, instead of the one that ground stations make of a passphrase",
    )


def run(args: argparse.Namespace) -> int:
    """Writes a key that only its owner may read; its content is never shown."""
    key = secrets.token_bytes(KEY_BYTES) if args.random else key_of(_passphrase())
    save_key(args.file, key)
    sys.stdout.write(f"{args.file}: a signing key; keep it off backups and out of chats\n")
    return 0


def key_of(passphrase: str) -> bytes:
    """The key that MAVProxy, Mission Planner and QGroundControl make of a passphrase: its SHA-256."""
    if len(passphrase) < _SHORTEST or not passphrase.isascii():
        raise LinkError(f"the passphrase needs {_SHORTEST} or more ASCII characters", mend="choose a longer one")
    return hashlib.sha256(passphrase.encode("ascii")).digest()


def _passphrase() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(1024).rstrip("\r\n")
    passphrase = getpass.getpass("Passphrase, as given to the ground station: ")
    if getpass.getpass("Once more: ") != passphrase:
        raise LinkError("the two differ", mend="try again")
    return passphrase
