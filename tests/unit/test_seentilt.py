"""What a picture tells of its own tilt, over ground whose shape is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.embedders import ThumbnailEmbedder
from support.scenes import CAMERA, small_map
from tilefix.camera import Mount, camera_to_ned
from tilefix.localization.blocks import Blocks, blocks_on_map
from tilefix.localization.localizer import Localizer
from tilefix.localization.look import Look, Looker
from tilefix.localization.register import Peak
from tilefix.localization.seentilt import fitted_throw, seen_tilt
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.thrown import throw_of
from tilefix.maps.package import MapPackage
from tilefix.maps.terrain import Terrain
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import render_view
from tilefix.types import Covariance, Fix, Frame, VehicleState

HIGH_M = 260.0
PLACE = 12.0, -7.0


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    made = small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), side_px=1400)
    return replace(made, terrain=Terrain(made.grid, np.zeros((1400, 1400), np.float32)))


def look(package: MapPackage, mount: Mount, roll_deg: float, pitch_deg: float, yaw_deg: float) -> Look:
    """From a picture whose roll and pitch are larger than stated by those."""
    image = render_view(
        package.imagery, package.grid, CAMERA, mount, *PLACE, HIGH_M, 2.0 + roll_deg, -1.0 + pitch_deg, yaw_deg
    )
    seen = Looker(package, CAMERA, mount, LocalizerSettings()).look(
        Frame(image, 1, 0), VehicleState(1, 2.0, -1.0, yaw_deg, HIGH_M), 0.0, 1.0
    )
    assert isinstance(seen, Look)
    return seen


def peak_of(seen: Look, off_m: tuple[float, float] = (0.0, 0.0)) -> Peak:
    east_m, north_m = (PLACE[axis] + seen.offset_m[axis] + off_m[axis] for axis in (0, 1))
    return Peak(east_m, north_m, 0.5, 10.0, Covariance(1.0, 0.0, 1.0))


@pytest.mark.parametrize("mount", [Mount(), Mount(pitch_deg=15.0)], ids=["down", "ahead"])
@pytest.mark.parametrize(("roll_deg", "pitch_deg", "yaw_deg"), [(0.5, 0.0, 0.0), (0.0, -0.6, 70.0), (0.4, 0.5, 200.0)])
def test_a_picture_tells_its_tilt(
    package: MapPackage, mount: Mount, roll_deg: float, pitch_deg: float, yaw_deg: float
) -> None:
    seen = look(package, mount, roll_deg, pitch_deg, yaw_deg)
    told = seen_tilt(seen, peak_of(seen))
    assert told is not None
    true = throw_of(seen).body @ np.radians([roll_deg, pitch_deg])
    off = told.rad - true
    assert np.degrees(np.abs(off)).max() < 0.12
    assert float(off @ np.linalg.solve(told.covariance, off)) < 12.0
    assert np.degrees(np.sqrt(np.diag(told.covariance))).max() < 0.25


def test_a_throw_is_what_the_geometry_makes_of_a_small_angle(package: MapPackage) -> None:
    """Against the rays themselves, of the middle of the picture."""
    for mount, yaw_deg in ((Mount(), 30.0), (Mount(pitch_deg=20.0), 30.0), (Mount(roll_deg=-12.0), 140.0)):
        seen = look(package, mount, 0.0, 0.0, yaw_deg)
        step = 1e-4
        throw = throw_of(seen)
        for axis, (roll_deg, pitch_deg) in enumerate(((math.degrees(step), 0.0), (0.0, math.degrees(step)))):
            tilted = camera_to_ned(2.0 + roll_deg, -1.0 + pitch_deg, yaw_deg, mount)
            ahead = np.array([seen.offset_m[1], seen.offset_m[0], HIGH_M])
            ray = tilted @ camera_to_ned(2.0, -1.0, yaw_deg, mount).T @ ahead
            moved = ray[[1, 0]] / ray[2] * HIGH_M - np.array(seen.offset_m)
            assert (throw.metres @ throw.body)[:, axis] * step == pytest.approx(
                moved, rel=0.03, abs=0.002 * step * HIGH_M
            )


def test_blocks_lie_where_the_match_is_off(package: MapPackage) -> None:
    seen = look(package, Mount(), 0.0, 0.0, 20.0)
    blocks = blocks_on_map(seen, peak_of(seen, (1.3, -0.8)))
    assert len(blocks.off_m) >= 12
    assert np.median(blocks.off_m, axis=0) == pytest.approx([-1.3, 0.8], abs=0.15)
    assert np.ptp(blocks.ground_m, axis=0).min() > 0.5 * seen.view.extent_m - 70.0


@given(
    seed=st.integers(0, 10_000),
    throw_m=st.tuples(st.floats(-8.0, 8.0), st.floats(-8.0, 8.0)),
    turn_deg=st.floats(-2.0, 2.0),
    scale=st.floats(-0.03, 0.03),
    liars=st.floats(0.0, 0.25),
)
def test_a_fit_finds_the_throw_among_other_errors(
    seed: int, throw_m: tuple[float, float], turn_deg: float, scale: float, liars: float
) -> None:
    rng, high_m = np.random.default_rng(seed), 400.0
    ground = np.stack(np.meshgrid(np.linspace(-200.0, 200.0, 7), np.linspace(-180.0, 180.0, 7)), axis=-1).reshape(-1, 2)
    off = np.array([3.0, -2.0]) + throw_m + ground * (ground @ throw_m)[:, None] / high_m**2
    off += scale * ground + math.radians(turn_deg) * ground[:, ::-1] * (1.0, -1.0)
    off += rng.normal(0.0, 0.05, off.shape)
    wrong = rng.random(len(off)) < liars
    off[wrong] += rng.normal(0.0, 15.0, (int(wrong.sum()), 2))
    found = fitted_throw(Blocks(ground, off), high_m, 0.05)
    assert found is not None
    assert found[0] == pytest.approx(throw_m, abs=0.6)


def test_too_few_blocks_tell_nothing() -> None:
    ground = np.stack(np.meshgrid([-90.0, 0.0, 90.0], [-60.0, 60.0]), axis=-1).reshape(-1, 2)
    assert fitted_throw(Blocks(ground, np.zeros_like(ground)), 200.0, 0.1) is None
    line = np.stack([np.linspace(-100.0, 100.0, 20), np.zeros(20)], axis=1)
    assert fitted_throw(Blocks(line, np.zeros_like(line)), 200.0, 0.1) is None


def flown(package: MapPackage, roll_deg: float) -> list[tuple[float, float]]:
    """(error, sigma) of the places of a flight northwards whose logged roll is too small by that."""
    settings = LocalizerSettings(surface_sigma_m=0.2)  # the map has the very ground
    localizer = Localizer(package, TileIndex.open(package), ThumbnailEmbedder(), CAMERA, Mount(), settings)
    localizer.hint(*package.frame.to_geodetic(0.0, -120.0), 20.0)
    found = []
    for k in range(24):
        at, at_ns = (0.0, -120.0 + 10.0 * k), (k + 1) * 1_000_000_000
        image = render_view(package.imagery, package.grid, CAMERA, Mount(), *at, HIGH_M, roll_deg, 0.0, 0.0)
        answer = localizer.process(Frame(image, at_ns, k), VehicleState(at_ns, 0.0, 0.0, 0.0, HIGH_M))
        if isinstance(answer, Fix):
            found.append((math.dist((answer.east_m, answer.north_m), at), answer.sigma_m))
    return found


def test_over_known_ground_a_wrong_attitude_is_found_and_taken_out(package: MapPackage) -> None:
    """0.5 degrees from 260 m are 2.3 m: a slope would look the same, so a map without heights tells nothing."""
    known, unknown = flown(package, 0.5), flown(replace(package, terrain=None), 0.5)
    assert min(len(known), len(unknown)) >= 12
    assert np.median([error for error, _ in unknown]) == pytest.approx(2.3, abs=0.4)
    assert np.median([error for error, _ in known]) < 1.0
    assert all(error < 3.0 * sigma for error, sigma in known + unknown)
    assert known[-1][1] < 0.75 * unknown[-1][1]
