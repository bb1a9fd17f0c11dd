"""What travels between tilefix and an autopilot, free of any protocol: frozen, with units in the names.

Every `at_ns` is this process's monotonic clock; the link has already mapped the autopilot's own time to it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attitude:
    """The body's attitude: degrees, yaw clockwise from true north."""

    at_ns: int
    roll_deg: float
    pitch_deg: float
    yaw_deg: float


class GimbalSource(enum.Enum):
    """The message that tells where a gimbal looks; the value is its name in MAVLink."""

    MOUNT_ORIENTATION = "mount_orientation"
    GIMBAL_DEVICE = "gimbal_device_attitude_status"


@dataclass(frozen=True, slots=True)
class CameraAttitude:
    """Where a gimbal holds the camera: the attitude of a body that would carry it looking straight down, degrees.

    `of_body`: the yaw counts from the vehicle's nose; else clockwise from true north.
    """

    at_ns: int
    roll_deg: float
    pitch_deg: float
    yaw_deg: float
    of_body: bool
    source: GimbalSource


@dataclass(frozen=True, slots=True)
class Pressure:
    """Static air pressure, hPa."""

    at_ns: int
    pressure_hpa: float


@dataclass(frozen=True, slots=True)
class GnssReceiver:
    """What the receiver itself says (never the autopilot's estimate). Position, height and velocity are `None`
    where it does not know them; `amsl_m` above mean sea level; accuracies are one sigma."""

    at_ns: int
    fix_type: int
    lat_deg: float | None = None
    lon_deg: float | None = None
    amsl_m: float | None = None
    horizontal_sigma_m: float | None = None
    vertical_sigma_m: float | None = None
    velocity_north_mps: float | None = None
    velocity_east_mps: float | None = None

    @property
    def good(self) -> bool:
        """True with a three-dimensional fix."""
        return self.fix_type >= 3 and self.lat_deg is not None and self.lon_deg is not None


@dataclass(frozen=True, slots=True)
class GroundRange:
    """Distance along the body's down axis to the ground."""

    at_ns: int
    distance_m: float


@dataclass(frozen=True, slots=True)
class Home:
    """Where the autopilot takes home to be; of it only the ground's height is used."""

    at_ns: int
    amsl_m: float


@dataclass(frozen=True, slots=True)
class AutopilotTime:
    """The autopilot's own calendar clock: Unix time in nanoseconds at `at_ns`."""

    at_ns: int
    unix_ns: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The vehicle's autopilot is alive."""

    at_ns: int
    system_id: int
    armed: bool


@dataclass(frozen=True, slots=True)
class Rebooted:
    """The autopilot started anew: what it said of its own time before no longer holds."""

    at_ns: int


LinkMessage = (
    Attitude | CameraAttitude | Pressure | GnssReceiver | GroundRange | Home | AutopilotTime | Heartbeat | Rebooted
)


@dataclass(frozen=True, slots=True)
class PositionReport:
    """A position for the autopilot, complete: without one of these fields nothing is sent.

    `at_ns`: the instant it holds for. Velocity is north-east-down; sigmas are one standard deviation.
    `gps_week`, `gps_week_ms`: GPS time of `at_ns` by the autopilot's own clock, both 0 when it has none.
    """

    at_ns: int
    gps_id: int
    lat_deg: float
    lon_deg: float
    amsl_m: float
    velocity_north_mps: float
    velocity_east_mps: float
    velocity_down_mps: float
    horizontal_sigma_m: float
    vertical_sigma_m: float
    speed_sigma_mps: float
    satellites: int
    gps_week: int = 0
    gps_week_ms: int = 0


class HealthState(enum.Enum):
    """What the heartbeat says of tilefix."""

    BOOT = "starting"
    STANDBY = "running, no position"
    ACTIVE = "running, position"
    CRITICAL = "something is broken"


class Severity(enum.Enum):
    """How urgent a text for the pilot is; the values are MAVLink's."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
