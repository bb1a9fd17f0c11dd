"""An autopilot's parameters, read and set over a link that may lose either the question or the answer.

A name that the firmware does not have is answered by silence (ArduPilot up to 4.7-dev, PX4), so every wait has an end
and every question is asked several times before a name counts as missing. Firmware that knows PARAM_ERROR says so.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tilefix.links.messages import LinkMessage, Parameter, ParameterRefused
from tilefix.links.parametercoding import same
from tilefix.ports import Clock

_TURN_S = 0.005


class ParameterPort(Protocol):
    """What the client asks of an `AutopilotLink`."""

    def poll(self) -> Sequence[LinkMessage]: ...

    def request_parameter(self, name: str) -> bool: ...

    def set_parameter(self, name: str, value: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait. `answer_s`: for the answers to one round of questions; `rounds`: how often to ask; `at_once`:
    questions under way at a time, fewer than the 20 that ArduPilot queues."""

    answer_s: float = 0.7
    rounds: int = 4
    at_once: int = 10


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a parameter that was set: `value` is what the autopilot says it has now, `None` for silence.
    `refusal`: why it was not set, where the autopilot told; it goes on after "the autopilot"."""

    name: str
    wanted: float
    value: float | None
    refusal: str | None = None

    @property
    def right(self) -> bool:
        """True when the autopilot holds what was wanted."""
        return self.value is not None and same(self.value, self.wanted)


class ParameterClient:
    """Reads and sets parameters in the caller's thread; every call ends within its patience.

    `watch` is given every message that comes meanwhile, so that nothing else on the link is lost.
    """

    def __init__(
        self,
        port: ParameterPort,
        clock: Clock,
        *,
        patience: Patience | None = None,
        watch: Callable[[LinkMessage], None] | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._port = port
        self._clock = clock
        self._patience = patience or Patience()
        self._watch = watch
        self._wait = wait
        self._heard: dict[str, float] = {}
        self._refused: dict[str, str] = {}

    def listen(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Takes in what comes for so long, or until `until` holds; True when it does."""
        end_ns = self._clock.now_ns() + round(seconds * 1e9)
        while True:
            for message in self._port.poll():
                if isinstance(message, Parameter):
                    self._heard[message.name] = message.value
                elif isinstance(message, ParameterRefused):
                    self._refused[message.name] = message.reason
                if self._watch is not None:
                    self._watch(message)
            if until():
                return True
            if self._clock.now_ns() >= end_ns:
                return False
            self._wait(_TURN_S)

    def read(self, names: Iterable[str]) -> dict[str, float]:
        """The values of those names that the autopilot answers; a missing one is not in the result."""
        wanted = list(dict.fromkeys(names))
        self._forget(wanted)
        for _ in range(self._patience.rounds):
            pending = [name for name in wanted if not self._answered(name)]
            for start in range(0, len(pending), self._patience.at_once):
                asked = pending[start : start + self._patience.at_once]
                for name in asked:
                    self._port.request_parameter(name)
                self.listen(self._patience.answer_s, functools.partial(self._all_answered, asked))
        return {name: self._heard[name] for name in wanted if name in self._heard}

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._heard.pop(name, None)
            self._refused.pop(name, None)

    def _answered(self, name: str) -> bool:
        return name in self._heard or name in self._refused

    def _all_answered(self, names: Iterable[str]) -> bool:
        return all(map(self._answered, names))

    def write(self, name: str, value: float) -> Written:
        """Sets one parameter and reads it back. The answer to the setting is not enough: it may have been on its way
        already."""
        found = self.read([name])
        refusal = self._refused.get(name)
        if name not in found:
            return Written(name, value, None, refusal)
        for _ in range(self._patience.rounds):
            self._forget([name])
            if self._port.set_parameter(name, value):
                self.listen(self._patience.answer_s, lambda: self._answered(name))
            refusal = self._refused.get(name)
            found = self.read([name]) or found
            if refusal is not None or same(found[name], value):
                break
        return Written(name, value, found[name], refusal)
