"""What an autopilot takes of positions from outside and what it refuses: the same cases for the simulated one and,
where TILEFIX_ARDUPILOT names a program or a folder of programs, for ArduPilot's own simulator.

Each rule has a publisher that breaks it and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.benches import LOCAL_FRD, LOCAL_NED, NO_VELOCITY, Bench, StandIn
from support.sitlbench import Sitl, program
from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.firmware import Firmware

ACCEPTED, DENIED, UNSUPPORTED, FAILED = 0, 2, 3, 4
VERSIONS = ((4, 5, 5), (4, 6, 0), (4, 7, 0))
FIRMWARES = [
    Firmware(airframe=airframe, version=version)
    for version in VERSIONS
    for airframe in (Airframe.COPTER, Airframe.PLANE)
]
Make = Callable[..., Bench]


def _name(firmware: Firmware | str) -> str:
    if isinstance(firmware, str):
        return firmware
    return f"{firmware.airframe.value}-{'.'.join(map(str, firmware.version))}"


class Maker:
    """Makes benches of one firmware; parameters are named as from 4.6 on."""

    def __init__(self, firmware: Firmware) -> None:
        self.firmware = firmware

    def __call__(self, *, cold: bool = False, **parameters: float) -> Bench:
        named = {self._named(name): value for name, value in parameters.items()}
        return StandIn(self.firmware, named, cold=cold)

    def _named(self, name: str) -> str:
        numbers = {f"GPS{index + 1}_TYPE": self.firmware.receiver_type(index) for index in range(2)}
        return numbers.get(name, name)


class RealMaker:
    """Makes benches of ArduPilot's own simulator, one at a time."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._bench: Sitl | None = None

    def __call__(self, *, cold: bool = False, **parameters: float) -> Bench:
        self.close()
        self._bench = Sitl(self._program, parameters, cold=cold)
        return self._bench

    def close(self) -> None:
        if self._bench is not None:
            self._bench.close()
            self._bench = None


@pytest.fixture(params=[*FIRMWARES, "arducopter", "arduplane"], ids=_name)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    if isinstance(request.param, Firmware):
        yield Maker(request.param)
        return
    found = program(request.param)
    if found is None:
        pytest.skip(f"TILEFIX_ARDUPILOT names no {request.param}")
    maker = RealMaker(found)
    yield maker
    maker.close()


def _good(bench: Bench) -> None:
    bench.gps_input()


# Before take-off


@pytest.mark.parametrize(
    ("feed", "told"),
    [
        pytest.param(None, "GPS 2: Bad fix", id="nothing"),
        pytest.param(lambda b: b.gps_input(fix_type=2), "GPS 2: Bad fix", id="two dimensions"),
        pytest.param(lambda b: b.gps_input(east_m=80.0), "GPS positions differ by", id="80 m off"),
    ],
)
def test_it_does_not_arm_with_a_bad_second_receiver(
    make: Make, feed: Callable[[Bench], None] | None, told: str
) -> None:
    bench = make(GPS2_TYPE=14)
    bench.run(12.0, feed)
    armed, texts = bench.arm(feed)
    assert not armed
    assert told in texts


def test_it_does_not_arm_with_two_positions_a_second(make: Make) -> None:
    bench = make(GPS2_TYPE=14)
    bench.run(12.0, _good, period_s=0.5)
    armed, texts = bench.arm()
    assert not armed
    assert "GPS 2: not healthy" in texts


def test_it_arms_with_ten_good_positions_a_second(make: Make) -> None:
    bench = make(GPS2_TYPE=14)
    bench.run(12.0, _good)
    armed, texts = bench.arm(_good)
    assert armed, texts


def test_a_position_for_another_receiver_counts_only_before_4_6(make: Make) -> None:
    bench = make(GPS2_TYPE=14)

    def feed(one: Bench) -> None:
        one.gps_input(gps_id=0)

    bench.run(12.0, feed)
    armed, texts = bench.arm(feed)
    assert armed is (bench.firmware.version < (4, 6, 0))
    assert armed or "GPS 2: Bad fix" in texts


@pytest.mark.parametrize(
    ("changes", "starts"),
    [
        pytest.param({}, True, id="good"),
        pytest.param({"horiz_accuracy": 8.0}, False, id="8 m"),
        pytest.param({"vert_accuracy": 12.0}, False, id="12 m of height"),
        pytest.param({"speed_accuracy": 2.0}, False, id="2 m/s"),
        pytest.param({"satellites_visible": 5}, False, id="5 satellites"),
        pytest.param({"hdop": 3.0}, False, id="dilution"),
        pytest.param({"ignore_flags": 2}, False, id="dilution ignored"),
    ],
)
def test_an_only_receiver_must_be_accurate_to_start_from(make: Make, changes: dict[str, float], starts: bool) -> None:
    bench = make(cold=True, GPS1_TYPE=14)

    def feed(one: Bench) -> None:
        one.gps_input(gps_id=0, **changes)

    bench.run(60.0, feed)
    assert bench.has_position() is starts
    assert (bench.origin() is not None) is starts


