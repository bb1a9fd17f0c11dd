"""The vehicle's own GNSS receiver: true position with slow errors, until it is denied, jammed or spoofed. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tilefix.simulation.vehicle import Drift, Motion

PERIOD_S = 0.2  # it measures at 5 Hz
_SATELLITES, _HDOP = 14, 0.7
_HORIZONTAL_M, _VERTICAL_M, _SPEED_MPS = 1.2, 1.6, 0.3
# Under jamming, as ArduPilot's simulator plays it: no fix at first, then one now and then, far off and told as bad.
_JAM_SILENCE_S = 3.0
_JAM_CHANGE_S = 0.6
_JAM_M, _JAM_MPS = 60.0, 15.0


@dataclass(frozen=True)
class Ramp:
    """A false position that is pulled away: by (east, north) metres over `over_s` seconds from `begins_s` on."""

    begins_s: float
    east_m: float
    north_m: float
    over_s: float

    def offset_m(self, now_s: float) -> tuple[float, float]:
        """How far it is off now."""
        share = 1.0 if self.over_s <= 0.0 else min(max((now_s - self.begins_s) / self.over_s, 0.0), 1.0)
        return share * self.east_m, share * self.north_m

    def velocity_mps(self, now_s: float) -> tuple[float, float]:
        """The false part of the velocity that fits it."""
        if self.over_s <= 0.0 or not 0.0 <= now_s - self.begins_s < self.over_s:
            return 0.0, 0.0
        return self.east_m / self.over_s, self.north_m / self.over_s


class OwnReceiver:
    """What the receiver says: `fix_type` 1 = no fix, 3 = a full one; accuracies are one sigma.

    `denied`: it has no fix. `spoof` pulls its position away, `jam` makes it useless; both until `clear`.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.denied = False
        self._rng = rng
        self._errors = [Drift(rng, 0.7, 40.0) for _ in range(2)]
        self._height_error = Drift(rng, 0.8, 60.0)
        self._spoof: Ramp | None = None
        self._jammed_s: float | None = None
        self._jam_fix = False
        self._jam_off = (0.0, 0.0, 0.0, 0.0)
        self._now_s = 0.0

    def spoof(self, east_m: float, north_m: float, over_s: float) -> None:
        """Pulls position and velocity away from now on, at a steady rate; at once with `over_s` 0."""
        self._spoof = Ramp(self._now_s, east_m, north_m, over_s)

    def jam(self) -> None:
        """Jams it from now on."""
        self._jammed_s = self._now_s

    def clear(self) -> None:
        """Ends denial, jamming and spoofing."""
        self.denied, self._spoof, self._jammed_s = False, None, None

    @property
    def jammed(self) -> bool:
        """True while it is jammed."""
        return self._jammed_s is not None

    @property
    def spoofed_m(self) -> tuple[float, float]:
        """How far spoofing has pulled it, (east, north)."""
        return self._spoof.offset_m(self._now_s) if self._spoof else (0.0, 0.0)

    def step(self, now_s: float, dt_s: float) -> None:
        """Goes on in time."""
        self._now_s = now_s
        for error in (*self._errors, self._height_error):
            error.step(dt_s)
        if self._jammed_s is not None and self._rng.random() < dt_s / _JAM_CHANGE_S:
            self._jam_fix = now_s - self._jammed_s > _JAM_SILENCE_S and self._rng.random() < 0.4
            position = self._rng.normal(0.0, _JAM_M, 2)
            velocity = self._rng.normal(0.0, _JAM_MPS, 2)
            self._jam_off = (float(position[0]), float(position[1]), float(velocity[0]), float(velocity[1]))

    @property
    def fix_type(self) -> int:
        """1 without a fix, else 3."""
        lost = self.denied or (self.jammed and not self._jam_fix)
        return 1 if lost else 3

    @property
    def satellites(self) -> int:
        """How many it sees."""
        return 0 if self.fix_type < 3 else 5 if self.jammed else _SATELLITES

    @property
    def hdop(self) -> float:
        """Horizontal dilution of precision."""
        return 4.0 if self.jammed else _HDOP

    @property
    def horizontal_m(self) -> float:
        """One sigma of its position."""
        return _JAM_M if self.jammed else _HORIZONTAL_M

    @property
    def vertical_m(self) -> float:
        """One sigma of its height."""
        return 2.0 * _JAM_M if self.jammed else _VERTICAL_M

    @property
    def speed_mps(self) -> float:
        """One sigma of its velocity."""
        return _JAM_MPS if self.jammed else _SPEED_MPS

    def position(self, true: Motion) -> tuple[float, float]:
        """(east_m, north_m) that it says when the truth is `true`."""
        pulled, off = self.spoofed_m, self._jam_off if self.jammed else (0.0, 0.0)
        return (
            true.east_m + self._errors[0].value + pulled[0] + off[0],
            true.north_m + self._errors[1].value + pulled[1] + off[1],
        )

    def velocity(self, true: Motion) -> tuple[float, float]:
        """(east_mps, north_mps) that it says."""
        pulled = self._spoof.velocity_mps(self._now_s) if self._spoof else (0.0, 0.0)
        off = self._jam_off[2:] if self.jammed else (0.0, 0.0)
        return true.east_mps + pulled[0] + off[0], true.north_mps + pulled[1] + off[1]

    def amsl_m(self, true_amsl_m: float) -> float:
        """Its height above mean sea level."""
        return true_amsl_m + self._height_error.value

    def course_deg(self, true: Motion) -> float:
        """Direction of its velocity, 0 to 360 from north."""
        east_mps, north_mps = self.velocity(true)
        return math.degrees(math.atan2(east_mps, north_mps)) % 360.0
