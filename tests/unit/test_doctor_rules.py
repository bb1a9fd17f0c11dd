"""Every rule of the doctor, both ways: silent on a right value, telling name, reason and mend of a wrong one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tilefix.doctor.case import Case
from tilefix.doctor.diagnosis import Finding, Weight, diagnose, names_of
from tilefix.doctor.rules import RULES
from tilefix.links.messages import Airframe, AutopilotKind, Route
from tilefix.simulation.parameters import ParameterTable

ARDUPILOT, PX4 = AutopilotKind.ARDUPILOT, AutopilotKind.PX4
COPTER, PLANE = Airframe.COPTER, Airframe.PLANE
GPS, VISION, ODOMETRY = Route.GPS_INPUT, Route.VISION, Route.ODOMETRY
ESTIMATE, MAP = Route.EXTERNAL_ESTIMATE, Route.GLOBAL_POSITION
V45, V46, V47 = (4, 5, 5), (4, 6, 0), (4, 7, 0)
WRONG, ADVICE = Weight.WRONG, Weight.ADVICE


@dataclass(frozen=True)
class Trial:
    """One parameter of one vehicle: `bad` is found and mended to `mend`, `good` is not found."""

    name: str
    good: tuple[float, ...]
    bad: tuple[float, ...]
    mend: float | None
    route: Route = GPS
    version: tuple[int, int, int] = V47
    airframe: Airframe = COPTER
    kind: AutopilotKind = ARDUPILOT
    weight: Weight = WRONG
    reboot: bool = False
    given: dict[str, Any] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}-{self.kind.value}-{self.route.value}-{'.'.join(map(str, self.version))}"


_BOTH = ((VISION, V47), (ODOMETRY, V45))
_PX4_MAP: dict[str, Any] = {"kind": PX4, "route": MAP, "version": (1, 18, 0)}
_PX4_LOCAL: dict[str, Any] = {"kind": PX4, "version": (1, 16, 0)}
_ALONE: dict[str, Any] = {"gps_id": 0}
_DELAY_100: dict[str, Any] = {"delay_ms": 100.0}
_LATE: dict[str, Any] = {"latency_ms": 273.0}
_TOO_LATE: dict[str, Any] = {"latency_ms": 1200.0}
_203: dict[str, Any] = {"latency_ms": 203.0}
_FIRST_250: dict[str, Any] = {"GPS1_DELAY_MS": 250}
TRIALS = [
    Trial("AHRS_EKF_TYPE", (3,), (2, 10, 11), 3),
    Trial("EK3_ENABLE", (1,), (0,), 1, reboot=True),
    Trial("GPS2_TYPE", (14,), (0,), 14),
    Trial("GPS2_TYPE", (14,), (2, 9), 14, version=V46, reboot=True),
    Trial("GPS_TYPE2", (14,), (0,), 14, version=V45),
    Trial("GPS1_TYPE", (14,), (1,), 14, reboot=True, given=_ALONE),
    Trial("GPS_TYPE", (14,), (1,), 14, version=V45, reboot=True, given=_ALONE),
    Trial("GPS1_TYPE", (1, 2, 9), (0,), 1),
    Trial("GPS1_TYPE", (1, 2, 9), (14,), 1, reboot=True),
    Trial("GPS_TYPE", (1, 2, 9), (0,), 1, version=V45),
    Trial("GPS_AUTO_SWITCH", (1, 4), (0, 2, 3), 1),
    Trial("GPS_PRIMARY", (0,), (1,), 0),
    Trial("GPS2_DELAY_MS", (100,), (0, 200), 100, reboot=True, given=_DELAY_100),
    Trial("GPS_DELAY_MS2", (100,), (0, 99), 100, version=V45, reboot=True, given=_DELAY_100),
    Trial("GPS2_DELAY_MS", (0, 200), (100, 250), 200, reboot=True, given={"delay_ms": 200.0}),
    Trial("GPS2_DELAY_MS", (20, 100, 120), (0, 200), 120),
    Trial("GPS2_DELAY_MS", (0, 200, 220), (250,), 220, others={"GPS1_DELAY_MS": 220}),
    Trial("GPS2_DELAY_MS", (0, 200), (250,), 200, others={"GPS1_TYPE": 5}),
    Trial("GPS2_DELAY_MS", (80,), (120, 0), 80, others={"GPS1_TYPE": 26}),
    Trial("GPS_DELAY_MS2", (120,), (0,), 120, version=V45),
    Trial("GPS_DELAY_MS2", (80,), (120, 0), 80, version=V45, others={"GPS_TYPE": 10}),
    Trial("GPS2_DELAY_MS", (0, 150, 250), (20, 90), 200, weight=ADVICE, reboot=True, given=_203, others=_FIRST_250),
    Trial("GPS2_DELAY_MS", (70, 120, 170), (0, 60, 250), 120, weight=ADVICE, reboot=True, given={"latency_ms": 160.0}),
    Trial("GPS2_DELAY_MS", (60, 80, 130), (0, 250), 80, weight=ADVICE, reboot=True, given={"latency_ms": 82.0}),
    Trial("GPS2_DELAY_MS", (0, 200, 250), (190, 10), 250, weight=ADVICE, reboot=True, given=_LATE, others=_FIRST_250),
    Trial(
        "GPS_DELAY_MS2",
        (0, 250),
        (10,),
        250,
        version=V45,
        weight=ADVICE,
        reboot=True,
        given=_LATE,
        others={"GPS_DELAY_MS": 250},
    ),
    Trial("VISO_DELAY_MS", (200, 250), (10,), 250, VISION, weight=ADVICE, reboot=True, given=_LATE),
    Trial("EKF2_EV_DELAY", (100,), (0, 50), 100, route=ODOMETRY, reboot=True, given=_DELAY_100, **_PX4_LOCAL),
    Trial("EKF2_EV_DELAY", (230,), (0,), 270, route=VISION, weight=ADVICE, reboot=True, given=_LATE, **_PX4_LOCAL),
    Trial("EKF2_AGP0_DELAY", (100,), (0, 500), 100, reboot=True, given=_DELAY_100, **_PX4_MAP),
    Trial(
        "EKF2_AGP0_DELAY", (150,), (0, 500), 150, weight=ADVICE, reboot=True, given={"latency_ms": 150.0}, **_PX4_MAP
    ),
    Trial("GPS2_DELAY_MS", (), (120,), None, weight=ADVICE, given=_TOO_LATE),
    Trial("GPS_DELAY_MS2", (), (120,), None, version=V45, weight=ADVICE, given=_TOO_LATE),
    Trial("VISO_DELAY_MS", (), (250,), None, VISION, weight=ADVICE, given=_TOO_LATE),
    Trial("EKF2_EV_DELAY", (), (300,), None, route=VISION, weight=ADVICE, given=_TOO_LATE, **_PX4_LOCAL),
    Trial("EKF2_AGP0_DELAY", (), (200,), None, weight=ADVICE, given=_TOO_LATE, **_PX4_MAP),
    Trial("EK3_SRC1_POSXY", (3,), (0, 6), 3),
    Trial("EK3_SRC1_VELXY", (3,), (0, 5, 6), 3),
    Trial("EK3_SRC1_POSZ", (1, 2), (3, 6, 0), 1),
    Trial("EK3_SRC1_VELZ", (3, 0), (6,), 3),
    Trial("EK3_SRC1_YAW", (1, 3, 8), (2, 6, 0), 1),
    *(
        trial
        for route, version in _BOTH
        for trial in (
            Trial("EK3_SRC2_POSXY", (6,), (0, 3), 6, route, version),
            Trial("EK3_SRC2_POSZ", (1, 2), (3, 6), 1, route, version),
            Trial("EK3_SRC2_VELZ", (0,), (3, 6), 0, route, version),
            Trial("EK3_SRC2_YAW", (1, 8), (0, 2), 1, route, version),
            Trial("EK3_SRC1_YAW", (1, 2, 3, 8), (6,), 1, route, version),
            Trial("EK3_SRC2_YAW", (1,), (6,), 1, route, version),
            Trial("EK3_SRC3_YAW", (0, 1), (6,), 1, route, version),
            Trial("EK3_SRC_OPTIONS", (0, 2, 8), (1, 3), None, route, version),
            Trial("VISO_TYPE", (1,), (0, 2, 3), 1, route, version, reboot=True),
            Trial("VISO_DELAY_MS", (100,), (10, 200), 100, route, version, reboot=True, given=_DELAY_100),
            Trial("VISO_POS_M_NSE", (0.1, 0.2, 5), (20,), 0.2, route, version),
            Trial("VISO_ORIENT", (0,), (6,), 0, route, version),
            Trial("VISO_SCALE", (1,), (0.9, 2), 1, route, version),
            Trial("VISO_POS_X", (0,), (0.1,), 0, route, version),
            Trial("VISO_POS_Y", (0,), (-0.1,), 0, route, version),
            Trial("VISO_POS_Z", (0,), (0.1,), 0, route, version),
        )
    ),
    Trial("GPS2_TYPE", (0, 1, 9), (14,), 0, VISION, reboot=True),
    Trial("GPS1_TYPE", (0, 1, 9), (14,), 1, ESTIMATE, airframe=PLANE, reboot=True),
    Trial("GPS_TYPE2", (0, 1, 9), (14,), 0, ODOMETRY, V45, reboot=True),
    Trial("GPS_TYPE", (0, 1, 9), (14,), 1, VISION, V45, reboot=True),
    Trial("VISO_TYPE", (0, 2, 3), (1,), 0, weight=ADVICE, reboot=True),
    Trial("EK3_SRC2_VELXY", (0, 5), (3, 6), 0, VISION),
    Trial("EK3_SRC2_VELXY", (0, 5, 6), (3,), 6, ODOMETRY),
    Trial("EK3_SRC3_POSZ", (1, 2), (3,), 1, VISION, others={"EK3_SRC2_POSXY": 0, "EK3_SRC3_POSXY": 6}),
    Trial("VISO_QUAL_MIN", (-1, 0), (1, 50), 0, VISION),
    Trial("VISO_QUAL_MIN", (-1, 0, 10), (11, 50), 0, ODOMETRY),
    Trial("EK3_CHECK_SCALE", (200,), (150, 190), 200, airframe=PLANE),
    Trial("EK3_CHECK_SCALE", (200,), (100, 190), 200, given=_ALONE),
    Trial("EK3_CHECK_SCALE", (200,), (100,), 200, others={"EK3_OPTIONS": 1}),
    Trial("EK3_CHECK_SCALE", (200,), (100, 150), 200, weight=ADVICE),
    Trial("EK3_CHECK_SCALE", (100, 120), (80,), 200, airframe=PLANE, given={"start_sigma_m": 4.5}),
    Trial("FS_EKF_ACTION", (1, 2, 3), (0,), 1),
    Trial("FS_EKF_ACTION", (1, 2, 3), (0,), 1, VISION),
    Trial("FS_EKF_THRESH", (0.6, 0.8, 1.0), (0.0, 0.4, 2.0), 0.8),
    Trial("ARSPD_TYPE", (1, 8), (0,), None, ESTIMATE, airframe=PLANE, weight=ADVICE),
    Trial("SERIAL2_PROTOCOL", (2,), (1, 5, -1), 2, reboot=True, given={"serial_port": 2}),
    Trial("SERIAL4_BAUD", (921,), (57, 230), 921, reboot=True, given={"serial_port": 4, "baud": 921600}),
    Trial("SERIAL4_BAUD", (1500,), (921,), 1500, reboot=True, given={"serial_port": 4, "baud": 1_500_000}),
    Trial("SERIAL4_BAUD", (921,), (57,), 921, weight=ADVICE, reboot=True, given={"serial_port": 4, "baud": 57600}),
    Trial("BRD_RTC_TYPES", (2, 3, 7), (1,), 3, weight=ADVICE, given=_ALONE),
    Trial("EKF2_AGP0_ID", (1,), (0, 2), 1, reboot=True, **_PX4_MAP),
    Trial("EKF2_DELAY_MAX", (400, 500), (200,), 400, reboot=True, others={"EKF2_AGP0_DELAY": 400}, **_PX4_MAP),
    Trial("EKF2_AGP0_CTRL", (1, 3), (0,), 1, **_PX4_MAP),
    Trial("EKF2_AGP0_CTRL", (1,), (2,), 3, **_PX4_MAP),
    Trial("EKF2_AGP0_NOISE", (0.1, 1, 5), (20,), 1, **_PX4_MAP),
    Trial("EKF2_AGP0_GATE", (3, 5), (1,), 3, **_PX4_MAP),
    Trial("EKF2_HGT_REF", (0, 1, 2), (3,), 1, **_PX4_MAP),
    Trial("EKF2_EV_CTRL", (1,), (0,), 1, route=VISION, **_PX4_LOCAL),
    Trial("EKF2_EV_CTRL", (1,), (15,), 1, route=VISION, **_PX4_LOCAL),
    Trial("EKF2_EV_CTRL", (1, 5), (15,), 5, route=ODOMETRY, **_PX4_LOCAL),
    Trial("EKF2_EV_NOISE_MD", (0,), (1,), 0, route=ODOMETRY, **_PX4_LOCAL),
    Trial("EKF2_EVP_NOISE", (0.1, 5), (20,), 1, route=ODOMETRY, **_PX4_LOCAL),
    Trial("EKF2_EV_QMIN", (0, 100), (101,), 0, route=VISION, **_PX4_LOCAL),
]


def _case(trial: Trial) -> Case:
    return Case(trial.kind, trial.airframe, trial.version, trial.route, **trial.given)


def _defaults(case: Case) -> dict[str, float]:
    table = ParameterTable.of(case.kind, case.airframe, case.version)
    return {name: table.stored(name) for name in names_of(case) if name in table}


def _finding(trial: Trial, value: float) -> Finding | None:
    parameters = {**_defaults(_case(trial)), **trial.others, trial.name: value}
    found = [one for one in diagnose(_case(trial), parameters) if one.name == trial.name]
    of_weight = [one for one in found if one.weight is trial.weight]
    return of_weight[0] if of_weight else None


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_a_right_value_is_passed_and_a_wrong_one_found(trial: Trial) -> None:
    assert trial.name in names_of(_case(trial))
    for value in trial.good:
        assert _finding(trial, value) is None
    for value in trial.bad:
        found = _finding(trial, value)
        assert found is not None, f"{trial.name} = {value} was passed"
        assert found.value == value
        assert found.needs_reboot == trial.reboot
        if trial.mend is not None:
            assert found.wanted == trial.mend
            assert found.line == f"param set {trial.name} {trial.mend:g}"
            assert _finding(trial, found.wanted) is None, "the mend is wrong itself"
        assert 10 < len(found.why) < 200


def test_every_rule_is_tried() -> None:
    untried = []
    for rule in RULES:
        tried = any(
            rule.concerns(_case(trial))
            and rule.name(_with(trial)) == trial.name
            and (rule.advice == (trial.weight is ADVICE))
            and rule.when(_with(trial))
            for trial in TRIALS
        )
        if not tried:
            untried.append(rule.parameter)
    assert not untried


def _with(trial: Trial) -> Case:
    return replace(_case(trial), parameters={**_defaults(_case(trial)), **trial.others})


@pytest.mark.parametrize(
    ("first", "held", "told"),
    [
        ({}, 120, "120 (first receiver: u-blox 7 or newer): "),
        ({"GPS1_TYPE": 2}, 120, "120 (first receiver: u-blox 7 or newer): "),
        ({"GPS1_TYPE": 18}, 160, "160 (first receiver: u-blox moving baseline): "),
        ({"GPS1_TYPE": 5}, 200, "200 (first receiver: NMEA): "),
        ({"GPS1_TYPE": 10}, 80, "80 (first receiver: Septentrio): "),
        ({"GPS1_TYPE": 9}, 200, "200 (first receiver: type 9): "),
        ({"GPS1_TYPE": 0}, 60, "60 (first receiver: none): "),
        ({"GPS1_DELAY_MS": 20}, 60, "60: "),
        ({"GPS1_DELAY_MS": 200, "GPS1_TYPE": 10}, 200, "200: "),
    ],
)
def test_what_the_buffer_cannot_hold_is_told_with_its_figures(first: dict[str, float], held: float, told: str) -> None:
    case = Case(ARDUPILOT, COPTER, V47, GPS, latency_ms=273.0)
    found = diagnose(case, {**_defaults(case), "GPS2_DELAY_MS": held, **first})
    found = [one for one in found if one.name == "GPS2_DELAY_MS"]
    assert [(one.wanted, one.weight) for one in found] == [(None, ADVICE)]
    assert f"take 273 ms at best, the estimator's buffer holds {told}" in found[0].why
    assert "lower the latency" in found[0].why
    assert len(found[0].why) < 200


def test_other_routes_do_not_go_by_the_first_receiver() -> None:
    case = Case(ARDUPILOT, COPTER, V47, VISION, latency_ms=400.0)
    found = [one for one in diagnose(case, {**_defaults(case), "VISO_DELAY_MS": 250}) if one.name == "VISO_DELAY_MS"]
    assert "buffer holds 250: " in found[0].why


def test_bits_that_are_not_the_rules_own_stay() -> None:
    case = Case(ARDUPILOT, COPTER, V47, VISION)
    found = {one.name: one for one in diagnose(case, {**_defaults(case), "EK3_SRC_OPTIONS": 11})}
    assert found["EK3_SRC_OPTIONS"].wanted == 10


def test_without_the_check_of_accuracy_its_scale_does_not_matter() -> None:
    case = Case(ARDUPILOT, PLANE, V47, GPS)
    parameters = _defaults(case)
    assert any(one.name == "EK3_CHECK_SCALE" for one in diagnose(case, parameters))
    assert not any(one.name == "EK3_CHECK_SCALE" for one in diagnose(case, {**parameters, "EK3_GPS_CHECK": 23}))


@pytest.mark.parametrize("airframe", [COPTER, PLANE])
@pytest.mark.parametrize("version", [V45, V46, V47])
@pytest.mark.parametrize("route", [GPS, VISION, ODOMETRY])
def test_defaults_are_mended_in_one_go(airframe: Airframe, version: tuple[int, int, int], route: Route) -> None:
    case = Case(ARDUPILOT, airframe, version, route)
    parameters = _defaults(case)
    assert parameters.keys() == set(names_of(case)), "a rule asks for what this version does not have"
    found = diagnose(case, parameters)
    assert any(one.weight is WRONG for one in found)
    parameters |= {one.name: one.wanted for one in found if one.wanted is not None}
    assert not [one for one in diagnose(case, parameters) if one.weight is not ADVICE]


@pytest.mark.parametrize(("route", "version"), [(MAP, (1, 18, 0)), (ODOMETRY, (1, 16, 0)), (VISION, (1, 17, 0))])
def test_px4s_defaults_are_mended_in_one_go(route: Route, version: tuple[int, int, int]) -> None:
    case = Case(PX4, COPTER, version, route)
    parameters = _defaults(case)
    assert parameters.keys() == set(names_of(case))
    found = diagnose(case, parameters)
    assert any(one.weight is WRONG for one in found)
    parameters |= {one.name: one.wanted for one in found if one.wanted is not None}
    assert diagnose(case, parameters) == []


def test_what_the_firmware_lacks_is_wrong_where_the_route_needs_it_and_untold_elsewhere() -> None:
    case = Case(ARDUPILOT, COPTER, V47, VISION)
    told = {name: value for name, value in _defaults(case).items() if not name.startswith("VISO_")}
    weights = {one.name: one.weight for one in diagnose(case, told)}
    assert weights["VISO_TYPE"] is WRONG
    assert weights["VISO_SCALE"] is Weight.UNREAD
    assert all(one.line is None for one in diagnose(case, told) if one.value is None)
