"""tools/sitl_denial.py without SITL: what is flown, what is noted of it, and what the figures say."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.clocks import ManualClock
from support.embedders import ThumbnailEmbedder
from support.mavlink import FakeTransport
from support.scenes import small_map
from support.sitl import FRAME, attitude, checkered, sim_state
from support.tools import load_tool
from tilefix.errors import LinkError, TilefixError
from tilefix.links.messages import AutopilotKind, Origin
from tilefix.links.timesync import BootTime
from tilefix.publishing.origin import north_east_m
from tilefix.service.config import load_config

sitl_denial = load_tool("sitl_denial")
sitl_flight = load_tool("sitl_flight")
sitl_mavlink = load_tool("sitl_mavlink")
sitl_page = load_tool("sitl_page")
sitl_pilot = load_tool("sitl_pilot")
sitl_process = load_tool("sitl_process")
sitl_relay = load_tool("sitl_relay")
sitl_rig = load_tool("sitl_rig")
sitl_score = load_tool("sitl_score")
sitl_truth = load_tool("sitl_truth")

S, MS = 1_000_000_000, 1_000_000
ZERO_NS = 500 * S  # when the autopilot booted
HEALTHY, LOST = 0x033F, 0x00A5


# What is noted and scored


def _place(east_m: float, north_m: float) -> tuple[float, float]:
    return FRAME.to_geodetic(east_m, north_m)


def _truth(second: float, east_m: float, north_m: float):
    lat, lon = _place(east_m, north_m)
    return sitl_truth.Truth(round(second * S), lat, lon, 120.0, 0.0, 10.0, 0.0, 0.0, 0.0, 90.0)


def _flight(ekf_north_m: float = 2.0, fix_north_m: float = 1.0, lost_from_s: float | None = None):
    """100 s eastwards at 10 m/s, without GNSS from 40 to 90 s: (log, notes, marks)."""
    log, notes = sitl_pilot.FlightLog(), sitl_relay.Notes()
    for tick in range(1000):
        second = 0.1 * tick
        east_m = 10.0 * second - 500.0
        log.truths.append(_truth(second, east_m, 400.0))
        denied = 40.0 <= second <= 90.0
        lat, lon = _place(east_m, 400.0 + (ekf_north_m if denied else 0.2))
        log.ekf.append(sitl_pilot.EkfSample(round(second * S), lat, lon, 120.0))
        lat, lon = _place(east_m, 400.0 + fix_north_m)
        at_ns = ZERO_NS + round(second * S)
        notes.positions.append(sitl_relay.Sent(at_ns + 200 * MS, at_ns, "GPS_INPUT", lat, lon, 1.5))
        flags = LOST if lost_from_s is not None and lost_from_s <= second <= 80.0 else HEALTHY
        log.flags.append((round(second * S), flags, 0.1))
    marks = {"armed": 5.0, "high": 10.0, "denied": 40.0, "restored": 90.0, "crossed": 99.0, "landed": 99.5}
    return log, notes, {name: ZERO_NS + round(second * S) for name, second in marks.items()}


CORNERS = np.array([(400.0, 400.0), (400.0, -400.0), (-400.0, -400.0), (-400.0, 400.0)])


def test_errors_are_those_that_were_put_in() -> None:
    log, notes, marks = _flight(ekf_north_m=2.0, fix_north_m=1.0)
    summary = sitl_score.score_flight(FRAME, log, notes, marks, ZERO_NS, CORNERS).summary
    assert summary["denied_s"] == 50.0
    assert summary["ekf_error"]["median_m"] == pytest.approx(2.0, abs=0.02)
    assert summary["ekf_error"]["p95_m"] == pytest.approx(2.0, abs=0.02)
    assert summary["ekf_error_with_gnss"]["median_m"] == pytest.approx(0.2, abs=0.02)
    assert summary["fix_error"]["median_m"] == pytest.approx(1.0, abs=0.02)
    assert summary["path_deviation"]["median_m"] == pytest.approx(0.0, abs=0.02)
    assert summary["availability"] == pytest.approx(1.0, abs=0.01)
    assert summary["stated_sigma"] == {"median_m": 1.5, "max_m": 1.5}
    assert summary["ekf_unhealthy"]["unhealthy"] == 0
    assert summary["hand_over"]["before_m"] == pytest.approx(0.2, abs=0.02)
    assert summary["hand_over"]["jump_m"] == pytest.approx(1.8, abs=0.02)
    assert summary["hand_back"]["jump_m"] == pytest.approx(1.8, abs=0.02)
    assert summary["hand_over"]["silence_s"] == pytest.approx(0.1, abs=0.01)


def test_the_way_from_home_to_the_first_corner_belongs_to_the_path() -> None:
    log, notes, marks = _flight()
    log.truths[:] = [_truth(0.1 * tick, 0.4 * tick - 1.5, 0.4 * tick + 1.5) for tick in range(1000)]
    summary = sitl_score.score_flight(FRAME, log, notes, marks, ZERO_NS, CORNERS).summary
    assert summary["path_deviation"]["max_m"] == pytest.approx(1.5 * math.sqrt(2.0), abs=0.02)


def test_a_simulation_that_falls_behind_does_not_count_as_error() -> None:
    log, notes, marks = _flight(ekf_north_m=0.0, fix_north_m=0.0)
    # Each second of the simulation takes 1.002 s; now and then a message waits for 40 ms.
    late_ns = lambda second: round(0.002 * second * S)  # noqa: E731
    for tick in range(4000):
        second = 0.025 * tick
        waits_ns = 40 * MS if tick % 7 == 0 else 0
        log.clocks.append((round(second * S), ZERO_NS + round(second * S) + late_ns(second) + waits_ns))
    notes.positions = [
        dataclasses.replace(one, at_ns=one.at_ns + late_ns((one.at_ns - ZERO_NS) / S)) for one in notes.positions
    ]
    # At the end, as the flight's one offset, it lies 0.2 s behind: 2 m at 10 m/s.
    scored = sitl_score.score_flight(FRAME, log, notes, marks, ZERO_NS + late_ns(100.0), CORNERS)
    assert scored.summary["fix_error"]["max_m"] == pytest.approx(0.0, abs=0.1)
    assert scored.summary["ekf_error"]["max_m"] == pytest.approx(0.0, abs=0.1)
    assert scored.summary["simulation_stall_ms"] == pytest.approx(4.0, abs=0.5)


def test_a_flight_in_which_the_simulation_stood_still_counts_for_nothing() -> None:
    log, notes, at_ns = _flight()
    assert sitl_score.stall_ms(log) is None
    for tick in range(4000):
        boot_ns = 25 * MS * tick
        stood_ns = 140 * MS if boot_ns > 55 * S else 0
        log.clocks.append((boot_ns, ZERO_NS + boot_ns + stood_ns + (30 * MS if tick % 5 else 0)))
    scored = sitl_score.score_flight(FRAME, log, notes, at_ns, ZERO_NS, CORNERS)
    assert scored.summary["simulation_stall_ms"] == pytest.approx(140.0)
    marks = sitl_flight.Marks(at_ns=at_ns)
    for faults in ((), ("canary",), ("spoof",), ("map-exhausted",), ("link-cut",)):
        assert sitl_denial.verdicts(scored, marks, [], faults)["simulation never stood still"] is False
    scored.summary["simulation_stall_ms"] = 12.0
    assert sitl_denial.verdicts(scored, marks, [])["simulation never stood still"] is True


def test_silence_and_a_sick_filter_show() -> None:
    log, notes, marks = _flight(lost_from_s=60.0)
    notes.positions = [one for one in notes.positions if not 50.0 <= (one.passed_ns - ZERO_NS) / S <= 65.0]
    summary = sitl_score.score_flight(FRAME, log, notes, marks, ZERO_NS, CORNERS).summary
    assert summary["availability"] == pytest.approx((50.0 - 15.0 + 0.3) / 50.0, abs=0.01)
    assert summary["ekf_unhealthy"]["unhealthy"] == pytest.approx(201, abs=2)
    assert summary["ekf_unhealthy"]["first"][0].startswith("+20.0 s")


def test_a_simulation_that_this_machine_cannot_keep_up_with_shows() -> None:
    assert sitl_pilot.FlightLog().real_time_factor is None
    log = sitl_pilot.FlightLog(clocks=[(1 * S, 101 * S), (5 * S, 106 * S), (10 * S, 111 * S)])
    assert log.real_time_factor == pytest.approx(0.9)


def test_a_flight_that_never_lost_gnss_has_no_figures() -> None:
    log, notes, marks = _flight()
    del marks["denied"], marks["restored"]
    summary = sitl_score.score_flight(FRAME, log, notes, marks, ZERO_NS, CORNERS).summary
    assert summary["ekf_error"]["median_m"] is None
    assert summary["availability"] is None


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({}, None),
        ({"ekf_north_m": 3.5}, "EKF error median <= 3 m"),
        ({"ekf_north_m": 8.5}, "EKF error p95 <= 8 m"),
        ({"lost_from_s": 70.0}, "EKF never unhealthy"),
    ],
)
def test_each_verdict_fails_for_its_own_reason(change: dict[str, float], fails: str | None) -> None:
    log, notes, at_ns = _flight(**change)
    scored = sitl_score.score_flight(FRAME, log, notes, at_ns, ZERO_NS, CORNERS)
    marks = sitl_flight.Marks(at_ns=at_ns)
    verdicts = sitl_denial.verdicts(scored, marks, [])
    if fails is None:
        assert all(verdicts.values())
    else:
        assert not verdicts[fails]
    assert not sitl_denial.verdicts(scored, marks, ["+8.6 s: mode 9"])["mission completed"]
    assert not sitl_denial.verdicts(scored, sitl_flight.Marks(failure="no"), [])["mission completed"]
    assert not sitl_denial.verdicts(scored, sitl_flight.Marks(), [])["armed with default checks"]


def test_vision_sees_once_it_is_compared_or_says_so() -> None:
    notes = sitl_relay.Notes(texts=[(S, 6, "tilefix: repeating GNSS")], values=[(S, "TF_STATE", 0.0)])
    assert not sitl_score.sees(notes)
    assert sitl_score.sees(sitl_relay.Notes(texts=[(S, 5, "tilefix: position found")]))
    assert sitl_score.sees(sitl_relay.Notes(values=[(S, "TF_SHADOW", 1.2)]))


def _verdicts(fault: str, scored, at_ns: dict[str, int]) -> dict[str, bool]:
    return sitl_denial.verdicts(scored, sitl_flight.Marks(at_ns=at_ns), [], (fault,))


def test_a_canary_must_be_told_of_and_must_show() -> None:
    log, notes, at_ns = _flight(fix_north_m=15.0)
    score = lambda: sitl_score.score_flight(FRAME, log, notes, at_ns, ZERO_NS, CORNERS)  # noqa: E731
    assert list(_verdicts("canary", score(), at_ns).values()) == [True, True, False, True]
    notes.texts.append((ZERO_NS + 30 * S, 4, "tilefix: vision biased: +0 m east +15 north"))
    assert all(_verdicts("canary", score(), at_ns).values())
    assert score().summary["told"]["bias_before_loss_s"] == 10.0


@pytest.mark.parametrize(("after_s", "in_time"), [(10.0, True), (16.0, False), (-1.0, False), (None, False)])
def test_a_spoofer_must_be_known_before_25_m_of_pull(after_s: float | None, in_time: bool) -> None:
    log, notes, at_ns = _flight()
    at_ns = {**at_ns, "spoofed": at_ns.pop("denied"), "spoof_over": at_ns.pop("restored")}
    if after_s is not None:
        notes.values.append((at_ns["spoofed"] + round(after_s * S), "TF_STATE", 2.0))
    scored = sitl_score.score_flight(FRAME, log, notes, at_ns, ZERO_NS, CORNERS)
    verdicts = _verdicts("spoof", scored, at_ns)
    assert verdicts.pop("told before 25 m of pull") is in_time
    assert all(verdicts.values())


def test_beyond_the_map_silence_is_asked_for() -> None:
    log, notes, at_ns = _flight()
    score = lambda: sitl_score.score_flight(FRAME, log, notes, at_ns, ZERO_NS, CORNERS)  # noqa: E731
    assert not _verdicts("map-exhausted", score(), at_ns)["silent beyond the map"]
    notes.positions = [one for one in notes.positions if not 60.0 <= (one.passed_ns - ZERO_NS) / S <= 80.0]
    assert all(_verdicts("map-exhausted", score(), at_ns).values())


def test_only_modes_that_nobody_asked_for_count_and_only_in_the_air() -> None:
    log = sitl_pilot.FlightLog(modes=[(1 * S, 0), (4 * S, 4), (20 * S, 3), (50 * S, 9), (80 * S, 6)])
    commanded = [(ZERO_NS + 4 * S, 4), (ZERO_NS + 19 * S, 3), (ZERO_NS + 79 * S, 6)]
    marks = {"armed": ZERO_NS + 5 * S, "denied": ZERO_NS + 40 * S}
    assert sitl_score.uncommanded(log, marks, ZERO_NS, commanded) == ["+10.0 s: mode 9"]


def test_the_page_shows_tracks_figures_and_events() -> None:
    log, notes, marks = _flight()
    scored = sitl_score.score_flight(FRAME, log, notes, marks, ZERO_NS, CORNERS)
    scored.summary["verdicts"] = {"held": True, "did not": False}
    pixels, grid = checkered(2200)
    text = sitl_page.page("Copter & co", scored, pixels, grid, [(ZERO_NS, "mode 3 <b>")])
    assert text.count("<polyline") == 4
    assert "Copter &amp; co" in text
    assert "mode 3 &lt;b&gt;" in text
    assert text.count("<circle") > 100
    assert "restored" in text
    # Before anything happened there is nothing to draw, and no fault either.
    empty = sitl_score.score_flight(FRAME, sitl_pilot.FlightLog(), sitl_relay.Notes(), {}, 0, CORNERS)
    assert "Nothing to show" in sitl_page.page("none", empty, pixels, grid, [])


def test_the_map_shows_nothing_from_before_arming_and_few_positions_large() -> None:
    log, notes, marks = _flight()
    # What ArduPilot states before it has an origin.
    log.ekf[:10] = [sitl_pilot.EkfSample(k * S // 10, 0.0, 0.0, 0.0) for k in range(10)]
    notes.positions = notes.positions[::50]
    pixels, grid = checkered(2200)
    drawn = sitl_page.page(
        "few", sitl_score.score_flight(FRAME, log, notes, marks, ZERO_NS, CORNERS), pixels, grid, []
    ).split("<h2>")[0]
    lines = re.findall('points="([^"]*)"', drawn)
    assert len(lines) == 2
    places = [float(part) for line in lines for pair in line.split() for part in pair.split(",")]
    assert min(places) >= 0.0
    assert max(places) <= 1200.0
    assert drawn.count('r="4.0"') == 19


# The relay


def _packed(message) -> bytes:
    sender = mavlink.MAVLink(None, srcSystem=1, srcComponent=191)
    return bytes(message.pack(sender))


def _gps_input(stamp_us: int, lat_deg: float = 47.0) -> bytes:
    return _packed(
        mavlink.MAVLink_gps_input_message(
            stamp_us, 1, 0, 0, 0, 3, round(lat_deg * 1e7), 80000000, 120.0, 1, 1, 0, 0, 0, 0.5, 2.5, 3.0, 8, 0
        )
    )


def test_the_relay_passes_everything_and_notes_what_tilefix_says() -> None:
    clock = ManualClock(900 * S)
    autopilot, companion = FakeTransport(), FakeTransport()
    relay = sitl_relay.Relay(autopilot, companion, clock)
    autopilot.incoming = [(b"from the autopilot", ("10.0.0.1", 5))]
    # Its link was opened at 890 s: the request for the time tells.
    said = _packed(mavlink.MAVLink_timesync_message(0, 10 * S)) + _gps_input(9_800_000)
    companion.incoming = [(said, None), (_packed(mavlink.MAVLink_statustext_message(5, b"tilefix: hello")), None)]
    relay.turn()
    assert companion.sent == [(b"from the autopilot", None)]
    assert b"".join(data for data, _ in autopilot.sent).startswith(said)
    assert {peer for _, peer in autopilot.sent} == {("10.0.0.1", 5)}
    (position,) = relay.notes.positions
    assert (position.at_ns, position.passed_ns) == (890 * S + 9_800 * MS, 900 * S)
    assert (position.lat_deg, position.sigma_m) == (47.0, 2.5)
    assert relay.notes.texts == [(900 * S, 5, "tilefix: hello")]
    assert relay.notes.counts["GPS_INPUT"] == 1


def test_a_cut_link_passes_nothing_either_way() -> None:
    autopilot, companion = FakeTransport(), FakeTransport()
    relay = sitl_relay.Relay(autopilot, companion, ManualClock())
    relay.cut.set()
    autopilot.incoming, companion.incoming = [(b"one", None)], [(_gps_input(0), None)]
    relay.turn()
    assert autopilot.sent == companion.sent == []
    assert relay.notes.positions == []
    relay.cut.clear()
    autopilot.incoming = [(b"two", None)]
    relay.turn()
    assert companion.sent == [(b"two", None)]


# The pilot


class FakeVehicle:
    """The autopilot's end as a `sitl_mavlink.Peer`: answers commands, parameters and missions at once."""

    def __init__(self, clock: ManualClock, parameters: dict[str, float] | None = None) -> None:
        self.clock = clock
        self.boot = BootTime()
        self.boot.round_trip(clock.now_ns(), 0, clock.now_ns())
        self.vehicle = (1, 1)
        self.reboots = 0
        self.parameters = parameters if parameters is not None else {"SIM_GPS1_ENABLE": 1.0, "SIM_GPS1_GLTCH_X": 0.0}
        self.mode, self.armed, self.amsl_m = 0, False, sitl_rig.HOME_AMSL_M
        self.refusals = 0  # times it will refuse to arm
        self.mission: list = []
        self.commands: list[tuple[int, tuple[float, ...]]] = []
        self.sets: list[tuple[str, float]] = []
        self._out: list = []
        self._wanted = 0

    def poll(self) -> list:
        self.clock.advance_s(0.1)
        base = mavlink.MAV_MODE_FLAG_SAFETY_ARMED if self.armed else 0
        boot_ms = (self.clock.now_ns() - self.boot.to_local_ns(0)) // MS
        self._say(mavlink.MAVLink_heartbeat_message(2, 3, base, self.mode, 4, 3))
        self._say(attitude(boot_ms))
        self._say(sim_state(amsl_m=self.amsl_m))
        self._say(mavlink.MAVLink_ekf_status_report_message(HEALTHY, 0.1, 0.1, 0.1, 0.1, 0.0))
        self._say(mavlink.MAVLink_gps2_raw_message(0, 3, 0, 0, 0, 1, 1, 0, 0, 8, 0, 0))
        out, self._out = self._out, []
        return [sitl_mavlink.Heard(message, self.clock.now_ns()) for message in out]

    def _say(self, message) -> None:
        self._out.append(message)

    def command(self, number: int, *parameters: float) -> bool:
        self.commands.append((number, parameters))
        result = mavlink.MAV_RESULT_ACCEPTED
        if number == mavlink.MAV_CMD_DO_SET_MODE:
            self.mode = int(parameters[1])
            if self.mode in (6, 9):
                self.armed = False
        elif number == mavlink.MAV_CMD_COMPONENT_ARM_DISARM:
            if self.refusals:
                self.refusals -= 1
                result = mavlink.MAV_RESULT_FAILED
                self._say(mavlink.MAVLink_statustext_message(2, b"Arm: GPS 2: Bad fix"))
            else:
                self.armed = True
        elif number == mavlink.MAV_CMD_REQUEST_MESSAGE:
            no, commit = [0] * 8, [ord(letter) for letter in "5e98daeb"]
            self._say(mavlink.MAVLink_autopilot_version_message(0, 0x04070000, 0, 0, 0, commit, no, no, 0, 0, 0))
        elif number == mavlink.MAV_CMD_NAV_TAKEOFF:
            self.amsl_m = sitl_rig.HOME_AMSL_M + parameters[6]
        self._say(mavlink.MAVLink_command_ack_message(number, result))
        return True

    def send(self, message) -> bool:
        kind = message.get_type()
        if kind == "PARAM_REQUEST_READ":
            self._tell(message.param_id)
        elif kind == "PARAM_SET":
            self.sets.append((message.param_id, message.param_value))
            if message.param_id in self.parameters:
                self.parameters[message.param_id] = message.param_value
            self._tell(message.param_id)
        elif kind == "MISSION_COUNT":
            self.mission, self._wanted = [], message.count
            self._say(mavlink.MAVLink_mission_request_int_message(255, 190, 0, 0))
        elif kind == "MISSION_ITEM_INT":
            self.mission.append(message)
            done = len(self.mission) == self._wanted
            self._say(
                mavlink.MAVLink_mission_ack_message(255, 190, mavlink.MAV_MISSION_ACCEPTED, 0)
                if done
                else mavlink.MAVLink_mission_request_int_message(255, 190, len(self.mission), 0)
            )
        return True

    def _tell(self, name: str) -> None:
        if name in self.parameters:
            real = mavlink.MAV_PARAM_TYPE_REAL32
            self._say(mavlink.MAVLink_param_value_message(name.encode(), self.parameters[name], real, 1, 0))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch):
    """The pilot's waits pass by the vehicle's clock."""
    clock = ManualClock(1000 * S)

    class Time:
        @staticmethod
        def monotonic() -> float:
            return clock.now_ns() / S

        @staticmethod
        def sleep(_: float) -> None:
            return None

    monkeypatch.setattr(sitl_pilot, "time", Time)
    monkeypatch.setattr(sitl_flight, "time", Time)
    return clock


