"""Clocks on a link, and how long an autopilot keeps its position."""

import itertools

import pytest

from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance import aiding
from tilefix.simulation.acceptance.aiding import Aiding
from tilefix.simulation.acceptance.failsafe import EkfCheck, lands
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.jitter import JitterCorrection
from tilefix.simulation.acceptance.origin import EkfOrigin
from tilefix.simulation.acceptance.sources import Source, SourceSets
from tilefix.simulation.parameters import ParameterTable

FIRMWARE = Firmware()


def _parameters(**values):
    table = ParameterTable.of(FIRMWARE.kind, FIRMWARE.airframe, FIRMWARE.version)
    table.put(**values)
    return table


def test_the_quickest_message_sets_the_clock():
    jitter = JitterCorrection()
    late = itertools.cycle((0.08, 0.2, 0.3))
    stamps = [50.0 + 0.1 * index for index in range(300)]
    errors = [jitter.local_s(stamp - 1000.0, stamp + next(late)) - stamp for stamp in stamps]
    assert errors[3:] == pytest.approx([0.08] * 297)


def test_a_stamp_that_wraps_misdates_the_next_hundred():
    """As the specification of MAV_CMD_EXTERNAL_POSITION_ESTIMATE invites, every 250 s; at 1 Hz."""
    jitter = JitterCorrection()
    errors_s = [jitter.local_s(at % 250.0, at + 0.05) - at for at in map(float, range(1, 3000))]
    wrong = [abs(error) > 0.3 for error in errors_s]
    assert not any(wrong[:249])
    assert 0.3 < sum(wrong[249:]) / len(wrong[249:]) < 0.6


def test_two_clocks_on_one_link_misdate_the_younger_one():
    jitter = JitterCorrection()
    errors_s = []
    for index in range(400):
        at = 10.0 + 0.1 * index
        jitter.local_s(at + 1.75e9, at + 0.02)
        errors_s.append(jitter.local_s(at, at + 0.02) - at)
    assert min(errors_s[150:]) == pytest.approx(-0.48, abs=0.05)


def test_a_position_is_kept_for_seven_seconds_and_aiding_for_fifteen():
    kept = Aiding(airspeed=False, absolute=True)
    told = {}
    for index in range(200):
        now_s = index * 0.1
        kept.update(now_s)
        told.setdefault(kept.flags(), now_s)
    assert told == {
        aiding.GOOD: 0.0,
        aiding.LOST: pytest.approx(7.1, abs=0.11),
        aiding.STOPPED: pytest.approx(15.1, abs=0.11),
    }


def test_velocity_alone_keeps_it_for_ten_and_airspeed_for_ever():
    kept = Aiding(airspeed=False, absolute=True)
    for index in range(96):
        kept.velocity_passed(index * 0.1)
        kept.update(index * 0.1)
    assert not kept.position_lost
    kept.update(10.1)
    assert kept.position_lost
    plane = Aiding(airspeed=True, absolute=True)
    plane.update(500.0)
    assert plane.absolute
    assert plane.position_lost
    assert plane.flags() & aiding.POSITION_RELATIVE
    assert not plane.flags() & aiding.POSITION_ABSOLUTE


@pytest.mark.parametrize(
    ("has_position", "ratio", "fails"), [(True, 0.5, False), (False, 0.0, True), (True, 1.7, True)]
)
def test_a_second_of_failures_is_a_failsafe(has_position, ratio, fails):
    check, parameters = EkfCheck(), _parameters()
    check.update(has_position=True, velocity_ratio=0.0, parameters=parameters)
    told = [check.update(has_position=has_position, velocity_ratio=ratio, parameters=parameters) for _ in range(30)]
    assert check.failed is fails
    assert told.count(["EKF variance"]) == fails
    if fails:
        assert 9 <= told.index(["EKF variance"]) <= 14
        back = [check.update(has_position=True, velocity_ratio=0.0, parameters=parameters) for _ in range(30)]
        assert ["EKF Failsafe Cleared"] in back
    off = _parameters(FS_EKF_THRESH=0.0)
    assert check.update(has_position=False, velocity_ratio=9.0, parameters=off) == []
    assert not check.failed


def test_the_failsafe_lands_unless_told_to_report():
    assert lands(_parameters())
    assert not lands(_parameters(FS_EKF_ACTION=0))


def test_sets_of_sources():
    parameters = _parameters(EK3_SRC2_POSXY=6, EK3_SRC_OPTIONS=0)
    sets = SourceSets(parameters)
    assert sets.position == Source.GPS
    assert sets.uses_velocity_of(Source.GPS)
    assert sets.names(Source.EXTERNAL_NAV)
    assert not sets.select(4)
    assert not sets.select(float("nan"))
    assert sets.select(2.0)
    assert sets.position == Source.EXTERNAL_NAV
    assert not sets.uses_velocity_of(Source.GPS)
    parameters.put(EK3_SRC_OPTIONS=1)
    assert sets.uses_velocity_of(Source.GPS)
    assert not SourceSets(_parameters()).names(Source.EXTERNAL_NAV)


def test_an_origin_is_set_once_and_only_to_a_place():
    origin = EkfOrigin()
    assert origin.to_geodetic(0.0, 0.0) is None
    assert not origin.set(0.0, 0.0, 100.0)
    assert not origin.set(91.0, 8.0, 100.0)
    assert origin.set(47.0, 8.0, 400.0)
    assert not origin.set(48.0, 8.0, 400.0)
    place = origin.to_geodetic(1113.2, 0.0)
    assert place is not None
    assert place == (pytest.approx(47.01, abs=1e-4), pytest.approx(8.0))


@pytest.mark.parametrize(
    ("firmware", "adds"),
    [(Firmware(version=(4, 5, 5)), False), (Firmware(version=(4, 6, 2)), False), (Firmware(version=(4, 7, 0)), True),
     (Firmware(version=(4, 7, 0), development=True), False), (Firmware(version=(4, 8, 0)), True)],
)  # fmt: skip
def test_versions_differ(firmware, adds):
    assert firmware.adds_variances is adds
    assert firmware.takes_global_int is (firmware.version >= (4, 6, 0))
    assert Firmware(airframe=Airframe.PLANE, version=(4, 5, 1)).declares_vision_delay is False
