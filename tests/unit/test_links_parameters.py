"""Parameters read and set over a link that loses questions and answers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tilefix.links.messages import Airframe, AutopilotKind, Heartbeat, LinkMessage, Parameter
from tilefix.links.parametercoding import ParameterType, decode
from tilefix.links.parameters import ParameterClient, Patience, Written
from tilefix.simulation.parameters import ParameterTable


class Time:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def wait(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class Port:
    """A table behind a link that loses every question and every answer whose number is in `loses`."""

    def __init__(self, table: ParameterTable, loses: Sequence[int] = (), denies: bool = False) -> None:
        self.table = table
        self.questions: list[str] = []
        self._loses = loses
        self._denies = denies
        self._packets = 0
        self._answers: list[LinkMessage] = []

    def _passes(self) -> bool:
        self._packets += 1
        return self._packets not in self._loses

    def poll(self) -> Sequence[LinkMessage]:
        answers, self._answers = self._answers, []
        return [Heartbeat(0, 1, armed=False), *answers]

    def request_parameter(self, name: str) -> bool:
        self.questions.append(name)
        answer = self.table.read(name) if self._passes() else None
        if answer is not None and self._passes():
            value = decode(answer.field, answer.kind, bytewise=False)
            assert value is not None
            self._answers.append(Parameter(0, name, value))
        return True

    def set_parameter(self, name: str, value: float) -> bool:
        if self._passes() and not self._denies:
            answer = self.table.set(name, value, ParameterType.REAL32)
            if answer is not None and self._passes():
                self._answers.append(Parameter(0, name, answer.field))
        return True


def _table() -> ParameterTable:
    return ParameterTable.of(AutopilotKind.ARDUPILOT, Airframe.COPTER, (4, 7, 0))


def _client(port: Port, time: Time, heard: list[LinkMessage] | None = None) -> ParameterClient:
    watch = None if heard is None else heard.append
    return ParameterClient(port, time, patience=Patience(0.5, 3, 10), wait=time.wait, watch=watch)


def test_what_exists_is_read_and_what_does_not_is_missing_in_bounded_time() -> None:
    port, time = Port(_table()), Time()
    names = ["GPS2_TYPE", "GPS_TYPE2", *(f"SERIAL{n}_BAUD" for n in range(8)), "EK3_SRC1_YAW", "GPS2_TYPE"]
    values = _client(port, time).read(names)
    assert values["EK3_SRC1_YAW"] == 1.0
    assert set(values) == set(names) - {"GPS_TYPE2"}
    assert port.questions.count("GPS_TYPE2") == 3
    assert port.questions.count("GPS2_TYPE") == 1
    assert time.ns <= 3 * 0.52e9


@pytest.mark.parametrize("lost", range(1, 6))
def test_a_lost_question_or_answer_is_asked_again(lost: int) -> None:
    values = _client(Port(_table(), loses=(lost, lost + 1)), Time()).read(["GPS2_TYPE", "GPS_PRIMARY", "VISO_TYPE"])
    assert set(values) == {"GPS2_TYPE", "GPS_PRIMARY", "VISO_TYPE"}


@pytest.mark.parametrize("lost", range(1, 8))
def test_what_is_set_is_read_back_over_losses(lost: int) -> None:
    port = Port(_table(), loses=(lost, lost + 1))
    written = _client(port, Time()).write("GPS2_TYPE", 14.0)
    assert written == Written("GPS2_TYPE", 14.0, 14.0)
    assert written.right
    assert port.table.stored("GPS2_TYPE") == 14.0


def test_a_value_that_is_clamped_or_refused_is_not_right() -> None:
    table = _table()
    assert not _client(Port(table), Time()).write("EK3_CHECK_SCALE", 1e6).right
    refused = _client(Port(table, denies=True), Time()).write("GPS2_TYPE", 14.0)
    assert refused == Written("GPS2_TYPE", 14.0, 0.0)
    assert not refused.right


def test_a_name_that_is_missing_is_never_set() -> None:
    port, time = Port(_table()), Time()
    written = _client(port, time).write("GPS_TYPE2", 14.0)
    assert written == Written("GPS_TYPE2", 14.0, None)
    assert not written.right
    assert time.ns <= 3 * 0.52e9


def test_what_else_comes_is_passed_on_and_a_dead_link_ends() -> None:
    heard: list[LinkMessage] = []
    time = Time()
    client = _client(Port(_table(), loses=range(1, 1000)), time, heard)
    assert client.read(["GPS2_TYPE"]) == {}
    assert time.ns <= 3 * 0.52e9
    assert any(isinstance(one, Heartbeat) for one in heard)
    assert client.listen(1.0, until=lambda: True)
    assert not client.listen(0.1)
