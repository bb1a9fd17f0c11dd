"""The key of a signed link and its book of stamps, as files.

The key: 32 bytes, as they are, or as 64 hexadecimal digits, or as base64; a regular file that only its owner may read.
The book: JSON, written beside it (or where the configuration says) by a thread of its own, so that the link waits for
no disk, and renamed into its place whole.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import json
import logging
import os
import stat
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tilefix.errors import LinkError
from tilefix.links.signing import KEY_BYTES, LAST_STAMP, Book, Signing, Stream, Trust

_logger = logging.getLogger(__name__)
_MAX_KEY_FILE_BYTES = 256
_MAX_BOOK_BYTES = 1 << 20
_FORMAT = 1
_REFUSALS_EVERY_NS = 30_000_000_000
# What a start, or a packet that overtook another, does not bring about.
_REFUSALS = (Trust.NOT_SIGNED, Trust.FORGED, Trust.TOO_OLD)
_NEW_KEY = "make one with: tilefix link-key FILE"


def load_key(path: Path) -> bytes:
    """The key in a file. Raises `LinkError` for one that others may read, or that holds none."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise LinkError(f"the signing key cannot be read: {error.strerror}", where=path, mend=_NEW_KEY) from error
    if not stat.S_ISREG(status.st_mode):
        raise LinkError("the signing key is no regular file", where=path, mend=_NEW_KEY)
    if status.st_mode & 0o077:
        raise LinkError("the signing key may be read by others", where=path, mend=f"chmod 600 {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise LinkError("the signing key belongs to somebody else", where=path, mend=f"chown {os.geteuid()} {path}")
    key = _key_in(content)
    if key is None:
        mend = f"32 bytes, 64 hexadecimal digits, or base64 of 32 bytes; {_NEW_KEY}"
        raise LinkError("holds no signing key", where=path, mend=mend)
    if len(set(key)) < 8:
        raise LinkError("the signing key can be guessed", where=path, mend=_NEW_KEY)
    return key


def _key_in(content: bytes) -> bytes | None:
    if len(content) == KEY_BYTES:
        return content
    text = content.strip()
    with contextlib.suppress(ValueError, binascii.Error):
        key = (
            bytes.fromhex(text.decode("ascii")) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
        )
        return key if len(key) == KEY_BYTES else None
    return None


def save_key(path: Path, key: bytes) -> None:
    """Writes a key as base64 that only its owner may read. Raises `LinkError`, also when the file is there already."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b64encode(key) + b"\n")
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise LinkError("is there already", where=path, mend="give another name, or remove it") from error
    except OSError as error:
        raise LinkError(f"cannot be written: {error.strerror}", where=path, mend="check the folder") from error


def load_book(path: Path) -> Book:
    """The book in a file; where there is none yet, one in which nothing was used. Raises `LinkError`."""
    try:
        if path.stat().st_size > _MAX_BOOK_BYTES:
            raise ValueError("too large")
        told = json.loads(path.read_text(encoding="ascii"))
        if told["format"] != _FORMAT:
            raise ValueError("of another version")
        heard = {_stream(name): _stamp(last) for name, last in told["heard"].items()}
        return Book(_stamp(told["sent_before"]), heard)
    except FileNotFoundError:
        return Book(0)
    except OSError as error:
        raise LinkError(f"cannot be read: {error.strerror}", where=path, mend="check its owner") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        mend = "make a new key for both ends, then remove this file: without it old packets could be repeated"
        raise LinkError("the book of signing stamps is damaged", where=path, mend=mend) from error


def save_book(path: Path, book: Book) -> None:
    """Writes the book so that a reader, or a restart at any instant, finds it whole. Raises OSError."""
    heard = {".".join(map(str, stream)): last for stream, last in sorted(book.heard.items())}
    text = json.dumps({"format": _FORMAT, "sent_before": book.sent_before, "heard": heard})
    partial = path.with_name(f"{path.name}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _stream(name: str) -> Stream:
    system, component, link = (int(part) for part in name.split("."))
    if not all(0 <= part <= 255 for part in (system, component, link)):
        raise ValueError("no stream")
    return system, component, link


def _stamp(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LAST_STAMP:
        raise ValueError("no stamp")
    return value


class Bookkeeper:
    """Keeps the book of one `Signing` on the disk, ahead of what is used."""

    def __init__(self, signing: Signing, path: Path, lock: int | None = None) -> None:
        """`lock`: an open file that keeps other processes off the book."""
        self.signing = signing
        self._path = path
        self._lock = lock
        self._writer = ThreadPoolExecutor(1, "signing")
        self._under_way: tuple[Future[None], Book] | None = None
        self._told = False
        self._refused = signing.counts.copy()
        self._refusals_told_ns: int | None = None

    def turn(self, now_ns: int) -> None:
        """Takes note of what was written, and begins to write what is due. Waits for nothing."""
        self._tell_refusals(now_ns)
        if self._under_way is not None:
            future, book = self._under_way
            if not future.done():
                return
            self._finish(future, book)
        book_due = self.signing.due(now_ns)
        if book_due is not None:
            self._under_way = (self._writer.submit(save_book, self._path, book_due), book_due)

    def _tell_refusals(self, now_ns: int) -> None:
        """Logs what was refused, now and then: a key that does not fit looks like a link that is down."""
        if self._refusals_told_ns is not None and now_ns - self._refusals_told_ns < _REFUSALS_EVERY_NS:
            return
        counts = self.signing.counts
        news = {
            trust: counts[trust] - self._refused[trust] for trust in _REFUSALS if counts[trust] > self._refused[trust]
        }
        if news:
            self._refused, self._refusals_told_ns = counts.copy(), now_ns
            _logger.warning(
                "refused on the link: %s", ", ".join(f"{count} {trust.value}" for trust, count in news.items())
            )

    def _finish(self, future: Future[None], book: Book) -> None:
        self._under_way = None
        error = future.exception()
        if error is not None and not self._told:
            self._told = True
            _logger.error("signing stamps are not kept: after a restart old packets could be repeated: %s", error)
        # With a disk that failed in flight the position matters more than what a restart forgets.
        self.signing.written(book)

    def close(self, now_ns: int) -> None:
        """Writes down what was really used; may be called twice."""
        self._writer.shutdown(wait=True)
        with contextlib.suppress(OSError):
            save_book(self._path, self.signing.last(now_ns))
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_signing(key_file: Path, book_file: Path | None, *, required: bool, now_ns: int) -> Bookkeeper:
    """The signing that these files hold; its first book is on the disk when this returns. Raises `LinkError`.

    `book_file`: by default beside the key.
    """
    key = load_key(key_file)
    path = key_file.with_name(f"{key_file.name}.stamps") if book_file is None else book_file
    lock = _locked(path)
    try:
        signing = Signing(key, load_book(path), now_ns, required=required)
        book = signing.due(now_ns)
        assert book is not None  # of a book just read nothing is left to use
        save_book(path, book)
    except OSError as error:
        os.close(lock)
        raise _unwritable(path, error) from error
    except LinkError:
        os.close(lock)
        raise
    signing.written(book)
    return Bookkeeper(signing, path, lock)


def _locked(path: Path) -> int:
    """An open file beside the book, locked: two that count from one book would use stamps twice."""
    try:
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise LinkError("signing stamps are in use", where=path, mend="stop the other tilefix first") from error
    return lock


def _unwritable(path: Path, error: OSError) -> LinkError:
    mend = "set [link] signing_state_file to a file that can be written"
    return LinkError(f"signing stamps cannot be written: {error.strerror}", where=path, mend=mend)
