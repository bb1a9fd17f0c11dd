"""The stand-in's navigation as PX4's EKF2 does it, as far as positions from outside go. Pure.

Its own receiver and every slot for global positions are fused side by side; nothing switches. Five seconds without any
of them end the position. MAVLink stamps are mapped by the offset that TIMESYNC gave, and are taken for now before there
is one. GPS_INPUT and positions as commands are not taken.
Source: PX4 EKF2, mavlink_receiver and mavlink_timesync of commit 02e73e3b6f, and that program in its own simulator
(tests/contract/test_px4_acceptance.py).
"""

from __future__ import annotations

import math

from tilefix.geodesy import LocalFrame
from tilefix.simulation.acceptance.aiding import GOOD, STOPPED
from tilefix.simulation.acceptance.externalestimate import ExternalEstimate
from tilefix.simulation.acceptance.externalnav import LocalPosition
from tilefix.simulation.acceptance.externalvision import ExternalVision
from tilefix.simulation.acceptance.globalposition import SLOTS, GlobalPosition, GlobalPositionSlot
from tilefix.simulation.acceptance.gnss import GpsInput, MavlinkReceiver
from tilefix.simulation.acceptance.origin import EkfOrigin
from tilefix.simulation.acceptance.parameters import Parameters
from tilefix.simulation.acceptance.verdicts import Tally, Verdict
from tilefix.simulation.estimator import Estimator, Pair
from tilefix.simulation.ownreceiver import OwnReceiver
from tilefix.simulation.vehicle import Motion

_OWN_DELAY_S = 0.2
_LOST_S, _USED_S = 5.0, 7.0
_GATE, _LEAST_M, _LEAST_MPS = 5.0, 0.5, 0.3
_VISION_POSITION, _VISION_VELOCITY = 1, 4  # bits of EKF2_EV_CTRL
_HORIZON_S, _CLOCK_S = 0.3, 0.01
_WITH_FRAMES = (1, 20)  # MAV_FRAME_LOCAL_NED, MAV_FRAME_LOCAL_FRD
_FROM_VISION = (0, 1, 2, 3)  # MAV_ESTIMATOR_TYPE: unknown, naive, vision, visual-inertial


