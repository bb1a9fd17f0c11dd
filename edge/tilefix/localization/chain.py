"""How the vehicle moved from frame to frame, by its camera alone, and whether that holds together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilefix.camera import Mount, camera_to_ned
from tilefix.localization.gates import lean_mps2, leaning_mps2
from tilefix.localization.look import Look
from tilefix.localization.motion import Motion, Placed, motion_between
from tilefix.localization.odometry import Odometry, Throw
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.thrown import LEANED_RATIO, throw_of, thrown_m, turned_rad
from tilefix.types import VehicleState


@dataclass(frozen=True, slots=True)
class Step:
    """Movement since the frame before, metres east and north. `sigma_m`: adds up linearly from step to step.
    `unknown_m`: the longest it can have been, where its direction is not known."""

    east_m: float = 0.0
    north_m: float = 0.0
    sigma_m: float = 0.0
    unknown_m: float = 0.0


class Chain:
    """Camera motions, joined. `broken`: two usable pictures in a row did not fit each other, or not what a vehicle can
    do, so that something else came into view; its owner mends it by a match. `new_ground`: share of the view that came
    in since its owner last took it, at most 1."""

    def __init__(self, settings: LocalizerSettings, mount: Mount) -> None:
        self._settings = settings
        self._level_upright = float(camera_to_ned(0.0, 0.0, 0.0, mount)[2, 2])
        self.odometry = Odometry(settings)
        self.at_ns: int | None = None
        self.moved_ns = 0
        self.broken = False
        self.new_ground = 0.0
        self._disbelieved = 0
        self._leaned = False  # pictures leaned too far, and the vehicle was not calm since
        self._attitude: VehicleState | None = None
        self._rates_rps = (0.0, 0.0)  # at the frame before, and at the newest
        self._before: Look | None = None

    @property
    def shown(self) -> Look | None:
        """The view of the frame before; `None` where it showed nothing."""
        return self._before

    def show(self, seen: Look) -> None:
        """Takes this view of the present frame for measuring the next motion."""
        self._before = seen

    def move(self, seen: Look, state: VehicleState) -> Step:
        """The motion up to a usable frame."""
        before, self._before = self._before, seen
        self._turned(seen.at_ns, state)
        throw = throw_of(seen)
        if self.at_ns is None or before is None:
            return self._blind(seen.at_ns, leaning_mps2(state), throw)
        seconds = (seen.at_ns - self.at_ns) / 1e9
        s = self._settings
        turned_deg = (state.yaw_deg or 0.0) - (before.state.yaw_deg or 0.0)
        turn_rps = math.radians((turned_deg + 180.0) % 360.0 - 180.0) / seconds
        self.odometry.lean(*lean_mps2(state), turn_rps, seconds)
        motion = motion_between(*_alike(before, seen), s.max_speed_mps * seconds + 4.0 * seen.attitude_sigma_m)
        sigma_m = None if motion is None else self._believed(motion, before, seen, throw, seconds)
        if motion is None or sigma_m is None:
            # After a long gap the pictures need not overlap.
            self.broken = self.broken or motion is not None or seconds < s.research_after_s
            step = self._blind(seen.at_ns, leaning_mps2(state), throw)
            self._disbelieved += motion is not None
            if self._disbelieved > 1:
                self.odometry.doubt()
            return step
        self._disbelieved = 0
        self.at_ns = self.moved_ns = seen.at_ns
        distance_m = math.hypot(motion.east_m, motion.north_m)
        self.odometry.propagate(seconds)
        self.odometry.observe(motion.east_m, motion.north_m, throw, sigma_m, seconds)
        self.new_ground = min(1.0, self.new_ground + distance_m / math.sqrt(seen.view.area_m2))
        # A height that is too small by a tenth makes the motion too short by a tenth.
        drift = max(s.odometry_drift, seen.height_sigma)
        return Step(motion.east_m, motion.north_m, math.hypot(drift * distance_m, sigma_m))

    def _believed(self, motion: Motion, before: Look, seen: Look, throw: Throw, seconds: float) -> float | None:
        """The motion's standard deviation; `None` for one that no vehicle makes.

        Once pictures leaned too far nothing is left to hold a motion against, so that it counts for what attitudes
        throw it by until the vehicle is level and calm. One that contradicts the velocity may as well be thrown.
        """
        thrown = thrown_m(before, seen, max(self._rates_rps))
        calm = thrown * self._level_upright**2 <= math.sqrt(2.0) * LEANED_RATIO * seen.attitude_sigma_m
        self._leaned = self._leaned and not calm
        at = motion.east_m, motion.north_m, seconds, throw
        if not self._leaned and self.odometry.believes(*at, motion.sigma_m):
            return motion.sigma_m
        sigma_m = math.hypot(motion.sigma_m, thrown)
        if calm or not self.odometry.believes(*at, sigma_m):
            return None
        self._leaned = True
        return sigma_m

    def move_blind(self, at_ns: int, state: VehicleState, *, leaned: bool = False) -> Step:
        """The motion up to a frame that shows nothing: a vehicle that leans accelerates. `leaned`: it leant too far."""
        self._before = None
        self._leaned = self._leaned or leaned
        self._turned(at_ns, state)
        return self._blind(at_ns, leaning_mps2(state))

    def _turned(self, at_ns: int, state: VehicleState) -> None:
        """Notes how fast the camera turned up to a frame, whether that is usable or not."""
        before, self._attitude = self._attitude, state
        seconds = 0.0 if self.at_ns is None else (at_ns - self.at_ns) / 1e9
        self._rates_rps = (self._rates_rps[1], turned_rad(before, state) / seconds if seconds > 0.0 else 0.0)

    def _blind(self, at_ns: int, leaning: float, throw: Throw | None = None) -> Step:
        """`throw`: of the picture that the next motion counts from, where this frame is one."""
        seconds = 0.0 if self.at_ns is None else (at_ns - self.at_ns) / 1e9
        self.at_ns = at_ns
        self.odometry.expect(leaning)
        if not self.odometry.has_velocity:
            if throw is not None:
                self.odometry.begin(throw)
            return Step(unknown_m=self._settings.max_speed_mps * seconds)
        raw_m = self.odometry.raw_east_m, self.odometry.raw_north_m
        self.odometry.propagate(seconds)
        sigma_m = self.odometry.skip(throw)
        return Step(self.odometry.raw_east_m - raw_m[0], self.odometry.raw_north_m - raw_m[1], sigma_m)


def _alike(before: Look, now: Look) -> tuple[Placed, Placed]:
    """Both pictures at one sampling: the coarser of the two, where the level has just changed."""
    gsd_m = max(before.correlator.level.gsd_m, now.correlator.level.gsd_m)
    return before.placed(gsd_m), now.placed(gsd_m)
