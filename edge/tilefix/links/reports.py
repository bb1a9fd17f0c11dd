"""What tilefix tells an autopilot, free of any protocol: one class for each way of giving a position.

Every `at_ns` is this process's monotonic clock, the instant that a position holds for. A report is complete: without
one of its fields nothing is sent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Route(enum.Enum):
    """How a position reaches the autopilot; the value is its name in the configuration."""

    GPS_INPUT = "gps_input"
    VISION = "vision"
    ODOMETRY = "odometry"
    EXTERNAL_ESTIMATE = "external_estimate"
    GLOBAL_POSITION = "global_position"


@dataclass(frozen=True, slots=True)
class PositionReport:
    """A position as a receiver gives it: GPS_INPUT.

    Velocity is north-east-down; sigmas are one standard deviation. `gps_week`, `gps_week_ms`: GPS time of `at_ns` by
    the autopilot's own clock, both 0 when it has none.
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


@dataclass(frozen=True, slots=True)
class LocalReport:
    """A position in metres from the autopilot's own origin, north-east-down: VISION_POSITION_ESTIMATE, or ODOMETRY
    where `route` says so.

    `variance_m2`: what is written for north, east and down, which is not every firmware's square of `sigma_m`, the
    error that it shall take from them. `attitude_deg` (roll, pitch, yaw of the body at `at_ns`) turns the velocity of
    ODOMETRY. `stamp_ns`: what the message is dated by, from which the autopilot takes its delay off.
    `reset_counter`: one more whenever the position jumped. `quality`: 1 to 100.
    """

    at_ns: int
    stamp_ns: int
    route: Route
    north_m: float
    east_m: float
    down_m: float
    velocity_north_mps: float
    velocity_east_mps: float
    velocity_down_mps: float
    sigma_m: float
    speed_sigma_mps: float
    variance_m2: tuple[float, float, float]
    attitude_deg: tuple[float, float, float] | None
    reset_counter: int
    quality: int = 100


@dataclass(frozen=True, slots=True)
class EstimateReport:
    """A horizontal position that resets the autopilot's own: MAV_CMD_EXTERNAL_POSITION_ESTIMATE."""

    at_ns: int
    lat_deg: float
    lon_deg: float
    sigma_m: float


@dataclass(frozen=True, slots=True)
class GlobalReport:
    """A horizontal position from a map, for an autopilot that takes several: GLOBAL_POSITION_SENSOR. `sensor_id`: which
    of its sources this is, counted from 1; `stamp_ns`: what the message is dated by, from which the autopilot takes its
    delay off."""

    at_ns: int
    stamp_ns: int
    sensor_id: int
    lat_deg: float
    lon_deg: float
    amsl_m: float
    horizontal_sigma_m: float
    vertical_sigma_m: float


Report = PositionReport | LocalReport | EstimateReport | GlobalReport


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
