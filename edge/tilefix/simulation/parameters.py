"""The parameter table of the autopilot stand-in: what PARAM_REQUEST_READ, _LIST and PARAM_SET do to it. Pure.

As measured of ArduPilot 4.7-dev: a name that does not exist is answered by silence; a value is clamped to the range of
its type and cut to a whole number; not-a-number is ignored; answers by name carry no index. PX4 tells the index
always, and silently drops a value whose stated type is not the parameter's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tilefix.links.messages import Airframe, AutopilotKind
from tilefix.links.parametercoding import ParameterType, decode, encode
from tilefix.simulation.parameterdefaults import AT_BOOT, HIDING, Entry, Version, defaults_of

_NO_INDEX = 65535
_NAME_CHARS = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """One PARAM_VALUE: `name`, `field` (the value as the float field carries it), MAV_PARAM_TYPE, count and index."""

    name: str
    field: float
    kind: int
    count: int
    index: int


class ParameterTable:
    """Parameters by name. `stored` is what was set last, `effective` what is acted upon."""

    def __init__(self, entries: Mapping[str, Entry], *, bytewise: bool = False) -> None:
        """`bytewise`: values travel as PX4's do."""
        self._kinds = {name: kind for name, (kind, _) in entries.items()}
        self._values = {name: float(value) for name, (_, value) in entries.items()}
        self._booted = dict(self._values)
        self._bytewise = bytewise

    @classmethod
    def of(cls, kind: AutopilotKind, airframe: Airframe, version: Version) -> ParameterTable:
        """The defaults of that firmware."""
        return cls(defaults_of(kind, airframe, version), bytewise=kind is AutopilotKind.PX4)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def stored(self, name: str, default: float | None = None) -> float:
        """What was set last; `default` for a name that does not exist, `KeyError` without one."""
        return self._values[name] if default is None else self._values.get(name, default)

    def effective(self, name: str, default: float | None = None) -> float:
        """What is acted upon: for some only what was stored when the autopilot started."""
        waits = any(name == one or (one == "SERIAL" and name.startswith(one)) for one in AT_BOOT)
        values = self._booted if waits else self._values
        return values[name] if default is None else values.get(name, default)

    def put(self, **values: float) -> None:
        """Sets values as if the autopilot had started with them. `KeyError` for a name that does not exist."""
        for name, value in values.items():
            self._values[name] = self._booted[name] = self._clamped(name, value)

    def reboot(self) -> None:
        """Makes everything effective that was stored."""
        self._booted = dict(self._values)

    @property
    def _listed(self) -> list[str]:
        if self._bytewise:
            return list(self._values)
        return [name for name in self._values if not self._hidden(name)]

    def _hidden(self, name: str) -> bool:
        for beginning, switch in HIDING.items():
            if name.startswith(beginning) and name != switch and not self._values.get(switch, 1.0):
                return True
        return False

    def read(self, name: str, index: int = -1) -> Answer | None:
        """The answer to PARAM_REQUEST_READ: by name, or by an index that is not negative; `None` is silence."""
        if index >= 0:
            listed = self._listed
            return self._answer(listed[index], index) if index < len(listed) else None
        return self._answer(name, None) if name in self._values else None

    def read_all(self) -> list[Answer]:
        """The answers to PARAM_REQUEST_LIST."""
        return [self._answer(name, index) for index, name in enumerate(self._listed)]

    def set(self, name: str, field: float, kind: int) -> Answer | None:
        """Stores a value of PARAM_SET and gives the answer; `None` is silence, and nothing stored."""
        if name not in self._values:
            return None
        if self._bytewise:
            value = decode(field, kind, bytewise=True) if kind == self._kinds[name] else None
        else:
            value = field if math.isfinite(field) else None
        if value is None:
            return None
        self._values[name] = self._clamped(name, value)
        return self._answer(name, None)

    def _clamped(self, name: str, value: float) -> float:
        kind = self._kinds[name]
        low, high = kind.limits
        kept = min(max(value, low), high)
        return kept if kind is ParameterType.REAL32 else float(math.trunc(kept))

    def _answer(self, name: str, index: int | None) -> Answer:
        listed = self._listed
        if index is None:
            index = listed.index(name) if self._bytewise else _NO_INDEX
        kind = self._kinds[name]
        field = encode(self._values[name], kind, bytewise=self._bytewise)
        return Answer(name[:_NAME_CHARS], field, int(kind), len(listed), index)