class FakeRig:
    """What a flight asks of a `sitl_rig.Rig`."""

    def __init__(self, vehicle: FakeVehicle, name: str = "copter") -> None:
        self.plan = sitl_rig.RigPlan(Path("nowhere"), sitl_process.VEHICLES[name], 9001)
        self.start = sitl_process.Start(47.0, 8.0, sitl_rig.HOME_AMSL_M)
        self.frame = FRAME
        self.pilot = sitl_pilot.Pilot(vehicle, vehicle.clock)
        self.vehicle = vehicle
        self.flips: list[int] = []
        self.relay = dataclasses.make_dataclass("R", ["cut", "origin", "vision_delay_ns"])(threading.Event(), None, 0)
        self.reboots = 0

    def now_ns(self) -> int:
        return self.vehicle.clock.now_ns()

    def heard_tilefix(self) -> bool:
        return True

    def sees(self) -> bool:
        return True

    def flip_camera(self) -> None:
        self.flips.append(self.now_ns())


def _flown(quick, plan, parameters: dict[str, float] | None = None, refusals: int = 0, route: str = "gps_input"):
    vehicle = FakeVehicle(quick, parameters)
    vehicle.refusals = refusals
    rig = FakeRig(vehicle)
    rig.plan = dataclasses.replace(rig.plan, route=route)
    marks = sitl_flight.Flight(rig, plan, lambda _: None).fly()
    return rig, vehicle, marks


