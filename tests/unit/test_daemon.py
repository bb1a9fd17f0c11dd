"""The daemon: what it sends when, what a loss of GNSS does, what breaks and comes back."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.clocks import ManualClock
from support.daemons import FakeFrames, FakeLink, FakeLocalizer, S, frame
from tilefix.handover.handover import Handover
from tilefix.handover.machine import State
from tilefix.handover.settings import HandoverSettings
from tilefix.links.commands import Command, Result
from tilefix.links.messages import (
    Airframe,
    AutopilotKind,
    HealthState,
    Identity,
    Order,
    Parameter,
    PositionReport,
    Severity,
)
from tilefix.publishing.publisher import Publisher
from tilefix.publishing.settings import PublishSettings
from tilefix.service.daemon import Daemon
from tilefix.timing import StageTimer
from tilefix.types import Fix, Frame, NoFix, Reason, VehicleState


class Rig:
    """A daemon whose time stands still unless `fly` moves it: telemetry at 20 Hz, frames at 4 Hz."""

    def __init__(self, localizer: FakeLocalizer | None = None, settings: PublishSettings | None = None, **more: object):
        self.clock = ManualClock()
        self.localizer = localizer or FakeLocalizer()
        self.link = FakeLink()
        self.seen: list[tuple[Fix | NoFix, tuple[float, float] | None]] = []
        self.daemon = Daemon(
            self.localizer,
            FakeFrames([]),
            self.link,
            Publisher(settings or PublishSettings(mirror_gnss=False)),
            clock=self.clock,
            watch=self,
            **more,  # type: ignore[arg-type]
        )
        self._sequence = itertools.count()
        self._tick = 0

    def saw(self, frame: Frame, state: VehicleState, estimate: Fix | NoFix, truth: tuple[float, float] | None) -> None:
        self.seen.append((estimate, truth))

    def fly(
        self, seconds: float, *, fix_type: int = 3, telemetry: bool = True, frames: bool = True, east_deg: float = 0.0
    ) -> list[PositionReport]:
        """Flies on and gives what was sent meanwhile."""
        before = len(self.link.positions)
        for _ in range(round(seconds * 20)):
            self.clock.advance_s(0.05)
            self._tick += 1
            if telemetry:
                self.link.telemetry(self.clock.now_ns(), fix_type=fix_type, east_deg=east_deg)
            self.daemon.turn()
            if frames and self._tick % 5 == 0:
                self.daemon.look(frame(self.clock.now_ns() - 20_000_000, next(self._sequence)))
        return self.link.positions[before:]


def test_positions_go_out_at_ten_hertz_dated_by_the_delay() -> None:
    rig = Rig()
    rig.fly(2.0)
    sent = rig.fly(5.0)
    assert len(sent) == pytest.approx(50, abs=1)
    assert rig.clock.now_ns() - sent[-1].at_ns == pytest.approx(200_000_000, abs=100_000_000)
    for report in sent:
        # What is sent holds for its instant: 5 m/s east.
        assert (report.lon_deg - 8.0) * 76_000.0 == pytest.approx(5.0 * report.at_ns / S, abs=0.05)
    assert all(later.at_ns > earlier.at_ns for earlier, later in itertools.pairwise(sent))


def test_what_is_repeated_is_as_old_as_what_vision_is_laid_beside() -> None:
    """Heard late by `gnss_delay_ms`, the receiver's position has moved on by then."""
    handover = Handover(HandoverSettings(gnss_delay_ms=400.0))
    rig = Rig(settings=PublishSettings(), handover=handover)
    rig.fly(1.0, frames=False)
    sent = rig.fly(1.0, frames=False)
    assert len(sent) == pytest.approx(10, abs=1)
    for report in sent:
        assert (report.lon_deg - 8.0) * 76_000.0 == pytest.approx(5.0 * (report.at_ns / S + 0.4), abs=0.05)


