"""What a companion tells an autopilot, out of MAVLink messages and into plain units. Pure."""

from __future__ import annotations

import math
from typing import Any

from tilefix.camera import rotation_deg, rotation_of
from tilefix.simulation.acceptance.externalestimate import ExternalEstimate
from tilefix.simulation.acceptance.externalnav import LocalPosition
from tilefix.simulation.acceptance.globalposition import GlobalPosition
from tilefix.simulation.acceptance.gnss import GpsInput

LOCAL_POSITIONS = ("VISION_POSITION_ESTIMATE", "GLOBAL_VISION_POSITION_ESTIMATE", "ODOMETRY")
_WEEK_S = 604_800
_NORTH, _EAST, _DOWN = 0, 6, 11  # places of the variances in the upper triangle of a 6 by 6 covariance


def gps_input(message: Any) -> GpsInput:
    """A GPS_INPUT."""
    stamp_s = message.time_week * _WEEK_S + message.time_week_ms / 1000.0 if message.time_week > 0 else None
    return GpsInput(
        receiver=message.gps_id,
        fix_type=message.fix_type,
        lat_deg=message.lat / 1e7,
        lon_deg=message.lon / 1e7,
        amsl_m=message.alt,
        north_mps=message.vn,
        east_mps=message.ve,
        horizontal_m=message.horiz_accuracy,
        vertical_m=message.vert_accuracy,
        speed_mps=message.speed_accuracy,
        satellites=message.satellites_visible,
        hdop=message.hdop,
        ignored=message.ignore_flags,
        stamp_s=stamp_s,
    )


def local_position(message: Any, own_attitude_deg: tuple[float, float, float] | None = None) -> LocalPosition:
    """A VISION_POSITION_ESTIMATE, GLOBAL_VISION_POSITION_ESTIMATE or ODOMETRY. The body's velocity in that is turned by
    the attitude that comes with it, as ArduPilot does, or by the autopilot's own, as PX4 does."""
    if message.get_type() != "ODOMETRY":
        return LocalPosition(
            stamp_s=message.usec / 1e6,
            north_m=message.x,
            east_m=message.y,
            down_m=message.z,
            variances=_variances(message.covariance),
            reset_counter=message.reset_counter,
        )
    to_ned = rotation_of(*message.q) if own_attitude_deg is None else rotation_deg(*own_attitude_deg)
    north_mps, east_mps, _ = to_ned @ (message.vx, message.vy, message.vz)
    return LocalPosition(
        stamp_s=message.time_usec / 1e6,
        north_m=message.x,
        east_m=message.y,
        down_m=message.z,
        variances=_variances(message.pose_covariance),
        reset_counter=message.reset_counter,
        quality=message.quality,
        frames=(message.frame_id, message.child_frame_id),
        velocity=(float(east_mps), float(north_mps)),
        velocity_variances=_variances(message.velocity_covariance),
        estimator=message.estimator_type,
    )


def _variances(covariance: Any) -> tuple[float, float, float] | None:
    if math.isnan(covariance[_NORTH]):
        return None
    return covariance[_NORTH], covariance[_EAST], covariance[_DOWN]


def external_estimate(message: Any) -> ExternalEstimate:
    """A COMMAND_INT of MAV_CMD_EXTERNAL_POSITION_ESTIMATE."""
    return ExternalEstimate(
        frame=message.frame,
        sent_s=message.param1,
        processing_s=message.param2,
        sigma_m=message.param3,
        lat_deg=message.x / 1e7,
        lon_deg=message.y / 1e7,
        z=message.z,
    )


def global_position(message: Any) -> GlobalPosition:
    """A GLOBAL_POSITION_SENSOR."""
    return GlobalPosition(
        sensor=message.id,
        lat_1e7=message.lat,
        lon_1e7=message.lon,
        horizontal_m=message.eph,
    )
