"""Positions in metres and as commands: what an autopilot takes of them."""

import dataclasses
import math

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.benches import Bench, StandIn
from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.externalestimate import ExternalEstimate, denied
from tilefix.simulation.acceptance.externalnav import LocalPosition, VisualOdometry
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.verdicts import Flaw, Verdict
from tilefix.simulation.parameters import ParameterTable

GOOD = LocalPosition(0.0, 1.0, 2.0, -3.0, (4.0, 4.0, 4.0), quality=50)
OLD, NEW = Firmware(version=(4, 6, 0)), Firmware(version=(4, 7, 0))


def _driver(firmware=OLD, **values):
    table = ParameterTable.of(firmware.kind, firmware.airframe, firmware.version)
    table.put(**{"VISO_TYPE": 1, **values})
    return VisualOdometry(firmware, table)


@pytest.mark.parametrize(
    ("firmware", "variances", "sigma_m"),
    [
        (OLD, (25.0, 25.0, 0.0), 10.77),
        (NEW, (25.0, 25.0, 0.0), 7.07),
        (OLD, (math.sqrt(125 / 3),) * 3, 5.0),
        (NEW, (25 / 3,) * 3, 5.0),
        (OLD, None, 0.2),
        (OLD, (0.0, 0.0, 0.0), 0.2),
        (NEW, (1e6, 0.0, 0.0), 100.0),
    ],
)
def test_variances_make_an_error_by_version(firmware, variances, sigma_m):
    assert _driver(firmware).sigma_m(variances) == pytest.approx(sigma_m, abs=0.01)


@pytest.mark.parametrize(
    ("change", "values", "verdict"),
    [
        ({}, {}, None),
        ({}, {"VISO_TYPE": 0}, Verdict.NOT_SET_UP),
        ({"frames": (20, 12)}, {}, None),
        ({"frames": (1, 12)}, {}, Verdict.WRONG_FRAME),
        ({"frames": (20, 8)}, {}, Verdict.WRONG_FRAME),
        ({"quality": -1}, {}, Verdict.UNHEALTHY),
        ({"quality": 30}, {"VISO_QUAL_MIN": 40}, Verdict.UNHEALTHY),
        ({"north_m": math.nan}, {}, Verdict.NOT_FINITE),
        ({"variances": (1.0, math.nan, 1.0)}, {}, Verdict.NOT_FINITE),
    ],
)
def test_each_message_is_judged(change, values, verdict):
    driver = _driver(**values)
    assert driver.refusal(dataclasses.replace(GOOD, **change), 1.0, 1.0) is verdict
    heard = verdict not in (Verdict.NOT_SET_UP, Verdict.WRONG_FRAME)
    assert driver.healthy(1.2) is heard
    assert not driver.healthy(1.31)


def test_faster_than_fifty_hertz_is_dropped():
    driver = _driver()
    assert [driver.refusal(GOOD, at, at) for at in (1.0, 1.01, 1.03)] == [None, Verdict.TOO_CLOSE, None]


def test_a_counter_that_changed_tells_of_one_jump():
    driver = _driver()
    counters = (0, 0, 1, 1, 2, 1)
    jumps = [driver.jumped(dataclasses.replace(GOOD, reset_counter=counter)) for counter in counters]
    assert jumps == [False, False, True, False, True, True]


def test_the_declared_delay_counts_from_4_5_2_on():
    assert _driver(VISO_DELAY_MS=120).delay_s() == 0.12
    assert _driver(Firmware(version=(4, 5, 1)), VISO_DELAY_MS=120).delay_s() == 0.001


ESTIMATE = ExternalEstimate(0, 10.0, 0.0, 3.0, 47.0, 8.0, math.nan)


@pytest.mark.parametrize(
    ("change", "version", "refused"),
    [
        ({}, (4, 5, 5), False),
        ({"frame": 5}, (4, 5, 5), True),
        ({"frame": 5}, (4, 6, 0), False),
        ({"frame": 3}, (4, 7, 0), True),
        ({"z": 0.0}, (4, 7, 0), True),
        ({"lat_deg": 95.0}, (4, 7, 0), True),
        ({"sigma_m": math.nan}, (4, 7, 0), False),
    ],
)
def test_a_command_has_one_form(change, version, refused):
    assert denied(dataclasses.replace(ESTIMATE, **change), Firmware(version=version)) is refused


def _plane_without_gnss():
    bench = StandIn(Firmware(airframe=Airframe.PLANE, version=(4, 6, 0)))
    bench.take_off()
    bench.lose_gnss()
    bench.run(3.0)
    return bench


@pytest.mark.parametrize(("wraps", "misdated"), [(False, False), (True, True)])
def test_stamps_that_wrap_every_250_seconds_misdate_positions(wraps, misdated):
    """As the specification of the command invites; at 1 Hz, over one wrap."""
    bench = _plane_without_gnss()
    begun_s = bench.now_s - 200.0
    for _ in range(120):
        since_s = bench.now_s - begun_s
        bench.estimate_only(sent_s=since_s % 250.0 if wraps else since_s)
        bench.run(1.0)
    tally = bench.autopilot.flight.tally
    assert tally.verdicts[Verdict.FUSED] == 120
    assert (tally.flaws[Flaw.MISDATED] > 40) is misdated
    assert misdated or tally.flaws[Flaw.MISDATED] == 0


def test_two_clocks_on_one_link_are_noticed():
    bench = _plane_without_gnss()
    for index in range(20):
        bench.estimate_only(sent_s=bench.now_s + (1e5 if index % 2 else 0.0))
        bench.run(1.0)
    assert bench.autopilot.flight.tally.flaws[Flaw.MISDATED] >= 8


def test_metres_without_an_origin_lead_nowhere():
    bench = StandIn(OLD, {"VISO_TYPE": 1.0, "EK3_SRC1_POSXY": 6.0, "EK3_SRC1_VELXY": 0.0, "GPS1_TYPE": 0.0}, cold=True)
    bench.run(15.0, Bench.vision)
    assert set(bench.autopilot.flight.tally.verdicts) == {Verdict.NO_ORIGIN}
    bench.send(mavlink.MAVLink_set_gps_global_origin_message(1, 470_000_000, 80_000_000, 450_000))
    bench.run(5.0, Bench.vision)
    assert bench.autopilot.flight.tally.verdicts[Verdict.FUSED] > 40
    assert bench.has_position()
    assert bench.error_m() < 2.0


def test_source_sets_and_commands_take_what_they_are_told():
    bench = _plane_without_gnss()
    assert bench.command(mavlink.MAV_CMD_SET_EKF_SOURCE_SET, 2) == 0
    assert bench.autopilot.flight.nav.sources.active == 2
    assert bench.command(mavlink.MAV_CMD_SET_EKF_SOURCE_SET, 0) == mavlink.MAV_RESULT_DENIED