def test_a_frame_older_than_the_one_before_does_not_hold_the_position_back() -> None:
    class Late(FakeLocalizer):
        def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
            if frame.captured_ns <= self._at_ns:
                return self.predict(self._at_ns)
            return super().process(frame, state, timer)

        def predict(self, at_ns: int) -> Fix | NoFix:
            answer = super().predict(max(at_ns, self._at_ns))
            return replace(answer, at_ns=at_ns)

    rig = Rig(Late())
    rig.fly(2.0)
    rig.daemon.look(frame(rig.clock.now_ns() - S, 1000))
    for report in rig.fly(0.5, frames=False):
        assert (report.lon_deg - 8.0) * 76_000.0 == pytest.approx(5.0 * report.at_ns / S, abs=0.05)


def test_the_heartbeat_beats_once_a_second_and_tells_the_state() -> None:
    rig = Rig()
    rig.fly(0.15, frames=False)
    assert rig.link.heartbeats == [HealthState.BOOT]
    rig.fly(10.0)
    assert len(rig.link.heartbeats) == 11
    assert rig.link.heartbeats[-1] is HealthState.ACTIVE
    rig.fly(12.0, frames=False)
    assert rig.link.heartbeats[-1] is HealthState.STANDBY


def test_without_a_position_nothing_goes_out_and_the_pilot_is_told_why() -> None:
    rig = Rig(FakeLocalizer(frames_to_find=8))
    assert rig.fly(1.9) == []
    assert rig.fly(3.0) != []
    texts = [text for _, text in rig.link.texts]
    assert texts == ["tilefix: no camera frame", "tilefix: picture fits several places", "tilefix: position found"]


def test_a_loss_of_gnss_makes_the_belief_uniform_once() -> None:
    rig = Rig(FakeLocalizer(frames_to_find=4), at_loss="uniform")
    rig.fly(3.0)
    assert rig.localizer.calls == []
    assert rig.link.positions != []
    rig.fly(0.6, fix_type=1)
    lost = rig.fly(0.6, fix_type=1)
    assert rig.localizer.calls == ["reset"]
    assert lost == []
    assert rig.fly(3.0, fix_type=1) != []
    assert rig.localizer.calls == ["reset"]
    rig.fly(16.0)
    rig.fly(3.0, fix_type=0)
    assert rig.localizer.calls == ["reset", "reset"]


def test_a_belief_that_agreed_with_gnss_is_kept_and_flies_on_within_two_seconds() -> None:
    rig = Rig(settings=PublishSettings())
    rig.fly(20.0)
    assert rig.link.texts[-1][1].startswith("tilefix: vision agrees with GNSS")
    # The receiver's own position is sent while it lasts, then at once vision's, before the loss is even declared.
    sent = rig.fly(2.0, fix_type=1)
    assert len(sent) == pytest.approx(20, abs=1)
    assert rig.localizer.calls == []
    assert State.DENIED.value in rig.link.modes
    assert "tilefix: GNSS lost, vision takes over" in [text for _, text in rig.link.texts]


def test_a_belief_that_never_agreed_is_made_anew() -> None:
    rig = Rig()
    rig.fly(20.0, east_deg=0.001)
    rig.fly(1.0, fix_type=1)
    assert rig.localizer.calls == ["reset"]


def test_what_was_being_looked_at_when_gnss_went_is_not_sent() -> None:
    rig = Rig(at_loss="uniform")

    def lose(_: Frame) -> None:
        for _ in range(14):
            rig.clock.advance_s(0.05)
            rig.link.telemetry(rig.clock.now_ns(), fix_type=1)
            rig.daemon.turn()

    rig.fly(2.0)
    rig.localizer._during = lose
    rig.daemon.look(frame(rig.clock.now_ns(), 1000))
    rig.localizer._during = None
    assert rig.fly(1.0, fix_type=1, frames=False) == []
    assert rig.localizer.calls == []
    assert rig.fly(1.0, fix_type=1) != []
    assert rig.localizer.calls == ["reset"]


@pytest.mark.parametrize(("policy", "calls"), [("last_gnss", ["hint 47.0000 8.0003 45"]), ("keep", [])])
def test_other_policies_at_a_loss(policy: str, calls: list[str]) -> None:
    rig = Rig(at_loss=policy)
    rig.fly(3.0)
    rig.fly(1.0, fix_type=1)
    assert rig.localizer.calls == calls


def test_a_receiver_that_jumped_is_not_where_the_search_begins() -> None:
    rig = Rig(FakeLocalizer(frames_to_find=1000), at_loss="last_gnss")
    rig.fly(3.0)
    rig.fly(1.0, east_deg=0.01)
    assert rig.localizer.calls == ["reset"]


