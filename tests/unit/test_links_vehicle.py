"""What follows from what the link told."""

from __future__ import annotations

import math

import pytest

from tilefix.links.gnsshistory import GNSS_BACK_NS, GNSS_SILENCE_NS
from tilefix.links.height import isa_altitude_m
from tilefix.links.messages import (
    Attitude,
    AutopilotTime,
    CameraAttitude,
    GimbalSource,
    GnssReceiver,
    GroundRange,
    Heartbeat,
    Home,
    Pressure,
    Rebooted,
)
from tilefix.links.vehicle import GimbalSettings, HeightSettings, Vehicle
from tilefix.localization.gates import state_refusal
from tilefix.types import Reason

S = 1_000_000_000
HPA = 954.61  # 500 m in the standard atmosphere


def _gnss(at_s: float, fix_type: int = 3, lat_deg: float = 47.0, amsl_m: float | None = 540.0) -> GnssReceiver:
    return GnssReceiver(round(at_s * S), fix_type, lat_deg, 8.0, amsl_m, 1.0, 1.5, 3.0, 4.0)


def _flown(vehicle: Vehicle, until_s: float = 2.0, hpa: float = HPA) -> Vehicle:
    """Two seconds of everything at 10 Hz."""
    for tick in range(round(until_s * 10) + 1):
        at_ns = tick * S // 10
        vehicle.take(Attitude(at_ns, 0.0, 0.0, 30.0))
        vehicle.take(Pressure(at_ns, hpa))
        vehicle.take(_gnss(tick / 10))
    return vehicle


def test_nothing_is_known_at_first() -> None:
    vehicle = Vehicle()
    state = vehicle.state_at(S)
    assert (state.roll_deg, state.pitch_deg, state.yaw_deg, state.agl_m) == (None, None, None, None)
    assert vehicle.amsl_m(S) is None
    assert not vehicle.connected(S)
    assert not vehicle.gnss_available(S)
    assert vehicle.last_gnss is None
    assert vehicle.gps_time(S) == (0, 0)


def test_height_is_pressure_anchored_to_the_receiver_over_home() -> None:
    vehicle = _flown(Vehicle())
    assert vehicle.amsl_m(2 * S) == pytest.approx(540.0, abs=0.5)
    assert vehicle.state_at(2 * S).agl_m is None
    vehicle.take(Home(2 * S, 420.0))
    assert vehicle.state_at(2 * S).agl_m == pytest.approx(120.0, abs=0.5)
    configured = _flown(Vehicle(HeightSettings(ground_amsl_m=440.0)))
    configured.take(Home(2 * S, 0.0))
    assert configured.state_at(2 * S).agl_m == pytest.approx(100.0, abs=0.5)


def test_height_below_the_ground_is_unknown() -> None:
    assert _flown(Vehicle(HeightSettings(ground_amsl_m=700.0))).agl_m(2 * S) is None