def test_a_flight_takes_off_loses_gnss_for_as_long_as_asked_and_lands(quick) -> None:
    plan = sitl_flight.FlightPlan(denied_s=60.0, with_gnss_s=20.0)
    rig, vehicle, marks = _flown(quick, plan, refusals=2)
    assert marks.failure is None
    assert rig.pilot.firmware == "4.7.0 (5e98daeb)"
    order = ["started", "heard", "ready", "armed", "high", "found", "denied", "restored", "crossed", "landed"]
    assert list(marks.at_ns) == order
    assert (marks.at_ns["restored"] - marks.at_ns["denied"]) / S == pytest.approx(60.0, abs=2.0)
    assert vehicle.sets == [("SIM_GPS1_ENABLE", 0.0), ("SIM_GPS1_ENABLE", 1.0)]
    assert marks.refusals == ["Arm: GPS 2: Bad fix"]
    assert [mode for _, mode in marks.commanded] == [4, 3, 9]
    commands = [item.command for item in vehicle.mission]
    assert commands[1] == mavlink.MAV_CMD_NAV_TAKEOFF
    assert commands.count(mavlink.MAV_CMD_NAV_WAYPOINT) == 5
    assert commands[-1] == mavlink.MAV_CMD_DO_JUMP
    corners = [FRAME.to_local(item.x / 1e7, item.y / 1e7) for item in vehicle.mission[2:6]]
    assert np.abs(np.array(corners)) == pytest.approx(np.full((4, 2), 400.0), abs=0.05)