@pytest.mark.parametrize("at_loss", ["auto", "uniform", "last_gnss", "keep"])
def test_spoofing_makes_the_autopilot_use_vision_and_gnss_is_not_repeated(at_loss: str) -> None:
    rig = Rig(settings=PublishSettings(), at_loss=at_loss)
    rig.link.incoming.append(Identity(0, AutopilotKind.ARDUPILOT, Airframe.COPTER, (4, 6, 0)))
    rig.fly(2.0)
    assert {"GPS_AUTO_SWITCH", "GPS_PRIMARY"} <= set(rig.link.requested)
    rig.link.incoming += [Parameter(0, "GPS_AUTO_SWITCH", 1.0), Parameter(0, "GPS_PRIMARY", 0.0)]
    rig.fly(20.0)
    assert rig.link.set == []
    rig.fly(3.0, east_deg=0.001)
    assert set(rig.link.set) == {("GPS_AUTO_SWITCH", 0.0), ("GPS_PRIMARY", 1.0)}
    assert rig.link.modes[-1] == State.SPOOFED.value
    for report in rig.fly(2.0, east_deg=0.001):
        assert (report.lon_deg - 8.0) * 76_000.0 == pytest.approx(5.0 * report.at_ns / S, abs=3.0)
    assert rig.localizer.calls == []
    # At the end of a run the autopilot is left as it was found.
    rig.link.set.clear()
    rig.daemon.run(_stopped())
    assert set(rig.link.set) == {("GPS_AUTO_SWITCH", 1.0), ("GPS_PRIMARY", 0.0)}


def _stopped() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


def test_a_veto_keeps_vision_back_and_its_order_is_answered() -> None:
    rig = Rig(settings=PublishSettings())
    rig.fly(20.0)
    rig.link.incoming.append(Order(0, Command.HAND_OVER.value, (0.0,) * 7, (7, 190)))
    rig.fly(1.0)
    assert rig.link.answers == [(Command.HAND_OVER.value, Result.ACCEPTED)]
    assert rig.link.modes[-1] == State.VETOED.value
    assert rig.fly(1.0) != []
    rig.fly(0.1, fix_type=1)
    assert rig.fly(3.0, fix_type=1) == []
    assert "tilefix: vision held back by the operator" in [text for _, text in rig.link.texts]
    rig.link.incoming.append(Order(0, Command.HAND_OVER.value, (9.0,) * 7, (7, 190)))
    rig.fly(0.1, fix_type=1)
    assert rig.link.answers[-1] == (Command.HAND_OVER.value, Result.DENIED)


def test_how_the_handover_stands_is_told_every_second() -> None:
    rig = Rig()
    rig.fly(5.0)
    names = [name for name, _ in rig.link.values]
    for name in ("TF_STATE", "TF_SHADOW", "TF_BIAS", "TF_STRETCH", "TF_SPOOF", "TF_SIGMA"):
        assert names.count(name) in (4, 5), name


def test_a_flight_that_never_had_gnss_is_not_reset() -> None:
    rig = Rig()
    # No height above sea level without GNSS, so nothing may go out either.
    assert rig.fly(5.0, fix_type=0) == []
    assert rig.localizer.calls == []
    assert {text for _, text in rig.link.texts} == {
        "tilefix: no camera frame",
        "tilefix: no height above sea level",
        "tilefix: no GNSS, vision takes over",
    }


def test_a_camera_that_vanishes_ends_the_positions_and_brings_them_back() -> None:
    rig = Rig()
    rig.fly(3.0, fix_type=3)
    rig.fly(5.5, frames=False)
    assert rig.fly(3.0, frames=False) == []
    assert rig.link.texts[-1][1] == "tilefix: no camera frame"
    assert rig.fly(2.0) != []
    assert rig.link.texts[-1][1] == "tilefix: position found"


def test_an_autopilot_that_goes_silent_and_comes_back() -> None:
    rig = Rig()
    rig.fly(3.0)
    rig.fly(2.5, telemetry=False)
    assert rig.fly(5.0, telemetry=False) == []
    assert rig.localizer.states[-1].yaw_deg is None
    assert rig.localizer.calls == []
    assert rig.fly(2.0) != []


