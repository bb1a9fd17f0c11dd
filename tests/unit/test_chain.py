"""Camera motions, joined: which are believed, for how much, and what breaks the chain."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, small_map
from tilefix.camera import Mount
from tilefix.localization.chain import Chain, Step
from tilefix.localization.look import Look, Looker
from tilefix.localization.settings import LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.simulation.camera import render_view
from tilefix.types import Frame, VehicleState

S = 1_000_000_000
STEP_S, SPEED_MPS = 0.2, 6.0
UP_DEG = (8.0, 15.0, 21.0, 26.0, 30.0)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), seed=1507, side_px=1000)


class Flying:
    """A chain on a flight eastwards; `aside_m`: how far north of its line the pictures are taken."""

    def __init__(self, package: MapPackage) -> None:
        settings = LocalizerSettings()
        self.chain = Chain(settings, Mount())
        self.at_s, self.aside_m = 0.0, 0.0
        self._package = package
        self._looker = Looker(package, CAMERA, Mount(), settings)

    def look(self, lean_deg: float, **known: float) -> tuple[Look, VehicleState]:
        at = -40.0 + SPEED_MPS * self.at_s, 15.0 + self.aside_m, AGL_M, lean_deg, 0.0, 90.0
        image = render_view(self._package.imagery, self._package.grid, CAMERA, Mount(), *at)
        state = replace(VehicleState(round((self.at_s + 1.0) * S), lean_deg, 0.0, 90.0, AGL_M), **known)
        seen = self._looker.look(Frame(image, state.at_ns, 0), state, 0.0, 1.0)
        assert isinstance(seen, Look)
        return seen, state

    def on(self, lean_deg: float = 0.0, *, seconds: float = STEP_S, **known: float) -> Step:
        """The step to the next picture; `known`: of the vehicle besides."""
        self.at_s += seconds
        return self.chain.move(*self.look(lean_deg, **known))

    def level(self, pictures: int = 12) -> None:
        for _ in range(pictures):
            self.on()
        assert not self.chain.broken


def test_level_pictures_that_contradict_the_velocity_are_not_excused_by_their_attitudes(package) -> None:
    flying = Flying(package)
    flying.level()
    flying.aside_m = 4.0
    flying.on()
    assert flying.chain.broken


def test_pictures_that_contradict_the_velocity_break_the_chain_even_after_a_gap(package) -> None:
    """After a long one nothing need overlap; what does and does not fit is another ground all the same."""
    flying = Flying(package)
    flying.level()
    flying.aside_m = 45.0
    flying.on(seconds=1.6)
    assert flying.chain.broken


def test_after_a_gap_pictures_without_a_common_ground_do_not_break_it(package) -> None:
    flying = Flying(package)
    flying.level()
    flying.aside_m = 150.0
    step = flying.on(seconds=1.6)
    assert not flying.chain.broken
    assert (step.east_m, step.north_m) == pytest.approx((1.6 * SPEED_MPS, 0.0), abs=0.5)


def test_once_a_lean_excused_a_motion_those_that_agree_are_doubted_until_it_is_level(package) -> None:
    """A leap aside within the lean, as an attitude that is off throws it, and its end may be at any later picture."""
    flying = Flying(package)
    flying.level()
    leaning = [flying.on(lean_deg).sigma_m for lean_deg in UP_DEG]
    flying.aside_m = 4.0
    thrown = [flying.on(30.0).sigma_m for _ in range(3)]
    after = [flying.on(lean_deg).sigma_m for lean_deg in (*UP_DEG[::-1], 0.0, 0.0, 0.0, 0.0)]
    assert not flying.chain.broken
    assert leaning[-1] < 0.5
    assert min(thrown) > 1.2
    assert after[-1] < 0.3


def test_a_lean_does_not_excuse_a_motion_beyond_what_it_throws(package) -> None:
    flying = Flying(package)
    flying.level()
    for lean_deg in (*UP_DEG[:4], 26.0, 26.0):
        flying.on(lean_deg)
    assert not flying.chain.broken
    flying.aside_m = 9.0
    flying.on(26.0)
    assert flying.chain.broken


def test_a_step_is_as_unsure_as_the_height_that_it_was_measured_from(package) -> None:
    """A height that is wrong by a quarter makes the step wrong by a quarter."""
    flying = Flying(package)
    flying.level()
    usual, doubtful = flying.on(), flying.on(agl_sigma_m=0.25 * AGL_M)
    step_m = SPEED_MPS * STEP_S
    assert doubtful.sigma_m**2 - usual.sigma_m**2 == pytest.approx((0.25**2 - 0.07**2) * step_m**2, rel=0.05)
    sure = flying.on(agl_sigma_m=0.01 * AGL_M)
    assert sure.sigma_m == pytest.approx(usual.sigma_m, rel=0.02)


def test_new_ground_counts_by_the_views_side_and_no_more_than_once(package) -> None:
    flying = Flying(package)
    seen, _ = flying.look(0.0)
    side_m = math.sqrt(seen.view.area_m2)
    flying.on()
    shares = []
    for _ in range(26):
        flying.on(seconds=1.0)
        shares.append(flying.chain.new_ground)
    assert shares[9] == pytest.approx(10 * SPEED_MPS / side_m, rel=0.02)
    assert 1.1 * side_m < 26 * SPEED_MPS
    assert shares[-1] == 1.0


def test_two_contradictions_in_a_row_are_taken_for_the_motion_itself(package) -> None:
    flying = Flying(package)
    flying.level()
    steps = []
    for _ in range(4):
        flying.aside_m += 4.0
        steps.append(flying.on())
    assert flying.chain.broken
    for predicted, found in ((steps[:2], 0.0), (steps[2:], 4.0)):
        assert [step.north_m for step in predicted] == pytest.approx([found] * 2, abs=0.3)


def test_contradictions_apart_from_each_other_leave_the_velocity_known(package) -> None:
    flying = Flying(package)
    flying.level()
    for _ in range(2):
        flying.aside_m += 4.0
        flying.on()
        sigma_mps = flying.chain.odometry.velocity_covariance().sigma_major
        assert sigma_mps < 1.5
        for _ in range(3):
            assert flying.on().north_m == pytest.approx(0.0, abs=0.3)


def test_a_motion_may_be_longer_than_the_top_speed_by_what_attitudes_throw(package) -> None:
    top_m = LocalizerSettings().max_speed_mps
    for aside_m, found in ((1.04 * top_m, True), (1.3 * top_m, False)):
        flying = Flying(package)
        flying.on()
        flying.aside_m = aside_m
        step = flying.on(seconds=1.0)
        assert (step.north_m == pytest.approx(aside_m, abs=0.3)) is found
        assert flying.chain.broken is not found
