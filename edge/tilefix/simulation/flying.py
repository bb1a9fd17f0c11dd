"""The stand-in's flight: vehicle, sensors, navigation, guidance. No protocol, clock or thread.

It steers by its estimate: with GNSS by the receiver's noisy position, without by dead reckoning that drifts, and by
positions given from outside once they pass `tilefix.simulation.navigation`. A wrong position makes it fly wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from tilefix.camera import rotation_deg
from tilefix.geodesy import LocalFrame
from tilefix.links.messages import AutopilotKind
from tilefix.simulation.acceptance.externalestimate import ExternalEstimate
from tilefix.simulation.acceptance.externalnav import LocalPosition
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.globalposition import GlobalPosition
from tilefix.simulation.acceptance.gnss import FED_BY_MAVLINK, GpsInput
from tilefix.simulation.acceptance.verdicts import Tally, Verdict
from tilefix.simulation.estimator import Estimator
from tilefix.simulation.leaning import CorrectedLean
from tilefix.simulation.navigates import Navigates
from tilefix.simulation.navigation import Navigation
from tilefix.simulation.noise import rng_for
from tilefix.simulation.ownreceiver import PERIOD_S as RECEIVER_PERIOD_S
from tilefix.simulation.ownreceiver import OwnReceiver
from tilefix.simulation.parameters import ParameterTable
from tilefix.simulation.px4navigation import Px4Navigation
from tilefix.simulation.vehicle import Course, Drift, Motion, SimulatedVehicle, between

TICK_NS = 10_000_000
_TICK_S = TICK_NS / 1e9
_RECEIVER_TICKS = round(RECEIVER_PERIOD_S / _TICK_S)
_RECEIVER_DELAY_NS = 200_000_000
_LANDING_MPS = 0.7
_WEATHER_M = 35.0  # how far the air is off the standard atmosphere
_STEERING_PER_S = 1.2
_RATE_TICKS = 10


@dataclass(frozen=True)
class AutopilotSettings:
    """What kind of autopilot this is.

    `receiver_index`: which of its receivers GPS_INPUT feeds (0-based), `None` for none. `parameters`: those that differ
    from the firmware's own. `armed`: it flies from the start on, with GNSS and an origin; else it stands as after
    power-up and flies once it is armed. `failsafe_lands`: a copter lands when its EKF gave up.
    `boot_offset_s`, `clock_drift`: its boot clock against the clock of the simulation. `rangefinder_m`: reach of a
    downward rangefinder, 0 = none. `yaw_error_deg`, `tilt_error_deg`: sigma of the slow error of the attitude that it
    reports. `lean_per_mps_deg`: how far it leans that attitude for each m/s by which what it is given corrects its
    velocity.
    """

    system_id: int = 1
    firmware: Firmware = field(default_factory=Firmware)
    receiver_index: int | None = 1
    parameters: Mapping[str, float] = field(default_factory=dict)
    armed: bool = True
    ground_amsl_m: float = 212.0
    failsafe_lands: bool = True
    boot_offset_s: float = 63.2
    clock_drift: float = 15e-6
    unix_start_s: int = 1_750_000_000
    rangefinder_m: float = 0.0
    yaw_error_deg: float = 1.0
    tilt_error_deg: float = 0.35
    accelerometer_bias_mps2: float = 0.04
    lean_per_mps_deg: float = 0.0

    def own_parameters(self) -> dict[str, float]:
        """`parameters`, and those that `receiver_index` and `failsafe_lands` stand for."""
        own: dict[str, float] = {}
        if self.firmware.kind is AutopilotKind.PX4:
            return dict(self.parameters)
        if self.receiver_index is not None:
            own[self.firmware.receiver_type(self.receiver_index)] = float(FED_BY_MAVLINK)
        if not self.failsafe_lands:
            own["FS_EKF_ACTION"] = 0.0
        return {**own, **self.parameters}


class Flying:
    """One flight from `start_ns` on, in ticks of 10 ms; the same seed and inputs give the same flight.

    `own` is its GNSS receiver, to be denied, jammed or spoofed; `nav` what it believes and what it took; `parameters`
    the autopilot's.
    """

    def __init__(
        self,
        vehicle: SimulatedVehicle,
        course: Course,
        frame: LocalFrame,
        *,
        start_ns: int,
        seed: int,
        settings: AutopilotSettings,
    ) -> None:
        self.settings = settings
        self.vehicle = vehicle
        self.frame = frame
        self.start_ns = start_ns
        self.ticks = 0
        self.armed = settings.armed
        rng = rng_for(seed, "autopilot")
        self._rng = rng
        self._bias = [Drift(rng, settings.accelerometer_bias_mps2, 60.0) for _ in range(2)]
        self.own = OwnReceiver(rng)
        firmware = settings.firmware
        self.parameters = ParameterTable.of(firmware.kind, firmware.airframe, firmware.version)
        self.parameters.put(**settings.own_parameters())
        self._baro_drift = Drift(rng, 0.3, 90.0)
        tilt, yaw = settings.tilt_error_deg, settings.yaw_error_deg
        self._attitude_error = [Drift(rng, sigma, 30.0) for sigma in (tilt, tilt, yaw)]
        self._lean = CorrectedLean(settings.lean_per_mps_deg)
        self.motions: list[Motion] = [vehicle.motion]
        self._course = course
        self.nav = self._navigation(flying=settings.armed)
        self.estimates: list[tuple[float, float]] = [self.estimator.position]

    def _navigation(self, *, flying: bool) -> Navigates:
        firmware, ground_amsl_m = self.settings.firmware, self.settings.ground_amsl_m
        start, parameters = self.vehicle.motion, self.parameters
        if firmware.kind is AutopilotKind.PX4:
            return Px4Navigation(
                *(self.frame, parameters, self.own, start),
                version=firmware.version,
                ground_amsl_m=ground_amsl_m,
                flying=flying,
            )
        known = (self.frame, firmware, parameters, self.own, start)
        return Navigation(*known, ground_amsl_m=ground_amsl_m, flying=flying)

    def reboot(self) -> None:
        """The autopilot starts anew: what it knew of where it is, is gone; the vehicle flies on as it does."""
        self.parameters.reboot()
        self.nav = self._navigation(flying=False)
        self.nav.settle(self.now_s)
        self._lean = CorrectedLean(self.settings.lean_per_mps_deg)

    @property
    def now_s(self) -> float:
        """Seconds flown."""
        return self.ticks * _TICK_S

    @property
    def estimator(self) -> Estimator:
        """Where it believes to be."""
        return self.nav.estimator

    @property
    def tally(self) -> Tally:
        """What became of the positions that it was given."""
        return self.nav.tally

    @property
    def events(self) -> list[str]:
        """What it told of itself, in order."""
        return self.nav.events

    @property
    def landing(self) -> bool:
        """True once its EKF failsafe ended the flight."""
        return self.nav.landing

    @property
    def gnss_denied(self) -> bool:
        """True while its own receiver has no fix because it was taken away."""
        return self.own.denied

    @gnss_denied.setter
    def gnss_denied(self, denied: bool) -> None:
        self.own.denied = denied

    def truth_at(self, at_ns: int) -> Motion:
        """The true motion at an instant, clipped to what was flown; for cameras and for scoring."""
        place = min(max((at_ns - self.start_ns) / TICK_NS, 0.0), len(self.motions) - 1.0)
        index = min(int(place), max(len(self.motions) - 2, 0))
        later = self.motions[min(index + 1, len(self.motions) - 1)]
        return between(self.motions[index], later, place * _TICK_S)

    def tick(self) -> None:
        """Flies on by one tick."""
        self.ticks += 1
        motion = self._steer() if self.armed else self._stand()
        self.motions.append(motion)
        leaned = self._lean.push_mps2
        measured = [
            bias.step(_TICK_S) + float(self._rng.normal(0.0, 0.05)) + off
            for bias, off in zip(self._bias, leaned, strict=True)
        ]
        self.estimator.predict(self.now_s, motion.east_mps2 + measured[0], motion.north_mps2 + measured[1])
        self.own.step(self.now_s, _TICK_S)
        for drift in (self._baro_drift, *self._attitude_error):
            drift.step(_TICK_S)
        if self.ticks % _RECEIVER_TICKS == 0:
            then = self.truth_at(self.start_ns + self.ticks * TICK_NS - _RECEIVER_DELAY_NS)
            with self._leaning():
                self.nav.own_sample(then, flying=self.armed)
        self.nav.update(self.now_s, armed=self.armed)
        self.estimates.append(self.estimator.position)

    def _steer(self) -> Motion:
        east_mps, north_mps = self._course.velocity(*self.estimator.position)
        climb_mps = 0.0
        if self.landing:
            east_mps, north_mps, climb_mps = 0.0, 0.0, -_LANDING_MPS if self.vehicle.motion.agl_m > 1.0 else 0.0
        believed = self.estimator.velocity
        push = (_STEERING_PER_S * (east_mps - believed[0]), _STEERING_PER_S * (north_mps - believed[1]))
        moving = math.hypot(east_mps, north_mps) > 0.5
        heading = math.degrees(math.atan2(east_mps, north_mps)) if moving else self.vehicle.motion.yaw_deg
        return self.vehicle.step(_TICK_S, push[0], push[1], climb_mps, heading)

    def _stand(self) -> Motion:
        """On the ground, as high as it started."""
        was = self.vehicle.motion
        place = (was.east_m, was.north_m, was.agl_m)
        self.vehicle.motion = Motion(was.at_s + _TICK_S, *place, 0.0, 0.0, 0.0, 0.0, 0.0, was.yaw_deg)
        return self.vehicle.motion

    @contextmanager
    def _leaning(self) -> Iterator[None]:
        """Lets the attitude follow what corrects the velocity meanwhile."""
        before = self.estimator.velocity
        yield
        self._lean.corrected(before, self.estimator.velocity)

    def take_position(self, given: GpsInput) -> Verdict:
        """Judges and, when it passes, fuses a position that came as GPS_INPUT."""
        with self._leaning():
            return self.nav.take_position(given, flying=self.armed)

    def take_local(self, given: LocalPosition) -> Verdict:
        """Judges and, when it passes, fuses metres from the origin."""
        with self._leaning():
            return self.nav.take_local(given)

    def take_estimate(self, given: ExternalEstimate) -> Verdict:
        """Judges and, when it passes, is set to a position that came as a command."""
        with self._leaning():
            return self.nav.take_estimate(given)

    def take_global(self, given: GlobalPosition) -> Verdict:
        """Judges and, when it passes, fuses a position from a map."""
        with self._leaning():
            return self.nav.take_global(given)

    @property
    def has_position(self) -> bool:
        """False once no source gave a position for as long as makes ArduPilot give its own up."""
        return self.nav.has_position

    @property
    def reported_position(self) -> tuple[float, float]:
        """(east_m, north_m) as it tells others: frozen after 15 s without any position, as ArduPilot's is."""
        return self.nav.reported_position

    @property
    def amsl_m(self) -> float:
        """True height above mean sea level."""
        return self.settings.ground_amsl_m + self.vehicle.motion.agl_m

    def sensed_attitude_deg(self) -> tuple[float, float, float]:
        """(roll, pitch, yaw) as it reports them, yaw within -180 to 180."""
        true, errors = self.vehicle.motion, self._attitude_error
        leaned = self._lean.roll_pitch_deg(true)
        yaw_deg = (true.yaw_deg + errors[2].value + 180.0) % 360.0 - 180.0
        return true.roll_deg + errors[0].value + leaned[0], true.pitch_deg + errors[1].value + leaned[1], yaw_deg

    def sensed_rates_dps(self, ticks: int) -> tuple[float, float, float]:
        """How fast it turned about its own axes, as its gyroscopes say of the last so many ticks, ten at most: a rate
        of one instant would, at 40 Hz, miss most of the airframe's shake."""
        ticks = min(ticks, _RATE_TICKS, len(self.motions) - 1)
        if ticks <= 0:
            return 0.0, 0.0, 0.0
        then, now = (
            rotation_deg(one.roll_deg, one.pitch_deg, one.yaw_deg) for one in self.motions[-1 - ticks :: ticks]
        )
        vector = np.degrees(cv2.Rodrigues(then.T @ now)[0].ravel()) / (ticks * _TICK_S)
        return float(vector[0]), float(vector[1]), float(vector[2])

    def sensed_pressure_hpa(self) -> float:
        """Static pressure with drift, noise and weather. Source: ICAO standard atmosphere, troposphere."""
        altitude_m = self.amsl_m + self._baro_drift.value + float(self._rng.normal(0.0, 0.1)) + _WEATHER_M
        return float(1013.25 * (1.0 - 0.0065 * altitude_m / 288.15) ** 5.25588)

    def sensed_gnss(self) -> tuple[float, float, float]:
        """(east_m, north_m, amsl_m) of its own receiver, with its slow errors."""
        return (*self.own.position(self.vehicle.motion), self.own.amsl_m(self.amsl_m))
