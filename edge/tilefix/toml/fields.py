"""Frozen dataclasses from the sections of a TOML file; what does not fit is refused with file, line and mend."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from tilefix.errors import TilefixError
from tilefix.toml.file import TomlFile

T = TypeVar("T")
Limits = tuple[float, float]


def limited(low: float, high: float, default: Any = dataclasses.MISSING) -> Any:
    """A number field with its inclusive limits."""
    return dataclasses.field(default=default, metadata={"limits": (low, high)})


def chosen(*choices: str) -> Any:
    """A text field with its choices; the first is the default."""
    return dataclasses.field(default=choices[0], metadata={"choices": choices})


def read_section(
    toml: TomlFile,
    name: str,
    kind: type[T],
    *,
    required: bool = True,
    limits: Mapping[str, Limits] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> T:
    """`[name]` as an instance of the dataclass `kind`.

    Field types may be str, Path (relative to the file), int, float, bool, an Enum (by value), a tuple of one of
    these, and each `| None`. Limits stand in the fields (`limited`), or in `limits` for a class that knows none;
    `defaults` replace those of the class. A ValueError of the class is a refusal too.
    """
    fields = {one.name: one for one in dataclasses.fields(kind) if one.init}  # type: ignore[arg-type]
    table = toml.section(name, fields, required=required)
    hints = typing.get_type_hints(kind)
    values = dict(defaults or {})
    for key, raw in table.items():
        rules = dict(fields[key].metadata)
        if limits and key in limits:
            rules["limits"] = limits[key]
        values[key] = _Reader(toml, name, key, rules).value(raw, hints[key])
    for key, one in fields.items():
        needed = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        if needed and key not in values:
            raise toml.refuse(f"[{name}] lacks {key}", name, mend=f"add {key} = {_wanted(hints[key])}")
    try:
        return kind(**values)
    except ValueError as error:
        # A rule over several keys: the first one that the message names is where to look.
        key = next((key for key in values if re.search(rf"\b{re.escape(key)}\b", str(error))), "")
        raise toml.refuse(f"[{name}] {error}", name, key, "see the example configuration") from error


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Checks the values of one key."""

    toml: TomlFile
    section: str
    key: str
    rules: Mapping[str, Any]

    def refuse(self, what: str, mend: str) -> TilefixError:
        return self.toml.refuse(f"{self.key} {what}", self.section, self.key, mend)

    def value(self, raw: object, hint: Any) -> Any:
        arms = [arm for arm in _arms(hint) if arm is not type(None)]
        if len(arms) != 1:
            raise TypeError(f"[{self.section}] {self.key} has type {hint}, which a configuration cannot express")
        wanted = arms[0]
        if typing.get_origin(wanted) is tuple:
            return self._tuple(raw, typing.get_args(wanted))
        if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
            return self._choice(raw, {str(member.value): member for member in wanted})
        if wanted is float and isinstance(raw, int) and not isinstance(raw, bool):
            raw = float(raw) if abs(raw) < 1 << 53 else math.inf
        if type(raw) is not (str if wanted is Path else wanted):
            raise self.refuse(f"= {raw!r} is of the wrong type", f"write {self.key} = {_wanted(wanted)}")
        if isinstance(raw, str):
            return self._text(raw, wanted)
        if isinstance(raw, (int, float)) and not isinstance(raw, bool):
            low, high = self.rules.get("limits", (-math.inf, math.inf))
            if not math.isfinite(raw) or not low <= raw <= high:
                raise self.refuse(f"= {raw} is out of range", f"give {low:g} to {high:g}")
        return raw

    def _tuple(self, raw: object, inner: tuple[Any, ...]) -> tuple[Any, ...]:
        open_ended = inner[-1] is Ellipsis
        if not isinstance(raw, list) or (not open_ended and len(raw) != len(inner)):
            count = "" if open_ended else f"{len(inner)} "
            raise self.refuse(f"must be a list of {count}values, not {raw!r}", f"write {self.key} = [...]")
        return tuple(self.value(one, inner[0]) for one in raw)

    def _text(self, raw: str, wanted: type) -> Any:
        if not raw or "\0" in raw:
            raise self.refuse("must not be empty", f'write {self.key} = "..."')
        choices = self.rules.get("choices")
        if choices:
            return self._choice(raw, {one: one for one in choices})
        return self.toml.path.parent / Path(raw).expanduser() if wanted is Path else raw

    def _choice(self, raw: object, choices: Mapping[str, Any]) -> Any:
        if not isinstance(raw, str) or raw not in choices:
            raise self.refuse(f"= {raw!r} is no choice", f"one of {', '.join(choices)}")
        return choices[raw]


def _arms(hint: Any) -> tuple[Any, ...]:
    """The alternatives of `X | None`, or the type itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _wanted(hint: Any) -> str:
    words = {str: '"text"', Path: '"path"', int: "a whole number", float: "a number", bool: "true or false"}
    return next((words[arm] for arm in _arms(hint) if arm in words), "a value")
