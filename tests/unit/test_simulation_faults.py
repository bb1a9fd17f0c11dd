"""Faults as edits: what they change, when, and that they change nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.flights import picture_flight
from support.scenes import noise_ground
from tilefix.flights.flight import Flight, FlightRow, open_flight
from tilefix.geodesy import Grid
from tilefix.simulation.faultground import ORCHARD_M, around, mixed, orchard, swapped, wrong_season
from tilefix.simulation.faultlogs import LATE_S, edit_log
from tilefix.simulation.faultpictures import PictureEdit
from tilefix.simulation.faults import ASKED, Fault, Window
from tilefix.simulation.faultyflight import faulty
from tilefix.simulation.looks import Season, drone_look, satellite_look
from tilefix.types import VehicleState

WINDOW = Window(4.0, 8.0)
PICTURE = noise_ground(7, 160)[:120]
OF_PICTURES = (
    Fault.FROZEN_CAMERA, Fault.FROZEN_STREAM, Fault.EXPOSURE_FLICKER, Fault.BLUR, Fault.HAZE, Fault.HALF_CLOUD,
    Fault.NIGHT, Fault.SNOW, Fault.SUN_GLINT, Fault.LENS_DIRT,
)  # fmt: skip
OF_THE_LOG = (
    Fault.DROPPED_FRAMES, Fault.DROPPED_BURSTS, Fault.LATE_ATTITUDE, Fault.TIME_JUMPS, Fault.HEADING_30,
    Fault.HEADING_180, Fault.HEIGHT_30, Fault.KIDNAPPED,
)  # fmt: skip


def _rows(count: int = 48, rate_hz: float = 4.0) -> list[FlightRow]:
    """Heading turns by 20 degrees a second through north, the roll by 2."""
    rows = []
    for k in range(count):
        at_s = k / rate_hz
        state = VehicleState(round(at_s * 1e9), 2.0 * at_s, -1.0, (300.0 + 20.0 * at_s) % 360.0, 100.0)
        rows.append(FlightRow(f"{k:06d}.png", at_s, state, (47.0, 8.5)))
    return rows


def _edited(fault: Fault, window: Window = WINDOW) -> tuple[list[float], list[FlightRow]]:
    timed = edit_log(fault, _rows(), window)
    return [at_s for at_s, _ in timed], [row for _, row in timed]


def test_every_fault_asks_for_something_that_can_be_met() -> None:
    assert set(ASKED) == set(Fault)
    assert all(0.0 <= asked.availability <= 1.0 and asked.recovery_s > 0.0 for asked in ASKED.values())


def test_a_window_cannot_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="from 3 s to 2 s"):
        Window(3.0, 2.0)


@pytest.mark.parametrize("fault", OF_THE_LOG, ids=lambda fault: fault.name)
def test_a_fault_of_the_log_leaves_the_rest_of_the_flight_alone(fault: Fault) -> None:
    arrives_s, rows = _edited(fault)
    assert arrives_s == sorted(arrives_s)
    original = {row.frame: row for row in _rows()}
    changed = [row.frame for row in rows if row != original[row.frame]]
    lost = original.keys() - {row.frame for row in rows}
    assert changed or lost
    if fault is not Fault.KIDNAPPED:
        assert all(WINDOW.holds(original[frame].time_s) for frame in {*changed, *lost})


def test_a_fault_of_something_else_leaves_the_log_alone() -> None:
    assert _edited(Fault.BLUR) == ([row.time_s for row in _rows()], _rows())


def test_every_third_frame_is_dropped() -> None:
    arrives_s, _ = _edited(Fault.DROPPED_FRAMES)
    held = [at_s for at_s in arrives_s if WINDOW.holds(at_s)]
    assert held[:4] == [4.25, 4.5, 5.0, 5.25]


def test_bursts_leave_gaps_of_two_seconds() -> None:
    arrives_s, _ = _edited(Fault.DROPPED_BURSTS)
    assert np.diff(arrives_s).max() == pytest.approx(2.25)
    assert 6.0 in arrives_s


def test_late_attitude_is_that_of_a_moment_ago_also_through_north() -> None:
    arrives_s, rows = _edited(Fault.LATE_ATTITUDE)
    for at_s, row in zip(arrives_s, rows, strict=True):
        then_s = at_s - LATE_S if WINDOW.holds(at_s) else at_s
        assert row.state.roll_deg == pytest.approx(2.0 * then_s)
        assert (row.state.yaw_deg - 300.0 - 20.0 * then_s + 180.0) % 360.0 == pytest.approx(180.0)
        assert row.state.agl_m == 100.0


def test_late_attitude_that_was_unknown_stays_unknown() -> None:
    rows = [replace(row, state=replace(row.state, yaw_deg=None)) for row in _rows()]
    edited = [row for _, row in edit_log(Fault.LATE_ATTITUDE, rows, WINDOW)]
    assert all(row.state.yaw_deg is None for row in edited)
    assert all(row.state.roll_deg is not None for row in edited)


def test_time_jumps_both_ways_and_is_right_again() -> None:
    arrives_s, rows = _edited(Fault.TIME_JUMPS)
    assert arrives_s == [row.time_s for row in _rows()]
    off_s = [row.time_s - at_s for at_s, row in zip(arrives_s, rows, strict=True)]
    assert sorted(set(off_s)) == [-1.0, 0.0, 2.0]
    assert off_s[-1] == 0.0
    assert all(row.state.at_ns == round(row.time_s * 1e9) for row in rows)


def test_a_kidnapped_vehicle_goes_on_elsewhere_without_a_gap_in_time() -> None:
    window = Window(4.0, 4.0)
    arrives_s, rows = _edited(Fault.KIDNAPPED, window)
    assert np.allclose(np.diff(arrives_s), 0.25)
    assert arrives_s == [row.time_s for row in rows]
    assert [row.frame for row in rows[15:17]] == ["000015.png", "000032.png"]
    with pytest.raises(ValueError, match="more than twice as long"):
        edit_log(Fault.KIDNAPPED, _rows(20), window)


@pytest.mark.parametrize(
    ("fault", "name", "by"), [(Fault.HEADING_30, "yaw_deg", 30.0), (Fault.HEADING_180, "yaw_deg", 180.0)]
)
def test_the_heading_is_off_by_as_much_as_said(fault: Fault, name: str, by: float) -> None:
    for row, (at_s, edited) in zip(_rows(), edit_log(fault, _rows(), WINDOW), strict=True):
        off = (getattr(edited.state, name) - getattr(row.state, name)) % 360.0
        assert off == pytest.approx(by if WINDOW.holds(at_s) else 0.0)


@pytest.mark.parametrize("fault", OF_PICTURES, ids=lambda fault: fault.name)
def test_a_fault_of_pictures_follows_from_its_seed_and_lasts_for_its_window(fault: Fault) -> None:
    def edited(seed: int, number: int) -> np.ndarray:
        edit = PictureEdit(fault, seed, WINDOW)
        assert edit(PICTURE, 0, 3.9) is PICTURE
        changed = edit(PICTURE[::-1], number, 5.0)
        assert edit(PICTURE, 9, 8.0) is PICTURE
        return changed

    first = edited(1, 1)
    assert first.shape == PICTURE.shape
    assert first.dtype == np.uint8
    assert not np.array_equal(first, PICTURE[::-1])
    assert np.array_equal(first, edited(1, 1))


def test_a_frozen_camera_repeats_the_last_picture_that_it_took() -> None:
    edit = PictureEdit(Fault.FROZEN_CAMERA, 1, WINDOW)
    edit(PICTURE, 0, 3.75)
    assert np.array_equal(edit(PICTURE[::-1], 1, 4.0), PICTURE)
    assert np.array_equal(edit(PICTURE[:, ::-1], 2, 7.75), PICTURE)


def test_a_frozen_stream_is_no_two_times_the_same() -> None:
    edit = PictureEdit(Fault.FROZEN_STREAM, 1, WINDOW)
    edit(PICTURE, 0, 3.75)
    repeated = [edit(PICTURE[::-1], number, 4.0 + number).astype(int) for number in (1, 2)]
    assert not np.array_equal(*repeated)
    assert max(np.abs(one - PICTURE).mean() for one in repeated) < 2.0


def test_a_flight_folder_can_be_given_a_fault(tmp_path: Path) -> None:
    flight: Flight = open_flight(picture_flight(tmp_path / "flight", count=6))
    frozen = faulty(flight, Fault.FROZEN_CAMERA, Window(1.0, 2.0), 1)
    red = [int(frame.image[0, 0, 0]) for _, frame in frozen.frames()]
    assert red == [0, 10, 10, 10, 40, 50]
    assert frozen.arrives_s == (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
    fewer = faulty(flight, Fault.DROPPED_FRAMES, Window(0.0, 2.0), 1)
    assert [row.frame for row, _ in fewer.frames()] == ["f1.png", "f2.png", "f4.png", "f5.png"]
    assert [int(frame.image[0, 0, 0]) for _, frame in fewer.frames(2)] == [10, 20]


GRID = Grid(-100.0, 100.0, 0.5, 400, 400)


def test_the_ground_around_a_way_is_replaced_and_no_other() -> None:
    mask = around(GRID, [(0.0, 0.0), (20.0, 0.0)], 10.0)
    assert 0.25 * mask.sum() == pytest.approx(2.0 * np.pi * 100.0, rel=0.05)
    column, row = (round(value) for value in GRID.to_pixel(20.0, 5.0))
    assert mask[row, column]
    ground, other = np.zeros((400, 400, 3), np.uint8), np.full((400, 400, 3), 9, np.uint8)
    assert np.array_equal(mixed(ground, other, mask)[..., 1] == 9, mask)


@pytest.mark.parametrize("place", [(-60.0, 60.0), (60.0, -60.0), (0.0, 0.0)])
def test_a_tile_is_exchanged_with_one_that_lies_elsewhere(place: tuple[float, float]) -> None:
    ground = noise_ground(9, 400)
    edited = swapped(ground, GRID, [place], 20.0)
    assert np.array_equal(np.sort(edited.ravel()), np.sort(ground.ravel()))
    changed = (edited != ground).any(axis=2)
    column, row = (round(value) for value in GRID.to_pixel(*place))
    assert changed[row - 30 : row + 30, column - 30 : column + 30].mean() > 0.9
    assert changed.sum() < 2.1 * 80 * 80


def test_tiles_too_large_to_exchange_are_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        swapped(noise_ground(9, 400), GRID, [(-10.0, 0.0), (10.0, 0.0)], 90.0)


def test_an_orchard_repeats_and_looks_alike_on_map_and_ground() -> None:
    mapped = orchard(GRID, 3, (150, 140, 116), (88, 98, 60))[..., 0].astype(float)
    flown = orchard(GRID, 3, (168, 150, 120), (70, 84, 52))[..., 0].astype(float)
    assert np.corrcoef(mapped.ravel(), flown.ravel())[0, 1] > 0.99
    spectrum = np.abs(np.fft.fft2(mapped - mapped.mean()))
    row, column = np.unravel_index(int(spectrum.argmax()), spectrum.shape)
    cycles = np.hypot(*(min(value, 400 - value) for value in (row, column)))
    assert 200.0 / cycles == pytest.approx(ORCHARD_M, rel=0.05)


def test_the_wrong_season_is_half_a_year_away() -> None:
    seasons = {
        wrong_season(satellite_look(seed), drone_look(seed)).season - drone_look(seed).season for seed in range(9)
    }
    assert seasons <= {-2, 2}
    assert wrong_season(satellite_look(1), replace(drone_look(1), season=Season.SUMMER)).season is Season.WINTER
