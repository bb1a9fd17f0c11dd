"""Which route positions take, which are refused and in what words, and which parameters that depends on."""

from __future__ import annotations

import pytest

from support.publishing import EXTERNAL_NAV, S, autopilot, identity
from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import Airframe, AutopilotKind, Identity, Parameter, Rebooted
from tilefix.links.reports import Route
from tilefix.links.vehicle import Vehicle
from tilefix.publishing import parameters
from tilefix.publishing.asking import Asking
from tilefix.publishing.publisher import Publisher
from tilefix.publishing.selection import choose
from tilefix.publishing.settings import PublishSettings

ARDUPILOT, PX4, OTHER = AutopilotKind.ARDUPILOT, AutopilotKind.PX4, AutopilotKind.OTHER
COPTER, PLANE = Airframe.COPTER, Airframe.PLANE


@pytest.mark.parametrize(
    ("one", "rate_hz", "route"),
    [
        (identity(ARDUPILOT, COPTER, (4, 5, 7)), 10.0, Route.GPS_INPUT),
        (identity(ARDUPILOT, PLANE, (4, 7, 0)), 5.0, Route.GPS_INPUT),
        (identity(ARDUPILOT, COPTER, None), 10.0, Route.GPS_INPUT),
        (identity(ARDUPILOT, COPTER), 4.0, Route.VISION),
        (identity(ARDUPILOT, PLANE), 4.0, Route.EXTERNAL_ESTIMATE),
        (identity(ARDUPILOT, PLANE, (4, 4, 4)), 4.0, None),
        (identity(ARDUPILOT, COPTER), 3.0, None),
        (identity(PX4, COPTER, (1, 18, 0)), 10.0, Route.GLOBAL_POSITION),
        (identity(PX4, PLANE, (1, 18, 0)), 1.0, Route.GLOBAL_POSITION),
        (identity(PX4, COPTER, (1, 16, 2)), 10.0, Route.ODOMETRY),
        (identity(PX4, COPTER, (1, 13, 3)), 10.0, None),
        (identity(PX4, COPTER, None), 10.0, None),
        (identity(OTHER, COPTER, None), 10.0, None),
    ],
)
def test_auto_follows_the_table(one: Identity, rate_hz: float, route: Route | None) -> None:
    choice = choose(PublishSettings(rate_hz=rate_hz), autopilot(one, EXTERNAL_NAV))
    assert choice.route is route
    assert 0 < len(choice.line) <= 41
    assert choice.reason


@pytest.mark.parametrize(
    ("route", "one", "says"),
    [
        ("gps_input", identity(PX4, COPTER, (1, 18, 0)), "PX4 takes no GPS_INPUT"),
        ("external_estimate", identity(ARDUPILOT, COPTER), "planes only"),
        ("external_estimate", identity(ARDUPILOT, PLANE, (4, 4, 0)), "needs version 4.5"),
        ("external_estimate", identity(ARDUPILOT, PLANE, None), "not told yet"),
        ("external_estimate", identity(PX4, PLANE, (1, 18, 0)), "ArduPilot's only"),
        ("global_position", identity(ARDUPILOT, COPTER), "PX4's only"),
        ("global_position", identity(PX4, COPTER, (1, 17, 9)), "needs version 1.18"),
        ("odometry", identity(PX4, COPTER, (1, 13, 3)), "needs version 1.14"),
        ("vision", identity(ARDUPILOT, COPTER), "parameters not read"),
    ],
)
def test_what_cannot_work_is_refused_in_words_that_fit(route: str, one: Identity, says: str) -> None:
    choice = choose(PublishSettings(route=route), autopilot(one))
    assert choice.route is None
    assert says in choice.line
    assert len(choice.line) <= 41


@pytest.mark.parametrize(
    ("route", "one"),
    [
        ("gps_input", identity(OTHER, COPTER, None)),
        ("vision", identity(PX4, COPTER, (1, 14, 0))),
        ("odometry", identity(ARDUPILOT, PLANE, (4, 7, 0))),
        ("external_estimate", identity(ARDUPILOT, PLANE, (4, 5, 0))),
    ],
)
def test_what_can_work_is_taken_when_asked_for(route: str, one: Identity) -> None:
    assert choose(PublishSettings(route=route), autopilot(one, EXTERNAL_NAV)).route is Route(route)


@pytest.mark.parametrize(
    ("route", "changed", "says"),
    [
        ("gps_input", {"GPS2_TYPE": 0.0}, "GPS2_TYPE is 0, must be 14"),
        ("vision", {"VISO_TYPE": 0.0}, "VISO_TYPE is 0, must be 1"),
        ("odometry", {"EK3_SRC2_POSXY": 3.0}, "no EK3_SRCn_POSXY is 6"),
        ("vision", {"EK3_SRC2_YAW": 6.0}, "EK3_SRC2_YAW must not be 6"),
    ],
)
def test_parameters_that_rule_a_route_out_are_named(route: str, changed: dict[str, float], says: str) -> None:
    choice = choose(PublishSettings(route=route), autopilot(parameters=EXTERNAL_NAV | changed))
    assert (choice.route, choice.line) == (None, says)


def test_px4s_sources_have_to_be_switched_on() -> None:
    one = identity(PX4, COPTER, (1, 18, 0))
    settings = PublishSettings(route="global_position")
    assert choose(settings, autopilot(one, {"EKF2_AGP0_ID": 0.0})).line == "EKF2_AGP0_ID is 0, must be 1"
    told = {"EKF2_AGP0_ID": 1.0, "EKF2_AGP0_CTRL": 2.0}
    assert choose(settings, autopilot(one, told)).line == "EKF2_AGP0_CTRL is 2, must be 1"
    assert choose(settings, autopilot(one, told | {"EKF2_AGP0_CTRL": 1.0})).route is Route.GLOBAL_POSITION