def test_six_metres_of_error_start_a_plane_and_not_a_copter(make: Make) -> None:
    bench = make(cold=True, GPS1_TYPE=14)
    bench.run(60.0, lambda one: one.gps_input(gps_id=0, horiz_accuracy=6.0))
    assert bench.has_position() is (bench.firmware.airframe is Airframe.PLANE)


VISION = {"VISO_TYPE": 1.0, "EK3_SRC2_POSXY": 6.0, "EK3_SRC2_VELXY": 0.0, "EK3_SRC2_POSZ": 1.0, "EK3_SRC2_YAW": 1.0}


def test_visual_odometry_that_is_set_up_is_asked_for_before_arming(make: Make) -> None:
    bench = make(**VISION)
    armed, texts = bench.arm()
    assert not armed
    assert "VisOdom: not healthy" in texts
    bench.run(3.0, Bench.vision)
    armed, texts = bench.arm(Bench.vision)
    assert armed, texts


def test_odometry_in_another_frame_is_not_heard(make: Make) -> None:
    bench = make(**VISION)

    def feed(one: Bench) -> None:
        one.odometry(frame=LOCAL_NED)

    bench.run(3.0, feed)
    armed, texts = bench.arm(feed)
    assert not armed
    assert "VisOdom: not healthy" in texts
    bench.run(3.0, lambda one: one.odometry(frame=LOCAL_FRD))
    armed, texts = bench.arm(Bench.odometry)
    assert armed, texts


def test_the_origin_is_set_once_and_in_4_5_not_beside_receivers(make: Make) -> None:
    bench = make(cold=True, GPS1_TYPE=0)
    bench.run(15.0)
    assert bench.origin() is None
    for lat in (470_000_000, 480_000_000):
        bench.send(mavlink.MAVLink_set_gps_global_origin_message(1, lat, 80_000_000, 450_000))
        bench.run(1.0)
    assert bench.origin() == (None if bench.firmware.version < (4, 6, 0) else (47.0, 8.0))


# In flight


def test_with_a_good_feed_the_loss_of_gnss_is_not_felt(make: Make) -> None:
    bench = make(GPS2_TYPE=14)
    bench.run(12.0, _good)
    bench.take_off(_good)
    bench.lose_gnss()
    bench.run(20.0, _good)
    assert bench.error_m() < 3.0
    assert "Failsafe" not in bench.texts
    bench.run(0.5, _good)
    assert bench.has_position()


def test_a_wrong_feed_is_taken_without_a_gate_when_gnss_is_lost(make: Make) -> None:
    bench = make(GPS2_TYPE=14)
    bench.run(12.0, _good)
    bench.take_off(_good)
    bench.lose_gnss()
    bench.run(8.0, lambda one: one.gps_input(east_m=15.0))
    assert 3.0 < bench.error_m() < 22.0


def test_a_feed_without_velocity_ends_a_moving_copters_flight(make: Make) -> None:
    bench = make(GPS2_TYPE=14)
    if bench.firmware.airframe is not Airframe.COPTER:
        pytest.skip("of copters only: planes have no such failsafe")

    def feed(one: Bench) -> None:
        one.gps_input(ignore_flags=NO_VELOCITY)

    bench.run(12.0, feed)
    bench.take_off(feed)
    bench.lose_gnss()
    bench.run(5.0, feed)
    assert "EKF Failsafe: changed to LAND Mode" in bench.texts


def test_silence_is_a_failsafe_after_eight_seconds_and_the_end_after_fifteen(make: Make) -> None:
    bench = make(GPS2_TYPE=14)
    if bench.firmware.airframe is not Airframe.COPTER:
        pytest.skip("of copters only: a plane goes on by its airspeed")
    bench.run(12.0, _good)
    bench.take_off(_good)
    bench.lose_gnss()
    bench.run(6.0)
    assert "Failsafe" not in bench.texts
    bench.run(5.0)
    assert "EKF Failsafe: changed to LAND Mode" in bench.texts
    bench.run(9.0)
    assert "stopped aiding" in bench.texts


def test_a_receiver_that_is_made_the_only_one_is_followed_at_once(make: Make) -> None:
    bench = make(GPS2_TYPE=14)
    bench.run(12.0, _good)
    bench.take_off(_good)

    def feed(one: Bench) -> None:
        one.gps_input(east_m=12.0)

    bench.run(3.0, feed)
    assert bench.error_m() < 4.0
    bench.set("GPS_AUTO_SWITCH", 0)
    bench.set("GPS_PRIMARY", 1)
    bench.run(4.0, feed)
    assert bench.error_m() > 7.0


@pytest.mark.parametrize(("late_s", "behind_m"), [(0.2, 0.0), (0.7, 4.5)])
def test_a_late_feed_leaves_it_behind_by_what_was_not_declared(make: Make, late_s: float, behind_m: float) -> None:
    """200 ms are declared as long as GPS2_DELAY_MS is 0; a copter flies at 9 m/s here."""
    bench = make(GPS2_TYPE=14)
    if bench.firmware.airframe is not Airframe.COPTER:
        pytest.skip("of copters only: a plane circles")
    bench.run(12.0, _good)
    bench.take_off(_good)
    bench.lose_gnss()
    bench.run(15.0, lambda one: one.gps_input(late_s=late_s))
    assert bench.error_m() == pytest.approx(behind_m, abs=1.5)


