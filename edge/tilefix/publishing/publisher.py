"""What is sent to the autopilot, and what the pilot is told. Pure: it decides, the daemon sends.

Nothing leaves that is incomplete, and nothing of the autopilot's own estimate is ever sent back to it: position and
velocity are the camera's, or, before denial, the real receiver's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tilefix.handover.machine import Feed
from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import AutopilotKind, Origin
from tilefix.links.reports import EstimateReport, Report, Route, Severity
from tilefix.links.vehicle import Vehicle
from tilefix.publishing import parameters
from tilefix.publishing.asking import Asking
from tilefix.publishing.latency import TOLERANCE_MS, LeastLatency
from tilefix.publishing.mirror import mirrored
from tilefix.publishing.originsetting import OriginSetting
from tilefix.publishing.position import Position, position_of
from tilefix.publishing.resets import ResetCounter
from tilefix.publishing.routes import global_position, gps_input, odometry, vision
from tilefix.publishing.routes.external_estimate import ExternalEstimate
from tilefix.publishing.selection import Choice, candidates, choose
from tilefix.publishing.settings import PublishSettings
from tilefix.publishing.telling import Telling
from tilefix.types import Fix, NoFix

_PENDING_NS = 4_000_000_000
_PREFIX = "tilefix: "
_HELD_BACK, STOPPED = "vision held back by the operator", "stopped by command"
_BY_OPERATOR = (_HELD_BACK, STOPPED)
# What an autopilot has to see before it arms; the others take a position when there is one.
_MIRRORED = (Route.GPS_INPUT, Route.VISION, Route.ODOMETRY)


@dataclass(frozen=True, slots=True)
class Decision:
    """Either a report, or why there is none; neither while the last report still holds. `mirrored`: the report is the
    real receiver's own position. `jumped`: the reset counter goes up with it. `origin`: to give the autopilot, which
    has none. `position`: what the report tells.
    """

    report: Report | None
    refusal: str | None
    mirrored: bool = False
    jumped: bool = False
    origin: Origin | None = None
    position: Position | None = None


class Publisher:
    """Turns the belief into reports, and changes of state into texts. `gnss_delay_ns`, set from outside: how old the
    receiver's position is when it is heard."""

    def __init__(self, settings: PublishSettings | None = None) -> None:
        self.settings = settings or PublishSettings()
        self.gnss_delay_ns = 0
        self.latency = LeastLatency()
        self._asking = Asking()
        self._resets = ResetCounter()
        self._estimates = ExternalEstimate(self.settings)
        self._origins = OriginSetting()
        self._sent_ns: int | None = None
        self._choice: Choice | None = None
        self._pending: Choice | None = None
        self._pending_ns = 0
        self._advised: tuple[str, float, float] | None = None
        self._telling = Telling()

    # What the autopilot is, and what it has to be asked

    def choice(self, vehicle: Vehicle) -> Choice:
        """The route for what is known of the autopilot now."""
        return choose(self.settings, vehicle.autopilot)

    def new_choice(self, vehicle: Vehicle, now_ns: int) -> Choice | None:
        """The route when it is another than was told, once the autopilot is known. That there is none is told when it
        lasts: until parameters are read nothing else can be said."""
        choice = self.choice(vehicle)
        if choice != self._pending:
            self._pending, self._pending_ns = choice, now_ns
        waits_ns = _PENDING_NS if choice.route is None else 0
        if vehicle.autopilot.identity is None or choice == self._choice or now_ns - self._pending_ns < waits_ns:
            return None
        self._choice = choice
        return choice

    def wanted(self, vehicle: Vehicle, now_ns: int) -> list[str]:
        """The parameters to ask the autopilot for now."""
        autopilot = vehicle.autopilot
        if autopilot.identity is None:
            return []
        fixed = self.settings.chosen_route
        routes = [row.route for row in candidates(self.settings, autopilot)] if fixed is None else [fixed]
        names = [name for route in routes for name in parameters.names(route, self.settings, autopilot)]
        return self._asking.due(list(dict.fromkeys(names)), autopilot, now_ns)

    # When

    def delay_ms(self, vehicle: Vehicle) -> float:
        """How late the autopilot takes what is sent to be."""
        route = self.choice(vehicle).route or Route.GPS_INPUT
        return parameters.delay_ms(route, self.settings, vehicle.autopilot)

    def instant_ns(self, now_ns: int, vehicle: Vehicle, transit_ns: int = 0) -> int:
        """The instant that a position sent now has to hold for. ArduPilot counts from when it arrives, `transit_ns`
        from now; PX4 dates it by our own clock, which TIMESYNC told it."""
        way_ns = 0 if vehicle.autopilot.kind is AutopilotKind.PX4 else transit_ns
        return now_ns + way_ns - round(self.delay_ms(vehicle) * 1e6)

    def delay_advice(self, vehicle: Vehicle, transit_ns: int = 0) -> str | None:
        """What to set so that positions are dated as they come, when that differs from what is; where it is as it
        should be, whether they come later than the autopilot can hold. Once, and again when either has changed."""
        route = self.choice(vehicle).route
        if route is None:
            return None
        names = parameters.delay_names(route, self.settings, vehicle.autopilot)
        name = next((one for one in names if vehicle.autopilot.parameter(one) is not None), None)
        if name is None:
            return None
        taken_ms = parameters.taken_delay_ms(route, self.settings, vehicle.autopilot)
        held_ms = self._held_ms(route, vehicle)
        configured_ms, best_ms = self.settings.delay_ms, self.latency.to_set_ms(transit_ns / 1e6, held_ms)
        late_ms = (self.latency.ms or 0.0) + transit_ns / 1e6
        if configured_ms is not None and abs(configured_ms - taken_ms) >= 1.0:
            line, wanted_ms = f"delay_ms {configured_ms:g}, {name} means {taken_ms:g}", configured_ms
        elif configured_ms is None and best_ms is not None and abs(best_ms - taken_ms) > TOLERANCE_MS:
            line, wanted_ms = f"set {name} {best_ms:g}, now {taken_ms:g}", best_ms
        elif late_ms > held_ms + TOLERANCE_MS:
            line, wanted_ms = f"{late_ms:.0f} ms late, EKF holds {held_ms:g}: lower latency", late_ms
        else:
            return None
        told = self._advised
        if told is not None and told[:2] == (name, taken_ms) and abs(wanted_ms - told[2]) <= TOLERANCE_MS:
            return None
        self._advised = (name, taken_ms, wanted_ms)
        return line

    def _held_ms(self, route: Route, vehicle: Vehicle) -> float:
        autopilot = vehicle.autopilot
        delay_ms, kind = (
            autopilot.parameter(*parameters.receiver_names(0, what, autopilot.version)) for what in ("DELAY_MS", "TYPE")
        )
        return parameters.held_ms(route, autopilot.kind, self.settings.gps_id, delay_ms, kind)

    # What

    def decide(
        self,
        estimate: Fix | NoFix,
        vehicle: Vehicle,
        at_ns: int | None = None,
        feeds: Sequence[Feed] = (Feed.VISION, Feed.MIRROR),
    ) -> Decision:
        """What to send of an estimate. `at_ns`: the instant that it has to hold for (`instant_ns`), its own by default.
        No instant is sent twice, and none before an earlier one: `sent` is to be told of what left. `feeds`: what may
        be sent, the first that can be had (`tilefix.handover`)."""
        at_ns = estimate.at_ns if at_ns is None else at_ns
        choice = self.choice(vehicle)
        if choice.route is None:
            return Decision(None, choice.line)
        if self._sent_ns is not None and at_ns <= self._sent_ns:
            return Decision(None, None)
        position, refusal = self._position(choice.route, estimate, vehicle, at_ns, feeds)
        if position is None:
            return Decision(None, refusal)
        return self._report(choice.route, position, vehicle, refusal)

    def _position(
        self, route: Route, estimate: Fix | NoFix, vehicle: Vehicle, at_ns: int, feeds: Sequence[Feed]
    ) -> tuple[Position | None, str | None]:
        """The first of the feeds that can be had, and why vision's cannot where that comes before it."""
        refusal = None if Feed.VISION in feeds else _HELD_BACK
        for feed in feeds:
            if feed is Feed.VISION:
                seen = position_of(estimate, at_ns, vehicle, self.settings)
                if not isinstance(seen, str):
                    return seen, None
                refusal = seen
            elif self.settings.mirror_gnss and route in _MIRRORED:
                position = mirrored(at_ns, vehicle, self.gnss_delay_ns)
                if position is not None:
                    return position, refusal
        return None, refusal

    def _report(self, route: Route, position: Position, vehicle: Vehicle, refusal: str | None) -> Decision:
        autopilot = vehicle.autopilot
        jumped = self._resets.would_jump(position)
        made = self._made(route, position, vehicle, self._resets.value_after(jumped=jumped))
        if made is None or isinstance(made, str):
            gnss = vehicle.gnss_available(position.at_ns)
            origin = (
                self._origins.due(position, autopilot, gnss=gnss) if route in (Route.VISION, Route.ODOMETRY) else None
            )
            return Decision(None, made, origin=origin)
        return Decision(made, refusal, mirrored=position.mirrored, jumped=jumped, position=position)

    def sent(self, decision: Decision) -> None:
        """Notes that a decision's report left: what follows is held against it. One that did not leave counts for
        nothing, so that the next shows the jump instead."""
        position = decision.position
        if position is None:
            return
        self._resets.take(position, jumped=decision.jumped)
        self._sent_ns = position.at_ns
        if isinstance(decision.report, EstimateReport):
            self._estimates.sent(position.at_ns)

    def _made(self, route: Route, position: Position, vehicle: Vehicle, counter: int) -> Report | str | None:
        autopilot: KnownAutopilot = vehicle.autopilot
        delay_ns = round(parameters.delay_ms(route, self.settings, autopilot) * 1e6)
        if route is Route.GPS_INPUT:
            return gps_input.report(position, vehicle, self.settings)
        if route is Route.VISION:
            return vision.report(position, autopilot, delay_ns=delay_ns, reset_counter=counter)
        if route is Route.ODOMETRY:
            return odometry.report(position, vehicle, delay_ns=delay_ns, reset_counter=counter)
        if route is Route.GLOBAL_POSITION:
            return global_position.report(position, delay_ns=delay_ns)
        gnss = vehicle.gnss_available(position.at_ns)
        return self._estimates.report(position, autopilot, position.at_ns, gnss=gnss)

    # What the pilot reads

    def text(self, decision: Decision, now_ns: int) -> tuple[Severity, str] | None:
        """The line for the pilot when the state changed (`Telling`). What an operator does is told each time."""
        reason = False
        if decision.mirrored:
            severity, line = Severity.INFO, "repeating GNSS"
        elif decision.refusal is None:
            severity, line = Severity.NOTICE, "position found"
        else:
            severity, line, reason = Severity.WARNING, decision.refusal, decision.refusal not in _BY_OPERATOR
        told = self._telling.due(_PREFIX + line, now_ns, reason=reason)
        return None if told is None else (severity, told)