def test_an_older_firmware_loses_gnss_by_its_own_parameter(quick) -> None:
    _, vehicle, marks = _flown(quick, sitl_flight.FlightPlan(denied_s=20.0), {"SIM_GPS_DISABLE": 0.0})
    assert marks.failure is None
    assert vehicle.sets == [("SIM_GPS_DISABLE", 1.0), ("SIM_GPS_DISABLE", 0.0)]
    _, _, marks = _flown(quick, sitl_flight.FlightPlan(), {})
    assert "SIM_GPS_DISABLE" in marks.failure


def test_the_pilot_leaves_it_to_tilefix_to_select_external_navigation(quick) -> None:
    plan = sitl_flight.FlightPlan(denied_s=20.0)
    for route in ("vision", "odometry", "gps_input", "external_estimate"):
        _, vehicle, marks = _flown(quick, plan, route=route)
        assert marks.failure is None
        assert mavlink.MAV_CMD_SET_EKF_SOURCE_SET not in [command for command, _ in vehicle.commands]
    assert "VISO_TYPE 1" in sitl_flight.extra_parameters("copter", "vision", 3.0)
    assert "GPS2_TYPE 14" in sitl_flight.extra_parameters("plane", "auto", 3.0)
    lines = sitl_flight.extra_parameters("plane", "external_estimate", 3.0)
    assert not any(line.startswith(("GPS", "VISO", "EK3")) for line in lines)


