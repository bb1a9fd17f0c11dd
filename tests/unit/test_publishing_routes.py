"""Each route: what it makes of a whole position, and when it gives none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from support.publishing import EXTERNAL_NAV, S, autopilot, denied_vehicle, fix, fly_on, identity, position
from tilefix.camera import rotation_deg
from tilefix.links import encode
from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import Airframe, Attitude, AutopilotKind, CommandResult, Origin, Pressure, Rebooted
from tilefix.links.reports import EstimateReport, GlobalReport, LocalReport, PositionReport, Report, Route
from tilefix.links.vehicle import Vehicle
from tilefix.publishing import parameters
from tilefix.publishing.originsetting import OriginSetting
from tilefix.publishing.publisher import Decision, Publisher
from tilefix.publishing.routes import external_estimate, odometry
from tilefix.publishing.routes.external_estimate import ExternalEstimate
from tilefix.publishing.sender import Sender
from tilefix.publishing.settings import PublishSettings
from tilefix.types import FixKind, NoFix, Reason

PX4 = identity(AutopilotKind.PX4, Airframe.COPTER, (1, 18, 0))
PLANE = identity(airframe=Airframe.PLANE)


def _publisher(route: str, **more: object) -> Publisher:
    return Publisher(PublishSettings(route=route, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("route", ["vision", "odometry"])
def test_local_routes_give_metres_from_the_autopilots_origin(route: str) -> None:
    vehicle = denied_vehicle(parameters=EXTERNAL_NAV)
    report = _publisher(route).decide(fix(), vehicle).report
    assert isinstance(report, LocalReport)
    assert report.route is Route(route)
    # 0.001 degrees north and 0.002 east of the origin, by ArduPilot's arithmetic; 540 m over its 500 m.
    assert (report.north_m, report.east_m) == pytest.approx(
        (111.319, 222.638 * math.cos(math.radians(47.0005))), abs=0.01
    )
    assert report.down_m == pytest.approx(-40.0, abs=0.5)
    assert (report.velocity_north_mps, report.velocity_east_mps) == (-3.0, 4.0)
    assert (report.sigma_m, report.reset_counter) == (3.0, 0)
    # 4.6 takes the cube root of the sum of squares.
    assert report.variance_m2 == pytest.approx((3.0, 3.0, 3.0))
    # VISO_DELAY_MS = 50 is taken off the stamp again.
    assert report.stamp_ns - report.at_ns == 50_000_000
    assert report.attitude_deg == (None if route == "vision" else (0.0, 0.0, 90.0))


def test_the_pictures_own_variances_go_to_px4() -> None:
    vehicle = denied_vehicle(replace(PX4, version=(1, 16, 0)))
    report = _publisher("odometry").decide(fix(), vehicle).report
    assert isinstance(report, LocalReport)
    assert report.variance_m2[:2] == (9.0, 9.0)
    assert report.variance_m2[2] > 1.0


def test_without_an_origin_there_are_no_metres() -> None:
    decision = _publisher("vision").decide(fix(), denied_vehicle(parameters=EXTERNAL_NAV, origin=None))
    assert (decision.report, decision.refusal) == (None, "autopilot has no origin yet")


def test_odometry_needs_the_attitude_of_its_instant() -> None:
    assert odometry.report(position(), Vehicle(), delay_ns=0, reset_counter=0) == "no attitude for the velocity"


def test_the_velocity_comes_out_as_sent_by_px4s_own_attitude() -> None:
    """PX4 turns the body's velocity by its own attitude, whatever quaternion comes with it. That told here drifts by 5
    degrees which no gyroscope saw, so that the steadied one stays behind."""
    vehicle = denied_vehicle(replace(PX4, version=(1, 16, 0)))
    for tick in range(1, 41):
        told = Attitude(2 * S + tick * S // 40, 2.0, -3.0, 90.0 + tick / 8.0, (0.0, 0.0, 0.0))
        vehicle.take(told)
    vehicle.take(Pressure(told.at_ns, 954.61))
    yaw_deg = vehicle.state_at(told.at_ns).yaw_deg
    assert yaw_deg is not None
    assert told.yaw_deg - yaw_deg > 4.0
    report = _publisher("odometry").decide(fix(told.at_ns), vehicle).report
    assert isinstance(report, LocalReport)
    sent = encode.local(report, 0, AutopilotKind.PX4)
    taken = rotation_deg(told.roll_deg, told.pitch_deg, told.yaw_deg) @ (sent.vx, sent.vy, sent.vz)
    assert taken == pytest.approx((-3.0, 4.0, 0.0), abs=0.01)


def test_a_receiver_is_mirrored_as_metres_too_and_not_where_arming_does_not_ask_for_it() -> None:
    nothing = NoFix(2 * S, Reason.NO_MATCH)
    vehicle = denied_vehicle(parameters=EXTERNAL_NAV, fix_type=3)
    decision = _publisher("vision").decide(nothing, vehicle)
    assert isinstance(decision.report, LocalReport)
    assert decision.mirrored
    assert decision.report.north_m == pytest.approx(0.0, abs=0.01)
    assert _publisher("external_estimate").decide(nothing, denied_vehicle(PLANE, fix_type=3)).report is None
    assert _publisher("global_position").decide(nothing, denied_vehicle(PX4, fix_type=3)).report is None


def test_relocalisation_is_told_once_and_only_then() -> None:
    publisher, vehicle = _publisher("vision"), denied_vehicle(parameters=EXTERNAL_NAV)
    counters, jumps = [], []
    for index in range(60):
        at_ns = 2 * S + index * S // 10
        fly_on(vehicle, at_ns)
        # Flies with its velocity; two metres of correction at 20, forty metres of relocalisation at 40.
        seconds = index / 10.0
        north_m = -3.0 * seconds + (2.0 if index >= 20 else 0.0) + (40.0 if index >= 40 else 0.0)
        east_deg = 4.0 * seconds / (111_195.0 * math.cos(math.radians(47.0)))
        decision = publisher.decide(fix(at_ns, 47.001 + north_m / 111_195.0, 8.002 + east_deg), vehicle)
        assert isinstance(decision.report, LocalReport)
        counters.append(decision.report.reset_counter)
        jumps.append(decision.jumped)
        # Three do not leave, the one that jumps among them.
        if index not in (39, 40, 41):
            publisher.sent(decision)
    assert counters == [0] * 40 + [1] * 20
    assert [index for index, jumped in enumerate(jumps) if jumped] == [40, 41, 42]


@pytest.mark.parametrize("leaves", [False, True])
def test_a_jump_there_and_back_that_never_left_is_none(leaves: bool) -> None:
    publisher, vehicle = _publisher("vision"), denied_vehicle(parameters=EXTERNAL_NAV)
    counters = []
    for index, north_m in enumerate((0.0, 40.0, 0.0)):
        at_ns = 2 * S + index * S // 10
        fly_on(vehicle, at_ns)
        still = replace(fix(at_ns, 47.001 + north_m / 111_195.0), velocity_east_mps=0.0, velocity_north_mps=0.0)
        decision = publisher.decide(still, vehicle)
        assert isinstance(decision.report, LocalReport)
        counters.append(decision.report.reset_counter)
        if index != 1 or leaves:
            publisher.sent(decision)
    assert counters == ([0, 1, 2] if leaves else [0, 1, 0])


class RefusingLink:
    """A link whose port is full, or whose vehicle is not known, until it `leaves`."""

    def __init__(self) -> None:
        self.leaves = False
        self.reports: list[Report] = []

    def send_report(self, report: Report) -> bool:
        self.reports.append(report)
        return self.leaves


def test_what_did_not_leave_is_no_instant_that_was_sent() -> None:
    vehicle = denied_vehicle(parameters=EXTERNAL_NAV)
    publisher, link = _publisher("vision"), RefusingLink()
    sender = Sender(publisher, link)  # type: ignore[arg-type]
    assert not sender.send(publisher.decide(fix(), vehicle), 2 * S, 2 * S)
    link.leaves = True
    assert sender.send(publisher.decide(fix(), vehicle), 2 * S, 2 * S)
    assert publisher.decide(fix(), vehicle) == Decision(None, None)
    assert len(link.reports) == 2


def test_a_correction_after_coasting_is_no_relocalisation() -> None:
    publisher, vehicle = _publisher("vision"), denied_vehicle(parameters=EXTERNAL_NAV)
    for index, (sigma_m, north_m) in enumerate([(3.0, 0.0), (8.0, 0.0), (15.0, 0.0), (3.0, 25.0)]):
        at_ns = 2 * S + index * S
        fly_on(vehicle, at_ns)
        still = replace(fix(at_ns, 47.001 + north_m / 111_195.0, sigma_m=sigma_m), velocity_east_mps=0.0)
        decision = publisher.decide(replace(still, velocity_north_mps=0.0), vehicle)
        assert not decision.jumped
        publisher.sent(decision)


def test_global_positions_go_to_px4() -> None:
    report = _publisher("auto").decide(fix(), denied_vehicle(PX4)).report
    assert isinstance(report, GlobalReport)
    assert (report.sensor_id, report.lat_deg, report.lon_deg, report.horizontal_sigma_m) == (1, 47.001, 8.002, 3.0)


def test_px4_dates_by_our_clock_and_ardupilot_by_arrival() -> None:
    transit_ns = 7_000_000
    ardupilot, px4 = denied_vehicle(), denied_vehicle(PX4)
    assert _publisher("gps_input").instant_ns(5 * S, ardupilot, transit_ns) == 5 * S + transit_ns - 200_000_000
    assert _publisher("auto").instant_ns(5 * S, px4, transit_ns) == 5 * S


class Estimates:
    """The route for single positions, asked every tenth of a second; `answer` is what the autopilot says."""

    def __init__(self, answer: int | None) -> None:
        self.known: KnownAutopilot = autopilot(PLANE)
        self.answer = answer
        self.route = ExternalEstimate(PublishSettings(route="external_estimate"))
        self.now_ns = 0

    def fly(self, seconds: float, *, gnss: bool = False, confirmed: bool = True) -> tuple[list[float], set[str]]:
        sent, refusals = [], set()
        for _ in range(round(seconds * 10)):
            self.now_ns += S // 10
            made = self.route.report(position(self.now_ns, confirmed=confirmed), self.known, self.now_ns, gnss=gnss)
            if isinstance(made, EstimateReport):
                sent.append(self.now_ns / S)
                self.route.sent(self.now_ns)
                if self.answer is not None:
                    answered_ns = self.now_ns + 10_000_000
                    self.known.take(CommandResult(answered_ns, external_estimate.COMMAND, self.answer))
            elif made is not None:
                refusals.add(made)
        return sent, refusals


def test_single_positions_are_sparse() -> None:
    estimates = Estimates(0)
    sent, refusals = estimates.fly(35.0)
    assert sent == pytest.approx([0.1, 10.1, 20.1, 30.1])
    assert refusals == set()


def test_a_single_position_without_an_answer_is_replaced_by_a_fresh_one_soon() -> None:
    sent, _ = Estimates(None).fly(3.5)
    assert sent == pytest.approx([0.1, 1.1, 2.1, 3.1])


def test_a_refused_single_position_is_tried_again_and_told() -> None:
    estimates = Estimates(4)
    sent, refusals = estimates.fly(6.5)
    assert sent == pytest.approx([0.1, 2.1, 4.1, 6.1])
    assert refusals == {"autopilot refused the position"}
    estimates.answer = 0
    sent, _ = estimates.fly(20.0)
    assert sent == pytest.approx([8.1, 18.1])


@pytest.mark.parametrize("answer", [2, 3])
def test_a_denied_command_ends_the_route_until_a_reboot(answer: int) -> None:
    estimates = Estimates(answer)
    sent, refusals = estimates.fly(60.0)
    assert (sent, refusals) == ([0.1], {"autopilot denies external_estimate"})
    estimates.known.take(Rebooted(estimates.now_ns))
    estimates.answer = 0
    assert len(estimates.fly(1.0)[0]) == 1


def test_single_positions_wait_for_gnss_to_go_and_for_a_picture() -> None:
    estimates = Estimates(0)
    assert estimates.fly(5.0, gnss=True) == ([], {"GNSS is used"})
    assert estimates.fly(5.0, confirmed=False) == ([], {"no picture confirms the position"})
    assert len(estimates.fly(0.1)[0]) == 1


def test_between_single_positions_the_publisher_has_nothing_to_complain_of() -> None:
    publisher, vehicle = _publisher("external_estimate"), denied_vehicle(PLANE)
    for _ in range(2):
        decision = publisher.decide(fix(), vehicle)
        assert isinstance(decision.report, EstimateReport)
    publisher.sent(decision)
    fly_on(vehicle, 2 * S + S // 10)
    decision = publisher.decide(fix(2 * S + S // 10), vehicle)
    assert (decision.report, decision.refusal) == (None, None)


def test_an_origin_is_given_where_there_is_none_and_the_old_one_after_a_reboot() -> None:
    known, setting = autopilot(), OriginSetting()
    given = [setting.due(position(index * S), known, gnss=False) for index in range(15)]
    assert [index for index, one in enumerate(given) if one is not None] == [8, 13]
    assert given[8] == Origin(8 * S, 47.001, 8.002, 540.0)
    known.take(Origin(0, 46.0, 7.0, 400.0))
    assert [setting.due(position(index * S), known, gnss=False) for index in range(15, 30)] == [None] * 15
    known.take(Rebooted(0))
    given = [setting.due(position(index * S), known, gnss=False) for index in range(30, 40)]
    assert given[8] == Origin(0, 46.0, 7.0, 400.0)


@pytest.mark.parametrize("why", ["gnss", "mirrored", "unconfirmed"])
def test_an_origin_is_given_only_for_what_a_picture_confirmed_without_gnss(why: str) -> None:
    known, setting = autopilot(), OriginSetting()
    one = position(mirrored=why == "mirrored", confirmed=why != "unconfirmed")
    for index in range(30):
        assert setting.due(replace(one, at_ns=index * S), known, gnss=why == "gnss") is None


def test_the_least_latency_is_advised_once_where_it_differs() -> None:
    vehicle = denied_vehicle(parameters={"GPS2_TYPE": 14.0, "GPS2_DELAY_MS": 0.0})
    publisher = _publisher("gps_input")
    for index in range(40):
        exposed_ns = index * S
        publisher.latency.note(exposed_ns, exposed_ns + 90_000_000 + (index % 7) * 20_000_000)
        publisher.latency.note(exposed_ns, exposed_ns + 10_000_000)  # the same picture again says nothing
    assert publisher.delay_advice(vehicle, 8_000_000) == "set GPS2_DELAY_MS 100, now 200"
    assert publisher.delay_advice(vehicle, 8_000_000) is None
    assert publisher.delay_advice(vehicle, 30_000_000) is None  # 120 is not worth another line
    assert publisher.delay_advice(vehicle, 70_000_000) is None  # 160 is near enough to 200
    near = denied_vehicle(parameters={"GPS2_TYPE": 14.0, "GPS2_DELAY_MS": 120.0})
    assert publisher.delay_advice(near, 8_000_000) is None


def test_a_configured_delay_that_the_autopilot_does_not_share_is_told() -> None:
    vehicle = denied_vehicle(parameters={"GPS2_TYPE": 14.0, "GPS2_DELAY_MS": 120.0})
    publisher = _publisher("gps_input", delay_ms=200.0)
    assert publisher.delay_ms(vehicle) == 200.0
    assert publisher.delay_advice(vehicle) == "delay_ms 200, GPS2_DELAY_MS means 120"
    assert _publisher("gps_input", delay_ms=120.0).delay_advice(vehicle) is None
    assert _publisher("gps_input").delay_advice(denied_vehicle()) is None


def test_late_pictures_are_advised_no_more_than_the_buffer_holds() -> None:
    """ArduPilot makes it for its first receiver, by its kind unless a parameter says otherwise."""
    for first, held_ms in (
        ({}, 120),
        ({"GPS1_DELAY_MS": 0.0, "GPS1_TYPE": 1.0}, 120),
        ({"GPS1_DELAY_MS": 0.0, "GPS1_TYPE": 10.0}, 80),
        ({"GPS1_DELAY_MS": 0.0, "GPS1_TYPE": 5.0}, 200),
        ({"GPS1_DELAY_MS": 20.0, "GPS1_TYPE": 5.0}, 60),
        ({"GPS1_DELAY_MS": 220.0}, 220),
        ({"GPS1_DELAY_MS": 400.0}, 250),
    ):
        publisher = _publisher("gps_input")
        for index in range(40):
            publisher.latency.note(index * S, index * S + 700_000_000)
        small = denied_vehicle(parameters={"GPS2_TYPE": 14.0, "GPS2_DELAY_MS": 5.0, **first})
        assert publisher.delay_advice(small) == f"set GPS2_DELAY_MS {held_ms}, now 5"
        told = denied_vehicle(parameters={"GPS2_TYPE": 14.0, "GPS2_DELAY_MS": float(held_ms), **first})
        line = publisher.delay_advice(told)
        assert line == f"700 ms late, EKF holds {held_ms}: lower latency"
        assert len(f"tilefix: {line}") <= 50
        assert publisher.delay_advice(told) is None


@pytest.mark.parametrize(
    ("route", "who", "gps_id", "held_ms"),
    [
        ("gps_input", AutopilotKind.ARDUPILOT, 0, 250.0),
        ("vision", AutopilotKind.ARDUPILOT, 1, 250.0),
        ("odometry", AutopilotKind.PX4, 1, 300.0),
        ("global_position", AutopilotKind.PX4, 1, 200.0),
    ],
)
def test_what_each_buffer_holds(route: str, who: AutopilotKind, gps_id: int, held_ms: float) -> None:
    assert parameters.held_ms(Route(route), who, gps_id, 120.0) == held_ms


def test_coasting_states_its_growing_error_and_ends() -> None:
    publisher, vehicle = _publisher("gps_input"), denied_vehicle()
    sigmas = []
    for index in range(40):
        at_ns = 2 * S + index * S // 10
        fly_on(vehicle, at_ns)
        coasted = replace(fix(at_ns, sigma_m=3.0 + index), kind=FixKind.COAST)
        report = publisher.decide(coasted, vehicle).report
        sigmas.append(report.horizontal_sigma_m if isinstance(report, PositionReport) else None)
    assert sigmas[:23] == pytest.approx([3.0 + index for index in range(23)])
    assert sigmas[23:] == [None] * 17
