"""Waypoint files of the usual ground stations: QGroundControl's `.plan` (JSON) and `QGC WPL 110` (text).

Formats: https://docs.qgroundcontrol.com/master/en/qgc-dev-guide/file_formats/plan.html and
https://mavlink.io/en/file_formats/. A file comes from outside: its size, nesting and every number are checked.
"""

from __future__ import annotations

import json
import json.decoder
import json.scanner
import math
from pathlib import Path
from typing import Any, NoReturn

from tilefix.errors import MissionError
from tilefix.mapcheck.mission import MAX_SPEED_MPS, WAYPOINT, Home, Item, Plan

MAX_BYTES = 8 << 20
MAX_ITEMS = 20_000
_LINE = "\0line"  # whatever a file says under this key is written over
_HOVERING = frozenset((2, 3, 4, 13, 14, 15, 29, 35))  # MAV_TYPE of what flies missions at `hoverSpeed`
_FIELDS = 12


def load_plan(path: Path) -> Plan:
    """Reads a waypoint file, by its content; raises `MissionError` with the line at fault."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MissionError(f"cannot be read: {error.strerror}", where=path) from error
    if len(data) > MAX_BYTES:
        raise MissionError(f"is larger than {MAX_BYTES >> 20} MiB", where=path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MissionError("is not text", where=path, mend="give a .plan or a QGC WPL 110 file") from error
    if text.lstrip().startswith("{"):
        return _Json(text, path).plan()
    if text.startswith("QGC WPL"):
        return _plain(text, path)
    raise MissionError(
        "is neither a .plan of QGroundControl nor a QGC WPL 110 file",
        where=path,
        mend="save the mission as one of them",
    )


def _plain(text: str, path: Path) -> Plan:
    lines = text.splitlines()
    version = lines[0].split()[-1]
    if version not in ("110", "120"):
        raise MissionError(f"line 1: version {version[:20]!r}, 110 is read", where=path)
    items: list[Item] = []
    for number, line in enumerate(lines[1:], start=2):
        words = line.split()
        if not words:
            continue
        if len(words) != _FIELDS:
            raise MissionError(f"line {number}: {len(words)} fields, an item has {_FIELDS}", where=path)
        values = [_number(word, number, path) for word in words]
        frame, command = (_whole(value, number, path) for value in values[2:4])
        a, b, c, d, x, y, z = values[4:11]
        items.append(Item(number, command, frame, (a, b, c, d, x, y, z)))
        if len(items) > MAX_ITEMS:
            raise MissionError(f"line {number}: more than {MAX_ITEMS} items", where=path)
    # ArduPilot's item 0 is home, above sea level; all zeros where it was not known.
    first = items[0] if items else None
    if first is None or (first.command, first.frame) != (WAYPOINT, 0):
        return Plan(tuple(items))
    lat_deg, lon_deg, amsl_m = first.params[4:7]
    if lat_deg == 0.0 and lon_deg == 0.0:
        return Plan(tuple(items[1:]))
    home = _home(lat_deg, lon_deg, amsl_m, first.line, path)
    return Plan(tuple(items[1:]), home, notes=("the first item, above sea level, is taken as home",))


def _number(word: str, line: int, path: Path) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.inf
    if math.isinf(value) or "_" in word:
        raise MissionError(f"line {line}: {word[:40]!r} is no number", where=path)
    return value


def _whole(value: float, line: int, path: Path) -> int:
    if not (value == value // 1 and 0 <= value <= 65535):
        raise MissionError(f"line {line}: {value:g} is no frame or command", where=path)
    return int(value)


def _home(lat_deg: float, lon_deg: float, amsl_m: float | None, line: int, path: Path) -> Home:
    if not (abs(lat_deg) <= 85.0 and abs(lon_deg) <= 180.0):
        raise MissionError(f"line {line}: home {lat_deg:g}, {lon_deg:g} is no latitude and longitude", where=path)
    return Home(lat_deg, lon_deg, amsl_m if amsl_m is not None and math.isfinite(amsl_m) else None)


class _Json:
    """A `.plan` file; every object of it knows its line."""

    def __init__(self, text: str, path: Path) -> None:
        self.path = path
        self._entries = 0
        starts = [-1] + [at for at, letter in enumerate(text) if letter == "\n"]
        decoder = json.JSONDecoder(parse_constant=self._constant)

        def parse_object(state: tuple[str, int], *rest: Any) -> tuple[dict[str, Any], int]:
            found, end = json.decoder.JSONObject(state, *rest)  # type: ignore[attr-defined]
            found[_LINE] = _line_of(state[1] - 1, starts)
            return found, end

        decoder.parse_object = parse_object  # type: ignore[attr-defined]
        decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
        try:
            self.root = decoder.decode(text)
        except json.JSONDecodeError as error:
            raise MissionError(f"line {error.lineno}: {error.msg}", where=path) from error
        except (RecursionError, ValueError) as error:
            raise MissionError("is nested too deeply, or holds a number too long", where=path) from error

    def _constant(self, word: str) -> NoReturn:
        raise MissionError(f"holds {word}, which is no JSON", where=self.path)

    def _fail(self, at: Any, what: str) -> MissionError:
        line = at.get(_LINE, 1) if isinstance(at, dict) else 1
        return MissionError(f"line {line}: {what}", where=self.path)

    def plan(self) -> Plan:
        """What it says."""
        if self.root.get("fileType") != "Plan":
            raise self._fail(self.root, 'no plan: "fileType" is not "Plan"')
        mission = self.root.get("mission")
        if not isinstance(mission, dict):
            raise self._fail(self.root, 'no "mission" in it')
        notes: list[str] = []
        items = self._items(mission, mission.get("items"), notes, depth=0)
        kind = mission.get("vehicleType")
        key = "hoverSpeed" if isinstance(kind, int) and kind in _HOVERING else "cruiseSpeed"
        speed = self._float(mission, mission.get(key))
        if speed is not None and not 0.0 < speed <= MAX_SPEED_MPS:
            raise self._fail(mission, f'"{key}" is {speed:g} m/s')
        return Plan(tuple(items), self._planned_home(mission), speed, tuple(notes))

    def _planned_home(self, mission: dict[str, Any]) -> Home | None:
        raw = mission.get("plannedHomePosition")
        if raw is None:
            return None
        if not isinstance(raw, list) or not 2 <= len(raw) <= 3:
            raise self._fail(mission, '"plannedHomePosition" is not [latitude, longitude, height]')
        place = [self._float(mission, value) for value in raw]
        if place[0] is None or place[1] is None:
            raise self._fail(mission, '"plannedHomePosition" has no latitude and longitude')
        return _home(place[0], place[1], place[2] if len(place) == 3 else None, mission[_LINE], self.path)

    def _items(self, owner: dict[str, Any], raw: Any, notes: list[str], depth: int) -> list[Item]:
        if not isinstance(raw, list):
            raise self._fail(owner, "its items are not a list")
        items: list[Item] = []
        for entry in raw:
            self._entries += 1  # of complex items, too, which may hold no legs
            if self._entries > MAX_ITEMS:
                raise self._fail(entry, f"more than {MAX_ITEMS} items")
            if not isinstance(entry, dict):
                raise self._fail(owner, "an item is not an object")
            if entry.get("type") == "ComplexItem":
                within = entry.get("TransectStyleComplexItem")
                if isinstance(within, dict) and isinstance(within.get("Items"), list) and depth == 0:
                    items += self._items(within, within["Items"], notes, depth + 1)
                else:
                    kind = str(entry.get("complexItemType"))[:30]
                    notes.append(f"line {entry[_LINE]}: a complex item ({kind!a}) without legs in the file; left out")
            else:
                items.append(self._item(entry))
        return items

    def _item(self, entry: dict[str, Any]) -> Item:
        params = entry.get("params")
        if not isinstance(params, list) or len(params) != 7:
            raise self._fail(entry, '"params" are not seven numbers')
        numbers = [self._float(entry, value) for value in params]
        a, b, c, d, x, y, z = (math.nan if value is None else value for value in numbers)
        whole = []
        for key in ("command", "frame"):
            value = entry.get(key)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65535:
                raise self._fail(entry, f'"{key}" is no number of MAVLink')
            whole.append(value)
        return Item(entry[_LINE], whole[0], whole[1], (a, b, c, d, x, y, z))

    def _float(self, at: dict[str, Any], value: Any) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
            raise self._fail(at, f"{str(value)[:40]!a} is no number")
        return float(value)


def _line_of(at: int, starts: list[int]) -> int:
    low, high = 0, len(starts)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if starts[middle] < at else (low, middle)
    return low + 1