def test_local_positions_are_laid_on_the_globe_by_the_origin() -> None:
    clock = ManualClock(900 * S)
    autopilot, companion = FakeTransport(), FakeTransport()
    relay = sitl_relay.Relay(autopilot, companion, clock)
    nan = math.nan
    lat_deg, lon_deg = FRAME.to_geodetic(-500.0, 1000.0)
    origin = Origin(0, FRAME.lat_deg, FRAME.lon_deg, 120.0)
    north_m, east_m = north_east_m(AutopilotKind.ARDUPILOT, origin, lat_deg, lon_deg)
    said = mavlink.MAVLink_vision_position_estimate_message(
        9_800_000, north_m, east_m, -120.0, nan, nan, nan, [4.0, *([0.0] * 5), 4.0, *([0.0] * 14)], 0
    )
    companion.incoming = [(_packed(mavlink.MAVLink_timesync_message(0, 10 * S)) + _packed(said), None)]
    relay.turn()
    assert relay.notes.positions == []
    relay.origin = (FRAME.lat_deg, FRAME.lon_deg)
    companion.incoming = [(_packed(said), None)]
    relay.turn()
    (position,) = relay.notes.positions
    assert position.at_ns == 890 * S + 9_800 * MS
    assert position.sigma_m == 2.0
    assert FRAME.to_local(position.lat_deg, position.lon_deg) == pytest.approx((-500.0, 1000.0), abs=0.01)


