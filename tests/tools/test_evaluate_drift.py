"""The drift of matches: a flight over the map's own ground, and over ground that changes on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import CAMERA, noise_ground, small_map
from support.tools import load_tool

tool = load_tool("evaluate_drift")


def test_ground_that_changes_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NAIP_CAMERA", CAMERA), ("AGL_M", 60.0), ("SPEED_MPS", 6.0), ("BEGIN_S", 64.0)):
        monkeypatch.setattr(tool, name, value)
    own = small_map(tmp_path / "map", ThumbnailEmbedder())
    other = noise_ground(8, own.grid.width_px)
    changed = replace(own, imagery=np.asarray(0.5 * own.imagery + 0.5 * other, np.uint8))
    same = tool.fly(own, own, own, ThumbnailEmbedder(), None, 1, 80)
    fallen = tool.fly(own, own, changed, ThumbnailEmbedder(), None, 1, 80)
    assert same.matched >= 75
    assert same.least > 0.9
    assert same.warned_s is None
    assert fallen.matched >= 60
    assert fallen.last < same.last - 0.2
    assert fallen.warned_s is not None
    assert fallen.warned_s > 0.0


def test_maps_that_are_not_there_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--maps", str(tmp_path), "--pairs", "2017,2020"]) == 2
    assert "map_naip_2017" in capsys.readouterr().err
    assert tool.main(["--maps", str(tmp_path), "--pairs", "2017"]) == 2
