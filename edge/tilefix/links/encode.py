"""What tilefix tells an autopilot, as MAVLink messages. Pure: one function for each report.

Every stamp on a link comes from one clock, given as microseconds or seconds since the link was opened: an autopilot
learns one offset for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.camera import rotation_deg
from tilefix.links import parametercoding
from tilefix.links.messages import AutopilotKind, Origin
from tilefix.links.reports import (
    EstimateReport,
    GlobalReport,
    HealthState,
    LocalReport,
    PositionReport,
    Route,
    Severity,
)

_TEXT_BYTES = 50
_NAME_BYTES = 10
_UNKNOWN_ANGLE_VARIANCE = math.pi * math.pi
_MAV_STATES = {
    HealthState.BOOT: mavlink.MAV_STATE_BOOT,
    HealthState.STANDBY: mavlink.MAV_STATE_STANDBY,
    HealthState.ACTIVE: mavlink.MAV_STATE_ACTIVE,
    HealthState.CRITICAL: mavlink.MAV_STATE_CRITICAL,
}


def gps_input(report: PositionReport, stamp_us: int) -> Any:
    """GPS_INPUT with every field valid: ArduPilot fuses what is flagged as ignored all the same (velocity as standing
    still, height as zero). A picture has no dilution of precision; an ignored one stays unknown, which keeps the EKF
    from aligning, so both are a plain 1 and the accuracies carry the truth."""
    return mavlink.MAVLink_gps_input_message(
        time_usec=stamp_us,
        gps_id=report.gps_id,
        ignore_flags=0,
        time_week_ms=report.gps_week_ms,
        time_week=report.gps_week,
        fix_type=mavlink.GPS_FIX_TYPE_3D_FIX,
        lat=round(report.lat_deg * 1e7),
        lon=round(report.lon_deg * 1e7),
        alt=report.amsl_m,
        hdop=1.0,
        vdop=1.0,
        vn=report.velocity_north_mps,
        ve=report.velocity_east_mps,
        vd=report.velocity_down_mps,
        speed_accuracy=report.speed_sigma_mps,
        horiz_accuracy=report.horizontal_sigma_m,
        vert_accuracy=report.vertical_sigma_m,
        satellites_visible=report.satellites,
        yaw=0,
    )


def local(report: LocalReport, stamp_us: int, kind: AutopilotKind) -> Any:
    """VISION_POSITION_ESTIMATE, or ODOMETRY where the report says so."""
    if report.route is Route.ODOMETRY:
        return _odometry(report, stamp_us, kind)
    position = (report.north_m, report.east_m, report.down_m)
    # No attitude is claimed: it would be the autopilot's own.
    unknown = (math.nan, math.nan, math.nan)
    return mavlink.MAVLink_vision_position_estimate_message(
        stamp_us, *position, *unknown, _diagonal(report.variance_m2, _UNKNOWN_ANGLE_VARIANCE), report.reset_counter
    )


def _odometry(report: LocalReport, stamp_us: int, kind: AutopilotKind) -> Any:
    """ArduPilot drops every frame but LOCAL_FRD with BODY_FRD, and takes it for north-east-down; PX4 takes LOCAL_FRD
    for one of unknown heading, and LOCAL_NED as it is called. The velocity is turned into the body by the attitude
    that goes with it, so that the receiver turns it back by the same."""
    assert report.attitude_deg is not None
    body_from_ned = rotation_deg(*report.attitude_deg).T
    velocity = body_from_ned @ (report.velocity_north_mps, report.velocity_east_mps, report.velocity_down_mps)
    frame = mavlink.MAV_FRAME_LOCAL_NED if kind is AutopilotKind.PX4 else mavlink.MAV_FRAME_LOCAL_FRD
    return mavlink.MAVLink_odometry_message(
        stamp_us,
        frame,
        mavlink.MAV_FRAME_BODY_FRD,
        report.north_m,
        report.east_m,
        report.down_m,
        _quaternion(*report.attitude_deg),
        *map(float, velocity),
        math.nan,
        math.nan,
        math.nan,
        _diagonal(report.variance_m2, _UNKNOWN_ANGLE_VARIANCE),
        _diagonal((report.speed_sigma_mps**2,) * 3, math.nan),
        report.reset_counter,
        mavlink.MAV_ESTIMATOR_TYPE_VISION,
        report.quality,
    )


def external_estimate(report: EstimateReport, vehicle: tuple[int, int], sent_s: float, age_s: float) -> Any:
    """MAV_CMD_EXTERNAL_POSITION_ESTIMATE: only COMMAND_INT in the frame GLOBAL without a height is taken by every
    version. `sent_s`: when it is sent, never wrapped: a wrap misdates it by half a second for the next hundred."""
    return mavlink.MAVLink_command_int_message(
        *vehicle,
        mavlink.MAV_FRAME_GLOBAL,
        mavlink.MAV_CMD_EXTERNAL_POSITION_ESTIMATE,
        0,
        0,
        sent_s,
        age_s,
        report.sigma_m,
        0.0,
        round(report.lat_deg * 1e7),
        round(report.lon_deg * 1e7),
        math.nan,
    )


def global_position(report: GlobalReport, vehicle: tuple[int, int], sent_us: int, age_us: int) -> Any:
    """GLOBAL_POSITION_SENSOR: `sent_us` when it is sent, `age_us` how much earlier it held."""
    return mavlink.MAVLink_global_position_sensor_message(
        *vehicle,
        report.sensor_id,
        sent_us,
        age_us,
        mavlink.GLOBAL_POSITION_SRC_VISION,
        0,
        round(report.lat_deg * 1e7),
        round(report.lon_deg * 1e7),
        math.nan,
        report.amsl_m,
        report.horizontal_sigma_m,
        report.vertical_sigma_m,
    )


def heartbeat(state: HealthState, mode: int) -> Any:
    """HEARTBEAT of an onboard computer without an autopilot; `mode` is its custom mode."""
    return mavlink.MAVLink_heartbeat_message(
        mavlink.MAV_TYPE_ONBOARD_CONTROLLER,
        mavlink.MAV_AUTOPILOT_INVALID,
        mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED,
        mode,
        _MAV_STATES[state],
        3,
    )


def text(severity: Severity, line: str) -> Any:
    """STATUSTEXT, cut to 50 bytes of ASCII."""
    return mavlink.MAVLink_statustext_message(severity.value, line.encode("ascii", "replace")[:_TEXT_BYTES])


def named_value(name: str, value: float, stamp_ms: int) -> Any:
    """NAMED_VALUE_FLOAT, its name cut to 10 bytes of ASCII."""
    short = name.encode("ascii", "replace")[:_NAME_BYTES]
    return mavlink.MAVLink_named_value_float_message(stamp_ms % (1 << 32), short, value)


def command(vehicle: tuple[int, int], number: int, params: Sequence[float]) -> Any:
    """COMMAND_LONG; parameters that are not given are zero."""
    filled = (*params, *(0.0,) * (7 - len(params)))
    return mavlink.MAVLink_command_long_message(*vehicle, number, 0, *filled)


def set_origin(system: int, origin: Origin) -> Any:
    """SET_GPS_GLOBAL_ORIGIN."""
    place = (round(origin.lat_deg * 1e7), round(origin.lon_deg * 1e7), round(origin.amsl_m * 1e3))
    return mavlink.MAVLink_set_gps_global_origin_message(system, *place, 0)


def read_parameter(vehicle: tuple[int, int], name: str) -> Any:
    """PARAM_REQUEST_READ by name."""
    return mavlink.MAVLink_param_request_read_message(*vehicle, name.encode("ascii", "replace"), -1)


def set_parameter(vehicle: tuple[int, int], name: str, value: float, kind: int, *, bytewise: bool) -> Any:
    """PARAM_SET. Raises `ValueError` for a value that its type, `kind`, cannot hold."""
    field = parametercoding.encode(value, kind, bytewise=bytewise)
    return mavlink.MAVLink_param_set_message(*vehicle, name.encode("ascii", "replace"), field, kind)


def _diagonal(first: Sequence[float], rest: float) -> list[float]:
    """The upper triangle of a 6 by 6 covariance, row by row, without covariances."""
    return [(first[row] if row < 3 else rest) if row == column else 0.0 for row in range(6) for column in range(row, 6)]


def _quaternion(roll_deg: float, pitch_deg: float, yaw_deg: float) -> tuple[float, float, float, float]:
    """w, x, y, z of the rotation from the body to north-east-down, yaw then pitch then roll."""
    (sr, cr), (sp, cp), (sy, cy) = (
        (math.sin(half), math.cos(half)) for half in (math.radians(a) / 2.0 for a in (roll_deg, pitch_deg, yaw_deg))
    )
    return (
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    )
