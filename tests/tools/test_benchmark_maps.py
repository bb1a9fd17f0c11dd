"""tools/benchmark_maps.py on a tiny world: what is measured of lost and tracked frames, memory and opening."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.tools import load_tool

benchmark_maps = load_tool("benchmark_maps")
evaluate_flights = load_tool("evaluate_flights")
plans = load_tool("generated_plans")

SVG = "{http://www.w3.org/2000/svg}"


def test_lost_frames_stay_lost_and_tracked_ones_are_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flown = plans.WorldSet(
        range(1790, 1791), flights=1, frames=12, size_m=420.0, patch_m=80.0, width_px=240, height_px=180
    )
    monkeypatch.setitem(plans.SETS, "development", flown)
    monkeypatch.setattr(plans, "AGL_M", (70.0, 80.0))
    monkeypatch.setattr(plans, "SPEED_MPS", (6.0, 8.0))
    assert evaluate_flights.main(["generate", "development", "--out", str(tmp_path)]) == 0
    found = benchmark_maps.measure(tmp_path, "development/1790-0", 12, None)
    assert (len(found.lost_ms), found.false_fixes) == (12, 0)
    assert 3 <= len(found.tracked_ms) <= 12
    assert (found.map_km2, found.cells, found.searches) == (0.2, 140 * 140, 1)
    assert 0.0 < found.mapped_mib <= found.files_mib + 0.1
    # Of this process: none, where it had let go of as much before.
    assert 0.0 <= found.localizer_mib < 500.0

    larger = replace(found, map_km2=100.0, files_mib=10.0 * found.files_mib)
    lines = benchmark_maps.table([found, larger]).splitlines()
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert lines[3].startswith(f"| 100.0 km² | {found.agl_m:.0f} m |")
    assert lines[-1] == "Positions given for 24 mirrored pictures: 0."
    bars = ElementTree.fromstring(benchmark_maps.picture([found, larger])).iter(SVG + "rect")
    heights = [float(node.attrib["height"]) for node in bars if node.get("style", "").endswith("var(--coast)")]
    assert heights[-2] == pytest.approx(heights[-1] / 10.0, rel=0.05)  # the maps' files


def test_an_unknown_flight_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("vast/1-1", "nowhere/1-1", "1700-1"):
        assert benchmark_maps.main([name, "--flown", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.startswith(f"benchmark_maps: no flight {name}")
    assert not (tmp_path / "out").exists()