def test_a_frame_that_fails_is_survived_with_a_fresh_belief() -> None:
    def fail(one: Frame) -> None:
        if one.sequence in range(8, 24):
            raise RuntimeError("strange picture")

    rig = Rig(FakeLocalizer(during=fail))
    rig.fly(2.0)
    assert len(rig.fly(4.0)) <= 3  # until the first of them came
    assert HealthState.CRITICAL in rig.link.heartbeats
    assert rig.fly(2.0) != []
    assert rig.localizer.calls == ["reset"] * 16
    assert rig.link.heartbeats[-1] is HealthState.ACTIVE


def test_a_worker_that_is_stuck_is_told_and_its_forecast_runs_out() -> None:
    rig = Rig()
    rig.fly(2.0)
    rig.daemon.health.looking_since_ns = rig.clock.now_ns()
    rig.fly(6.0, frames=False)
    assert rig.link.heartbeats[-1] is HealthState.CRITICAL
    assert rig.fly(1.0, frames=False) == []


def test_a_receiver_that_is_our_own_feed_neither_saves_nor_resets() -> None:
    rig = Rig(settings=PublishSettings(gps_id=0))
    assert rig.fly(3.0) == []
    rig.fly(3.0, fix_type=1)
    assert rig.localizer.calls == []


def test_before_the_first_picture_gnss_is_repeated() -> None:
    rig = Rig(settings=PublishSettings())
    sent = rig.fly(3.0, frames=False)
    assert len(sent) > 20
    assert rig.link.texts[-1][1] == "tilefix: repeating GNSS"
    assert rig.fly(3.0, frames=False, fix_type=1) == []


def test_a_watch_sees_every_frame_with_the_receivers_truth() -> None:
    rig = Rig()
    rig.fly(2.0)
    assert len(rig.seen) == 8
    estimate, truth = rig.seen[-1]
    assert isinstance(estimate, Fix)
    assert truth == (47.0, pytest.approx(8.0 + 5.0 * estimate.at_ns / S / 76_000.0, abs=1e-9))


def test_a_refusal_counts_at_once_whatever_was_forecast_before() -> None:
    rig = Rig()
    rig.fly(3.0)
    rig.localizer._to_find = 1 << 30
    rig.daemon.look(frame(rig.clock.now_ns(), 1000))
    assert rig.fly(0.2, frames=False) == []


def test_a_watch_that_breaks_harms_nothing() -> None:
    rig = Rig()

    def break_down(*_: object) -> None:
        raise RuntimeError("score sheet lost")

    rig.saw = break_down  # type: ignore[method-assign]
    rig.fly(2.0)
    assert rig.fly(1.0) != []
    assert rig.localizer.calls == []


def test_a_slow_frame_does_not_hold_up_publishing() -> None:
    rig = Rig()
    rig.fly(2.0)
    entered, leave = threading.Event(), threading.Event()

    def slow(_: Frame) -> None:
        entered.set()
        assert leave.wait(10.0)

    rig.localizer._during = slow
    worker = threading.Thread(target=rig.daemon.look, args=(frame(rig.clock.now_ns(), 1000),))
    worker.start()
    assert entered.wait(10.0)
    assert len(rig.fly(1.0, frames=False)) == pytest.approx(10, abs=1)
    leave.set()
    worker.join(10.0)


def test_run_flies_a_source_to_its_end_and_releases_everything() -> None:
    frames = FakeFrames([frame(S), None, frame(2 * S)])
    link, localizer = FakeLink(), FakeLocalizer()
    daemon = Daemon(localizer, frames, link)
    daemon.run(threading.Event())
    assert len(localizer.states) == 2
    assert frames.closed == 1
    assert link.closed == 1
    assert link.heartbeats != []
    assert daemon.timer.percentiles_ms()["publish"].count >= 1


