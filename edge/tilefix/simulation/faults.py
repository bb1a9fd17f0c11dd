"""What can go wrong in the air, and what is asked of each: the table of the fault scenarios.

A scenario flies clean, suffers its fault over a window of time, and flies clean again, so that what is lost and how
long it takes to come back can be measured. Each fault is an edit: of the log (`faultlogs`), of the pictures
(`faultpictures`), of the ground or the map (`faultground`). All edits follow from a seed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Fault(enum.Enum):
    """A fault; the value says what happens."""

    FROZEN_CAMERA = "the camera repeats its last picture"
    FROZEN_STREAM = "the camera repeats its last picture, each time with noise of its own"
    DROPPED_FRAMES = "every third frame is lost"
    DROPPED_BURSTS = "no frame arrives for 2 s out of 5 s"
    LATE_ATTITUDE = "attitude is 300 ms old"
    TIME_JUMPS = "the frames' clock steps 2 s ahead, later 3 s back, at the end 1 s ahead"
    EXPOSURE_FLICKER = "brightness changes by up to eight times from frame to frame"
    BLUR = "the lens is out of focus"
    HAZE = "two thirds of the light is haze"
    HALF_CLOUD = "cloud covers half of the picture"
    NIGHT = "one twentieth of the light, and the sensor's noise"
    SNOW = "snow lies on all open ground"
    SUN_GLINT = "the sun is mirrored in the picture"
    LENS_DIRT = "dirt covers a quarter of the lens"
    WRONG_SEASON = "the map shows the opposite season"
    TILE_SWAPPED = "the map shows another place here, and this place there"
    OFF_MAP = "the map has a hole"
    REPETITIVE_FIELD = "an orchard that repeats exactly, on the ground and on the map"
    HEADING_30 = "the stated heading is 30 degrees off"
    HEADING_180 = "the stated heading points backwards"
    HEIGHT_30 = "the stated height is 30 % too large"
    ROLLED_35 = "the vehicle is rolled by 35 degrees"
    KIDNAPPED = "the vehicle is elsewhere from one frame to the next"
    WRONG_HINT = "the operator hints at a place 2 km away"

    @property
    def is_instant(self) -> bool:
        """True for what happens at one instant: the window ends when it starts."""
        return self in (Fault.KIDNAPPED, Fault.WRONG_HINT)


@dataclass(frozen=True, slots=True)
class Window:
    """When a fault lasts, seconds of the flight."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.start_s <= self.end_s:
            raise ValueError(f"a fault cannot last from {self.start_s:g} s to {self.end_s:g} s")

    def holds(self, at_s: float) -> bool:
        """True from the start on, before the end."""
        return self.start_s <= at_s < self.end_s

    @property
    def length_s(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Asks:
    """What is asked beyond honesty (no false fix and no false coast, asked of every scenario).

    `availability`: least share of `fix` over the frames while the fault lasts; 0 where they carry no position.
    `recovery_s`: longest time from the fault's end to the first `fix`.
    """

    availability: float = 0.0
    recovery_s: float = 3.0


LOST_S = 20.0  # to find the place again on the whole map, once it was given up

ASKED: dict[Fault, Asks] = {
    Fault.FROZEN_CAMERA: Asks(0.0, LOST_S),
    Fault.FROZEN_STREAM: Asks(0.0, LOST_S),
    Fault.DROPPED_FRAMES: Asks(0.9, 1.0),
    Fault.DROPPED_BURSTS: Asks(0.9, 3.0),
    Fault.LATE_ATTITUDE: Asks(0.35, 3.0),  # in a turn the picture is thrown far off: silence is right there
    Fault.TIME_JUMPS: Asks(0.0, LOST_S),
    Fault.EXPOSURE_FLICKER: Asks(0.9, 1.0),
    Fault.BLUR: Asks(0.0, LOST_S),
    Fault.HAZE: Asks(0.9, 1.0),
    Fault.HALF_CLOUD: Asks(0.5, LOST_S),
    Fault.NIGHT: Asks(0.0, LOST_S),
    Fault.SNOW: Asks(0.0, LOST_S),
    Fault.SUN_GLINT: Asks(0.9, 1.0),
    Fault.LENS_DIRT: Asks(0.5, LOST_S),
    Fault.WRONG_SEASON: Asks(0.5, LOST_S),
    Fault.TILE_SWAPPED: Asks(0.0, LOST_S),
    Fault.OFF_MAP: Asks(0.0, LOST_S),
    Fault.REPETITIVE_FIELD: Asks(0.0, LOST_S),
    Fault.HEADING_30: Asks(0.0, LOST_S),
    Fault.HEADING_180: Asks(0.0, LOST_S),
    Fault.HEIGHT_30: Asks(0.0, LOST_S),
    Fault.ROLLED_35: Asks(0.0, LOST_S),
    Fault.KIDNAPPED: Asks(0.0, LOST_S),
    Fault.WRONG_HINT: Asks(0.0, LOST_S),
}
