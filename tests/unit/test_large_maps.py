"""What a larger map costs is bounded: cells of the belief, pixels searched for a frame, and what is kept of the map."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, noise_ground, small_map
from tilefix.camera import Mount
from tilefix.geodesy import Grid
from tilefix.localization.belief import Belief
from tilefix.localization.localizer import Localizer, LocalizerSettings
from tilefix.localization.register import BLOCK_PX, MapCorrelator, Surface
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import render_view
from tilefix.types import Frame, NoFix, VehicleState


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), side_px=600)


def wide(package: MapPackage, side_px: int, gsd_m: float, pixels: Any = None) -> MapPackage:
    """The package with imagery of another size in it: grey, and nowhere in memory, unless given."""
    half_m = 0.5 * side_px * gsd_m
    manifest = replace(package.manifest, grid=Grid(-half_m, half_m, gsd_m, side_px, side_px))
    imagery = np.broadcast_to(np.uint8(90), (side_px, side_px, 3)) if pixels is None else pixels
    cover = np.broadcast_to(np.uint8(255), (side_px, side_px))
    return replace(package, manifest=manifest, imagery=imagery, coverage=cover)


@pytest.mark.parametrize(("side_px", "gsd_m"), [(2000, 0.5), (12500, 0.8), (20000, 0.5), (30000, 2.0)])
def test_a_belief_has_no_more_than_a_million_cells(package: MapPackage, side_px: int, gsd_m: float) -> None:
    made = []

    def believed(grid: Grid, cell_m: float) -> Belief:
        made.append(Belief(grid, cell_m))
        return made[-1]

    large = wide(package, side_px, gsd_m)
    Localizer(large, TileIndex.open(package), ThumbnailEmbedder(), CAMERA, Mount(), belief=believed)
    assert made[0].rows * made[0].columns <= 1_001_000
    assert made[0].rows * made[0].cell_m >= side_px * gsd_m


def test_a_lost_frame_looks_at_no_more_of_a_larger_map(package: MapPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    budget_px, looked_px, kept = 400_000, [0], []
    search = MapCorrelator.search_block

    def counted(self: MapCorrelator, template: Any, block: tuple[int, int]) -> Surface:
        surface = search(self, template, block)
        looked_px[0] += surface.values.size
        kept.append(len(self._features))
        return surface

    monkeypatch.setattr(MapCorrelator, "search_block", counted)
    monkeypatch.setattr("tilefix.localization.register.FEATURE_BLOCKS", 9)
    elsewhere = noise_ground(77, 600)
    totals = []
    for side_px in (1500, 4000):
        large = wide(package, side_px, 0.5, noise_ground(3, side_px))
        settings = LocalizerSettings(search_budget_px=budget_px)
        localizer = Localizer(large, TileIndex.open(package), ThumbnailEmbedder(), CAMERA, Mount(), settings)
        for k in range(4):
            looked_px[0] = 0
            view = render_view(elsewhere, package.grid, CAMERA, Mount(), 4.0 * k, 0.0, AGL_M, 0.0, 0.0, 90.0)
            state = VehicleState((k + 1) * 500_000_000, 0.0, 0.0, 90.0, AGL_M)
            assert isinstance(localizer.process(Frame(view, state.at_ns, k), state), NoFix)
            totals.append(looked_px[0])
    # The frame as stated, then as much again by half under other headings and heights; at least a block of each.
    assert 0 < max(totals) <= budget_px + max(budget_px // 2, BLOCK_PX**2) + BLOCK_PX**2
    assert max(totals[4:]) <= max(totals[:4]) + BLOCK_PX**2
    assert max(kept) == 9
