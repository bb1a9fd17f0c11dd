"""Following a place: which extra work a frame gets, and fine matches that lie where the motion does not lead."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, small_map
from tilefix.camera import Mount
from tilefix.localization import follow
from tilefix.localization import localizer as module
from tilefix.localization.follow import GAIN, SAME_VIEW_SHARE, SCALE_PROBE, TURN_PROBE_DEG, Follower
from tilefix.localization.localizer import DOUBTED_FRAMES, Localizer, LocalizerSettings
from tilefix.localization.look import Look, Looker
from tilefix.localization.register import Peak
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


class Probed:
    """A frame whose correlation is a parabola over one error, highest where that is `turn_deg` and `scale`."""

    offset_m = (0.0, 0.0)

    def __init__(self, turn_deg: float, scale: float, *, seen: bool = True) -> None:
        self._best, self._seen = (turn_deg, scale), seen

    def correlation(self, turn_deg: float, scale: float) -> float | None:
        off = (turn_deg - self._best[0]) / TURN_PROBE_DEG, (scale - self._best[1]) / SCALE_PROBE
        return 0.8 - 0.1 * (off[0] ** 2 + off[1] ** 2) if self._seen or (turn_deg, scale) > (0.0, 1.0) else None

    def probe(self, follower: Follower) -> tuple[float, float]:
        at_hand = self.correlation(0.0, 1.0) or 0.0
        return follower.probe(self, Peak(0.0, 0.0, at_hand, 9.0, Covariance(1.0, 0.0, 1.0)))


@pytest.fixture
def follower(monkeypatch: pytest.MonkeyPatch) -> Follower:
    def correlation_at(seen: Probed, east_m: float, north_m: float, cell_m: float, *under: float) -> float | None:
        return seen.correlation(*under)

    monkeypatch.setattr(follow, "correlation_at", correlation_at)
    return Follower(LocalizerSettings(), 3.0)


@pytest.mark.parametrize(("turn_deg", "scale"), [(1.0, 1.02), (-2.0, 0.99), (0.0, 1.0)])
def test_probes_of_height_and_heading_take_turns_and_go_most_of_the_way(follower, turn_deg, scale) -> None:
    height, heading = (Probed(turn_deg, scale).probe(follower) for _ in range(2))
    assert height == pytest.approx((0.0, 1.0 + GAIN * (scale - 1.0)))
    assert heading == pytest.approx((GAIN * turn_deg, 1.0))


def test_a_probe_goes_no_further_than_it_looked(follower) -> None:
    far = Probed(5.0 * TURN_PROBE_DEG, 1.0 - 5.0 * SCALE_PROBE)
    assert far.probe(follower) == pytest.approx((0.0, 1.0 - GAIN * SCALE_PROBE))
    assert far.probe(follower) == pytest.approx((GAIN * TURN_PROBE_DEG, 1.0))


def test_a_side_that_shows_too_little_of_the_ground_is_not_gone_to(follower) -> None:
    one_sided = Probed(0.0, 1.0, seen=False)
    for error in (one_sided.probe(follower)[1] - 1.0, one_sided.probe(follower)[0]):
        assert error > 0.0


def test_where_the_scores_have_no_summit_the_better_side_is_taken(follower, monkeypatch) -> None:
    for slope in (0.01, -0.01):
        monkeypatch.setattr(follow, "correlation_at", lambda *at, slope=slope: 0.5 + slope * (at[4] + at[5] - 1.0))
        low = Peak(0.0, 0.0, 0.4, 9.0, Covariance(1.0, 0.0, 1.0))
        scaled, turned = follower.probe(Probed(0.0, 1.0), low)[1], follower.probe(Probed(0.0, 1.0), low)[0]
        assert (scaled - 1.0, turned) == pytest.approx(
            (math.copysign(GAIN * SCALE_PROBE, slope), math.copysign(GAIN * TURN_PROBE_DEG, slope))
        )


def test_probes_that_find_little_make_the_errors_surer(follower) -> None:
    begun = follower.turn_sigma_deg, follower.scale_sigma
    assert begun == pytest.approx((math.sqrt(0.3) * TURN_PROBE_DEG, math.sqrt(0.3) * SCALE_PROBE))
    for _ in range(40):
        Probed(0.3, 1.0).probe(follower)
    # Twenty probes of each, a tenth of the mean square apiece: what it was is left by 0.9 to the 20th.
    left = 0.9**20
    assert follower.turn_sigma_deg == pytest.approx(math.sqrt(0.3 * (left * 9.0 + (1.0 - left) * 0.09)))
    assert follower.scale_sigma == pytest.approx(begun[1] * math.sqrt(left))


def test_what_matches_correlate_usually_follows_slowly() -> None:
    follower = Follower(LocalizerSettings(), 3.0)
    follower.begin(0.5)
    follower.matched(Peak(0.0, 0.0, 0.9, 9.0, Covariance(1.0, 0.0, 1.0)))
    assert follower.usual_correlation == pytest.approx(0.58)


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


def test_other_errors_are_tried_where_a_frame_fits_less_than_usual(package, monkeypatch) -> None:
    state = VehicleState(0, 0.0, 0.0, 90.0, AGL_M)
    image = render_view(package.imagery, package.grid, CAMERA, Mount(), 0.0, 0.0, AGL_M, 0.0, 0.0, 90.0)
    seen = Looker(package, CAMERA, Mount(), LocalizerSettings()).look(Frame(image, 0, 0), state, 0.0, 1.0)
    assert isinstance(seen, Look)
    follower, tried = Follower(LocalizerSettings(), 3.0), []
    monkeypatch.setattr(follow, "try_out", lambda *given: tried.append(given))
    surface = follower.window(seen, 0.0, 0.0)
    correlation = follower.best(seen, surface, 0.0, 0.0).peak.correlation
    assert tried == []
    for share, times in ((0.8, 0), (0.7, 1)):
        follower.begin(correlation / share)
        assert follower.best(seen, surface, 0.0, 0.0).peak.correlation == correlation
        assert len(tried) == times
