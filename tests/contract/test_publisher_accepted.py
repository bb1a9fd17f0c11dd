"""tilefix itself, over MAVLink, against every firmware that the stand-in knows: nothing that it sends may be refused or
found wanting. Arming with the default checks, then the loss of GNSS."""

from __future__ import annotations

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.standin import Flight
from tilefix.links.messages import Airframe, AutopilotKind
from tilefix.links.reports import Route
from tilefix.publishing.settings import PublishSettings
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.verdicts import Flaw, Verdict
from tilefix.simulation.flying import AutopilotSettings

VISION = {
    "VISO_TYPE": 1.0, "EK3_SRC2_POSXY": 6.0, "EK3_SRC2_VELXY": 0.0, "EK3_SRC2_POSZ": 1.0, "EK3_SRC2_VELZ": 0.0,
    "EK3_SRC2_YAW": 1.0, "EK3_SRC_OPTIONS": 0.0,
}  # fmt: skip
ARDUPILOTS = [
    Firmware(airframe=airframe, version=version, development=development)
    for airframe in (Airframe.COPTER, Airframe.PLANE)
    for version, development in (((4, 5, 5), False), ((4, 6, 0), False), ((4, 7, 0), True), ((4, 7, 0), False))
]
PX4 = Firmware(kind=AutopilotKind.PX4, version=(1, 18, 0))
# Before it is needed a report is spare, and the first that is may come too soon after the lost receiver's last.
HARMLESS = {Verdict.FUSED, Verdict.SPARE, Verdict.TOO_CLOSE}


def _name(firmware: Firmware) -> str:
    return f"{firmware.airframe.value}-{'.'.join(map(str, firmware.version))}{'dev' * firmware.development}"


def _verdicts(flight: Flight) -> set[Verdict]:
    return {verdict for verdict, count in flight.autopilot.flight.tally.verdicts.items() if count}


def _settled(settings: AutopilotSettings, publish: PublishSettings) -> Flight:
    """In flight with GNSS, long enough for parameters, origin and route to be known; what was sent before is
    forgotten."""
    flight = Flight(settings, publish)
    flight.fly(15.0)
    flight.autopilot.flight.tally.verdicts.clear()
    flight.autopilot.flight.tally.flaws.clear()
    return flight


@pytest.mark.parametrize("firmware", ARDUPILOTS, ids=_name)
def test_as_second_receiver_it_lets_the_vehicle_arm_and_carries_it_without_gnss(firmware: Firmware) -> None:
    flight = _settled(AutopilotSettings(firmware=firmware), PublishSettings(route=Route.GPS_INPUT.value))
    core = flight.autopilot.flight
    assert core.nav.arming_failures(core.vehicle.motion) == []
    core.own.denied = True
    worst_m = flight.fly(20.0)
    assert _verdicts(flight) <= HARMLESS
    assert core.tally.verdicts[Verdict.FUSED] > 150
    assert core.tally.verdicts[Verdict.TOO_CLOSE] <= 1
    assert +core.tally.flaws == {}
    assert worst_m < 6.0
    assert not core.landing


@pytest.mark.parametrize("route", [Route.VISION, Route.ODOMETRY])
@pytest.mark.parametrize("firmware", ARDUPILOTS[:4], ids=_name)
def test_as_external_navigation_too_once_its_sources_are_chosen(firmware: Firmware, route: Route) -> None:
    settings = AutopilotSettings(firmware=firmware, receiver_index=None, parameters=VISION)
    flight = _settled(settings, PublishSettings(route=route.value))
    core = flight.autopilot.flight
    assert core.nav.arming_failures(core.vehicle.motion) == []
    assert core.nav.select_sources(2)
    flight.fly(2.0)
    core.own.denied = True
    worst_m = flight.fly(20.0)
    assert _verdicts(flight) <= HARMLESS
    assert +core.tally.flaws == {}
    assert worst_m < 6.0
    assert not core.landing


def test_as_map_position_for_px4() -> None:
    settings = AutopilotSettings(firmware=PX4, parameters={"EKF2_AGP0_ID": 1.0, "EKF2_AGP0_CTRL": 1.0})
    flight = _settled(settings, PublishSettings(route="auto"))
    core = flight.autopilot.flight
    core.own.denied = True
    worst_m = flight.fly(20.0)
    assert _verdicts(flight) == {Verdict.FUSED}
    assert +core.tally.flaws == {}
    assert worst_m < 6.0
    assert not core.landing


def test_as_command_for_a_plane() -> None:
    firmware = Firmware(airframe=Airframe.PLANE, version=(4, 6, 0))
    flight = _settled(
        AutopilotSettings(firmware=firmware, receiver_index=None), PublishSettings(route=Route.EXTERNAL_ESTIMATE.value)
    )
    core = flight.autopilot.flight
    core.own.denied = True
    flight.fly(2.0)
    core.tally.verdicts.clear()
    flight.fly(40.0)
    assert _verdicts(flight) == {Verdict.FUSED}
    assert Flaw.MISDATED not in core.tally.flaws
    assert not flight.autopilot.flight.nav.flags & mavlink.EKF_POS_HORIZ_ABS