def test_a_fresh_rangefinder_is_made_vertical_and_wins() -> None:
    vehicle = _flown(Vehicle(HeightSettings(ground_amsl_m=440.0)))
    vehicle.take(Attitude(21 * S // 10, 20.0, 10.0, 0.0))
    vehicle.take(GroundRange(21 * S // 10, 90.0))
    upright = math.cos(math.radians(20.0)) * math.cos(math.radians(10.0))
    assert vehicle.agl_m(21 * S // 10) == pytest.approx(90.0 * upright)
    vehicle.take(Pressure(3 * S, HPA))
    assert vehicle.agl_m(3 * S) == pytest.approx(100.0, abs=0.5)


def test_the_configured_source_is_the_only_one() -> None:
    ranged = _flown(Vehicle(HeightSettings(source="rangefinder", ground_amsl_m=440.0)))
    assert ranged.agl_m(2 * S) is None
    ranged.take(GroundRange(2 * S, 90.0))
    assert ranged.agl_m(2 * S) == pytest.approx(90.0)
    baro = _flown(Vehicle(HeightSettings(source="baro", ground_amsl_m=440.0)))
    baro.take(GroundRange(2 * S, 90.0))
    assert baro.agl_m(2 * S) == pytest.approx(100.0, abs=0.5)


def test_heights_come_with_their_sigmas() -> None:
    vehicle = _flown(Vehicle(HeightSettings(ground_amsl_m=440.0, ground_sigma_m=30.0, terrain_sigma_m=4.0)))
    state = vehicle.state_at(2 * S)
    told_m = vehicle.amsl_sigma_m(2 * S)
    assert told_m is not None
    assert state.agl_sigma_m == pytest.approx(math.hypot(told_m, 30.0))
    assert state.amsl_m == pytest.approx(540.0, abs=0.5)
    assert state.amsl_sigma_m == pytest.approx(math.hypot(told_m, 4.0))
    vehicle.take(GroundRange(2 * S, 90.0))
    ranged = vehicle.state_at(2 * S)
    assert ranged.agl_m == pytest.approx(90.0)
    assert ranged.agl_sigma_m == pytest.approx(math.hypot(1.0, 1.8))
    assert ranged.amsl_m == state.amsl_m


@pytest.mark.parametrize(("source", "over_ground", "over_sea"), [("terrain", False, True), ("baro", True, False)])
def test_terrain_needs_the_height_above_sea_level_and_baro_never_asks_for_it(
    source: str, over_ground: bool, over_sea: bool
) -> None:
    vehicle = _flown(Vehicle(HeightSettings(source=source, ground_amsl_m=440.0)))
    vehicle.take(GroundRange(2 * S, 90.0))
    state = vehicle.state_at(2 * S)
    assert (state.agl_m is not None, state.agl_sigma_m is not None) == (over_ground, over_ground)
    assert (state.amsl_m is not None, state.amsl_sigma_m is not None) == (over_sea, over_sea)


def _gimballed(source: GimbalSource, *, of_body: bool, until_s: float = 2.0) -> Vehicle:
    """A body that rolls 20 degrees and turns at 10 degrees a second from north; the gimbal holds 5 degrees ahead, 40
    degrees to the right."""
    vehicle = Vehicle(gimbal=GimbalSource.GIMBAL_DEVICE)
    for tick in range(round(until_s * 50) + 1):
        at_ns = tick * S // 50
        vehicle.take(Attitude(at_ns, 20.0, 0.0, tick / 5.0))
        if tick % 5 == 0:
            yaw_deg = 40.0 if of_body else 40.0 + tick / 5.0
            vehicle.take(CameraAttitude(at_ns, 0.0, 5.0, yaw_deg, of_body, source))
    return vehicle


@pytest.mark.parametrize("of_body", [True, False])
def test_a_gimbal_stands_in_for_the_body(of_body: bool) -> None:
    state = _gimballed(GimbalSource.GIMBAL_DEVICE, of_body=of_body).state_at(17 * S // 10)
    assert (state.roll_deg, state.pitch_deg, state.yaw_deg) == pytest.approx((0.0, 5.0, 57.0))
    assert state.lean_deg == pytest.approx(20.0)


def test_without_a_gimbal_its_messages_mean_nothing() -> None:
    vehicle = _flown(Vehicle())
    vehicle.take(CameraAttitude(2 * S, 0.0, 5.0, 40.0, True, GimbalSource.GIMBAL_DEVICE))
    state = vehicle.state_at(2 * S)
    assert (state.roll_deg, state.pitch_deg, state.yaw_deg, state.lean_deg) == (0.0, 0.0, 30.0, None)


def test_a_gimbal_that_is_silent_stale_or_another_leaves_no_attitude() -> None:
    other = _gimballed(GimbalSource.MOUNT_ORIENTATION, of_body=True)
    assert other.state_at(S).roll_deg is None
    assert other.attitude_newest_ns is None
    vehicle = _gimballed(GimbalSource.GIMBAL_DEVICE, of_body=True)
    assert vehicle.attitude_newest_ns == 2 * S
    vehicle.take(Attitude(23 * S // 10, 20.0, 0.0, 20.0))
    assert vehicle.attitude_newest_ns == 2 * S
    assert vehicle.state_at(209 * S // 100).pitch_deg == 5.0
    state = vehicle.state_at(23 * S // 10)
    assert (state.roll_deg, state.pitch_deg, state.yaw_deg) == (None, None, None)
    assert state.lean_deg == pytest.approx(20.0)
    assert state_refusal(state) is Reason.NO_ATTITUDE
    vehicle.take(Rebooted(24 * S // 10))
    assert vehicle.attitude_newest_ns is None


def test_a_yaw_that_begins_to_count_from_north_forgets_those_from_the_nose() -> None:
    vehicle = _gimballed(GimbalSource.GIMBAL_DEVICE, of_body=True)
    vehicle.take(CameraAttitude(2 * S + 1, 0.0, 5.0, 170.0, False, GimbalSource.GIMBAL_DEVICE))
    assert vehicle.state_at(2 * S + 1).yaw_deg == pytest.approx(170.0)
    assert vehicle.state_at(S).yaw_deg is None


def test_the_range_is_made_vertical_by_the_body_not_by_the_gimbal() -> None:
    vehicle = _gimballed(GimbalSource.GIMBAL_DEVICE, of_body=True)
    vehicle.take(GroundRange(2 * S, 100.0))
    assert vehicle.agl_m(2 * S) == pytest.approx(100.0 * math.cos(math.radians(20.0)))


def test_a_range_while_lying_on_the_side_is_no_height() -> None:
    vehicle = Vehicle(HeightSettings(source="rangefinder"))
    vehicle.take(Attitude(0, 80.0, 0.0, 0.0))
    vehicle.take(GroundRange(0, 90.0))
    assert vehicle.agl_m(0) is None


def test_the_anchor_may_be_the_ground() -> None:
    vehicle = Vehicle(HeightSettings(anchor="ground", ground_amsl_m=400.0))
    for tick in range(6):
        vehicle.take(Pressure(tick * S // 10, HPA))
    vehicle.take(_gnss(0.5, amsl_m=9000.0))
    vehicle.take(Pressure(S, 943.2))
    climbed_m = isa_altitude_m(943.2) - isa_altitude_m(HPA)
    assert vehicle.amsl_m(S) == pytest.approx(400.0 + climbed_m)
    assert vehicle.agl_m(S) == pytest.approx(climbed_m)


def test_gnss_is_lost_at_once_and_back_after_a_while() -> None:
    vehicle = Vehicle()
    vehicle.take(_gnss(0.0))
    assert vehicle.gnss_available(0)
    vehicle.take(_gnss(0.2, fix_type=2))
    assert not vehicle.gnss_available(2 * S // 10)
    for tick in range(2, GNSS_BACK_NS // S * 5):
        vehicle.take(_gnss(tick / 5))
        assert not vehicle.gnss_available(tick * S // 5)
    for tick in range(GNSS_BACK_NS // S * 5, GNSS_BACK_NS // S * 5 + 3):
        vehicle.take(_gnss(tick / 5))
    assert vehicle.gnss_available(GNSS_BACK_NS + 2 * S // 5)


def test_a_silent_receiver_is_lost() -> None:
    vehicle = Vehicle()
    vehicle.take(_gnss(0.0))
    assert vehicle.gnss_available(GNSS_SILENCE_NS)
    assert not vehicle.gnss_available(GNSS_SILENCE_NS + 1)
    vehicle.take(_gnss(60.0))
    assert not vehicle.gnss_available(60 * S)


def test_a_receiver_that_is_our_own_position_proves_nothing() -> None:
    vehicle = _flown(Vehicle(receiver_is_ours=True))
    assert not vehicle.gnss_available(2 * S)
    assert vehicle.amsl_m(2 * S) is None
    assert vehicle.last_gnss is None


def test_after_the_loss_the_receivers_height_moves_nothing() -> None:
    vehicle = _flown(Vehicle())
    before = vehicle.amsl_m(2 * S)
    for tick in range(400):
        vehicle.take(GnssReceiver(2 * S + tick, 2, 47.0, 8.0, 9000.0, 1.0, 1.5))
    assert vehicle.amsl_m(2 * S) == before


def test_the_height_of_a_receiver_that_is_not_trusted_moves_nothing() -> None:
    vehicle = _flown(Vehicle())
    before = vehicle.amsl_m(2 * S)
    for trusted in (False, True):
        vehicle.gnss_trusted = trusted
        for tick in range(400):
            vehicle.take(_gnss(2.0 + tick / 1000, amsl_m=900.0))
        assert (vehicle.amsl_m(2 * S) == before) is not trusted


def test_truth_for_recordings_lies_between_two_good_positions() -> None:
    vehicle = Vehicle()
    vehicle.take(_gnss(0.0, lat_deg=47.0))
    vehicle.take(_gnss(1.0, lat_deg=47.001))
    assert vehicle.gnss_at(S // 4) == pytest.approx((47.00025, 8.0))
    assert vehicle.gnss_at(2 * S) is None
    vehicle.take(_gnss(1.5, fix_type=1))
    assert vehicle.gnss_at(5 * S // 4) is None
    vehicle.take(_gnss(10.0))
    vehicle.take(_gnss(20.0))
    assert vehicle.gnss_at(15 * S) is None


def test_a_reboot_forgets_what_hung_on_the_old_time_and_keeps_the_anchor() -> None:
    vehicle = _flown(Vehicle())
    vehicle.take(AutopilotTime(2 * S, 1_800_000_000 * S))
    vehicle.take(Rebooted(2 * S))
    assert vehicle.state_at(2 * S).yaw_deg is None
    assert vehicle.gps_time(2 * S) == (0, 0)
    vehicle.take(Pressure(3 * S, HPA))
    assert vehicle.amsl_m(3 * S) == pytest.approx(540.0, abs=0.5)


def test_gps_time_is_the_autopilots() -> None:
    vehicle = Vehicle()
    vehicle.take(AutopilotTime(0, 0))
    assert vehicle.gps_time(0) == (0, 0)
    # 2026-01-01 00:00:00 UTC is a Thursday of GPS week 2399: 4 days and 18 leap seconds after its Sunday.
    vehicle.take(AutopilotTime(5 * S, 1_767_225_600 * S))
    assert vehicle.gps_time(5 * S) == (2399, (4 * 86400 + 18) * 1000)
    vehicle.take(AutopilotTime(6 * S, 1_767_225_601 * S + S // 10))
    assert vehicle.gps_time(5 * S) == (2399, (4 * 86400 + 18) * 1000)
    vehicle.take(AutopilotTime(6 * S, 1_767_229_201 * S))
    assert vehicle.gps_time(6 * S) == (2399, (4 * 86400 + 18 + 3601) * 1000)


def test_a_silent_autopilot_is_noticed() -> None:
    vehicle = Vehicle()
    vehicle.take(Heartbeat(0, 7, True))
    assert vehicle.connected(3 * S)
    assert not vehicle.connected(3 * S + 1)


def test_what_is_not_finite_changes_nothing() -> None:
    vehicle = _flown(Vehicle())
    vehicle.take(Home(2 * S, math.nan))
    vehicle.take(GroundRange(2 * S, math.inf))
    vehicle.take(Pressure(21 * S // 10, math.nan))
    assert vehicle.agl_m(2 * S) is None
    assert vehicle.amsl_m(2 * S) == pytest.approx(540.0, abs=0.5)


def test_the_gimbals_message_is_named_as_in_mavlink() -> None:
    assert GimbalSettings().message is None
    assert GimbalSettings("mount_orientation").message is GimbalSource.MOUNT_ORIENTATION
    assert GimbalSettings("gimbal_device_attitude_status").message is GimbalSource.GIMBAL_DEVICE


def test_without_gnss_the_attitude_follows_the_turn_rates_and_with_it_the_autopilot() -> None:
    """What the autopilot makes of our own positions must not come back as their attitude."""

    def swayed(gnss: bool) -> float:
        vehicle = Vehicle()
        if gnss:
            for tick in range(60):
                vehicle.take(_gnss(tick / 10))
        begun_ns = 6 * S
        for tick in range(1, 241):
            at_ns = begun_ns + tick * S // 40
            if gnss and tick % 4 == 0:
                vehicle.take(_gnss(at_ns / S))
            # It says that it rolls by a degree a second, and its gyroscopes that it does not.
            vehicle.take(Attitude(at_ns, tick / 40.0, 0.0, 30.0, (0.0, 0.0, 1e-6)))
        roll_deg = vehicle.state_at(begun_ns + 6 * S).roll_deg
        assert roll_deg is not None
        return roll_deg

    assert swayed(gnss=True) == pytest.approx(6.0, abs=1.1)
    assert swayed(gnss=False) == pytest.approx(0.6, abs=0.3)
