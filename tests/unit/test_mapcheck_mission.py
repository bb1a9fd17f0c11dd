"""Waypoint files and the legs that come of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tilefix.errors import MissionError
from tilefix.mapcheck.mission import Item, Plan, Route, follow
from tilefix.mapcheck.missionfile import MAX_BYTES, MAX_ITEMS, load_plan

HOME = "0\t1\t0\t16\t0\t0\t0\t0\t47.0\t8.0\t400\t1"


def wpl(folder: Path, *lines: str) -> Path:
    path = folder / "m.waypoints"
    path.write_text("\n".join(["QGC WPL 110", *lines]) + "\n")
    return path


def simple(command: int, *params: float | None, frame: int = 3) -> dict[str, Any]:
    return {"type": "SimpleItem", "command": command, "frame": frame, "params": list(params), "doJumpId": 1}


def plan_file(folder: Path, items: list[Any], **mission: Any) -> Path:
    told = {"cruiseSpeed": 15, "hoverSpeed": 5, "vehicleType": 2, "plannedHomePosition": [47.0, 8.0, 400], **mission}
    path = folder / "m.plan"
    path.write_text(json.dumps({"fileType": "Plan", "version": 1, "mission": {**told, "items": items}}, indent=1))
    return path


def legs(path: Path, **more: Any) -> Route:
    plan = load_plan(path)
    return follow(plan, speed_mps=plan.speed_mps or 10.0, where=path, **more)


def shape(route: Route) -> list[tuple[str, float, float, float]]:
    return [(leg.name, round(leg.end.lat_deg, 4), leg.end.agl_m, leg.speed_mps) for leg in route.legs]


def test_a_plan_of_qgroundcontrol(tmp_path: Path) -> None:
    survey = {"type": "ComplexItem", "complexItemType": "survey", "TransectStyleComplexItem": {
        "Items": [simple(16, 0, 0, 0, None, 47.001, 8.0, 80), simple(206, 25, 0, 1, 0, 0, 0, 0, frame=2)]}}  # fmt: skip
    route = legs(
        plan_file(
            tmp_path,
            [
                simple(22, 0, 0, 0, None, 47.0, 8.0, 50),
                simple(178, 1, 12, -1, 0, 0, 0, 0, frame=2),
                survey,
                simple(178, 1, -2, -1, 0, 0, 0, 0, frame=2),
                simple(19, 10, 0, 0, 0, 47.002, 8.0, 90),
                simple(20, 0, 0, 0, 0, 0, 0, 0, frame=2),
            ],
        )
    )
    assert shape(route) == [
        ("take-off", 47.0, 50.0, 5.0),
        ("waypoint", 47.001, 80.0, 12.0),
        ("loiter", 47.002, 90.0, 5.0),
        ("return", 47.0, 90.0, 5.0),
    ]
    assert route.legs[0].start.agl_m == 0.0
    assert route.legs[0].low
    assert not route.legs[1].low


def test_a_plane_flies_a_plan_at_its_cruise_speed(tmp_path: Path) -> None:
    for kind in (1, [2], {"is": 2}):  # what is no number is no copter
        assert load_plan(plan_file(tmp_path, [], vehicleType=kind)).speed_mps == 15.0


def test_a_file_of_mission_planner(tmp_path: Path) -> None:
    route = legs(
        wpl(
            tmp_path,
            HOME,
            "1\t0\t3\t22\t0\t0\t0\t0\t0\t0\t60\t1",
            "2\t0\t3\t82\t0\t0\t0\t0\t47.001\t8.0\t70\t1",
            "",
            "3\t0\t10\t16\t0\t0\t0\t0\t47.002\t8.0\t80\t1",
            "4\t0\t3\t21\t0\t0\t0\t0\t0\t0\t0\t1",
        )
    )
    assert shape(route) == [
        ("take-off", 47.0, 60.0, 10.0),
        ("spline", 47.001, 70.0, 10.0),
        ("waypoint", 47.002, 80.0, 10.0),
        ("land", 47.002, 0.0, 10.0),
    ]
    assert [leg.line for leg in route.legs] == [3, 4, 6, 7]
    assert any("spline" in note for note in route.notes)
    assert any("taken as home" in note for note in route.notes)


def test_what_is_not_known_is_counted_and_told(tmp_path: Path) -> None:
    items = [simple(16, 0, 0, 0, 0, 47.001, 8.0, 80)] + 3 * [simple(31010, 0, 0, 0, 0, 0, 0, 0)]
    notes = legs(plan_file(tmp_path, [*items, simple(177, 1, 5, 0, 0, 0, 0, 0), {"type": "ComplexItem"}])).notes
    assert any("3 x command 31010" in note for note in notes)
    assert any("jumps" in note for note in notes)
    assert any("complex item" in note for note in notes)


def item(frame: int, height_m: float, lat_deg: float = 47.01, command: int = 16) -> Item:
    return Item(7, command, frame, (0.0, 0.0, 0.0, 0.0, lat_deg, 8.0, height_m))


@pytest.mark.parametrize(
    ("frame", "height_m", "ground_amsl_m", "agl_m"),
    [
        (3, 50.0, None, 50.0),
        (6, 50.0, None, 50.0),
        (10, 70.0, None, 70.0),
        (0, 500.0, 420.0, 80.0),
        (5, 500.0, 400.0, 100.0),
    ],
)
def test_frames_of_altitude(frame: int, height_m: float, ground_amsl_m: float | None, agl_m: float) -> None:
    plan = Plan((item(3, 40.0, 47.0), item(frame, height_m)))
    route = follow(plan, speed_mps=10.0, ground_amsl_m=ground_amsl_m)
    assert route.legs[0].end.agl_m == pytest.approx(agl_m)


def test_terrain_bends_what_is_relative_to_home_and_not_what_is_relative_to_it(tmp_path: Path) -> None:
    plan = load_plan(
        plan_file(
            tmp_path, [simple(16, 0, 0, 0, 0, 47.01, 8.0, h, frame=f) for f, h in ((3, 100), (10, 100), (0, 520))]
        )
    )

    def ground(lat_deg: float, lon_deg: float) -> float:
        return 1000.0 + 3000.0 * (lat_deg - 47.0)  # 30 m higher a hundredth of a degree north, of any zero

    route = follow(plan, speed_mps=10.0, ground=ground)
    assert [leg.end.agl_m for leg in route.legs] == pytest.approx([70.0, 100.0, 90.0])


def test_above_sea_level_needs_the_grounds_height() -> None:
    with pytest.raises(MissionError, match=r"line 7: height above sea level.*--ground-amsl-m"):
        follow(Plan((item(3, 40.0), item(0, 500.0))), speed_mps=10.0)


def test_without_home_there_is_no_way_back() -> None:
    route = follow(Plan((item(3, 40.0), item(3, 40.0, 47.02), item(3, 0.0, command=20))), speed_mps=10.0)
    assert len(route.legs) == 1
    assert any("no home" in note for note in route.notes)


def test_a_height_not_told_is_the_one_before() -> None:
    route = follow(Plan((item(3, 40.0), item(3, math.nan, 47.02))), speed_mps=10.0)
    assert route.legs[0].end.agl_m == 40.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (item(3, 40.0, 91.0), "line 7: 91, 8 is no latitude"),
        (item(1, 40.0), "line 7: frame 1"),
        (item(3, 1e9), r"line 7: height 1e\+09 m is out of range"),
        (item(3, math.nan), "line 7: no height"),
        (Item(9, 178, 2, (1.0, 1e6, 0.0, 0.0, 0.0, 0.0, 0.0)), r"line 9: speed 1e\+06"),
    ],
)
def test_what_is_no_route_is_refused_with_its_line(wrong: Item, said: str) -> None:
    with pytest.raises(MissionError, match=said):
        follow(Plan((wrong,)), speed_mps=10.0)


def test_a_mission_without_a_leg_is_refused() -> None:
    with pytest.raises(MissionError, match="no leg"):
        follow(Plan((item(3, 40.0),)), speed_mps=10.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "neither"),
        ("lat,lon\n1,2\n", "neither"),
        ("QGC WPL 999\n", "line 1: version '999'"),
        ("QGC WPL 110\n" + HOME + "\n1\t2\n", "line 3: 2 fields"),
        ("QGC WPL 110\n" + HOME.replace("400", "high") + "\n", "line 2: 'high' is no number"),
        ("QGC WPL 110\n" + HOME.replace("400", "inf") + "\n", "line 2: 'inf' is no number"),
        ("QGC WPL 110\n" + HOME.replace("47.0", "470") + "\n", "line 2: home 470, 8"),
        ("QGC WPL 110\n" + HOME.replace("\t16\t", "\t1.5\t") + "\n", "line 2: 1.5 is no frame or command"),
        ("QGC WPL 110\n" + (HOME + "\n") * (MAX_ITEMS + 1), f"line {MAX_ITEMS + 2}: more than"),
        ('{\n"fileType": "Plan",\n}', "line 3: "),
        ('{"fileType": "Fence"}', "line 1: no plan"),
        ('{"fileType": "Plan", "mission": 3}', "line 1: no .mission. in it"),
        ('{"fileType": "Plan",\n"mission": {"items": 3}}', "line 2: its items are not a list"),
        ('{"fileType": "Plan", "mission": {"items": [\n3]}}', "line 1: an item is not an object"),
        ('{"fileType": "Plan", "mission": {"items": [\n{"command": 16}]}}', "line 2: .params. are not seven"),
        (
            '{"fileType": "Plan", "mission": {"items": [\n\n{"command": 16, "frame": "3","params":[0,0,0,0,1,2,3]}]}}',
            "line 3: .frame. is no number",
        ),
        (
            '{"fileType": "Plan", "mission": {"items": [{"command": 16, "frame": 3, "params": [0,0,0,0,1,2,"x"]}]}}',
            "line 1: 'x' is no number",
        ),
        ('{"fileType": "Plan", "mission": {"items": [], "cruiseSpeed": -1}}', "cruiseSpeed.* is -1 m/s"),
        ('{"fileType": "Plan", "mission": {"items": [], "plannedHomePosition": [1]}}', "plannedHomePosition"),
        ('{"fileType": NaN}', "NaN"),
        (
            '{"fileType": "Plan", "mission": {"items": [' + '{"type": "ComplexItem"},' * MAX_ITEMS + "{}]}}",
            "line 1: more than",
        ),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 10_000 + "}", "number too long"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "m.plan"
    path.write_text(text)
    with pytest.raises(MissionError, match=said):
        load_plan(path)


def test_a_file_that_is_no_text_too_large_or_absent_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.plan"
    with pytest.raises(MissionError, match="cannot be read"):
        load_plan(path)
    path.write_bytes(b"QGC WPL 110\n\xff\xfe")
    with pytest.raises(MissionError, match="not text"):
        load_plan(path)
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(MissionError, match="larger than"):
        load_plan(path)
