"""The stand-in's navigation as ArduPilot does it: receivers, checks, sources and the estimate that they correct. Pure.

Where EKF3 has rules for what it takes and when it gives up, they stand in `tilefix.simulation.acceptance`; this puts
them together around `tilefix.simulation.estimator`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilefix.geodesy import LocalFrame
from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.aiding import Aiding
from tilefix.simulation.acceptance.alignment import AlignmentChecks
from tilefix.simulation.acceptance.arming import ReceiverState, gps_failure, vision_failure
from tilefix.simulation.acceptance.externalestimate import FRESH_S, LATEST_S, ExternalEstimate, denied
from tilefix.simulation.acceptance.externalnav import LocalPosition, VisualOdometry
from tilefix.simulation.acceptance.failsafe import PERIOD_S as CHECK_PERIOD_S
from tilefix.simulation.acceptance.failsafe import EkfCheck, lands
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.gates import LEAST_SPEED_MPS, Gates
from tilefix.simulation.acceptance.globalposition import GlobalPosition
from tilefix.simulation.acceptance.gnss import FIX_3D, GpsInput, MavlinkReceiver
from tilefix.simulation.acceptance.jitter import JitterCorrection
from tilefix.simulation.acceptance.origin import EkfOrigin
from tilefix.simulation.acceptance.parameters import Parameters
from tilefix.simulation.acceptance.receivers import OWN, Receivers
from tilefix.simulation.acceptance.sources import Source, SourceSets
from tilefix.simulation.acceptance.verdicts import Flaw, Tally, Verdict
from tilefix.simulation.estimator import Estimator, Pair
from tilefix.simulation.ownreceiver import OwnReceiver
from tilefix.simulation.vehicle import Motion

BUFFER_S = 0.25  # the estimator looks back no further
_CLOSEST_S = 0.05
_OWN_DELAY_S = 0.2
_ENVELOPE_S = 5.0
_LEAST_POSITION_M, _MOST_POSITION_M = 0.5, 100.0
_MOST_SPEED_MPS = 50.0
_UNKNOWN_SPEED_MPS = 25.0
_MISDATED_S = 0.3
# From power-up: level after 8 s, gyros learned after 40 s (flown: "EKF3 is using GPS" 42.5 s after the start).
_LEVEL_S, _GYROS_S = 8.0, 40.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A receiver's position as the estimator gets it; metres, east and north."""

    position: Pair
    velocity: Pair
    age_s: float


