"""Simulated flight folders, and the simulated camera as a frame source."""

import dataclasses
import math

import cv2
import numpy as np
import pytest

from support.clocks import ManualClock
from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.flight import open_flight
from tilefix.geodesy import Grid, LocalFrame
from tilefix.simulation.camera import Exposure
from tilefix.simulation.flights import FlightPlan, fly_over, footprint_m
from tilefix.simulation.relief import hills
from tilefix.simulation.sight import Scenery, SimulatedCamera
from tilefix.simulation.vehicle import Motion

FRAME = LocalFrame(47.0, 8.0)
GRID = Grid(-500.0, 500.0, 2.0, 500, 500)
PLAN = FlightPlan(60.0, 8.0, 1.0, 6.0, 4, CameraModel.from_hfov(160, 120, 60.0), lossless=True)


@pytest.fixture(scope="module")
def scenery():
    noise = np.random.default_rng(1).integers(0, 255, (125, 125, 3), dtype=np.uint8)
    return Scenery(cv2.resize(noise, (500, 500), interpolation=cv2.INTER_CUBIC), GRID)


def test_a_flight_folder_opens_and_holds_truth_and_errors(scenery, tmp_path):
    assert fly_over(scenery, FRAME, PLAN, tmp_path / "flight") == 6
    flight = open_flight(tmp_path / "flight")
    assert flight.camera == PLAN.camera
    assert len(flight.rows) == 6
    for row, frame in flight.frames():
        assert GRID.contains(*FRAME.to_local(*row.truth), footprint_m(PLAN.camera, PLAN.mount, 60.0))
        assert row.state.agl_m == pytest.approx(60.0, abs=8.0)
        assert frame.image.std() > 10.0
    flown = math.dist(FRAME.to_local(*flight.rows[0].truth), FRAME.to_local(*flight.rows[-1].truth))
    assert flown == pytest.approx(40.0, abs=12.0)


def test_equal_plans_give_equal_bytes(scenery, tmp_path):
    for name in ("a", "b"):
        fly_over(
            scenery, FRAME, dataclasses.replace(PLAN, exposure_ms=20.0, exposure=Exposure(noise=0.02)), tmp_path / name
        )
    for file in sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_without_errors_the_log_says_the_truth_and_with_them_it_does_not(scenery, tmp_path):
    exact = dataclasses.replace(PLAN, attitude_error_deg=0.0, heading_error_deg=0.0, height_error=0.0)
    wrong = dataclasses.replace(PLAN, heading_error_deg=20.0, height_error=0.2)
    fly_over(scenery, FRAME, exact, tmp_path / "exact")
    fly_over(scenery, FRAME, wrong, tmp_path / "wrong")
    a, b = (open_flight(tmp_path / name).rows for name in ("exact", "wrong"))
    assert [row.truth for row in a] == [row.truth for row in b]
    assert abs(a[0].state.agl_m - b[0].state.agl_m) > 1.0
    assert abs(a[0].state.yaw_deg - b[0].state.yaw_deg) > 1.0


@pytest.mark.parametrize("ranged", [True, False])
def test_over_hills_the_log_tells_both_heights(scenery, tmp_path, ranged):
    terrain = hills(5, GRID, 40.0)
    plan = dataclasses.replace(PLAN, height_error=0.0, amsl_error_m=0.0, ranged=ranged)
    fly_over(dataclasses.replace(scenery, terrain=terrain), FRAME, plan, tmp_path / "hilly")
    fly_over(scenery, FRAME, plan, tmp_path / "flat")
    hilly, flat = (open_flight(tmp_path / name) for name in ("hilly", "flat"))
    start_m = terrain.at(*FRAME.to_local(*hilly.rows[0].truth))
    for over_hills, over_plane in zip(hilly.rows, flat.rows, strict=True):
        assert over_hills.truth == over_plane.truth
        plane_m = over_plane.state.agl_m
        below_m = terrain.at(*FRAME.to_local(*over_hills.truth)) if ranged else start_m
        assert over_hills.state.agl_m == pytest.approx(plane_m - below_m, abs=0.1)
        assert over_hills.state.amsl_m == pytest.approx(PLAN.ground_amsl_m + plane_m)
        assert over_hills.state.agl_sigma_m > 0.0
        assert (over_plane.state.amsl_m, over_plane.state.agl_sigma_m) == (None, None)
    frames = [next(flight.frames())[1].image for flight in (hilly, flat)]
    assert (frames[0] != frames[1]).any()


def test_hills_that_rise_to_the_flight_are_refused(scenery, tmp_path):
    high = dataclasses.replace(scenery, terrain=hills(5, GRID, 110.0))
    with pytest.raises(FlightError, match="the hills rise"):
        fly_over(high, FRAME, PLAN, tmp_path / "flight")
    assert not (tmp_path / "flight").exists()


@pytest.mark.parametrize("change", [{"agl_m": 900.0}, {"agl_m": -1.0}, {"rate_hz": 0.0}, {"duration_s": float("nan")}])
def test_what_cannot_be_flown_is_refused(scenery, tmp_path, change):
    with pytest.raises(FlightError, match=r"too small|out of range"):
        fly_over(scenery, FRAME, dataclasses.replace(PLAN, **change), tmp_path / "flight")
    assert not (tmp_path / "flight" / "flight.toml").exists()


def test_a_flight_is_never_written_over_another(scenery, tmp_path):
    fly_over(scenery, FRAME, PLAN, tmp_path / "flight")
    with pytest.raises(FlightError, match="holds a flight already"):
        fly_over(scenery, FRAME, PLAN, tmp_path / "flight")


class _Moving:
    """A vehicle that flies east at 10 m/s, and a wait that moves the clock."""

    def __init__(self):
        self.clock = ManualClock()
        self.asked = []

    def truth_at(self, at_ns):
        self.asked.append(at_ns)
        return Motion(at_ns / 1e9, at_ns / 1e8, 0.0, 60.0, 10.0, 0.0, 0.0, 0.0, 0.0, 90.0)


def _source(scenery, moving, rate_hz=4.0):
    return SimulatedCamera(
        scenery,
        PLAN.camera,
        Mount(),
        moving.truth_at,
        moving.clock,
        rate_hz=rate_hz,
        seed=1,
        wait=moving.clock.advance_s,
    )


def test_pictures_come_at_the_cameras_pace_and_are_dated_by_exposure(scenery):
    moving = _Moving()
    camera = _source(scenery, moving)
    frames = [camera.read(1.0) for _ in range(3)]
    assert [frame.captured_ns for frame in frames] == [1_000_000_000, 1_250_000_000, 1_500_000_000]
    assert moving.asked == [frame.captured_ns for frame in frames]
    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert not np.array_equal(frames[0].image, frames[1].image)


def test_a_slow_reader_gets_the_newest_picture_once(scenery):
    moving = _Moving()
    camera = _source(scenery, moving)
    camera.read(1.0)
    moving.clock.advance_s(1.1)
    assert camera.read(1.0).sequence == 4
    assert camera.read(0.01) is None
    assert camera.read(1.0).sequence == 5


def test_closed_is_exhausted(scenery):
    camera = _source(scenery, _Moving())
    assert not camera.exhausted
    camera.close()
    camera.close()
    assert camera.exhausted
    assert camera.read(0.1) is None
