"""The values that travel through tilefix: frozen, with units in their names.

Frames: *local* means east and north metres in the map package's `LocalFrame`; *body* is forward-right-down;
angles are degrees, yaw clockwise from true north; `*_ns` is the monotonic clock of the process that flies.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class Reason(enum.Enum):
    """Why a frame gave no position. The value is the sentence a pilot reads."""

    NO_FRAME = "no camera frame"
    STALE_FRAME = "frame older than the one before, or than the limit"
    FROZEN_CAMERA = "camera repeats its picture"
    BLURRED = "frame without detail"
    TOO_DARK = "frame too dark"
    TOO_BRIGHT = "frame over-exposed"
    VEILED = "cloud or glare hides the ground"
    NO_ATTITUDE = "no attitude at the exposure"
    NO_HEADING = "no heading at the exposure"
    NO_HEIGHT = "no height above ground at the exposure"
    OUT_OF_SCALE = "height outside what the map and the model allow"
    TILTED = "camera tilted too far from straight down"
    HORIZON = "horizon in view"
    OFF_MAP = "outside the map"
    NO_MATCH = "picture fits nowhere on the map"
    AMBIGUOUS = "picture fits several places"
    IMPLAUSIBLE_JUMP = "match contradicts the motion"


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera picture. `image`: uint8, (height, width, 3), RGB. `captured_ns`: monotonic, at exposure."""

    image: UInt8Array
    captured_ns: int
    sequence: int


@dataclass(frozen=True, slots=True)
class VehicleState:
    """The vehicle at one instant; `None` means unknown. Never holds the autopilot's own position or velocity.

    `roll_deg`, `pitch_deg`, `yaw_deg`: of what carries the camera, the body or a gimbal, yaw clockwise from true north;
    `lean_deg`: how far the body leans, where that is a gimbal. `agl_m`: height above the ground below; `amsl_m`: height
    above sea level, which a map with terrain turns into one above ground; `*_sigma_m`: one standard deviation of each.
    """

    at_ns: int
    roll_deg: float | None
    pitch_deg: float | None
    yaw_deg: float | None
    agl_m: float | None
    agl_sigma_m: float | None = None
    amsl_m: float | None = None
    amsl_sigma_m: float | None = None
    lean_deg: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place proposed by the tile index: tile centre in local metres and its similarity (cosine)."""

    tile: int
    east_m: float
    north_m: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Covariance:
    """Symmetric 2 x 2 covariance over (east, north), in squared units of what it belongs to."""

    ee: float
    en: float
    nn: float

    @property
    def sigma_major(self) -> float:
        """Standard deviation along the major axis."""
        mean = 0.5 * (self.ee + self.nn)
        spread = math.hypot(0.5 * (self.ee - self.nn), self.en)
        return math.sqrt(max(mean + spread, 0.0))

    def mahalanobis2(self, east: float, north: float) -> float:
        """Squared Mahalanobis distance of an (east, north) difference."""
        det = self.ee * self.nn - self.en * self.en
        if det <= 0.0:
            raise ValueError(f"covariance is not positive definite: {self}")
        return (self.nn * east * east - 2.0 * self.en * east * north + self.ee * north * north) / det


class FixKind(enum.Enum):
    """`FIX`: a map match within the last 2 s and a tight sigma; `COAST`: propagated only, or wider."""

    FIX = "fix"
    COAST = "coast"


FIX_MAX_MATCH_AGE_S = 2.0


def fix_max_sigma_m(gsd_m: float) -> float:
    """Widest major-axis sigma that still counts as a fix on a map of that ground sampling."""
    return max(10.0, 2.0 * gsd_m)


@dataclass(frozen=True, slots=True)
class Fix:
    """A position with an honest error: the belief at `at_ns`, in WGS84 degrees and local metres.

    `covariance_m2` is over (east, north). `velocity_*` comes from the camera's own motion, `None` before the
    second frame. `turn_deg` is how much larger the true heading is than the stated one, `None` where none is stated,
    `heading_deg` the heading with that taken out, clockwise from north, `scale` the true height over the stated one, as
    far as matches tell, with their standard deviations. `reason` says why the frame that led here did not itself match,
    `None` when it did.
    """

    at_ns: int
    kind: FixKind
    lat_deg: float
    lon_deg: float
    east_m: float
    north_m: float
    covariance_m2: Covariance
    match_age_s: float
    velocity_east_mps: float | None = None
    velocity_north_mps: float | None = None
    velocity_covariance: Covariance | None = None
    reason: Reason | None = None
    turn_deg: float | None = None
    turn_sigma_deg: float | None = None
    scale: float | None = None
    scale_sigma: float | None = None
    heading_deg: float | None = None
    heading_sigma_deg: float | None = None

    @property
    def sigma_m(self) -> float:
        """Standard deviation along the major axis of the horizontal covariance, metres."""
        return self.covariance_m2.sigma_major


@dataclass(frozen=True, slots=True)
class NoFix:
    """No position, and why."""

    at_ns: int
    reason: Reason
