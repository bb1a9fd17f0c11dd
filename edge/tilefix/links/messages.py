"""What an autopilot tells tilefix, free of any protocol: frozen, with units in the names.

Every `at_ns` is this process's monotonic clock; the link has already mapped the autopilot's own time to it. What goes
the other way stands in `tilefix.links.reports`, and is named here as well.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tilefix.links.reports import (
    EstimateReport,
    GlobalReport,
    HealthState,
    LocalReport,
    PositionReport,
    Report,
    Route,
    Severity,
)

__all__ = [
    "Airframe",
    "Attitude",
    "AutopilotKind",
    "AutopilotTime",
    "CameraAttitude",
    "CommandResult",
    "EkfFlags",
    "EstimateReport",
    "GimbalSource",
    "GlobalReport",
    "GnssReceiver",
    "GroundRange",
    "HealthState",
    "Heartbeat",
    "Home",
    "Identity",
    "LinkMessage",
    "LocalReport",
    "Order",
    "Origin",
    "Parameter",
    "ParameterRefused",
    "PositionReport",
    "Pressure",
    "RcChannels",
    "Rebooted",
    "Report",
    "Route",
    "Severity",
]


@dataclass(frozen=True, slots=True)
class Attitude:
    """The body's attitude: degrees, yaw clockwise from true north. `rates_dps`: how fast it turns about its own axes,
    forward, right, down; `None` when nobody says."""

    at_ns: int
    roll_deg: float
    pitch_deg: float
    yaw_deg: float
    rates_dps: tuple[float, float, float] | None = None


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
    where it does not know them; `amsl_m` above mean sea level; accuracies are one sigma. `hdop`: horizontal dilution of
    precision."""

    at_ns: int
    fix_type: int
    lat_deg: float | None = None
    lon_deg: float | None = None
    amsl_m: float | None = None
    horizontal_sigma_m: float | None = None
    vertical_sigma_m: float | None = None
    velocity_north_mps: float | None = None
    velocity_east_mps: float | None = None
    satellites: int | None = None
    hdop: float | None = None

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


class AutopilotKind(enum.Enum):
    """Whose firmware flies; the value is its name for people."""

    ARDUPILOT = "ArduPilot"
    PX4 = "PX4"
    OTHER = "another autopilot"


class Airframe(enum.Enum):
    """What flies, as far as it matters for how a position is taken: a VTOL counts as a plane."""

    COPTER = "copter"
    PLANE = "plane"
    ROVER = "rover"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the autopilot is. `version`: (major, minor, patch), `None` until it was told; `development`: of that version
    before its first beta, so that two builds of one number may differ."""

    at_ns: int
    kind: AutopilotKind
    airframe: Airframe
    version: tuple[int, int, int] | None = None
    development: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """The value that one of the autopilot's parameters has."""

    at_ns: int
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class ParameterRefused:
    """The autopilot did not give or set a parameter; `reason` goes on after "the autopilot"."""

    at_ns: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the autopilot's local frame has its zero; `amsl_m` above mean sea level."""

    at_ns: int
    lat_deg: float
    lon_deg: float
    amsl_m: float


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The autopilot's answer to a command of ours. `command`: MAV_CMD, `result`: MAV_RESULT (0 accepted, 4 failed)."""

    at_ns: int
    command: int
    result: int

    @property
    def accepted(self) -> bool:
        """True when the command was carried out."""
        return self.result == 0


@dataclass(frozen=True, slots=True)
class EkfFlags:
    """How well the autopilot's estimator is: MAVLink's EKF_STATUS_FLAGS. For states only, never for a position."""

    at_ns: int
    flags: int


@dataclass(frozen=True, slots=True)
class RcChannels:
    """The pilot's sticks and switches, channel 1 first: microseconds, 0 for a channel that is not there."""

    at_ns: int
    pwm_us: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """A command for tilefix itself. `command`: MAV_CMD, `params`: its seven numbers, `sender`: (system, component)."""

    at_ns: int
    command: int
    params: tuple[float, ...]
    sender: tuple[int, int]


LinkMessage = (
    Attitude
    | CameraAttitude
    | Pressure
    | GnssReceiver
    | GroundRange
    | Home
    | AutopilotTime
    | Heartbeat
    | Rebooted
    | Identity
    | Parameter
    | ParameterRefused
    | Origin
    | CommandResult
    | EkfFlags
    | RcChannels
    | Order
)
