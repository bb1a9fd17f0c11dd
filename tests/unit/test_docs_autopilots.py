"""What docs/autopilots.md says of parameters, routes and options is what the code says."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from tilefix.doctor.case import Case
from tilefix.doctor.command import configure
from tilefix.doctor.diagnosis import Weight, diagnose, names_of, plain
from tilefix.links.messages import Airframe, AutopilotKind, Route
from tilefix.publishing.selection import AUTO
from tilefix.simulation.parameters import ParameterTable

PAGE = (Path(__file__).parents[2] / "docs" / "autopilots.md").read_text(encoding="utf-8")
_AIRFRAMES = {"Copter": Airframe.COPTER, "Plane": Airframe.PLANE}
_ROW = re.compile(r"^\| (?P<who>[^|`]+) \| (?P<routes>[^|]+) \| (?P<sets>[^|]+) \|$", re.MULTILINE)


def _section(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section {heading}"
    return found[1]


def _stated() -> list[tuple[AutopilotKind, Airframe, tuple[int, int, int], Route, list[str]]]:
    """Every combination that the table of parameters speaks of, with the settings it states."""
    stated = []
    for row in _ROW.finditer(_section("What has to be set")):
        versions = [tuple(map(int, one.split("."))) for one in re.findall(r"\d\.\d+", row["who"])]
        if not versions:
            continue
        is_px4 = "PX4" in row["who"]
        airframes = [Airframe.COPTER] if is_px4 else [_AIRFRAMES[one] for one in re.findall("Copter|Plane", row["who"])]
        sets = re.findall(r"`([^`]+)`(?: \((R)\))?", row["sets"])
        kind = AutopilotKind.PX4 if is_px4 else AutopilotKind.ARDUPILOT
        for route in re.findall(r"`(\w+)`", row["routes"]):
            stated += [
                (kind, airframe, (version[0], version[1], 5), Route(route), [" ".join(one).strip() for one in sets])
                for version in versions
                for airframe in airframes
            ]
    return stated


def test_the_table_speaks_of_every_version_and_route() -> None:
    told = {(kind, airframe, version[:2], route) for kind, airframe, version, route, _ in _stated()}
    for airframe in _AIRFRAMES.values():
        for version in ((4, 5), (4, 6), (4, 7)):
            for route in (Route.GPS_INPUT, Route.VISION, Route.ODOMETRY):
                assert (AutopilotKind.ARDUPILOT, airframe, version, route) in told


@pytest.mark.parametrize("stated", _stated(), ids=lambda one: f"{one[1].value}-{one[2][0]}.{one[2][1]}-{one[3].value}")
def test_the_table_of_parameters_is_what_doctor_sets(
    stated: tuple[AutopilotKind, Airframe, tuple[int, int, int], Route, list[str]],
) -> None:
    kind, airframe, version, route, sets = stated
    case = Case(kind, airframe, version, route)
    table = ParameterTable.of(kind, airframe, version)
    found = diagnose(case, {name: table.stored(name) for name in names_of(case)})
    wrong = [one for one in found if one.weight is Weight.WRONG and one.wanted is not None]
    assert sorted(sets) == sorted(
        f"{one.name} {plain(one.wanted)}{' R' if one.needs_reboot else ''}" for one in wrong if one.wanted is not None
    )


def test_the_table_of_routes_is_the_publishers() -> None:
    rows = re.findall(r"^\| ((?:ArduPilot|PX4)[^|]*) \| `(\w+)` \|", _section("Which way positions go"), re.MULTILINE)
    assert [(who.split(",")[0].split(" ")[0], route) for who, route in rows] == [
        (row.kind.value, row.route.value) for row in AUTO
    ]


def test_every_option_of_the_command_is_told_and_no_other() -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
    assert set(re.findall(r"`(--[a-z-]+)", _section("tilefix doctor"))) == options
