"""The stand-in's flight: vehicle, sensors, its own estimate, guidance and failsafes. No protocol, clock or thread.

It steers by its estimate: with GNSS by the receiver's noisy position, without by dead reckoning that drifts, and by
positions given from outside once they pass `tilefix.simulation.receiver`. A wrong position makes it fly wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilefix.geodesy import LocalFrame
from tilefix.simulation.estimator import Estimator
from tilefix.simulation.noise import rng_for
from tilefix.simulation.receiver import IGNORE_VELOCITY, GpsInput, MavlinkReceiver, Verdict
from tilefix.simulation.vehicle import Course, Drift, Motion, SimulatedVehicle, between

TICK_NS = 10_000_000
_TICK_S = TICK_NS / 1e9
_RECEIVER_TICKS = 20  # its own receiver measures at 5 Hz
_LOST_S, _FAILSAFE_S, _STOPPED_AIDING_S = 7.0, 8.0, 15.0
_LANDING_MPS = 0.7
_WEATHER_M = 35.0  # how far the air is off the standard atmosphere
_STEERING_PER_S = 1.2


@dataclass(frozen=True)
class AutopilotSettings:
    """What kind of autopilot this is.

    `receiver_index`: which of its receivers GPS_INPUT feeds (0-based). `declared_delay_s`: how old it takes a fed
    position to be (GPSn_DELAY_MS). `failsafe_lands`: a copter lands 8 s after its last position. `boot_offset_s`,
    `clock_drift`: its boot clock against the clock of the simulation. `rangefinder_m`: reach of a downward
    rangefinder, 0 = none. `yaw_error_deg`, `tilt_error_deg`: sigma of the slow error of the attitude that it reports.
    """

    system_id: int = 1
    receiver_index: int = 1
    ground_amsl_m: float = 212.0
    declared_delay_s: float = 0.2
    failsafe_lands: bool = True
    boot_offset_s: float = 63.2
    clock_drift: float = 15e-6
    unix_start_s: int = 1_750_000_000
    rangefinder_m: float = 0.0
    yaw_error_deg: float = 1.0
    tilt_error_deg: float = 0.35
    accelerometer_bias_mps2: float = 0.04


class Flying:
    """One flight from `start_ns` on, in ticks of 10 ms; the same seed and inputs give the same flight."""

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
        self.gnss_denied = False
        self.landing = False
        self.events: list[str] = []
        self.receiver = MavlinkReceiver(settings.receiver_index)
        start = vehicle.motion
        self.estimator = Estimator(start.east_m, start.north_m, start.east_mps, start.north_mps)
        self.estimates: list[tuple[float, float]] = [self.estimator.position]
        self.motions: list[Motion] = [start]
        self._course = course
        self._aligned = True  # it took off with GNSS
        self._frozen: tuple[float, float] | None = None
        rng = rng_for(seed, "autopilot")
        self._rng = rng
        self._bias = [Drift(rng, settings.accelerometer_bias_mps2, 60.0) for _ in range(2)]
        self._gnss_error = [Drift(rng, 0.7, 40.0) for _ in range(2)]
        self._height_error = Drift(rng, 0.8, 60.0)
        self._baro_drift = Drift(rng, 0.3, 90.0)
        tilt, yaw = settings.tilt_error_deg, settings.yaw_error_deg
        self._attitude_error = [Drift(rng, sigma, 30.0) for sigma in (tilt, tilt, yaw)]

    @property
    def now_s(self) -> float:
        """Seconds flown."""
        return self.ticks * _TICK_S

    def truth_at(self, at_ns: int) -> Motion:
        """The true motion at an instant, clipped to what was flown; for cameras and for scoring."""
        place = min(max((at_ns - self.start_ns) / TICK_NS, 0.0), len(self.motions) - 1.0)
        index = min(int(place), max(len(self.motions) - 2, 0))
        later = self.motions[min(index + 1, len(self.motions) - 1)]
        return between(self.motions[index], later, place * _TICK_S)

    def tick(self) -> None:
        """Flies on by one tick."""
        self.ticks += 1
        east_mps, north_mps = self._course.velocity(*self.estimator.position)
        climb_mps = 0.0
        if self.landing:
            east_mps, north_mps, climb_mps = 0.0, 0.0, -_LANDING_MPS if self.vehicle.motion.agl_m > 1.0 else 0.0
        believed = self.estimator.velocity
        push = (_STEERING_PER_S * (east_mps - believed[0]), _STEERING_PER_S * (north_mps - believed[1]))
        moving = math.hypot(east_mps, north_mps) > 0.5
        heading = math.degrees(math.atan2(east_mps, north_mps)) if moving else self.vehicle.motion.yaw_deg
        motion = self.vehicle.step(_TICK_S, push[0], push[1], climb_mps, heading)
        self.motions.append(motion)
        measured = [bias.step(_TICK_S) + float(self._rng.normal(0.0, 0.05)) for bias in self._bias]
        self.estimator.predict(self.now_s, motion.east_mps2 + measured[0], motion.north_mps2 + measured[1])
        for drift in (*self._gnss_error, self._height_error, self._baro_drift, *self._attitude_error):
            drift.step(_TICK_S)
        if self.ticks % _RECEIVER_TICKS == 0 and not self.gnss_denied:
            self._fuse_own_receiver()
        self._watch()
        self.estimates.append(self.estimator.position)

    def _fuse_own_receiver(self) -> None:
        # The estimator is told the same delay for both receivers, so this one's position is as old as declared.
        delay_s = self.settings.declared_delay_s
        then = self.truth_at(self.start_ns + self.ticks * TICK_NS - round(delay_s * 1e9))
        at = (then.east_m + self._gnss_error[0].value, then.north_m + self._gnss_error[1].value)
        now = self.vehicle.motion
        self.estimator.fuse("own", at, (now.east_mps, now.north_mps), 1.2, 0.3, delay_s)

    def _watch(self) -> None:
        silent_s = self.now_s - self.estimator.fed_s
        if silent_s > _FAILSAFE_S and self.settings.failsafe_lands and not self.landing:
            self.landing = True
            self.events.append("EKF Failsafe: changed to LAND Mode")
        if silent_s <= _STOPPED_AIDING_S:
            self._frozen = None
        elif self._frozen is None:
            self._frozen = self.estimator.position
            self.events.append("EKF3 IMU0 stopped aiding")

    def take_position(self, given: GpsInput) -> Verdict:
        """Judges and, when it passes, fuses a position that came from outside."""
        verdict = self.receiver.take(given, self.now_s, aligned=self._aligned, needed=self.gnss_denied)
        if verdict is not Verdict.FUSED:
            return verdict
        at = self.frame.to_local(given.lat_deg, given.lon_deg)
        velocity = (0.0, 0.0) if given.ignored & IGNORE_VELOCITY else (given.east_mps, given.north_mps)
        delay_s = self.settings.declared_delay_s
        if not self.estimator.fuse("mavlink", at, velocity, given.horizontal_m, given.speed_mps, delay_s):
            self.receiver.gated()
            return Verdict.GATED
        return verdict

    @property
    def has_position(self) -> bool:
        """False once no receiver gave a position for as long as makes ArduPilot give its own up."""
        return self.now_s - self.estimator.fed_s <= _LOST_S

    @property
    def reported_position(self) -> tuple[float, float]:
        """(east_m, north_m) as it tells others: frozen after 15 s without any position, as ArduPilot's is."""
        return self._frozen or self.estimator.position

    @property
    def amsl_m(self) -> float:
        """True height above mean sea level."""
        return self.settings.ground_amsl_m + self.vehicle.motion.agl_m

    def sensed_attitude_deg(self) -> tuple[float, float, float]:
        """(roll, pitch, yaw) as it reports them, yaw within -180 to 180."""
        true, errors = self.vehicle.motion, self._attitude_error
        yaw_deg = (true.yaw_deg + errors[2].value + 180.0) % 360.0 - 180.0
        return true.roll_deg + errors[0].value, true.pitch_deg + errors[1].value, yaw_deg

    def sensed_pressure_hpa(self) -> float:
        """Static pressure with drift, noise and weather. Source: ICAO standard atmosphere, troposphere."""
        altitude_m = self.amsl_m + self._baro_drift.value + float(self._rng.normal(0.0, 0.1)) + _WEATHER_M
        return float(1013.25 * (1.0 - 0.0065 * altitude_m / 288.15) ** 5.25588)

    def sensed_gnss(self) -> tuple[float, float, float]:
        """(east_m, north_m, amsl_m) of its own receiver, with its slow errors."""
        true = self.vehicle.motion
        errors = self._gnss_error
        return true.east_m + errors[0].value, true.north_m + errors[1].value, self.amsl_m + self._height_error.value
