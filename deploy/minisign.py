"""Minisign's signatures, checked with openssl: the drone needs no minisign, and every Ubuntu has openssl.

Formats of keys and signatures: jedisct1.github.io/minisign.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

# SubjectPublicKeyInfo of an Ed25519 key, up to its 32 bytes (RFC 8410).
ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")


class BundleError(Exception):
    """A bundle that must not be installed, with what to do about it."""


def _decode(text: str, length: int, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise BundleError(f"{what} is not minisign's") from None
    if len(raw) != length:
        raise BundleError(f"{what} is not minisign's")
    return raw


def _ed25519_holds(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` over `message` is `key`'s, by `openssl pkeyutl`."""
    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder, name) for name in ("key.der", "signature", "message")]
        for name, content in zip(names, (ED25519_PREFIX + key, signature, message), strict=True):
            name.write_bytes(content)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", str(names[0]), "-rawin"]
        command += ["-sigfile", str(names[1]), "-in", str(names[2])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise BundleError("openssl is not installed, so no signature can be checked") from None
    if done.returncode != 0 and "Signature Verification Failure" not in done.stdout + done.stderr:
        raise BundleError(f"openssl cannot check an Ed25519 signature: {done.stderr.strip() or done.stdout.strip()}")
    return done.returncode == 0


def read_key(path: Path) -> tuple[bytes, bytes]:
    """(key id, public key) of a file that `minisign -G` wrote."""
    try:
        lines = path.read_text(encoding="utf-8").strip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: cannot be read as a public key ({error})") from None
    raw = _decode(lines[-1] if lines else "", 42, f"{path}: the key")
    if raw[:2] != b"Ed":
        raise BundleError(f"{path}: not a minisign public key")
    return raw[2:10], raw[10:]


def check_signature(message: bytes, signature: str, keys: Sequence[Path]) -> str:
    """The trusted comment of a minisign signature over `message` by one of `keys`; raises `BundleError` for any other.

    Format: jedisct1.github.io/minisign. `ED` signs the BLAKE2b-512 of the message, `Ed` the message itself; a second
    signature covers the first and the trusted comment.
    """
    lines = signature.strip().splitlines()
    if len(lines) != 4 or not lines[2].startswith("trusted comment: "):
        raise BundleError("the signature is not minisign's")
    head = _decode(lines[1], 74, "the signature")
    algorithm, key_id, proof = head[:2], head[2:10], head[10:]
    if algorithm not in (b"ED", b"Ed"):
        raise BundleError("the signature is of an unknown kind")
    known = dict(read_key(path) for path in keys)
    if key_id not in known:
        mend = "give the key it was signed with by --key" if keys else "give --key, or put keys into /etc/tilefix/keys"
        raise BundleError(
            f"signed with key {key_id[::-1].hex().upper()}, which is not among the {len(keys)} known ({mend})"
        )
    comment = lines[2][len("trusted comment: ") :]
    signed = hashlib.blake2b(message).digest() if algorithm == b"ED" else message
    whole = _decode(lines[3], 64, "the signature of the comment")
    if not _ed25519_holds(known[key_id], proof, signed) or not _ed25519_holds(
        known[key_id], whole, proof + comment.encode()
    ):
        raise BundleError("the signature does not belong to this bundle: it was changed on the way")
    return comment
