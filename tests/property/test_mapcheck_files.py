"""Any waypoint file is read or refused with one clear error, and whatever is read can be followed or is refused."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tilefix.errors import MissionError
from tilefix.mapcheck.mission import Item, follow
from tilefix.mapcheck.missionfile import load_plan

NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 47.0, 8.0, 100.0])
ROWS = st.lists(
    st.tuples(
        st.sampled_from([16, 17, 20, 21, 22, 31, 82, 84, 85, 177, 178, 206, 9999]),
        st.sampled_from([0, 1, 2, 3, 5, 6, 10, 11, 99]),
        st.tuples(*[NUMBERS] * 7),
    ),
    max_size=8,
)


def _read(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "m.plan"
        path.write_bytes(data)
        with contextlib.suppress(MissionError):
            route = follow(load_plan(path), speed_mps=10.0, ground_amsl_m=100.0, where=path)
            assert all(leg.speed_mps > 0.0 for leg in route.legs)
            assert all(abs(leg.end.lat_deg) <= 85.0 and abs(leg.end.lon_deg) <= 180.0 for leg in route.legs)


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_items_come_back_as_written(rows: list[tuple[int, int, tuple[float, ...]]]) -> None:
    lines = ["QGC WPL 110", "0 1 3 16 0 0 0 0 47.0 8.0 50 1"]
    lines += [f"{k} 0 {f} {c} {' '.join(map(repr, params))} 1" for k, (c, f, params) in enumerate(rows, 1)]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "m.waypoints"
        path.write_text("\n".join(lines))
        items = load_plan(path).items
    assert items[1:] == tuple(Item(k, c, f, params) for k, (c, f, params) in enumerate(rows, 3))
    _read("\n".join(lines).encode())


@given(ROWS, st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_plan_is_read_or_refused(rows: list[tuple[int, int, tuple[float, ...]]], data: st.DataObject) -> None:
    items = [{"type": "SimpleItem", "command": c, "frame": f, "params": list(p)} for c, f, p in rows]
    mission = {"items": items, "plannedHomePosition": [47.0, 8.0, 400.0], "cruiseSpeed": 15, "vehicleType": 1}
    text = bytearray(json.dumps({"fileType": "Plan", "mission": mission}).encode())
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        text = text or bytearray(b"{")
    _read(bytes(text))


@given(st.sampled_from([b"", b"{", b"QGC WPL 110\n"]), st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_or_refused(head: bytes, body: bytes) -> None:
    _read(head + body)
