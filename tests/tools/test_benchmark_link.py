"""tools/benchmark_link.py: what it counts, never how fast it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.tools import load_tool

benchmark_link = load_tool("benchmark_link")


def test_it_counts_every_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_link, "cases", lambda: [(True, True)])
    monkeypatch.setattr(benchmark_link, "ratio", lambda _: RATIO)
    out = tmp_path / "link.json"
    assert benchmark_link.main(["--rate", "200", "--seconds", "2", "--json", str(out)]) == 0
    (run,) = json.loads(out.read_text())["runs"]
    assert (run["sent"], run["heard"], run["missing_by_number"]) == (400, 400, 0)
    assert run["positions_sent"] > 0
    assert run["parsing_share"] > 0.0
    assert "heard 400 of 400" in capsys.readouterr().out


RATIO = dict.fromkeys(
    [f"{name}_{what}" for name in ("plain", "signed") for what in ("gate_us", "pymavlink_us", "ratio")], 1.0
)


def test_both_readers_read_all_of_it() -> None:
    found = benchmark_link.ratio(500, rounds=1)
    assert set(RATIO) < set(found)
    assert all(value > 0.0 for value in found.values())
    assert 0.1 < found["share_of_messages_wanted"] < 0.3


def test_what_is_lost_on_the_way_is_noticed() -> None:
    packets = benchmark_link.telemetry(50, 1000.0, signed=False)
    gate = benchmark_link.Gate({30}, 191)
    for packet in packets[:20] + packets[23:]:
        gate.feed(packet, ("127.0.0.1", 1), 0)
    assert (gate.packets, gate.lost) == (47, 3)
