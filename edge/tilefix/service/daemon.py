"""`tilefix run`: camera and autopilot in, position fixes out. The only clock, threads, signals and broad except.

Two threads. The *loop* listens to the autopilot, publishes at its rate and sends the heartbeat. The *worker* owns the
localizer: it looks at one frame after the other, however long each takes, and leaves a forecast for the loop.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from tilefix.handover.handover import Handover, Turn
from tilefix.handover.selection import Request
from tilefix.links.commands import Command, Result, choice_of, command_of, hint_of
from tilefix.links.messages import HealthState, Order
from tilefix.links.vehicle import Vehicle
from tilefix.localization.drift import MatchDrift
from tilefix.ports import AutopilotLink, Clock, FrameSource
from tilefix.publishing.publisher import STOPPED, Decision, Publisher
from tilefix.publishing.sender import Sender
from tilefix.service.forecast import Forecast
from tilefix.service.health import Health
from tilefix.service.saying import Saying
from tilefix.service.supervisor import Supervisor
from tilefix.timing import MonotonicClock, StageTimer
from tilefix.types import Fix, Frame, NoFix, Reason, VehicleState

_logger = logging.getLogger(__name__)
_TURN_S = 0.01
_HEARTBEAT_NS = 1_000_000_000
_FRAME_TIMEOUT_S = 0.2
# The attitude of an exposure arrives after the picture when the link is slower than the camera.
_ATTITUDE_TRIES = 15
_ATTITUDE_WAIT_S = 0.01
# Without a frame for this long the pilot is told of the camera, whatever the last picture showed.
_CAMERA_SILENCE_NS = 2_000_000_000
_REPORT_NS = 60_000_000_000
# A stopped service is silent at once; what still hangs in a picture is left behind.
_JOIN_S = 1.5
_SIGMA_NAME = "TF_SIGMA"
_FAILED_TURNS = 100
_MAX_ORDERS = 8
# Speed that a receiver without one may have had between its last position and the notice of its loss.
_UNKNOWN_SPEED_MPS = 25.0


class Locates(Protocol):
    """What the daemon asks of `tilefix.localization.localizer.Localizer`; only the worker calls it."""

    def reset(self) -> None: ...

    def hint(self, lat_deg: float, lon_deg: float, sigma_m: float) -> None: ...

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix: ...

    def predict(self, at_ns: int) -> Fix | NoFix: ...

    @property
    def usual_correlation(self) -> float | None: ...


class Watches(Protocol):
    """Is told of every frame looked at: a recorder, or a demonstration that keeps score."""

    def saw(
        self, frame: Frame, state: VehicleState, estimate: Fix | NoFix, truth: tuple[float, float] | None
    ) -> None: ...


class Daemon:
    """Flies one localizer between a camera and an autopilot.

    `at_loss`: what becomes of the belief when GNSS is lost (`StartSettings.at_loss`). `handover`: when vision takes
    over. `vehicle`: give one to set where height comes from. `warnings`: lines for the pilot, told once the autopilot
    is heard. `supervisor`: is told of every turn of `run`. Either call `run`, or, with one's own clock and threads,
    `turn` and `look`.
    """

    def __init__(
        self,
        localizer: Locates,
        frames: FrameSource,
        link: AutopilotLink,
        publisher: Publisher | None = None,
        *,
        handover: Handover | None = None,
        vehicle: Vehicle | None = None,
        clock: Clock | None = None,
        at_loss: str = "auto",
        last_gnss_sigma_m: float = 30.0,
        watch: Watches | None = None,
        timer: StageTimer | None = None,
        warnings: Sequence[str] = (),
        supervisor: Supervisor | None = None,
    ) -> None:
        self._localizer = localizer
        self._frames = frames
        self._link = link
        self._publisher = publisher or Publisher()
        self._sender = Sender(self._publisher, link)
        only_receiver = self._publisher.settings.gps_id == 0
        self._vehicle = vehicle or Vehicle(receiver_is_ours=only_receiver)
        self._handover = handover or Handover(only_receiver=only_receiver)
        # What is repeated and what vision is laid beside are dated alike, or positions step at a hand-over.
        self._publisher.gnss_delay_ns = round(self._handover.settings.gnss_delay_ms * 1e6)
        self._handed: Turn | None = None
        self._sigma_m: float | None = None
        self._clock = clock or MonotonicClock()
        self._at_loss = at_loss
        self._last_gnss_sigma_m = last_gnss_sigma_m
        self._watch = watch
        self._supervisor = supervisor or Supervisor({})
        self.timer = timer or StageTimer(self._clock)
        self.health = Health()
        self.drift = MatchDrift()  # written by the worker
        self._saying = Saying(link, warnings)
        # Guards the vehicle, the forecasts and the orders; held for moments, never while a frame is looked at.
        self._lock = threading.Lock()
        self._forecasts: deque[Forecast] = deque(maxlen=8)
        self._orders: list[Callable[[], None]] = []
        self._handlers: dict[Command, Callable[[Order], Result]] = {
            Command.HINT: self._take_hint,
            Command.PUBLISH: self._start_or_stop,
            Command.HAND_OVER: self._take_wish,
        }
        self._may_publish = True
        self._publish_ns: int | None = None
        self._heartbeat_ns: int | None = None
        self._begun_ns = self._clock.now_ns()
        self._frame_ns: int | None = None

    # The loop

    def turn(self) -> None:
        """One turn of the loop: listens, hands over or back, publishes and sends the heartbeat when due."""
        heard = self._link.poll()
        now_ns = self._clock.now_ns()
        # An order may come from anybody who holds the key: it says nothing of the vehicle.
        orders = [message for message in heard if isinstance(message, Order)]
        with self._lock:
            for message in heard:
                if not isinstance(message, Order):
                    self._vehicle.take(message)
                    self._handover.hear(message)
            results = [self._obey(order) for order in orders]
            requests = self._hand_over(now_ns)
        self._saying.ask(requests)
        for order, result in zip(orders, results, strict=True):
            _logger.info("order %d of %d/%d: %s", order.command, *order.sender, result.name.lower())
            self._link.answer(order, result)
        period_ns = round(1e9 / self._publisher.settings.rate_hz)
        if self._publish_ns is None or now_ns >= self._publish_ns:
            due_ns = now_ns if self._publish_ns is None else self._publish_ns
            # Keeps the rate over late turns, but never sends a burst to catch up.
            self._publish_ns = max(due_ns + period_ns, now_ns)
            with self.timer.stage("publish"):
                self._publish(now_ns)
        if self._saying.heard:
            with self._lock:
                line = self._handover.next_line(now_ns)
            self._saying.line(line)
        if self._heartbeat_ns is None or now_ns - self._heartbeat_ns >= _HEARTBEAT_NS:
            self._link.send_heartbeat(self._state(now_ns), self._handover.state.value)
            self._heartbeat_ns = now_ns
            self._attend(now_ns)

    def _attend(self, now_ns: int) -> None:
        """What is due once a second beside the heartbeat."""
        with self._lock:
            self._saying.later(self._sender.attend(self._vehicle, now_ns))
            route = self._publisher.choice(self._vehicle).route
            self._handover.attend(route, self._publisher.settings.gps_id, self._vehicle.autopilot)
            figures = self._handover.figures()
        if self._sigma_m is not None:
            figures.append((_SIGMA_NAME, self._sigma_m))
        self._saying.figures(figures, now_ns)
        self._saying.every_second(self.drift, now_ns)

    def _publish(self, now_ns: int) -> None:
        with self._lock:
            instant_ns = self._sender.instant_ns(now_ns, self._vehicle)
            estimate = self._handover.widened(self._estimate(instant_ns, now_ns))
            feeds = self._handed.feeds if self._handed is not None else ()
            if self._may_publish:
                decision = self._publisher.decide(estimate, self._vehicle, instant_ns, feeds)
            else:
                decision = Decision(None, STOPPED)
            self._sigma_m = estimate.sigma_m if isinstance(estimate, Fix) else None
            exposed_ns = self._forecasts[-1].begins_ns if self._forecasts else None
        self.health.sent = self._sender.send(decision, now_ns, exposed_ns)
        if self._saying.heard:
            self._saying.line(self._publisher.text(decision, now_ns))

    def _state(self, now_ns: int) -> HealthState:
        return self.health.state(now_ns, connected=self._vehicle.connected(now_ns))

    def _estimate(self, at_ns: int, now_ns: int) -> Fix | NoFix:
        """The newest forecast that begins by `at_ns` (the oldest, if none does) at that instant. When the newest
        picture refuses, what earlier ones promised no longer counts."""
        chosen: Forecast | None = None
        if self._forecasts:
            begun = (one for one in reversed(self._forecasts) if one.begins_ns <= at_ns)
            newest = self._forecasts[-1]
            chosen = newest if newest.refuses else next(begun, self._forecasts[0])
        frame_ns = self._begun_ns if self._frame_ns is None else self._frame_ns
        # Frames came but no forecast holds: the belief was just made uniform.
        without = Reason.NO_FRAME if self._frame_ns is None else Reason.AMBIGUOUS
        estimate: Fix | NoFix = NoFix(at_ns, without) if chosen is None else chosen.at(at_ns)
        if isinstance(estimate, NoFix) and now_ns - frame_ns > _CAMERA_SILENCE_NS:
            return NoFix(at_ns, Reason.NO_FRAME)
        return estimate

    def _hand_over(self, now_ns: int) -> Sequence[Request]:
        """Lets the hand-over go on; gives what to ask of the autopilot for it."""
        before = self._handover.state
        turn = self._handed = self._handover.turn(now_ns, heard=self._vehicle.heard_lately(now_ns))
        self._vehicle.gnss_trusted = self._handover.gnss_trusted
        if turn.state is not before:
            _logger.warning("%s to %s: %s", before.name, turn.state.name, self._handover.cause)
        if turn.lost:
            self._lose(now_ns, turn)
        return turn.requests

    def _obey(self, order: Order) -> Result:
        """Does what a command asks for, if it is one for tilefix."""
        command = command_of(order)
        handler = None if command is None else self._handlers.get(command)
        return Result.UNSUPPORTED if handler is None else handler(order)

    def _take_hint(self, order: Order) -> Result:
        hint = hint_of(order)
        if hint is None:
            return Result.DENIED
        self._order(lambda: self._localizer.hint(*hint))
        return Result.ACCEPTED

    def _start_or_stop(self, order: Order) -> Result:
        choice = choice_of(order, 1)
        if choice is None:
            return Result.DENIED
        self._may_publish = bool(choice)
        return Result.ACCEPTED

    def _take_wish(self, order: Order) -> Result:
        return Result.ACCEPTED if self._handover.hear_order(order) else Result.DENIED

    def _lose(self, now_ns: int, turn: Turn) -> None:
        """Settles the belief when GNSS was lost."""
        receiver = self._vehicle.last_gnss if turn.receiver_held else None
        # A receiver that is there but not believed is no loss: against it stands the belief.
        settled = self._at_loss == "auto" or not turn.receiver_held
        keeps = self._at_loss == "keep" or (settled and turn.belief_holds)
        _logger.warning("GNSS lost; belief %s (%s)", "kept" if keeps else "made anew", self._at_loss)
        if keeps:
            return
        if self._at_loss == "last_gnss" and receiver is not None:
            lat_deg, lon_deg = receiver.lat_deg, receiver.lon_deg
            if lat_deg is not None and lon_deg is not None:
                sigma_m = self._last_gnss_sigma_m + _UNKNOWN_SPEED_MPS * (now_ns - receiver.at_ns) / 1e9
                self._order(lambda: self._localizer.hint(lat_deg, lon_deg, sigma_m))
                return
        self._order(self._localizer.reset)

    def _order(self, order: Callable[[], None]) -> None:
        """Leaves an order for the worker. What was forecast before no longer holds."""
        self._orders.append(order)
        del self._orders[:-_MAX_ORDERS]  # each makes the belief anew: of those that wait the last ones count
        self._forecasts.clear()
        self._handover.began_anew()

    # The worker

    def look(self, frame: Frame) -> Fix | NoFix:
        """Looks at one frame and leaves the forecast for the loop. Never raises."""
        self.health.looking_since_ns = self._clock.now_ns()
        with self._lock:
            orders, self._orders = self._orders, []
            state = self._vehicle.state_at(frame.captured_ns)
            self._frame_ns = frame.captured_ns
        estimate: Fix | NoFix = NoFix(frame.captured_ns, Reason.NO_FRAME)
        try:
            for order in orders:
                order()
            estimate = self._localizer.process(frame, state, self.timer)
            correlation = self._localizer.usual_correlation
            if isinstance(estimate, Fix) and estimate.reason is None and correlation is not None:
                self.drift.note(estimate.at_ns, correlation)
            # A frame older than the one before is answered for that one's instant: before it nothing is predicted.
            forecast = Forecast.after(estimate.at_ns, self._localizer.predict)
            with self._lock:
                if not self._orders:
                    self._forecasts.append(forecast)
                    self._handover.saw(estimate)
            self.health.failures = 0
        except Exception:
            # One strange frame must not end a flight; a belief that was left half changed is thrown away.
            _logger.exception("frame %d failed", frame.sequence)
            self.health.failures += 1
            with self._lock:
                self._order(self._localizer.reset)
        self._show(frame, state, estimate)
        self.health.looked_ns = self._clock.now_ns()
        self.health.looking_since_ns = None
        return estimate

    def _show(self, frame: Frame, state: VehicleState, estimate: Fix | NoFix) -> None:
        if self._watch is None:
            return
        with self._lock:
            truth = self._vehicle.gnss_at(frame.captured_ns)
        try:
            self._watch.saw(frame, state, estimate, truth)
        except Exception:
            _logger.exception("a watch failed on frame %d", frame.sequence)

    def _work(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set() and not self._frames.exhausted:
                frame = self._frames.read(_FRAME_TIMEOUT_S)
                if frame is not None:
                    self._await_attitude(frame, stop)
                    self.look(frame)
        except Exception:
            _logger.exception("the worker ended")
            self.health.failures = 1 << 30

    def _await_attitude(self, frame: Frame, stop: threading.Event) -> None:
        for _ in range(_ATTITUDE_TRIES):
            with self._lock:
                newest_ns = self._vehicle.attitude_newest_ns
                heard = self._vehicle.heard_lately(self._clock.now_ns())
            if not heard or (newest_ns is not None and newest_ns >= frame.captured_ns):
                return
            if stop.wait(_ATTITUDE_WAIT_S):
                return

    def run(self, stop: threading.Event) -> bool:
        """Flies until `stop` is set or the frames are exhausted, then releases camera and link. False when a frame is
        still being looked at: that is not waited for."""
        worker = threading.Thread(target=self._work, args=(stop,), name="worker", daemon=True)
        worker.start()
        report_ns = self._clock.now_ns() + _REPORT_NS
        failed_turns = 0
        try:
            flies = True  # for one turn at least
            while flies:
                try:
                    self.turn()
                    failed_turns = 0
                    self._supervisor.turned(self._clock.now_ns(), self._state(self._clock.now_ns()))
                except Exception:
                    failed_turns += 1
                    _logger.exception("turn failed")
                    if failed_turns >= _FAILED_TURNS:
                        raise
                if self._clock.now_ns() >= report_ns:
                    report_ns += _REPORT_NS
                    self.log_timing()
                flies = not stop.wait(_TURN_S) and (worker.is_alive() or not self._frames.exhausted)
        finally:
            stop.set()
            self._supervisor.stopping()
            worker.join(_JOIN_S)
            self._frames.close()
            self._saying.ask(self._handover.release())
            self._link.close()
            self.log_timing()
        return not worker.is_alive()

    def log_timing(self) -> None:
        """Writes one line per stage to the log."""
        for name, summary in self.timer.percentiles_ms().items():
            _logger.info(
                "%-8s %6d times, median %.1f ms, 99 %% %.1f ms", name, summary.count, summary.p50_ms, summary.p99_ms
            )
