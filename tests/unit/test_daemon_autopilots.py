"""The daemon on the autopilot stand-in: every route carries it over a loss of GNSS, a reboot and a relocalisation."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.publishing import EXTERNAL_NAV
from support.standin import Flight
from tilefix.links.messages import Airframe, AutopilotKind, CommandResult
from tilefix.publishing.settings import PublishSettings
from tilefix.simulation.acceptance.externalnav import LocalPosition
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.verdicts import Verdict
from tilefix.simulation.flying import AutopilotSettings

VISION = {**EXTERNAL_NAV, "VISO_DELAY_MS": 100.0, "EK3_SRC2_VELXY": 0.0, "EK3_SRC2_POSZ": 1.0, "EK3_SRC2_VELZ": 0.0}
PX4_WITH_ODOMETRY = {"kind": AutopilotKind.PX4, "version": (1, 16, 0)}
SOURCE_SET = mavlink.MAV_CMD_SET_EKF_SOURCE_SET


def _flight(route: str = "auto", parameters: dict[str, float] | None = None, **firmware: object) -> Flight:
    made = Firmware(**firmware)  # type: ignore[arg-type]
    index = None if made.kind is AutopilotKind.PX4 else 1
    settings = AutopilotSettings(firmware=made, receiver_index=index, parameters=parameters or {})
    return Flight(settings, PublishSettings(route=route))


def _deny(flight: Flight) -> None:
    flight.autopilot.flight.own.denied = True


@pytest.mark.parametrize(
    ("version", "airframe"),
    [((4, 5, 5), Airframe.COPTER), ((4, 6, 0), Airframe.PLANE), ((4, 7, 0), Airframe.COPTER)],
)
def test_as_a_receiver_it_carries_on_when_gnss_goes(version: tuple[int, int, int], airframe: Airframe) -> None:
    flight = _flight(version=version, airframe=airframe)
    flight.fly(15.0)
    assert flight.known.version == version
    _deny(flight)
    flight.fly(3.0)
    assert flight.fly(15.0) < 1.0
    assert not flight.autopilot.flight.landing
    assert "landing" not in flight.autopilot.texts


@pytest.mark.parametrize(("delay_ms", "worst_m"), [(None, 0.3), (20.0, 1.7)])
def test_a_wrong_delay_costs_speed_times_difference(delay_ms: float | None, worst_m: float) -> None:
    """180 ms at 8 m/s are 1.44 m."""
    flight = Flight(AutopilotSettings(), PublishSettings(delay_ms=delay_ms))
    flight.fly(15.0)
    _deny(flight)
    flight.fly(3.0)
    assert worst_m - 0.4 < flight.fly(15.0) < worst_m


@pytest.mark.parametrize(("route", "version"), [("vision", (4, 7, 0)), ("odometry", (4, 5, 5))])
def test_as_external_navigation_it_carries_on_from_the_moment_it_is_chosen(
    route: str, version: tuple[int, int, int]
) -> None:
    flight = _flight(route, VISION, version=version)
    flight.fly(15.0)
    assert flight.known.origin is not None
    flight.link.send_command(SOURCE_SET, 2.0)
    flight.fly(2.0)
    _deny(flight)
    flight.fly(3.0)
    assert flight.fly(15.0) < 1.0
    assert not flight.autopilot.flight.landing


def test_a_plane_takes_single_positions() -> None:
    flight = _flight("external_estimate", airframe=Airframe.PLANE)
    flight.fly(15.0)
    _deny(flight)
    flight.fly(15.0)
    answer = flight.known.result(43003)
    assert isinstance(answer, CommandResult)
    assert answer.accepted


@pytest.mark.parametrize(
    ("version", "parameters"),
    [
        ((1, 18, 0), {"EKF2_AGP0_ID": 1.0, "EKF2_AGP0_CTRL": 1.0}),
        ((1, 18, 0), {"EKF2_AGP0_ID": 1.0, "EKF2_AGP0_CTRL": 1.0, "EKF2_AGP0_DELAY": 150.0}),
        ((1, 16, 0), {"EKF2_EV_CTRL": 1.0, "EKF2_EV_DELAY": 100.0}),
    ],
)
def test_px4_carries_on_by_the_input_of_its_version(
    version: tuple[int, int, int], parameters: dict[str, float]
) -> None:
    flight = _flight("auto", parameters, kind=AutopilotKind.PX4, version=version)
    flight.fly(15.0)
    _deny(flight)
    flight.fly(9.0)  # for seven seconds only the changes of local positions count
    assert flight.fly(15.0) < 1.0


@pytest.mark.parametrize(("turned_by", "least_mps", "most_mps"), [("told", 0.0, 0.3), ("steadied", 0.45, 2.0)])
def test_px4_turns_a_velocity_by_its_own_attitude(
    turned_by: str, least_mps: float, most_mps: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its yaw goes off by 5 degrees which no gyroscope saw, so that the steadied one stays behind: turned into the body
    by that one, 8 m/s come out 0.7 m/s sideways."""
    flight = _flight("odometry", {"EKF2_EV_CTRL": 5.0, "EKF2_EV_DELAY": 100.0}, **PX4_WITH_ODOMETRY)
    flight.fly(15.0)
    vehicle, core = flight.daemon._vehicle, flight.autopilot.flight
    if turned_by == "steadied":
        monkeypatch.setattr(vehicle, "told_attitude_at", vehicle._attitudes.at)
    _deny(flight)
    flight.fly(1.0)
    core._attitude_error[2].value += 5.0
    errors_mps = []
    for _ in range(40):
        flight.fly(0.1)
        true, (east_mps, north_mps) = core.vehicle.motion, core.estimator.velocity
        errors_mps.append(math.hypot(east_mps - true.east_mps, north_mps - true.north_mps))
    assert least_mps < statistics.median(errors_mps[20:]) < most_mps