@pytest.mark.parametrize("kind", ["VISION_POSITION_ESTIMATE", "ODOMETRY"])
def test_what_the_autopilot_takes_off_a_local_position_s_stamp_is_taken_off_it(kind) -> None:
    clock = ManualClock(900 * S)
    autopilot, companion = FakeTransport(), FakeTransport()
    relay = sitl_relay.Relay(autopilot, companion, clock)
    relay.origin, relay.vision_delay_ns = (FRAME.lat_deg, FRAME.lon_deg), 120 * MS
    covariance = [4.0, *([0.0] * 20)]
    said = (
        mavlink.MAVLink_vision_position_estimate_message(9_800_000, 1.0, 2.0, -120.0, 0.0, 0.0, 0.0, covariance, 0)
        if kind == "VISION_POSITION_ESTIMATE"
        else mavlink.MAVLink_odometry_message(
            9_800_000, 20, 12, 1.0, 2.0, -120.0, [1.0, 0.0, 0.0, 0.0], *([0.0] * 6), covariance, covariance, 0, 3, 90
        )
    )
    gps = _gps_input(9_800_000)
    companion.incoming = [(_packed(mavlink.MAVLink_timesync_message(0, 10 * S)) + _packed(said) + gps, None)]
    relay.turn()
    local, receiver = relay.notes.positions
    assert (local.message, local.at_ns) == (kind, 890 * S + 9_680 * MS)
    # GPS_INPUT is dated by the instant that it holds for.
    assert receiver.at_ns == 890 * S + 9_800 * MS


