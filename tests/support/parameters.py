"""A parameter table behind a link that loses packets, and a clock that only waiting moves."""

from __future__ import annotations

from collections.abc import Container, Sequence

from tilefix.links.messages import Heartbeat, LinkMessage, Parameter, ParameterRefused
from tilefix.links.parametercoding import ParameterType, decode
from tilefix.simulation.parameters import ParameterTable


class WaitingClock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def wait(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class LossyPort:
    """A table behind a link that loses every question and every answer whose number is in `loses`. `denies`: nothing
    can be set; `tells`: with the reason why, as for names that there are not."""

    def __init__(
        self, table: ParameterTable, loses: Container[int] = (), denies: bool = False, tells: bool = False
    ) -> None:
        self.table = table
        self.questions: list[str] = []
        self._loses = loses
        self._denies = denies
        self._tells = tells
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
        elif answer is None and self._tells:
            self._answers.append(ParameterRefused(0, name, "does not have it"))
        return True

    def set_parameter(self, name: str, value: float) -> bool:
        if self._passes() and not self._denies:
            answer = self.table.set(name, value, ParameterType.REAL32)
            if answer is not None and self._passes():
                self._answers.append(Parameter(0, name, answer.field))
        elif self._tells:
            self._answers.append(ParameterRefused(0, name, "says that it is read-only"))
        return True
