"""A fingerprint from outside is read whole, or refused with one clear error."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tilefix.engine.fingerprint import Fingerprint, fingerprint_path, read_fingerprint, write_fingerprint
from tilefix.errors import EngineError

NAMES = [name for name in Fingerprint.__dataclass_fields__ if name != "format_version"]
TEXTS = st.fixed_dictionaries({name: st.text(max_size=30) for name in NAMES})
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()))


def read(data: bytes) -> Fingerprint | None:
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / "x.engine"
        fingerprint_path(engine).write_bytes(data)
        try:
            return read_fingerprint(engine)
        except EngineError:
            return None


@settings(deadline=None)
@given(TEXTS)
def test_what_was_written_is_read(texts: dict[str, str]) -> None:
    fingerprint = Fingerprint(**texts)
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / "x.engine"
        write_fingerprint(fingerprint, fingerprint_path(engine))
        assert read_fingerprint(engine) == fingerprint


@settings(deadline=None)
@given(TEXTS, st.dictionaries(st.sampled_from([*NAMES, "format_version", "more"]), VALUES, min_size=1), st.booleans())
def test_fields_of_another_kind_are_refused(texts: dict[str, str], wrong: dict[str, object], drop: bool) -> None:
    raw = {**texts, "format_version": 1, **wrong}
    if drop:
        raw.pop(next(iter(wrong)))
    found = read(json.dumps(raw).encode())
    assert found is None or asdict(found) == raw


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    assert read(data) is None