def test_the_vision_delay_is_the_autopilot_s_own(quick) -> None:
    plan = sitl_flight.FlightPlan(denied_s=20.0)
    known = {"SIM_GPS1_ENABLE": 1.0, "VISO_DELAY_MS": 60.0}
    for route, delay_ms in (("vision", 60), ("odometry", 60), ("gps_input", 0)):
        rig, _, marks = _flown(quick, plan, known, route=route)
        assert marks.failure is None
        assert rig.relay.vision_delay_ns == delay_ms * MS


def test_a_dead_camera_and_a_cut_link_last_as_long_as_they_should(quick) -> None:
    faults = ("camera-dead", "link-cut")
    plan = sitl_flight.FlightPlan(denied_s=120.0, faults=faults, fault_after_s=10.0)
    rig, vehicle, marks = _flown(quick, plan)
    dead, back = rig.flips
    assert (back - dead) / S == pytest.approx(20.0, abs=1.0)
    assert (marks.at_ns["link_back"] - marks.at_ns["link_cut"]) / S == pytest.approx(10.0, abs=1.0)
    assert (marks.at_ns["link_cut"] - marks.at_ns["camera_back"]) / S == pytest.approx(10.0, abs=2.0)
    assert (marks.at_ns["restored"] - marks.at_ns["denied"]) / S == pytest.approx(120.0, abs=2.0)
    assert not rig.relay.cut.is_set()
    assert "resumed" not in marks.at_ns
    assert vehicle.sets == [("SIM_GPS1_ENABLE", 0.0), ("SIM_GPS1_ENABLE", 1.0)]


def test_a_mission_that_a_failsafe_took_is_commanded_again(quick) -> None:
    vehicle = FakeVehicle(quick)
    rig = FakeRig(vehicle)

    def land() -> None:
        vehicle.mode = 9

    rig.flip_camera = land
    plan = sitl_flight.FlightPlan(denied_s=80.0, faults=("camera-dead",), fault_after_s=10.0)
    marks = sitl_flight.Flight(rig, plan, lambda _: None).fly()
    assert marks.failure is None
    assert "resumed" in marks.at_ns
    assert [mode for _, mode in marks.commanded] == [4, 3, 3, 9]


def test_after_a_fault_the_position_must_be_right_within_half_a_minute() -> None:
    log, notes, at_ns = _flight(ekf_north_m=6.0)
    at_ns["camera_back"] = ZERO_NS + 50 * S
    score = lambda: sitl_score.score_flight(FRAME, log, notes, at_ns, ZERO_NS, CORNERS)  # noqa: E731
    assert score().summary["error_after_fault_m"]["camera_back"] == pytest.approx(6.0, abs=0.02)
    assert all(_verdicts("camera-dead", score(), at_ns).values())
    log, notes, _ = _flight(ekf_north_m=9.0)
    verdicts = _verdicts("camera-dead", score(), at_ns)
    assert [name for name, held in verdicts.items() if not held] == ["camera back: error at most 8 m after 30 s"]
    # A fault that never ended is none that was recovered from.
    log, notes, at_ns = _flight(ekf_north_m=6.0)
    score_without = sitl_score.score_flight(FRAME, log, notes, at_ns, ZERO_NS, CORNERS)
    assert not _verdicts("camera-dead", score_without, at_ns)["camera back: error at most 8 m after 30 s"]


def test_a_spoofer_ramps_to_a_hundred_metres_in_a_minute(quick) -> None:
    _, vehicle, marks = _flown(quick, sitl_flight.FlightPlan(denied_s=90.0, faults=("spoof",)))
    steps = [value for name, value in vehicle.sets if name == "SIM_GPS1_GLTCH_X"]
    assert max(steps) * math.pi * 6_371_000.0 / 180.0 == pytest.approx(100.0, rel=1e-6)
    assert steps[-1] == 0.0
    assert np.all(np.diff(steps[:-1]) > 0.0)
    assert (marks.at_ns["spoof_full"] - marks.at_ns["spoofed"]) / S == pytest.approx(60.0, abs=13.0)
    assert "denied" not in marks.at_ns


def test_a_vehicle_that_never_arms_ends_the_flight_with_its_reasons(quick) -> None:
    _, _, marks = _flown(quick, sitl_flight.FlightPlan(), refusals=1000)
    assert "did not arm within 120 s" in marks.failure
    assert "GPS 2: Bad fix" in marks.failure
    assert "armed" not in marks.at_ns


def test_after_a_reboot_notes_begin_anew_but_for_the_texts(quick) -> None:
    vehicle = FakeVehicle(quick)
    pilot = sitl_pilot.Pilot(vehicle, quick)
    vehicle._say(mavlink.MAVLink_statustext_message(2, b"before"))
    pilot.wait(2.0)
    assert len(pilot.log.truths) > 10
    vehicle.reboots += 1
    pilot.listen()
    assert len(pilot.log.truths) == 1
    assert [text for _, _, text in pilot.log.texts] == ["before"]