class Px4Navigation:
    """Where PX4 believes to be, and what it makes of positions that it is given."""

    def __init__(
        self,
        frame: LocalFrame,
        parameters: Parameters,
        own: OwnReceiver,
        start: Motion,
        *,
        version: tuple[int, int, int],
        ground_amsl_m: float,
        flying: bool,
    ) -> None:
        self.estimator = Estimator(start.east_m, start.north_m, start.east_mps, start.north_mps)
        self.origin = EkfOrigin((frame.lat_deg, frame.lon_deg, ground_amsl_m) if flying else None)
        self.tally = Tally()
        self.events: list[str] = []
        self.landing = False
        self.clock_offset_s: float | None = None
        self.slots = [GlobalPositionSlot(number, parameters, self.estimator) for number in range(SLOTS)]
        self._slot: GlobalPositionSlot | None = None
        self._takes_global = version >= (1, 18, 0)
        self._parameters = parameters
        self._frame = frame
        self._own = own
        self._ground_amsl_m = ground_amsl_m
        self._now_s = 0.0
        self._position_s = 0.0 if flying else -_LOST_S - 1.0
        self._own_s = -_USED_S - 1.0
        self._vision = ExternalVision(parameters, self.estimator)
        self._flying = flying

    def settle(self, now_s: float) -> None:
        """It was started at `now_s`."""
        self._now_s = now_s
        self._position_s = now_s - _LOST_S - 1.0

    def update(self, now_s: float, *, armed: bool) -> None:
        """Looks at the time."""
        self._now_s = now_s
        self._flying = armed
        self._vision.watch(now_s)
        for slot in self.slots:
            slot.watch(now_s)
        if armed and not self.has_position and not self.landing and self.origin.place is not None:
            self.landing = True
            self.events.append("Failsafe activated: no global position")

    @property
    def has_position(self) -> bool:
        """False once nothing told where it is for five seconds."""
        return self._now_s - self._position_s <= _LOST_S

    @property
    def tests(self) -> tuple[float, float]:
        """Not told."""
        return 0.0, 0.0

    def fed(self, number: int) -> MavlinkReceiver | None:
        """None: PX4 takes no GPS_INPUT."""
        del number
        return None

    def select_sources(self, number: float) -> bool:
        """False: PX4 has no sets of sources."""
        del number
        return False

    def set_origin(self, lat_deg: float, lon_deg: float, amsl_m: float) -> bool:
        """Takes an origin from outside; false when it has one."""
        return self.origin.set(lat_deg, lon_deg, amsl_m)

    def arming_failures(self, true: Motion) -> list[str]:
        """Why it does not arm."""
        del true
        return [] if self.has_position else ["Preflight Fail: global position"]

    def take_position(self, given: GpsInput, *, flying: bool) -> Verdict:
        """PX4 takes no GPS_INPUT."""
        del given, flying
        return self.tally.note(Verdict.UNSUPPORTED)

    def take_estimate(self, given: ExternalEstimate) -> Verdict:
        """Not modelled: tilefix sends PX4 none."""
        del given
        return self.tally.note(Verdict.UNSUPPORTED)

    @property
    def flags(self) -> int:
        """What ESTIMATOR_STATUS says."""
        return GOOD if self.has_position else STOPPED

    @property
    def reported_position(self) -> Pair:
        """(east_m, north_m) as it tells others."""
        return self.estimator.position

    def own_sample(self, then: Motion, *, flying: bool) -> None:
        """Its own receiver measured; `then`: the truth as long ago as the receiver is late."""
        del flying
        if self._own.fix_type < 3:
            return
        position, velocity = self._own.position(then), self._own.velocity(then)
        if self.origin.place is None:
            self.origin.set(*self._frame.to_geodetic(*position), self._ground_amsl_m)
            self.estimator.reset_position(position, _OWN_DELAY_S, _LEAST_M)
        sigma_m, sigma_mps = max(self._own.horizontal_m, _LEAST_M), max(self._own.speed_mps, _LEAST_MPS)
        if self.estimator.velocity_ratio(velocity, sigma_mps, _OWN_DELAY_S, _GATE) < 1.0:
            self.estimator.fuse_velocity(velocity, sigma_mps, _OWN_DELAY_S)
        if self.estimator.axis_ratio(position, sigma_m, _OWN_DELAY_S, _GATE) < 1.0:
            self.estimator.fuse_position(position, sigma_m, _OWN_DELAY_S)
            self._own_s = self._position_s = self._now_s

    def take_global(self, given: GlobalPosition) -> Verdict:
        """Judges and, when it passes, fuses a GLOBAL_POSITION_SENSOR."""
        if not self._takes_global:
            return self.tally.note(Verdict.UNSUPPORTED)
        if not any(one.sensor for one in self.slots):
            return self.tally.note(Verdict.NOT_SET_UP)
        if self._slot is None:
            self._slot = self._slot_of(given.sensor)
        slot = self._slot
        if slot is None or not slot.sensor:
            return self.tally.note(Verdict.WRONG_SENSOR)
        others = [one for one in self.slots if one is not slot and one.active]
        fresh = self._uses_own or self._vision.active
        verdict, flaws = slot.take(given, self._now_s, self._frame.to_local, alone=not (fresh or others))
        if verdict is Verdict.FUSED:
            self._position_s = self._now_s
            if self.origin.place is None:
                self.origin.set(given.lat_1e7 / 1e7, given.lon_1e7 / 1e7, self._ground_amsl_m)
        return self.tally.note(verdict, *flaws)

    @property
    def _uses_own(self) -> bool:
        """True until nothing good came of its own receiver for seven seconds."""
        return self._now_s - self._own_s <= _USED_S

    def _slot_of(self, sensor: int) -> GlobalPositionSlot | None:
        """The slot of that id, else the first one that is off."""
        wanted = (sensor, 0)
        return next((one for what in wanted for one in self.slots if one.sensor == what), None)

    def take_local(self, given: LocalPosition) -> Verdict:
        """Judges and, when it passes, fuses an ODOMETRY or VISION_POSITION_ESTIMATE."""
        if not int(self._parameters.effective("EKF2_EV_CTRL", 0.0)) & _VISION_POSITION:
            return self.tally.note(Verdict.NOT_SET_UP)
        if given.estimator not in _FROM_VISION:
            self.events.append(f"ODOMETRY: estimator_type {given.estimator} unsupported")
            return self.tally.note(Verdict.UNSUPPORTED)
        if given.frames is not None and given.frames[0] not in _WITH_FRAMES:
            return self.tally.note(Verdict.WRONG_FRAME)
        age_s = self._age_s(given.stamp_s) + self._parameters.effective("EKF2_EV_DELAY", 0.0) / 1000.0
        if not -_CLOCK_S <= age_s < _HORIZON_S:
            return self.tally.note(Verdict.OUT_OF_TIME)
        place = self.origin.to_geodetic(given.north_m, given.east_m)
        if place is None:
            return self.tally.note(Verdict.NO_ORIGIN)
        verdict = self._vision.take(
            given, self._frame.to_local(*place), age_s, self._now_s, gnss=self._uses_own, flying=self._flying
        )
        if verdict is not Verdict.FUSED:
            return self.tally.note(verdict)
        self._position_s = self._now_s
        self._take_velocity(given, age_s)
        return self.tally.note(Verdict.FUSED)

    def _take_velocity(self, given: LocalPosition, age_s: float) -> None:
        """Fuses an ODOMETRY's velocity where that is switched on, by the variance that comes with it."""
        wanted = int(self._parameters.effective("EKF2_EV_CTRL", 0.0)) & _VISION_VELOCITY
        if not wanted or given.velocity is None or not all(map(math.isfinite, given.velocity)):
            return
        least_mps = self._parameters.effective("EKF2_EVV_NOISE", 0.1)
        told = given.velocity_variances
        sigma_mps = least_mps if told is None else max(math.sqrt(max(*told[:2], 0.0)), least_mps)
        gate = max(self._parameters.effective("EKF2_EVV_GATE", 3.0), 1.0)
        if self.estimator.velocity_ratio(given.velocity, sigma_mps, age_s, gate) < 1.0:
            self.estimator.fuse_velocity(given.velocity, sigma_mps, age_s)

    def _age_s(self, stamp_s: float) -> float:
        return 0.0 if self.clock_offset_s is None else self._now_s - (stamp_s + self.clock_offset_s)
