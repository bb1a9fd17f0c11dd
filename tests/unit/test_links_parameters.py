"""Parameters read and set over a link that loses questions and answers."""

from __future__ import annotations

import pytest

from support.parameters import LossyPort, WaitingClock
from tilefix.links.messages import Airframe, AutopilotKind, Heartbeat, LinkMessage
from tilefix.links.parameters import ParameterClient, Patience, Written
from tilefix.simulation.parameters import ParameterTable


def _table() -> ParameterTable:
    return ParameterTable.of(AutopilotKind.ARDUPILOT, Airframe.COPTER, (4, 7, 0))


def _client(port: LossyPort, time: WaitingClock, heard: list[LinkMessage] | None = None) -> ParameterClient:
    watch = None if heard is None else heard.append
    return ParameterClient(port, time, patience=Patience(0.5, 3, 10), wait=time.wait, watch=watch)


def test_what_exists_is_read_and_what_does_not_is_missing_in_bounded_time() -> None:
    port, time = LossyPort(_table()), WaitingClock()
    names = ["GPS2_TYPE", "GPS_TYPE2", *(f"SERIAL{n}_BAUD" for n in range(8)), "EK3_SRC1_YAW", "GPS2_TYPE"]
    values = _client(port, time).read(names)
    assert values["EK3_SRC1_YAW"] == 1.0
    assert set(values) == set(names) - {"GPS_TYPE2"}
    assert port.questions.count("GPS_TYPE2") == 3
    assert port.questions.count("GPS2_TYPE") == 1
    assert time.ns <= 3 * 0.52e9


@pytest.mark.parametrize("lost", range(1, 6))
def test_a_lost_question_or_answer_is_asked_again(lost: int) -> None:
    values = _client(LossyPort(_table(), loses=(lost, lost + 1)), WaitingClock()).read(
        ["GPS2_TYPE", "GPS_PRIMARY", "VISO_TYPE"]
    )
    assert set(values) == {"GPS2_TYPE", "GPS_PRIMARY", "VISO_TYPE"}


@pytest.mark.parametrize("lost", range(1, 8))
def test_what_is_set_is_read_back_over_losses(lost: int) -> None:
    port = LossyPort(_table(), loses=(lost, lost + 1))
    written = _client(port, WaitingClock()).write("GPS2_TYPE", 14.0)
    assert written == Written("GPS2_TYPE", 14.0, 14.0)
    assert written.right
    assert port.table.stored("GPS2_TYPE") == 14.0


def test_a_value_that_is_clamped_or_refused_is_not_right() -> None:
    table = _table()
    assert not _client(LossyPort(table), WaitingClock()).write("EK3_CHECK_SCALE", 1e6).right
    refused = _client(LossyPort(table, denies=True), WaitingClock()).write("GPS2_TYPE", 14.0)
    assert refused == Written("GPS2_TYPE", 14.0, 0.0)
    assert not refused.right


def test_a_refusal_that_is_told_ends_the_wait_and_is_passed_on() -> None:
    port, time = LossyPort(_table(), denies=True, tells=True), WaitingClock()
    client = _client(port, time)
    assert client.read(["GPS2_TYPE", "GPS_TYPE2"]) == {"GPS2_TYPE": 0.0}
    assert client.write("GPS2_TYPE", 14.0) == Written("GPS2_TYPE", 14.0, 0.0, "says that it is read-only")
    assert client.write("GPS_TYPE2", 14.0) == Written("GPS_TYPE2", 14.0, None, "does not have it")
    assert port.questions.count("GPS_TYPE2") == 2
    assert time.ns == 0


def test_a_refusal_that_is_over_is_forgotten() -> None:
    port, time = LossyPort(_table(), denies=True, tells=True), WaitingClock()
    client = _client(port, time)
    assert not client.write("GPS2_TYPE", 14.0).right
    port._denies = False
    assert client.write("GPS2_TYPE", 14.0) == Written("GPS2_TYPE", 14.0, 14.0)


def test_a_name_that_is_missing_is_never_set() -> None:
    port, time = LossyPort(_table()), WaitingClock()
    written = _client(port, time).write("GPS_TYPE2", 14.0)
    assert written == Written("GPS_TYPE2", 14.0, None)
    assert not written.right
    assert time.ns <= 3 * 0.52e9


def test_what_else_comes_is_passed_on_and_a_dead_link_ends() -> None:
    heard: list[LinkMessage] = []
    time = WaitingClock()
    client = _client(LossyPort(_table(), loses=range(1, 1000)), time, heard)
    assert client.read(["GPS2_TYPE"]) == {}
    assert time.ns <= 3 * 0.52e9
    assert any(isinstance(one, Heartbeat) for one in heard)
    assert client.listen(1.0, until=lambda: True)
    assert not client.listen(0.1)