@pytest.mark.parametrize(("control", "drawn"), [(1.0, False), (5.0, True)])
def test_px4_fuses_a_velocity_only_where_that_is_switched_on(control: float, drawn: bool) -> None:
    flight = _flight("odometry", {"EKF2_EV_CTRL": control, "EKF2_EV_DELAY": 100.0}, **PX4_WITH_ODOMETRY)
    flight.fly(15.0)
    core = flight.autopilot.flight
    east_m, north_m = core.estimator.position
    east_mps, north_mps = core.estimator.velocity
    given = LocalPosition(core.now_s, north_m, east_m, 0.0, (4.0, 4.0, 4.0), velocity=(east_mps + 0.4, north_mps))
    assert core.take_local(replace(given, velocity_variances=(0.01, 0.01, 0.01))) is Verdict.FUSED
    assert (core.estimator.velocity[0] - east_mps > 0.03) is drawn


@pytest.mark.parametrize(
    ("own", "off_mps", "drawn"),
    [
        ({}, 0.6, True),
        ({}, 2.5, False),
        ({"EKF2_EVV_GATE": 30.0}, 2.5, True),
        ({"EKF2_EVV_GATE": 1.0}, 0.6, False),
        ({"EKF2_EVV_NOISE": 2.0}, 2.5, True),
    ],
)
def test_px4_drops_a_velocity_beyond_its_gate(own: dict[str, float], off_mps: float, drawn: bool) -> None:
    """The position that came with it is taken all the same."""
    core = _flight("odometry", {"EKF2_EV_CTRL": 5.0, **own}, **PX4_WITH_ODOMETRY).autopilot.flight
    for _ in range(500):
        core.tick()
    verdicts = []
    for _ in range(2):
        core.tick()
        (east_m, north_m), (east_mps, north_mps) = core.estimator.position, core.estimator.velocity
        velocity = (east_mps + off_mps, north_mps)
        given = LocalPosition(core.now_s, north_m, east_m, 0.0, (4.0, 4.0, 4.0), velocity=velocity)
        verdicts.append(core.take_local(replace(given, velocity_variances=(0.01, 0.01, 0.01))))
    assert verdicts[-1] is Verdict.FUSED
    assert (core.estimator.velocity[0] - east_mps > 0.02) is drawn


@pytest.mark.parametrize(("route", "parameters"), [("gps_input", {}), ("vision", VISION)])
def test_a_reboot_in_the_air_is_taken_up_again(route: str, parameters: dict[str, float]) -> None:
    """Origin, streams, version, parameters and the mapping of its clock."""
    flight = _flight(route, parameters)
    flight.fly(15.0)
    before = flight.known.origin
    assert before is not None
    if route == "vision":
        flight.link.send_command(SOURCE_SET, 2.0)
    _deny(flight)
    flight.fly(5.0)
    flight.autopilot.restart()
    flight.fly(1.5)
    assert flight.known.reboots == 0  # it is silent while it starts
    flight.fly(2.5)
    assert flight.known.reboots == 1
    assert flight.known.version == (4, 6, 0)
    flight.fly(25.0)
    if route == "vision":
        flight.link.send_command(SOURCE_SET, 2.0)
        after = flight.known.origin
        assert after is not None
        # Without GNSS it has no origin: the one of before was given back.
        assert (after.lat_deg, after.lon_deg) == (before.lat_deg, before.lon_deg)
    flight.fly(15.0)
    assert flight.fly(10.0) < 3.0
    attitude_ns = flight.daemon._vehicle.attitude_newest_ns
    assert attitude_ns is not None
    assert 0 <= flight.clock.now_ns() - attitude_ns < 50_000_000
    assert flight.known.parameter("GPS2_DELAY_MS", "VISO_DELAY_MS") is not None


def test_a_relocalisation_is_adopted_at_once_by_its_counter() -> None:
    flight = _flight("vision", VISION)
    flight.fly(15.0)
    flight.link.send_command(SOURCE_SET, 2.0)
    flight.localizer.off_m = (40.0, 0.0)
    flight.fly(1.0)
    _deny(flight)
    flight.fly(5.0)
    flight.localizer.off_m = (0.0, 0.0)
    flight.fly(1.5)
    assert flight.error_m < 3.0
    assert flight.publisher._resets.value == 2


def test_the_delay_that_fits_is_told_to_the_pilot() -> None:
    flight = _flight("auto")
    flight.fly(25.0)
    assert "tilefix: positions go as gps_input" in flight.autopilot.texts
    told = [line for line in flight.autopilot.texts if "GPS2_DELAY_MS" in line]
    assert len(told) == 1
    # A picture is 80 ms old when it comes and is sent within a tenth of a second.
    assert told[0].startswith("tilefix: set GPS2_DELAY_MS ")
    assert 80 <= int(told[0].split()[3].rstrip(",")) <= 120


def test_a_route_that_cannot_work_is_told_and_nothing_is_sent() -> None:
    flight = _flight("external_estimate")
    flight.fly(5.0)
    assert "tilefix: external_estimate is for planes only" in flight.autopilot.texts
    assert flight.known.result(43003) is None