def test_a_mission_of_a_plane_ends_with_a_landing() -> None:
    rig = FakeRig(FakeVehicle(ManualClock()), "plane")
    commands = [item.command for item in sitl_flight.square(rig, sitl_flight.FlightPlan())]
    assert commands[-4:] == [
        mavlink.MAV_CMD_DO_LAND_START,
        mavlink.MAV_CMD_NAV_WAYPOINT,
        mavlink.MAV_CMD_NAV_WAYPOINT,
        mavlink.MAV_CMD_NAV_LAND,
    ]


# What is put together


def test_the_configuration_is_one_that_tilefix_takes(tmp_path: Path) -> None:
    small_map(tmp_path / "map", ThumbnailEmbedder())
    plan = sitl_rig.RigPlan(
        tmp_path, sitl_process.COPTER, 9001, offset_north_m=15.0, rate_hz=4.0, publish=("min_sigma_m = 3.0",)
    )
    path = tmp_path / "tilefix.toml"
    path.write_text(sitl_rig.config_text(plan, tmp_path / "map", tmp_path / "camera.sock", 14999))
    config = load_config(path)
    assert config.camera.source == f"unix:{tmp_path / 'camera.sock'}"
    assert config.camera.rate_hz == 4.0
    assert config.map.offset_north_m == 15.0
    assert config.link.url == "udpin:127.0.0.1:14999"
    assert config.publish.min_sigma_m == 3.0
    assert config.start.at_loss == "keep"
    assert config.record.path is None
    path.write_text(sitl_rig.config_text(dataclasses.replace(plan, record=True), tmp_path / "map", tmp_path / "c", 1))
    assert load_config(path).record.path == tmp_path / "flight"


def test_the_program_and_its_parameters_are_found_where_a_build_leaves_them(tmp_path: Path) -> None:
    program = tmp_path / "build" / "sitl" / "bin" / "arducopter"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    parameters = tmp_path / "Tools" / "autotest" / "default_params" / "copter.parm"
    parameters.parent.mkdir(parents=True)
    parameters.write_text("FRAME_CLASS 1\n")
    for place in (tmp_path, tmp_path / "build" / "sitl", program):
        assert sitl_process.find_binary(place, sitl_process.COPTER) == program
    assert sitl_process.find_defaults(program, sitl_process.COPTER) == parameters
    with pytest.raises(LinkError, match="arduplane"):
        sitl_process.find_binary(tmp_path, sitl_process.PLANE)
    with pytest.raises(LinkError, match="--defaults"):
        sitl_process.find_defaults(program, sitl_process.PLANE)


def test_sitl_is_started_with_three_links_and_ended(tmp_path: Path) -> None:
    program = tmp_path / "arducopter"
    program.write_text('#!/bin/sh\necho "$@"\nexec sleep 60\n')
    program.chmod(0o755)
    (tmp_path / "a.parm").touch()
    start = sitl_process.Start(47.0, 8.0, 120.0)
    sitl = sitl_process.Sitl(program, sitl_process.COPTER, [tmp_path / "a.parm"], start, tmp_path / "s", (1, 2, 3))
    assert sitl.alive
    sitl.close()
    sitl.close()
    assert not sitl.alive


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--ardupilot", "/nowhere"], "arducopter"), (["--ardupilot", "/nowhere", "--denied-s", "0"], "out of range")],
)
def test_bad_input_ends_with_one_clear_line(
    more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sitl_rig, "make_ground", lambda *_: (tmp_path, tmp_path, FRAME))
    monkeypatch.setattr(sitl_denial.signal, "signal", lambda *_: None)
    assert sitl_denial.main(["--out", str(tmp_path / "out"), *more]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_the_report_stands_whole(tmp_path: Path) -> None:
    """What is written after a flight can be read again."""
    log, notes, at_ns = _flight()
    package = small_map(tmp_path / "map", ThumbnailEmbedder())
    del package
    vehicle = FakeVehicle(ManualClock(ZERO_NS))
    rig = FakeRig(vehicle)
    rig.plan = dataclasses.replace(rig.plan, folder=tmp_path)
    rig.package = tmp_path / "map"
    rig.pilot.log = log
    rig.relay = dataclasses.make_dataclass("R", ["lock", "notes"])(threading.Lock(), notes)
    args = sitl_denial._parser().parse_args(["--ardupilot", "x"])
    marks = sitl_flight.Marks(at_ns={"started": ZERO_NS, **at_ns})
    summary = sitl_denial._report(rig, sitl_flight.FlightPlan(), marks, args)
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert all(summary["verdicts"].values())
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    tracks = np.load(tmp_path / "tracks.npz", allow_pickle=False)
    assert len(tracks["truth_at_ns"]) == 1000
    assert not list(tmp_path.glob("*.partial"))


def test_figures_that_are_out_of_range_are_an_error() -> None:
    args = sitl_denial._parser().parse_args(["--ardupilot", "x", "--rate-hz", "0"])
    with pytest.raises(TilefixError, match="out of range"):
        sitl_denial.denial(args)