class Navigation:
    """Where the autopilot believes to be, and what it makes of positions that it is given.

    `landing`: the EKF failsafe ended the flight; `events`: the lines that it told, with what they are worth.
    """

    def __init__(
        self,
        frame: LocalFrame,
        firmware: Firmware,
        parameters: Parameters,
        own: OwnReceiver,
        start: Motion,
        *,
        ground_amsl_m: float,
        flying: bool,
    ) -> None:
        self.firmware = firmware
        self.parameters = parameters
        self.receivers = Receivers(firmware, parameters, own)
        self.estimator = Estimator(start.east_m, start.north_m, start.east_mps, start.north_mps)
        self.sources = SourceSets(parameters)
        self.checks = AlignmentChecks()
        self.aiding = Aiding(airspeed=firmware.airframe is Airframe.PLANE, absolute=flying)
        self.vision = VisualOdometry(firmware, parameters)
        self.link_clock = JitterCorrection()
        self.clock_offset_s: float | None = None  # it maps stamps by its own filter
        self.origin = EkfOrigin((frame.lat_deg, frame.lon_deg, ground_amsl_m) if flying else None)
        self.gates = Gates(self.estimator, self.aiding, self.checks, parameters)
        self.tally = Tally()
        self.failsafe = EkfCheck()
        self.landing = False
        self.events: list[str] = []
        self._frame = frame
        self._own = own
        self._ground_amsl_m = ground_amsl_m
        self._settled = flying
        self._born_s = 0.0
        self._now_s = 0.0
        self._checked_s = 0.0
        self._sample_s = -1.0
        self._used: int | None = OWN if flying else None
        self._source = self.sources.position
        self._source_changed = False
        self._last_position: Pair | None = None
        self._position_error_m = self._speed_error_mps = 0.0
        self._frozen: Pair | None = None

    # Time

    def update(self, now_s: float, *, armed: bool) -> None:
        """Looks at the time: receivers in use, timeouts, failsafe."""
        self._now_s = now_s
        self.receivers.update(now_s)
        if self.sources.position != self._source:
            self._source = self.sources.position
            self._source_changed = self._source != Source.NONE
        if self.aiding.update(now_s):
            self.events.append("EKF3 IMU0 stopped aiding")
        if self.aiding.absolute:
            self._frozen = None
        elif self._frozen is None:
            self._frozen = self.estimator.position
        if now_s - self._checked_s >= CHECK_PERIOD_S - 1e-9 and self.firmware.airframe is Airframe.COPTER:
            self._checked_s = now_s
            self._check_failsafe(armed=armed)

    def _check_failsafe(self, *, armed: bool) -> None:
        if self.origin.place is None:
            return
        told = self.failsafe.update(
            has_position=self.has_position, velocity_ratio=self.gates.velocity_test, parameters=self.parameters
        )
        self.events.extend(told)
        if "EKF variance" in told and armed:
            if lands(self.parameters):
                self.landing = True
                self.events.append("EKF Failsafe: changed to LAND Mode")
            else:
                self.events.append("EKF Failsafe")

    def settle(self, now_s: float) -> None:
        """The clock at which this navigation was started: gyros and level are learned from here on."""
        self._born_s = self._now_s = self._checked_s = now_s

    @property
    def level(self) -> bool:
        """True once it knows which way is down."""
        return self._settled or self._now_s - self._born_s >= _LEVEL_S

    @property
    def ready(self) -> bool:
        """True once it may start to navigate by a receiver."""
        wait_s = _LEVEL_S if self.firmware.airframe is Airframe.PLANE else _GYROS_S
        return self._settled or self._now_s - self._born_s >= wait_s

    @property
    def has_position(self) -> bool:
        """False once it gave its position up."""
        return self.aiding.absolute and not self.aiding.position_lost

    @property
    def reported_position(self) -> Pair:
        """(east_m, north_m) as it tells others: frozen after 15 s without any position, as ArduPilot's is."""
        return self._frozen or self.estimator.position

    @property
    def flags(self) -> int:
        """What EKF_STATUS_REPORT says."""
        return self.aiding.flags()

    @property
    def tests(self) -> tuple[float, float]:
        """How far the last velocity and the last position lay off, against their gates."""
        return self.gates.velocity_test, self.gates.position_test

    def fed(self, number: int) -> MavlinkReceiver | None:
        """The receiver of that number, where GPS_INPUT feeds it."""
        return self.receivers.fed.get(number)

    def select_sources(self, number: float) -> bool:
        """Changes to a set of sources; false when there is no such set."""
        return self.sources.select(number)

    def set_origin(self, lat_deg: float, lon_deg: float, amsl_m: float) -> bool:
        """Takes an origin from outside; false when it is refused."""
        if self.sources.position == Source.GPS and not self.firmware.sets_origin_beside_receivers:
            self.events.append("EKF3 refusing set origin")
            return False
        return self.origin.set(lat_deg, lon_deg, amsl_m)

    # Receivers

    def own_sample(self, then: Motion, *, flying: bool) -> None:
        """Its own receiver measured; `then`: the truth as long ago as the receiver is late."""
        if OWN in self.receivers.fed or OWN not in self.receivers.present:
            return
        sample = Sample(self._own.position(then), self._own.velocity(then), _OWN_DELAY_S)
        self._take_sample(OWN, sample, self._now_s, flying=flying)

    def take_position(self, given: GpsInput, *, flying: bool) -> Verdict:
        """Judges and, when it passes, fuses a position that came as GPS_INPUT."""
        wanted = [one for one in self.receivers.fed.values() if one.wants(given)]
        if not wanted:
            return self.tally.note(Verdict.WRONG_RECEIVER if self.receivers.fed else Verdict.NOT_SET_UP)
        for receiver in wanted:
            flaws = receiver.take(given, self._now_s)
            message_s = self._now_s if receiver.message_s is None else receiver.message_s
            age_s = self._now_s - message_s + receiver.delay_s(self.parameters)
            at = self._frame.to_local(given.lat_deg, given.lon_deg)
            sample = Sample(at, receiver.velocity_mps, min(age_s, BUFFER_S))
            verdict = self._take_sample(receiver.number, sample, message_s, flying=flying)
            if verdict in (Verdict.FUSED, Verdict.SPARE, Verdict.GATED):
                late = (Flaw.LATE,) if age_s > BUFFER_S + 1e-6 else ()
                gated = (Flaw.VELOCITY_GATED,) if verdict is Verdict.FUSED and self.gates.velocity_test >= 1.0 else ()
                flaws = (*flaws, *late, *gated)
            self.tally.note(verdict, *flaws)
        return verdict

    def _take_sample(self, number: int, sample: Sample, message_s: float, *, flying: bool) -> Verdict:
        stated = self.receivers.present[number]
        if stated.fix_type < FIX_3D:
            return Verdict.NO_FIX
        if number != self.receivers.primary:
            return Verdict.SPARE
        if message_s - self._sample_s <= _CLOSEST_S - 1e-6:
            return Verdict.TOO_CLOSE
        since_s, self._sample_s = min(message_s - self._sample_s, _ENVELOPE_S), message_s
        self._note_errors(number, since_s)
        moved_m = 0.0 if self._last_position is None else math.dist(sample.position, self._last_position)
        self._last_position = sample.position
        receiver = self.receivers.fed.get(number, self._own)
        self.checks.check(receiver, self._now_s, self.parameters, None if flying else moved_m)
        if self.checks.good and self.origin.place is None:
            self.origin.set(*self._frame.to_geodetic(*sample.position), self._ground_amsl_m)
            self.events.append("EKF3 IMU0 origin set")
        if self.sources.position != Source.GPS:
            return Verdict.SPARE
        if not self.aiding.absolute:
            return self._start(number, sample)
        if number != self._used or self._source_changed:
            self._used, self._source_changed = number, False
            self.estimator.reset_position(sample.position, sample.age_s)
        return self._fuse(sample, velocity=self.sources.uses_velocity_of(Source.GPS))

    def _note_errors(self, number: int, since_s: float) -> None:
        """The largest errors stated lately, fading over five seconds."""
        receiver = self.receivers.fed.get(number, self._own)
        keep = 1.0 - since_s / _ENVELOPE_S
        least_m = self.parameters.effective("EK3_POSNE_M_NSE", _LEAST_POSITION_M)
        self._position_error_m = max(self._position_error_m * keep, receiver.horizontal_m, least_m)
        self._speed_error_mps = max(self._speed_error_mps * keep, receiver.speed_mps, LEAST_SPEED_MPS)

    def _start(self, number: int, sample: Sample) -> Verdict:
        if not (self.ready and self.checks.good and self.origin.place is not None):
            return Verdict.NOT_ALIGNED
        self._used = number
        self.aiding.start(self._now_s)
        self.estimator.reset_velocity(sample.velocity, self._speed_error_mps)
        self.estimator.reset_position(sample.position, sample.age_s, self._position_error_m)
        self.events.append("EKF3 IMU0 is using GPS")
        return Verdict.FUSED

    def _fuse(self, sample: Sample, *, velocity: bool) -> Verdict:
        sigma_m = min(self._position_error_m, _MOST_POSITION_M)
        carried = (sample.velocity, self._speed_error_mps)
        verdict = self.gates.take_position(sample.position, sigma_m, sample.age_s, self._now_s, velocity=carried)
        if velocity:
            sigma_mps = min(self._speed_error_mps, _MOST_SPEED_MPS)
            self.gates.take_velocity(sample.velocity, sigma_mps, sample.age_s, self._now_s)
        return verdict

    # Other ways

    def take_local(self, given: LocalPosition) -> Verdict:
        """Judges and, when it passes, fuses metres from the origin."""
        at_s = self.link_clock.local_s(given.stamp_s, self._now_s)
        age_s = self._now_s - at_s + self.vision.delay_s()
        flaws = [Flaw.MISDATED] if self._now_s - at_s > _MISDATED_S else []
        if age_s > BUFFER_S + 1e-6:
            flaws.append(Flaw.LATE)
        if given.variances is None or not any(given.variances):
            flaws.append(Flaw.NO_ACCURACY)
        refusal = self.vision.refusal(given, at_s, self._now_s)
        verdict = refusal or self._take_local(given, min(age_s, BUFFER_S))
        taken = verdict in (Verdict.FUSED, Verdict.SPARE, Verdict.GATED)
        return self.tally.note(verdict, *(flaws if taken else ()))

    def _take_local(self, given: LocalPosition, age_s: float) -> Verdict:
        jumped = self.vision.jumped(given)
        place = self.origin.to_geodetic(given.north_m, given.east_m)
        if place is None:
            return Verdict.NO_ORIGIN
        if self.sources.position != Source.EXTERNAL_NAV:
            return Verdict.SPARE
        position, sigma_m = self._frame.to_local(*place), self.vision.sigma_m(given.variances)
        if self.firmware.weighs_vision_as_receiver and self._position_error_m > 0.0:
            sigma_m = self._position_error_m
        velocity = given.velocity if self.sources.uses_velocity_of(Source.EXTERNAL_NAV) else None
        if not self.aiding.absolute:
            if not self.level:
                return Verdict.NOT_ALIGNED
            self.aiding.start(self._now_s)
            self.estimator.reset_velocity(velocity or (0.0, 0.0), _UNKNOWN_SPEED_MPS)
            self.estimator.reset_position(position, age_s, sigma_m)
            self._source_changed = False
            self.events.append("EKF3 IMU0 is using external nav data")
            return Verdict.FUSED
        if jumped or self._source_changed:
            self._source_changed = False
            self.estimator.reset_position(position, age_s)
        sigma_mps = self.parameters.effective("VISO_VEL_M_NSE", 0.1)
        carried = None if velocity is None else (velocity, sigma_mps)
        verdict = self.gates.take_position(position, sigma_m, age_s, self._now_s, velocity=carried)
        if velocity is not None:
            self.gates.take_velocity(velocity, sigma_mps, age_s, self._now_s)
        return verdict

    def take_estimate(self, given: ExternalEstimate) -> Verdict:
        """Judges and, when it passes, is set to a position: the answer is ACCEPTED for `FUSED`, DENIED for `DENIED`,
        else FAILED."""
        if denied(given, self.firmware):
            return self.tally.note(Verdict.DENIED)
        at_s = self.link_clock.local_s(given.sent_s, self._now_s)
        flaws = (Flaw.MISDATED,) if self._now_s - at_s > _MISDATED_S else ()
        if not self.aiding.absolute:
            return self.tally.note(Verdict.STOPPED_AIDING, *flaws)
        if self.origin.place is None:
            return self.tally.note(Verdict.NO_ORIGIN, *flaws)
        if self._now_s - self.aiding.position_s < FRESH_S:
            return self.tally.note(Verdict.POSITION_FRESH, *flaws)
        age_s = min(max(self._now_s - at_s + given.processing_s, 0.0), LATEST_S)
        east_m, north_m = self._frame.to_local(given.lat_deg, given.lon_deg)
        east_mps, north_mps = self.estimator.velocity
        least_m = self.parameters.effective("EK3_POSNE_M_NSE", _LEAST_POSITION_M)
        sigma_m = least_m if math.isnan(given.sigma_m) else max(given.sigma_m, least_m)
        self.estimator.reset_position((east_m + age_s * east_mps, north_m + age_s * north_mps), 0.0, sigma_m)
        return self.tally.note(Verdict.FUSED, *flaws)

    def take_global(self, given: GlobalPosition) -> Verdict:
        """ArduPilot has no ear for GLOBAL_POSITION_SENSOR."""
        del given
        return self.tally.note(Verdict.UNSUPPORTED)

    # Before take-off

    def arming_failures(self, true: Motion) -> list[str]:
        """Why it does not arm, in its own words; none when it does. `true`: the motion now."""
        if int(self.parameters.effective("ARMING_CHECK", 1.0)) == 0:
            return []
        states = [
            ReceiverState(
                number,
                receiver.fix_type,
                number not in self.receivers.fed or self.receivers.fed[number].even,
                self._place_of(number, true),
            )
            for number, receiver in self.receivers.present.items()
        ]
        known = self.origin.place is not None and self.has_position
        gps = gps_failure(states, self.receivers.primary, self.estimator.position if known else None)
        needed = self.sources.names(Source.EXTERNAL_NAV)
        vision = vision_failure(needed=needed, present=self.vision.present, healthy=self.vision.healthy(self._now_s))
        failures = [one for one in (gps, vision) if one is not None]
        if not self.has_position:
            failures.append("Need Position Estimate")
        return failures

    def _place_of(self, number: int, true: Motion) -> Pair | None:
        fed = self.receivers.fed.get(number)
        if fed is None:
            return self._own.position(true)
        return None if fed.position_deg is None else self._frame.to_local(*fed.position_deg)
