"""Following a place: which extra work a frame gets, and fine matches that lie where the motion does not lead."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, small_map
from tilefix.camera import Mount
from tilefix.localization import localizer as module
from tilefix.localization.follow import SAME_VIEW_SHARE, Follower
from tilefix.localization.localizer import DOUBTED_FRAMES, Localizer, LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import render_view
from tilefix.types import Covariance, Fix, Frame, VehicleState

SIDE_M = 100.0
SETTLED = 16


def look(*, fine: bool) -> SimpleNamespace:
    return SimpleNamespace(fine=object() if fine else None, view=SimpleNamespace(area_m2=SIDE_M**2))


def test_refining_and_probing_take_turns_while_the_view_stays() -> None:
    follower = Follower(LocalizerSettings(), 3.0)
    follower.begin(0.5)
    still_m = 0.9 * SAME_VIEW_SHARE * SIDE_M
    due = [follower.due(look(fine=True), still_m) for _ in range(4)]
    assert due == [(False, True), (True, False), (False, True), (True, False)]


def test_each_frame_that_shows_new_ground_or_has_nothing_finer_gets_both() -> None:
    follower = Follower(LocalizerSettings(), 3.0)
    follower.begin(0.5)
    moved_m = 1.1 * SAME_VIEW_SHARE * SIDE_M
    assert [follower.due(look(fine=True), moved_m) for _ in range(3)] == [(True, True)] * 3
    assert follower.due(look(fine=False), 0.0) == (True, True)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), side_px=1000)


def place(k: int) -> tuple[float, float]:
    return -120.0 + 8.0 * k, 15.0


def fly(localizer: Localizer, package: MapPackage, k: int) -> Fix:
    at_ns = (k + 1) * 500_000_000
    image = render_view(package.imagery, package.grid, CAMERA, Mount(), *place(k), AGL_M, 0.0, 0.0, 90.0)
    answer = localizer.process(Frame(image, at_ns, k), VehicleState(at_ns, 0.0, 0.0, 90.0, AGL_M))
    return answer if isinstance(answer, Fix) else pytest.fail(f"frame {k}: {answer}")


def astray(seen, coarse, *_errors):
    """A fine match 6 m north of the coarse one, and sure of it."""
    return replace(coarse, north_m=coarse.north_m + 6.0, covariance_m2=Covariance(0.1, 0.0, 0.1))


def test_a_fine_match_where_the_motion_does_not_lead_is_not_taken_until_it_persists(package, monkeypatch) -> None:
    localizer = Localizer(package, TileIndex.open(package), ThumbnailEmbedder(), CAMERA, Mount())
    localizer.hint(*package.frame.to_geodetic(*place(0)), 20.0)
    for k in range(SETTLED):
        at_ns = (k + 1) * 500_000_000
        image = render_view(package.imagery, package.grid, CAMERA, Mount(), *place(k), AGL_M, 0.0, 0.0, 90.0)
        localizer.process(Frame(image, at_ns, k), VehicleState(at_ns, 0.0, 0.0, 90.0, AGL_M))
    monkeypatch.setattr(module, "refined", astray)
    for k in range(SETTLED, SETTLED + DOUBTED_FRAMES):
        answer = fly(localizer, package, k)
        assert math.dist((answer.east_m, answer.north_m), place(k)) < 2.5
    answer = fly(localizer, package, SETTLED + DOUBTED_FRAMES)
    assert answer.north_m - place(0)[1] > 3.0