# External navigation in flight


def _on_vision(make: Make, **parameters: float) -> Bench:
    bench = make(**VISION, EK3_SRC_OPTIONS=0, **parameters)
    bench.run(3.0, Bench.vision)
    bench.take_off(Bench.vision)
    assert bench.command(mavlink.MAV_CMD_SET_EKF_SOURCE_SET, 2, feed=Bench.vision) == ACCEPTED
    bench.run(2.0, Bench.vision)
    bench.lose_gnss()
    bench.run(3.0, Bench.vision)
    return bench


def test_external_navigation_carries_the_flight_once_its_source_is_chosen(make: Make) -> None:
    bench = _on_vision(make)
    bench.run(15.0, Bench.vision)
    assert bench.error_m() < 3.0
    bench.run(0.5, Bench.vision)
    assert bench.has_position()


def test_a_jump_is_taken_at_once_only_when_it_is_told(make: Make) -> None:
    bench = _on_vision(make)
    bench.run(1.5, lambda one: one.vision(east_m=60.0, reset=1))
    assert bench.error_m() > 50.0
    bench.run(1.5, lambda one: one.vision(reset=2))
    assert bench.error_m() < 8.0


def test_a_jump_that_is_not_told_is_refused_for_seconds(make: Make) -> None:
    bench = _on_vision(make)

    def feed(one: Bench) -> None:
        one.vision(east_m=60.0)

    bench.run(3.0, feed)
    assert bench.error_m() < 20.0
    bench.run(12.0, feed)
    assert bench.error_m() > 40.0


def test_three_variances_make_one_error_by_a_rule_that_changed(make: Make) -> None:
    """Three times 25 m2 are 12.3 m until 4.7's first beta and 8.7 m since then: a jump by 73 m is within five sigmas of
    the former only. Before 4.7 the error that a receiver told last counts in their place."""
    bench = _on_vision(make)
    bench.run(10.0, lambda one: one.vision(variance=25.0))
    bench.run(0.2, lambda one: one.vision(variance=25.0, east_m=73.0))
    bench.flags()
    last = bench.of("EKF_STATUS_REPORT")[-1].pos_horiz_variance
    if bench.firmware.version < (4, 7, 0):
        assert last > 3.0  # weighed as the receiver that is gone
    else:
        assert last == pytest.approx(0.84 if bench.firmware.development else 1.18, abs=0.12)


def test_two_clocks_on_one_link_misdate_every_position(make: Make) -> None:
    """One filter maps all stamps of a link, even that of a command that fails. The simulated one is off by 1.6 m then,
    ArduPilot's own by 0.3 m."""
    bench = _on_vision(make)
    if bench.firmware.airframe is not Airframe.COPTER:
        pytest.skip("of copters only: a plane circles")
    bench.run(5.0, Bench.vision)
    before_m = bench.error_m()
    assert before_m < 1.0

    def feed(one: Bench) -> None:
        one.vision()
        one.estimate_only(sent_s=one.now_s + 1e5)

    bench.run(8.0, feed)
    assert bench.error_m() > before_m + 0.1


def test_no_such_set_of_sources(make: Make) -> None:
    assert make().command(mavlink.MAV_CMD_SET_EKF_SOURCE_SET, 7) == DENIED


# Positions as commands


def test_an_estimate_is_taken_only_in_its_form_and_while_there_is_no_other(make: Make) -> None:
    bench = make()
    bench.take_off()
    assert bench.command(mavlink.MAV_CMD_EXTERNAL_POSITION_ESTIMATE, 1.0) == UNSUPPORTED
    assert bench.estimate(z=0.0) == DENIED
    assert bench.estimate() == FAILED
    bench.lose_gnss()
    bench.run(3.0)
    assert bench.estimate(z=0.0) == DENIED
    assert bench.estimate(frame=6) == DENIED  # relative to home
    assert bench.estimate() == ACCEPTED
    assert bench.estimate(frame=5) == (ACCEPTED if bench.firmware.version >= (4, 6, 0) else DENIED)


def test_an_estimate_keeps_no_copter_in_the_air(make: Make) -> None:
    bench = make()
    bench.take_off()
    bench.lose_gnss()
    answers = [(bench.run(2.0), bench.estimate())[1] for _ in range(9)]
    assert answers[1] == ACCEPTED
    plane = bench.firmware.airframe is Airframe.PLANE
    assert answers[-1] == (ACCEPTED if plane else FAILED)
    assert not bench.has_position()


def test_an_estimate_is_taken_however_wrong_it_is(make: Make) -> None:
    bench = make()
    bench.take_off()
    bench.lose_gnss()
    bench.run(3.0)
    assert bench.estimate(east_m=300.0) == ACCEPTED
    bench.run(0.5)
    assert bench.error_m() > 250.0
