"""tools/fuzz_link.py: a short flight among hostile traffic keeps every byte, and a link without its guards does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.tools import load_tool
from tilefix.links.gate import Gate
from tilefix.links.signing import Signing, Trust

fuzz_link = load_tool("fuzz_link")
hostile_packets = load_tool("hostile_packets")

SECONDS = 24.0


def test_hostile_traffic_changes_no_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fuzz.json"
    assert fuzz_link.main(["--packets", "3000", "--seconds", str(SECONDS), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["passed"]
    assert [one["mode"] for one in found["trials"]] == ["plain", "signed", "believed"]
    assert sum(one["packets"] for one in found["trials"]) == 3000
    for one in found["trials"]:
        assert set(one["kinds"]) == set(hostile_packets.KINDS)
        assert one["positions_undisturbed"] > 50
    assert "every byte the same" in capsys.readouterr().out


def test_it_notices_a_link_that_trusts_every_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Signing, "check", lambda *_: Trust.SIGNED)
    found = fuzz_link.trial("signed", 1, SECONDS, 1000)
    assert not found["identical"]
    assert not fuzz_link.passed(found)


def test_it_notices_a_link_that_listens_to_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Gate.feed

    def anywhere(self: Gate, data: bytes, peer: Any, now_ns: int) -> Any:
        return feed(self, data, fuzz_link.HOME, now_ns)

    monkeypatch.setattr(Gate, "feed", anywhere)
    assert not fuzz_link.trial("plain", 1, SECONDS, 1000)["identical"]


def test_the_same_seed_gives_the_same_packets() -> None:
    def some(seed: int) -> list[Any]:
        source = hostile_packets.Hostile(seed, 1, 191, signed=True)
        return [source.one() for _ in range(200)]

    assert some(3) == some(3)
    assert some(3) != some(4)