def test_auto_takes_external_navigation_where_that_is_what_is_set_up() -> None:
    known = autopilot(parameters=EXTERNAL_NAV | {"GPS2_TYPE": 1.0})
    assert choose(PublishSettings(), known).route is Route.VISION
    known.take(Parameter(0, "VISO_TYPE", 0.0))
    assert choose(PublishSettings(), known).line == "GPS2_TYPE is 1, must be 14"


def test_before_anybody_is_known_it_is_a_receivers() -> None:
    assert choose(PublishSettings(), KnownAutopilot()).route is Route.GPS_INPUT
    assert choose(PublishSettings(route="vision"), KnownAutopilot()).route is Route.VISION


@pytest.mark.parametrize(
    ("gps_id", "version", "names"),
    [
        (1, (4, 6, 0), ("GPS2_DELAY_MS",)),
        (1, (4, 5, 9), ("GPS_DELAY_MS2",)),
        (0, (4, 7, 0), ("GPS1_DELAY_MS",)),
        (0, (4, 5, 0), ("GPS_DELAY_MS",)),
        (1, None, ("GPS2_DELAY_MS", "GPS_DELAY_MS2")),
    ],
)
def test_receivers_parameters_are_named_by_version(
    gps_id: int, version: tuple[int, int, int] | None, names: tuple[str, ...]
) -> None:
    assert parameters.receiver_names(gps_id, "DELAY_MS", version) == names
    assert parameters.receiver_names(1, "TYPE", (4, 5, 0)) == ("GPS_TYPE2",)


@pytest.mark.parametrize(
    ("route", "one", "told", "delay_ms"),
    [
        (Route.GPS_INPUT, identity(), {}, 200.0),
        (Route.GPS_INPUT, identity(), {"GPS2_DELAY_MS": 0.0}, 200.0),
        (Route.GPS_INPUT, identity(), {"GPS2_DELAY_MS": 120.0}, 120.0),
        (Route.GPS_INPUT, identity(version=(4, 5, 0)), {"GPS_DELAY_MS2": 80.0}, 80.0),
        (Route.GPS_INPUT, identity(version=None), {"GPS_DELAY_MS2": 80.0}, 80.0),
        (Route.VISION, identity(), {"VISO_DELAY_MS": 60.0}, 60.0),
        (Route.VISION, identity(version=(4, 5, 1)), {"VISO_DELAY_MS": 60.0}, 1.0),
        (Route.ODOMETRY, identity(), {}, 10.0),
        (Route.ODOMETRY, identity(PX4, COPTER, (1, 15, 0)), {"EKF2_EV_DELAY": 175.0}, 175.0),
        (Route.GLOBAL_POSITION, identity(PX4, COPTER, (1, 18, 0)), {"EKF2_AGP0_DELAY": 30.0}, 30.0),
        (Route.EXTERNAL_ESTIMATE, identity(airframe=PLANE), {}, 0.0),
    ],
)
def test_the_delay_is_what_the_autopilot_says(
    route: Route, one: Identity, told: dict[str, float], delay_ms: float
) -> None:
    known = autopilot(one, told)
    assert parameters.delay_ms(route, PublishSettings(), known) == delay_ms
    assert parameters.delay_ms(route, PublishSettings(delay_ms=33.0), known) == 33.0


def test_parameters_are_asked_for_until_they_come_and_seldom_after_that() -> None:
    asking, known = Asking(), autopilot()
    names = ["A", "B", "C", "D", "E"]
    assert asking.due(names, known, 0) == ["A", "B", "C", "D"]
    assert asking.due(names, known, S // 2) == ["E"]
    known.take(Parameter(S // 2, "A", 1.0))
    assert asking.due(names, known, 1 * S) == ["B", "C", "D"]
    for second in range(2, 20):
        asking.due(names, known, second * S)
    assert asking.due(names, known, 20 * S) == []
    assert set(asking.due(names, known, 40 * S)) == {"B", "C", "D", "E"}
    assert "A" not in asking.due(names, known, 55 * S)
    assert "A" in asking.due(names, known, 61 * S)


def test_a_reboot_asks_for_everything_again() -> None:
    asking, known = Asking(), autopilot()
    asking.due(["A"], known, 0)
    known.take(Parameter(1, "A", 1.0))
    assert asking.due(["A"], known, S) == []
    known.take(Rebooted(S))
    assert known.parameter("A") is None
    assert known.version is None
    assert asking.due(["A"], known, S + 1) == ["A"]


def test_the_publisher_asks_for_what_its_routes_need() -> None:
    vehicle = Vehicle()
    assert Publisher().wanted(vehicle, 0) == []
    vehicle.take(identity(version=(4, 5, 0)))
    asked = ["GPS_DELAY_MS2", "GPS_TYPE2", "GPS_DELAY_MS", "GPS_TYPE"]
    publisher = Publisher()
    assert publisher.wanted(vehicle, 0) == asked
    assert publisher.wanted(vehicle, 1)[0] == "VISO_DELAY_MS"
    assert Publisher(PublishSettings(route="gps_input")).wanted(vehicle, 0) == asked
    assert Publisher(PublishSettings(route="gps_input", gps_id=0)).wanted(vehicle, 0) == ["GPS_DELAY_MS", "GPS_TYPE"]
    vehicle.take(identity(PX4, COPTER, (1, 18, 0)))
    assert "EKF2_AGP0_ID" in Publisher().wanted(vehicle, 0)
