"""The decision over hills: with the map's terrain it knows its height and sees every hill where it is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, small_map
from tilefix.camera import Mount
from tilefix.localization.localizer import Localizer
from tilefix.maps.package import MapPackage
from tilefix.maps.terrain import Terrain
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import render_view
from tilefix.types import Fix, Frame, NoFix, Reason, VehicleState

STEP_NS = 500_000_000
ZERO_M = 400.0  # of the hills, above sea level
FRAMES = 22


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), side_px=1000)


@pytest.fixture(scope="module")
def hills(package: MapPackage) -> Terrain:
    """Heights from -24 to 24 m, slopes of up to 0.35, the flight across them."""
    at = package.grid.gsd_m * np.arange(package.grid.width_px)
    heights = 14.0 * np.sin(at / 60.0)[None, :] + 10.0 * np.cos(at / 40.0)[:, None]
    return Terrain(package.grid, heights.astype(np.float32))


def place(k: int) -> tuple[float, float]:
    return -120.0 + 8.0 * k, 15.0


def fly(package: MapPackage, hills: Terrain, *, with_terrain: bool, **told: float | None) -> list[Fix | NoFix]:
    """`told`: what the state says of height; the camera is `AGL_M` above the hills' zero."""
    level = Terrain(hills.grid, hills.height_m + np.float32(ZERO_M))
    used = replace(package, terrain=level if with_terrain else None)
    localizer = Localizer(used, TileIndex.open(used), ThumbnailEmbedder(), CAMERA, Mount())
    answers = []
    for k in range(FRAMES):
        at_ns = (k + 1) * STEP_NS
        image = render_view(
            package.imagery, package.grid, CAMERA, Mount(), *place(k), AGL_M, 0.0, 0.0, 90.0, terrain=hills
        )
        state = replace(VehicleState(at_ns, 0.0, 0.0, 90.0, None), **told)
        answers.append(localizer.process(Frame(image, at_ns, k), state))
    return answers


def errors_m(answers: list[Fix | NoFix]) -> list[float]:
    return [math.dist((a.east_m, a.north_m), place(k)) for k, a in enumerate(answers) if isinstance(a, Fix)]


def test_height_above_sea_level_is_enough_with_terrain(package: MapPackage, hills: Terrain) -> None:
    answers = fly(package, hills, with_terrain=True, amsl_m=AGL_M + ZERO_M, amsl_sigma_m=2.0)
    errors = errors_m(answers)
    assert len(errors) >= 8
    assert max(errors) < 2.0
    assert fly(package, hills, with_terrain=True, amsl_m=AGL_M + ZERO_M, amsl_sigma_m=2.0) == answers
    without = fly(package, hills, with_terrain=False, amsl_m=AGL_M + ZERO_M, amsl_sigma_m=2.0)
    assert {answer.reason for answer in without} == {Reason.NO_HEIGHT}


def test_terrain_is_closer_than_one_plane(package: MapPackage, hills: Terrain) -> None:
    """The height over the hills' zero, as pressure over a fixed ground gives it: up to a quarter wrong."""
    heights = {"agl_m": AGL_M, "agl_sigma_m": 15.0, "amsl_m": AGL_M + ZERO_M, "amsl_sigma_m": 2.0}
    with_terrain = errors_m(fly(package, hills, with_terrain=True, **heights))
    without = errors_m(fly(package, hills, with_terrain=False, **heights))
    assert min(len(with_terrain), len(without)) >= 8
    assert np.median(with_terrain) < 0.4 * np.median(without)
    assert np.percentile(with_terrain, 90.0) < 0.3


def test_terrain_off_the_map_and_unknown_is_flat(package: MapPackage, hills: Terrain) -> None:
    unknown = Terrain(hills.grid, np.full_like(hills.height_m, np.nan))
    flat = Terrain(hills.grid, np.zeros_like(hills.height_m))
    answers = []
    for terrain in (unknown, None):
        used = replace(package, terrain=terrain)
        localizer = Localizer(used, TileIndex.open(used), ThumbnailEmbedder(), CAMERA, Mount())
        for k in range(6):
            image = render_view(package.imagery, package.grid, CAMERA, Mount(), *place(k), AGL_M, 0.0, 0.0, 90.0)
            state = VehicleState((k + 1) * STEP_NS, 0.0, 0.0, 90.0, AGL_M)
            answers.append(localizer.process(Frame(image, state.at_ns, k), state))
    assert answers[:6] == answers[6:]
    used = replace(package, terrain=flat)
    localizer = Localizer(used, TileIndex.open(used), ThumbnailEmbedder(), CAMERA, Mount())
    localizer.hint(*used.frame.to_geodetic(*place(0)), 20.0)
    for k in range(14):
        image = render_view(package.imagery, package.grid, CAMERA, Mount(), *place(k), AGL_M, 0.0, 0.0, 90.0)
        state = VehicleState((k + 1) * STEP_NS, 0.0, 0.0, 90.0, AGL_M)
        answer = localizer.process(Frame(image, state.at_ns, k), state)
    assert isinstance(answer, Fix)
    assert math.dist((answer.east_m, answer.north_m), place(13)) < 2.0
