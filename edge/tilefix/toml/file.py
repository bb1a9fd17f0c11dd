"""A TOML file whose mistakes can be reported with file and line."""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tilefix.errors import TilefixError

_toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
_MAX_BYTES = 1 << 20
_HEADER = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*[=.]""")


class TomlFile:
    """A parsed file. Everything it refuses is raised as `error`, with `path:line` as the place."""

    def __init__(self, path: Path, error: type[TilefixError]) -> None:
        self.path = path
        self._error = error
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise error("larger than 1 MiB", where=path, mend="give a configuration written by hand")
            text = path.read_text(encoding="utf-8")
            self.table: dict[str, Any] = _toml.loads(text)
        except OSError as cause:
            raise error(f"cannot be read: {cause.strerror}", where=path, mend="check the path") from cause
        except (ValueError, RecursionError) as cause:
            raise error(f"is not TOML: {cause}", where=path, mend="see https://toml.io") from cause
        self._lines = _lines_of_keys(text)

    def refuse(self, what: str, section: str = "", key: str = "", mend: str | None = None) -> TilefixError:
        """The error to raise about a key of a section ("" is the top), with its line where the file names it."""
        line = self._lines.get((section, key)) or self._lines.get((section, ""))
        return self._error(what, where=self.path if line is None else f"{self.path}:{line}", mend=mend)

    def section(self, name: str, known: Collection[str], *, required: bool = True) -> dict[str, Any]:
        """The keys of `[name]` ("" is the top), each among `known` or refused; {} when absent and not required."""
        table = self.table if name == "" else self.table.get(name)
        if table is None:
            if required:
                raise self.refuse(f"section [{name}] is missing", mend=f"add [{name}] with {', '.join(sorted(known))}")
            return {}
        if not isinstance(table, dict):
            raise self.refuse(f"{name} must be a section", "", name, f"write [{name}]")
        for key in table:
            if key not in known:
                place = f" in [{name}]" if name else ""
                section, at = (key, "") if (key, "") in self._lines and not name else (name, key)
                raise self.refuse(f"unknown key {key}{place}", section, at, f"known: {', '.join(sorted(known))}")
        return table

    def number(self, section: str, key: str, low: float, high: float, default: float | None = None) -> float:
        """A finite number from `low` to `high`; the default when absent, refused when there is none."""
        table = self.table if section == "" else self.table.get(section, {})
        value = table.get(key, default)
        if value is None:
            raise self.refuse(
                f"[{section}] lacks {key}", section, mend=f"add {key} = a number from {low:g} to {high:g}"
            )
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.refuse(f"{key} = {value!r} is not a finite number", section, key, f"give {low:g} to {high:g}")
        if not low <= value <= high:
            raise self.refuse(f"{key} = {value!r} is out of range", section, key, f"give {low:g} to {high:g}")
        return float(value)

    def text(self, section: str, key: str) -> str:
        """A required text that is not empty."""
        table = self.table if section == "" else self.table.get(section, {})
        value = table.get(key)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self.refuse(f"{key} must be a text, not {value!r}", section, key, f'write {key} = "..."')
        return value


def _lines_of_keys(text: str) -> dict[tuple[str, str], int]:
    """(section, key) -> line; the header itself is (section, "")."""
    lines: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            section = header.group(1).strip("\"'")
            lines.setdefault((section, ""), number)
        elif key := _KEY.match(line):
            lines.setdefault((section, next(part for part in key.groups() if part is not None)), number)
    return lines
