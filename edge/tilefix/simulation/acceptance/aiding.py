"""How long EKF3 keeps its position without measurements, and what it says of it meanwhile. Pure.

Seven seconds without position and velocity (ten while a velocity or an airspeed helps) are a timeout: the position is
told as lost. Fifteen without anything are the end of aiding: the position is frozen until a source starts it again.
Source: NavEKF3_core::setAidingMode and updateFilterStatus; times as flown.
"""

from __future__ import annotations

_HELP_S = 7.0
_LOST_S, _LOST_WITH_HELP_S = 7.0, 10.0
_STOPPED_S = 15.0
# EKF_STATUS_FLAGS of MAVLink.
ATTITUDE, VELOCITY, VERTICAL_VELOCITY, POSITION_RELATIVE, POSITION_ABSOLUTE, HEIGHT = 1, 2, 4, 8, 16, 32
CONSTANT_POSITION, PREDICTED_RELATIVE, PREDICTED_ABSOLUTE = 128, 256, 512
GLITCHING = 32768
LOST = 0x0025
STOPPED = LOST | CONSTANT_POSITION
GOOD = 0x033F


class Aiding:
    """`absolute`: EKF3 navigates by positions (else it stands still for itself). `airspeed`: a plane, whose airspeed,
    measured or made up, keeps it navigating for ever."""

    def __init__(self, *, airspeed: bool, absolute: bool) -> None:
        self.absolute = absolute
        self.position_lost = not absolute
        self._airspeed = airspeed
        self.position_s = self.velocity_s = 0.0 if absolute else -_STOPPED_S

    def start(self, now_s: float) -> None:
        """A source made it navigate again."""
        self.absolute, self.position_lost = True, False
        self.position_s = self.velocity_s = now_s

    def position_passed(self, now_s: float) -> None:
        """A position agreed with the estimate, or the estimate was reset to it."""
        self.position_s = now_s
        self.position_lost = False

    def velocity_passed(self, now_s: float) -> None:
        """A velocity agreed with the estimate."""
        self.velocity_s = now_s

    def helped(self, now_s: float) -> bool:
        """True while something else than position holds the drift."""
        return self._airspeed or now_s - self.velocity_s <= _HELP_S

    def update(self, now_s: float) -> bool:
        """Looks at the time; true when aiding stopped just now."""
        if not self.absolute:
            return False
        silent_s = now_s - self.position_s
        if silent_s > (_LOST_WITH_HELP_S if self.helped(now_s) else _LOST_S):
            self.position_lost = True
        if not self._airspeed and now_s - max(self.position_s, self.velocity_s) > _STOPPED_S:
            self.absolute = False
            self.position_lost = True
            return True
        return False

    def flags(self) -> int:
        """What EKF_STATUS_REPORT says."""
        if not self.absolute:
            return STOPPED
        if not self.position_lost:
            return GOOD
        return LOST | VELOCITY | POSITION_RELATIVE | PREDICTED_RELATIVE if self._airspeed else LOST
