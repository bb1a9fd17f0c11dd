"""The stand-in's parameter table answers as the autopilots were seen to."""

from __future__ import annotations

import math

import pytest

from tilefix.links.messages import Airframe, AutopilotKind
from tilefix.links.parametercoding import ParameterType, decode, encode
from tilefix.simulation.parameters import Answer, ParameterTable

ARDUPILOT, PX4 = AutopilotKind.ARDUPILOT, AutopilotKind.PX4
INT8 = ParameterType.INT8


def _table(version: tuple[int, int, int] = (4, 7, 0), airframe: Airframe = Airframe.COPTER) -> ParameterTable:
    return ParameterTable.of(ARDUPILOT, airframe, version)


@pytest.mark.parametrize(
    ("version", "known", "unknown"),
    [
        ((4, 5, 5), ("GPS_TYPE2", "GPS_DELAY_MS2", "SYSID_ENFORCE"), ("GPS2_TYPE", "EK3_OPTIONS", "MAV_OPTIONS")),
        ((4, 6, 0), ("GPS2_TYPE", "GPS2_DELAY_MS", "SYSID_ENFORCE"), ("GPS_TYPE2", "GPS_DELAY_MS2", "MAV_OPTIONS")),
        ((4, 7, 0), ("GPS2_TYPE", "EK3_OPTIONS", "MAV_OPTIONS"), ("GPS_TYPE2", "SYSID_ENFORCE")),
    ],
)
def test_names_belong_to_their_version(
    version: tuple[int, int, int], known: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    table = _table(version)
    assert all(table.read(name) is not None for name in known)
    assert all(table.read(name) is None for name in unknown)
    assert all(table.set(name, 14.0, INT8) is None for name in unknown)


def test_defaults_differ_by_airframe() -> None:
    plane = _table(airframe=Airframe.PLANE)
    assert (_table().stored("EK3_CHECK_SCALE"), plane.stored("EK3_CHECK_SCALE")) == (100.0, 150.0)
    assert "FS_EKF_ACTION" in _table()
    assert "FS_EKF_ACTION" not in plane


def test_what_is_switched_off_is_left_out_of_the_list_but_can_be_read() -> None:
    table = _table()
    before = table.read_all()
    assert "GPS2_DELAY_MS" not in {one.name for one in before}
    assert table.read("GPS2_DELAY_MS") == Answer("GPS2_DELAY_MS", 0.0, ParameterType.INT16, len(before), 65535)
    table.set("GPS2_TYPE", 14.0, INT8)
    after = table.read_all()
    assert "GPS2_DELAY_MS" in {one.name for one in after}
    assert {one.count for one in after} == {len(after)}
    assert [one.index for one in after] == list(range(len(after)))
    assert table.read("", 3) == after[3]
    assert table.read("", len(after)) is None


def test_a_value_is_clamped_and_cut_and_not_a_number_is_ignored() -> None:
    table = _table()
    answer = table.set("EK3_CHECK_SCALE", 100000.0, ParameterType.REAL32)
    assert answer is not None
    assert answer.field == 32767.0
    answer = table.set("GPS2_TYPE", 3.7, ParameterType.REAL32)
    assert answer is not None
    assert answer.field == 3.0
    assert table.set("GPS2_TYPE", math.nan, INT8) is None
    assert table.set("gps2_type", 14.0, INT8) is None
    assert table.stored("GPS2_TYPE") == 3.0


def test_some_values_act_only_after_a_reboot() -> None:
    table = _table()
    table.set("VISO_TYPE", 1.0, INT8)
    table.set("GPS2_TYPE", 14.0, INT8)
    assert (table.stored("VISO_TYPE"), table.effective("VISO_TYPE"), table.effective("GPS2_TYPE")) == (1.0, 0.0, 14.0)
    table.reboot()
    assert table.effective("VISO_TYPE") == 1.0
    table.put(SERIAL2_BAUD=921)
    assert table.effective("SERIAL2_BAUD") == 921.0


def test_px4_takes_an_integers_bytes_and_only_of_its_own_type() -> None:
    table = ParameterTable.of(PX4, Airframe.COPTER, (1, 18, 0))
    before = table.read("EKF2_AGP0_ID")
    assert before is not None
    assert table.read_all()[before.index].name == "EKF2_AGP0_ID"
    assert table.set("EKF2_AGP0_ID", 1.0, ParameterType.REAL32) is None
    answer = table.set("EKF2_AGP0_ID", encode(1.0, ParameterType.INT32, bytewise=True), ParameterType.INT32)
    assert answer is not None
    assert answer.field != 1.0
    assert decode(answer.field, answer.kind, bytewise=True) == 1.0
    assert table.stored("EKF2_AGP0_ID") == 1.0


def test_px4_has_one_source_of_positions_before_it_has_four() -> None:
    old = ParameterTable.of(PX4, Airframe.COPTER, (1, 16, 0))
    assert "EKF2_AGP_CTRL" in old
    assert "EKF2_AGP0_CTRL" not in old
