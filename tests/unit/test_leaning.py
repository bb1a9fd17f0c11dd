"""Pictures that lean: what their attitudes err by must not be sent as a velocity that is surely known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, small_map
from tilefix.camera import Mount
from tilefix.localization.localizer import Localizer
from tilefix.localization.look import Look, Looker
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.thrown import thrown_m, turned_rad
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import render_view
from tilefix.types import Fix, Frame, NoFix, VehicleState

STEP_NS = 200_000_000
SPEED_MPS = 6.0
LEVEL = 12
# Level, then a lean that comes and goes faster than attitudes are dated well.
LEANS_DEG = (0.0,) * LEVEL + (20.0, 38.0, 45.0, 50.0, 38.0, 24.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), seed=1507, side_px=1000)


def place(k: int) -> tuple[float, float]:
    return -40.0 + SPEED_MPS * 0.2 * k, 15.0


def flown(package: MapPackage, rng: np.random.Generator, late_s: float) -> list[Fix | NoFix]:
    """The answers to a flight eastwards, its attitudes dated wrongly by up to that."""
    localizer = Localizer(package, TileIndex.open(package), ThumbnailEmbedder(), CAMERA, Mount())
    localizer.hint(*package.frame.to_geodetic(*place(0)), 5.0)
    answers = []
    for k, lean_deg in enumerate(LEANS_DEG):
        image = render_view(package.imagery, package.grid, CAMERA, Mount(), *place(k), AGL_M, lean_deg, 0.0, 90.0)
        rate_dps = (lean_deg - LEANS_DEG[max(k - 1, 0)]) / 0.2
        told_deg = lean_deg + rate_dps * rng.normal(0.0, late_s)
        at_ns = (k + 1) * STEP_NS
        answers.append(localizer.process(Frame(image, at_ns, k), VehicleState(at_ns, told_deg, 0.0, 90.0, AGL_M)))
    return answers


def stretch(answer: Fix | NoFix) -> float:
    """Error of the velocity over the one stated, 0 where none is."""
    if isinstance(answer, NoFix) or answer.velocity_covariance is None:
        return 0.0
    assert answer.velocity_east_mps is not None
    assert answer.velocity_north_mps is not None
    error_mps = math.hypot(answer.velocity_east_mps - SPEED_MPS, answer.velocity_north_mps)
    return error_mps / answer.velocity_covariance.sigma_major


def test_a_velocity_measured_as_a_lean_ends_states_what_the_lean_does_to_it(package) -> None:
    flights = [flown(package, np.random.default_rng([1507, seed]), late_s=0.012) for seed in range(5)]
    after = [[stretch(answer) for answer in flight[LEVEL:]] for flight in flights]
    assert any(isinstance(answer, Fix) for flight in flights for answer in flight[LEVEL + 5 :])
    assert max(map(max, after)) < 3.0
    # Once it is level it is soon known well.
    for flight in flights:
        last = flight[-1]
        assert isinstance(last, Fix)
        assert last.velocity_covariance is not None
        assert last.velocity_covariance.sigma_major < 4.0


def test_a_camera_that_looks_ahead_leans_no_longer_than_its_vehicle(package) -> None:
    ahead = Mount(0.0, 27.0, 0.0)
    localizer = Localizer(package, TileIndex.open(package), ThumbnailEmbedder(), CAMERA, ahead)
    localizer.hint(*package.frame.to_geodetic(*place(0)), 5.0)
    sigma_mps = []
    for k, lean_deg in enumerate((0.0,) * 10 + (26.0, 26.0) + (0.0,) * 8):
        image = render_view(package.imagery, package.grid, CAMERA, ahead, *place(k), AGL_M, lean_deg, 0.0, 90.0)
        at_ns = (k + 1) * STEP_NS
        answer = localizer.process(Frame(image, at_ns, k), VehicleState(at_ns, lean_deg, 0.0, 90.0, AGL_M))
        covariance = None if isinstance(answer, NoFix) else answer.velocity_covariance
        sigma_mps.append(math.inf if covariance is None else covariance.sigma_major)
    assert sigma_mps[11] > 2.0
    assert sigma_mps[-1] < 0.6


def looks(package: MapPackage, *leans_deg: float) -> list[Look]:
    looker = Looker(package, CAMERA, Mount(), replace(LocalizerSettings(), max_tilt_deg=50.0))
    seen = []
    for k, lean_deg in enumerate(leans_deg):
        image = render_view(package.imagery, package.grid, CAMERA, Mount(), 0.0, 0.0, AGL_M, lean_deg, 0.0, 90.0)
        look = looker.look(Frame(image, k, k), VehicleState(k, lean_deg, 0.0, 90.0, AGL_M), 0.0, 1.0)
        assert isinstance(look, Look)
        seen.append(look)
    return seen


def test_a_picture_is_thrown_by_its_tilt_and_by_how_fast_it_turned(package) -> None:
    level, leaned = looks(package, 0.0, 34.0)
    usual_m = math.sqrt(2.0) * level.attitude_sigma_m
    upright2 = math.cos(math.radians(34.0)) ** 2
    assert thrown_m(level, level, 0.0) == pytest.approx(usual_m)
    assert thrown_m(leaned, level, 0.0) == thrown_m(level, leaned, 0.0) == pytest.approx(usual_m / upright2)
    late_m = math.sqrt(2.0) * AGL_M * 2.0 * 0.01
    assert thrown_m(level, level, 2.0) == pytest.approx(math.hypot(usual_m, late_m))


def test_the_angle_between_two_attitudes() -> None:
    level = VehicleState(0, 0.0, 0.0, 359.0, AGL_M)
    assert turned_rad(level, level) == 0.0
    assert turned_rad(level, replace(level, yaw_deg=1.0)) == pytest.approx(math.radians(2.0))
    assert turned_rad(level, replace(level, roll_deg=-30.0)) == pytest.approx(math.radians(30.0))
    assert turned_rad(None, level) == turned_rad(level, replace(level, pitch_deg=None)) == 0.0
