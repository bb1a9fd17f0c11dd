"""The key and the book of a signed link on the disk."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.packets import heartbeat, parsed, signed
from tilefix.cli import main
from tilefix.errors import LinkError
from tilefix.links.keycommand import key_of
from tilefix.links.signing import AHEAD_TICKS, Book, Trust
from tilefix.links.signingfiles import Bookkeeper, load_book, load_key, open_signing, save_book, save_key

KEY = bytes(range(100, 132))
STAMP = 28_000_000_000_000
S = 1_000_000_000


def _key_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "link.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "content",
    [
        KEY,
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\r\n",
        base64.b64encode(KEY),
        b" " + base64.b64encode(KEY),
    ],
)
def test_a_key_is_read_in_every_form(tmp_path: Path, content: bytes) -> None:
    assert load_key(_key_file(tmp_path, content)) == KEY


@pytest.mark.parametrize("content", [b"", KEY[:31], KEY.hex()[:-2].encode(), base64.b64encode(KEY)[:-4], b"\xff" * 64])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(LinkError, match="holds no signing key"):
        load_key(_key_file(tmp_path, content))


def test_a_key_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="guessed"):
        load_key(_key_file(tmp_path, bytes(32)))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(LinkError, match="chmod 600"):
        load_key(_key_file(tmp_path, KEY, mode))


def test_a_key_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="cannot be read"):
        load_key(tmp_path / "absent")
    with pytest.raises(LinkError, match="cannot be read"):
        load_key(tmp_path)
    with pytest.raises(LinkError, match="no regular file"):
        load_key(Path("/dev/zero"))


def test_the_book_survives(tmp_path: Path) -> None:
    path, book = tmp_path / "book", Book(STAMP, {(1, 2, 3): 77, (255, 190, 0): STAMP})
    save_book(path, book)
    assert load_book(path) == book
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["book"]


def test_without_a_book_nothing_was_used(tmp_path: Path) -> None:
    assert load_book(tmp_path / "book") == Book(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "sent_before": 1, "heard": {}}',
        '{"format": 1, "sent_before": -1, "heard": {}}',
        '{"format": 1, "sent_before": 1.5, "heard": {}}',
        '{"format": 1, "sent_before": true, "heard": {}}',
        '{"format": 1, "sent_before": 281474976710656, "heard": {}}',
        '{"format": 1, "sent_before": 1, "heard": []}',
        '{"format": 1, "sent_before": 1, "heard": {"1.2": 3}}',
        '{"format": 1, "sent_before": 1, "heard": {"1.2.256": 3}}',
        '{"format": 1, "sent_before": 1, "heard": {"1.2.x": 3}}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_damaged_book_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "book"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(LinkError, match="damaged"):
        load_book(path)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.tuples(*[st.integers(0, 255)] * 3), st.integers(0, (1 << 48) - 1)), st.integers(0, 1 << 47))
def test_any_book_comes_back(tmp_path_factory: pytest.TempPathFactory, heard: dict, before: int) -> None:  # type: ignore[type-arg]
    path = tmp_path_factory.mktemp("book") / "book"
    save_book(path, Book(before, heard))
    assert load_book(path) == Book(before, heard)


def _open(folder: Path, **changed: object) -> Bookkeeper:
    key = folder / "link.key"
    if not key.exists():
        save_key(key, KEY)
    return open_signing(key, None, required=True, now_ns=0, **changed)  # type: ignore[arg-type]


def _settle(keeper: Bookkeeper, now_ns: int) -> None:
    """Writes what is due, and waits until it is."""
    keeper.turn(now_ns)
    if keeper._under_way is not None:
        keeper._under_way[0].exception(timeout=30)
        keeper.turn(now_ns)


def test_a_restart_repeats_no_stamp_and_trusts_no_packet_again(tmp_path: Path) -> None:
    keeper = _open(tmp_path)
    packet = parsed(signed(heartbeat(), KEY, STAMP))
    assert keeper.signing.check(packet, 0) is Trust.SIGNED
    _settle(keeper, 0)
    sent = keeper.signing.next_stamp(3 * S)
    assert sent is not None
    # No close: the power went, and with it the lock.
    assert keeper._lock is not None
    os.close(keeper._lock)
    keeper._lock = None
    again = _open(tmp_path)
    assert again.signing.check(packet, 0) is Trust.REPLAYED
    assert again.signing.check(parsed(signed(heartbeat(), KEY, STAMP + 1)), 0) is Trust.SIGNED
    later = again.signing.next_stamp(0)
    assert later is not None
    assert later > sent
    keeper.close(0)
    again.close(0)


def test_a_proper_end_keeps_the_last_stamps(tmp_path: Path) -> None:
    keeper = _open(tmp_path)
    keeper.signing.check(parsed(signed(heartbeat(), KEY, STAMP)), 0)
    _settle(keeper, 0)
    keeper.signing.check(parsed(signed(heartbeat(), KEY, STAMP + 9)), 0)
    keeper.close(0)
    assert load_book(tmp_path / "link.key.stamps").heard == {(7, 1, 0): STAMP + 9}
    keeper.close(0)


def test_a_book_that_cannot_be_written_is_an_error_at_the_start_and_a_line_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = _open(tmp_path)

    def full(path: Path, book: Book) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tilefix.links.signingfiles.save_book", full)
    with caplog.at_level(logging.ERROR):
        for second in (0, 4, 8):
            keeper.signing.check(parsed(signed(heartbeat(), KEY, STAMP + second * 100_000)), second * S)
            _settle(keeper, second * S)
            assert keeper.signing.next_stamp(second * S) is not None
    assert caplog.text.count("No space left") == 1
    keeper.close(0)
    with pytest.raises(LinkError, match="signing_state_file"):
        _open(tmp_path)


def test_what_is_refused_is_told_now_and_then(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = _open(tmp_path)
    with caplog.at_level(logging.WARNING):
        for second in range(70):
            for _ in range(5):
                keeper.signing.check(parsed(heartbeat()), second * S)
            keeper.signing.check(parsed(signed(heartbeat(), bytes(range(32)), STAMP)), second * S)
            keeper.turn(second * S)
    lines = [record.message for record in caplog.records]
    assert lines[0] == "refused on the link: 5 not signed, 1 signed with another key, or altered"
    assert lines[1] == "refused on the link: 150 not signed, 30 signed with another key, or altered"
    assert len(lines) == 3
    keeper.close(0)


def test_two_do_not_count_from_one_book(tmp_path: Path) -> None:
    keeper = _open(tmp_path)
    with pytest.raises(LinkError, match="in use"):
        _open(tmp_path)
    keeper.close(0)
    _open(tmp_path).close(0)
    (tmp_path / "link.key.stamps").write_text("damaged")
    for _ in range(2):
        with pytest.raises(LinkError, match="damaged"):
            _open(tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    save_key(tmp_path / "link.key", KEY)
    absent = tmp_path / "absent" / "stamps"
    with pytest.raises(LinkError, match="signing_state_file"):
        open_signing(tmp_path / "link.key", absent, required=True, now_ns=0)


def test_the_first_book_is_there_before_anything_is_sent(tmp_path: Path) -> None:
    keeper = _open(tmp_path)
    told = json.loads((tmp_path / "link.key.stamps").read_text())
    assert told["sent_before"] == AHEAD_TICKS
    keeper.close(0)


def test_the_command_makes_a_key_that_only_its_owner_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "link.key"
    assert main(["link-key", "--random", str(path)]) == 0
    assert path.stat().st_mode & 0o777 == 0o600
    key = load_key(path)
    shown = capsys.readouterr().out
    assert path.read_text().strip() not in shown
    assert key.hex() not in shown
    assert main(["link-key", "--random", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert load_key(path) == key

    readable, written = os.pipe()
    os.write(written, b"correct horse battery\n")
    os.close(written)
    with os.fdopen(readable) as told:
        monkeypatch.setattr("sys.stdin", told)
        assert main(["link-key", str(tmp_path / "second.key")]) == 0
    assert load_key(tmp_path / "second.key") == hashlib.sha256(b"correct horse battery").digest()


def test_a_passphrase_has_some_length() -> None:
    for short in ("", "elevenchars", "äääääääääääääää"):
        with pytest.raises(LinkError, match="12 or more"):
            key_of(short)
