from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import small_map
from support.tools import load_tool
from tilefix.localization.correlation import Template
from tilefix.localization.rectify import Patch
from tilefix.localization.register import MapCorrelator

benchmark_tracking = load_tool("benchmark_tracking")


def test_every_block_of_the_map_is_correlated_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = small_map(tmp_path / "map", ThumbnailEmbedder(), side_px=1000)
    image = np.random.default_rng(0).integers(0, 255, (65, 65), np.uint8)
    template = Template(Patch(image, np.ones((65, 65), bool), package.grid.gsd_m, 0.0, 0.0))
    looked: list[tuple[int, tuple[int, int]]] = []
    search = MapCorrelator.search_block

    def noted(self: MapCorrelator, template: Template, block: tuple[int, int]) -> object:
        looked.append((id(self), block))
        return search(self, template, block)

    monkeypatch.setattr(MapCorrelator, "search_block", noted)
    kept_ms, anew_ms = benchmark_tracking.whole_map_ms(package, 1, template)
    blocks = MapCorrelator(package.imagery, package.coverage, package.grid, 1).blocks
    assert len(blocks) == 4
    assert [block for _, block in looked] == blocks * (1 + 2 * benchmark_tracking.SEARCHES)
    assert min(kept_ms, anew_ms) > 0.0


def test_an_unknown_flight_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark_tracking.main(["1-1", "--flown", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("benchmark_tracking: no flight 1-1")
    assert not (tmp_path / "out").exists()