def test_run_ends_when_it_is_told_to() -> None:
    frames = FakeFrames([None] * 100_000)
    stop = threading.Event()
    daemon = Daemon(FakeLocalizer(), frames, FakeLink())
    thread = threading.Thread(target=daemon.run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(10.0)
    assert not thread.is_alive()
    assert frames.closed == 1


def test_a_camera_whose_reader_breaks_does_not_end_the_flight() -> None:
    class Broken(FakeFrames):
        def read(self, timeout_s: float) -> Frame | None:
            raise RuntimeError("no such thing")

    stop, link = threading.Event(), FakeLink()
    daemon = Daemon(FakeLocalizer(), Broken([None]), link)
    thread = threading.Thread(target=daemon.run, args=(stop,))
    thread.start()
    deadline = threading.Event()
    for _ in range(500):
        if daemon.health.failures:
            break
        deadline.wait(0.01)
    assert thread.is_alive()
    assert daemon.health.state(daemon._clock.now_ns(), connected=True) is HealthState.CRITICAL
    stop.set()
    thread.join(10.0)


def test_a_turn_that_fails_is_tried_again_and_a_broken_loop_gives_up(tmp_path: Path) -> None:
    class Flaky(FakeLink):
        fails = 3

        def send_heartbeat(self, state: HealthState, mode: int = 0) -> bool:
            if self.fails:
                self.fails -= 1
                raise RuntimeError("once")
            return super().send_heartbeat(state, mode)

    class Dead(FakeLink):
        def send_heartbeat(self, state: HealthState, mode: int = 0) -> bool:
            raise RuntimeError("always")

        def poll(self) -> list[object]:  # type: ignore[override]
            raise RuntimeError("always")

    flaky = Flaky()
    stop = threading.Event()
    thread = threading.Thread(target=Daemon(FakeLocalizer(), FakeFrames([None] * 200), flaky).run, args=(stop,))
    thread.start()
    thread.join(20.0)
    stop.set()
    assert flaky.fails == 0
    assert flaky.heartbeats != []
    with pytest.raises(RuntimeError, match="always"):
        Daemon(FakeLocalizer(), FakeFrames([None] * 100_000), Dead()).run(threading.Event())


def test_the_state_at_the_exposure_is_what_the_localizer_gets() -> None:
    rig = Rig()
    rig.fly(1.0)
    state = rig.localizer.states[-1]
    assert (state.roll_deg, state.pitch_deg) == (0.0, 0.0)
    assert state.yaw_deg == pytest.approx(90.0)
    rig.daemon.look(Frame(np.zeros((16, 16, 3), np.uint8), rig.clock.now_ns() + S, 99))
    assert rig.localizer.states[-1].yaw_deg is None
    assert rig.seen[-1][0] == NoFix(rig.clock.now_ns() + S, Reason.NO_ATTITUDE)


def test_warnings_are_told_one_after_the_other_once_the_autopilot_is_heard() -> None:
    rig = Rig(warnings=("map imagery is 9 years old, over 3", "second"))
    rig.link.system_id = None
    rig.fly(3.0)
    assert rig.link.texts == []
    rig.link.system_id = 7
    rig.fly(3.0)
    told = [line for severity, line in rig.link.texts if severity is Severity.WARNING]
    assert told[:2] == ["tilefix: map imagery is 9 years old, over 3", "tilefix: second"]
    assert len(set(told)) == len(told)


def test_matches_that_fall_behind_the_start_are_told_once_and_again_when_they_are_back() -> None:
    rig = Rig()
    rig.localizer.usual_correlation = 0.4
    rig.fly(30.0)
    assert "TF_MATCH" not in dict(rig.link.values)
    rig.fly(60.0)
    assert rig.link.values[-1] == ("TF_MATCH", pytest.approx(1.0))
    rig.localizer.usual_correlation = 0.1
    rig.fly(200.0)
    assert rig.link.values[-1][1] == pytest.approx(0.25, abs=0.05)
    rig.localizer.usual_correlation = 0.4
    rig.fly(200.0)
    told = [(severity, line) for severity, line in rig.link.texts if "map matches" in line]
    assert [severity for severity, _ in told] == [Severity.WARNING, Severity.INFO]
    assert told[0][1] == "tilefix: map matches fell to 65 % of start"
    assert all(len(line) <= 50 for _, line in told)


def test_frames_that_do_not_match_say_nothing_of_the_map() -> None:
    rig = Rig(FakeLocalizer(frames_to_find=10**6))
    rig.localizer.usual_correlation = 0.4
    rig.fly(90.0)
    assert not rig.daemon.drift.settled
