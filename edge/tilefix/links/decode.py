"""What a vehicle says in MAVLink, as the values of `tilefix.links.messages`. Pure but for the time it learns.

Facts are ArduPilot's and PX4's: GPS_RAW_INT is the first receiver; a PARAM_VALUE of ArduPilot holds every type cast to
a float, one of PX4 holds an integer's own four bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.camera import carrier_deg, rotation_deg, rotation_of
from tilefix.links import parametercoding
from tilefix.links.messages import (
    Airframe,
    Attitude,
    AutopilotKind,
    AutopilotTime,
    CameraAttitude,
    CommandResult,
    EkfFlags,
    GimbalSource,
    GnssReceiver,
    GroundRange,
    Heartbeat,
    Home,
    LinkMessage,
    Origin,
    Parameter,
    ParameterRefused,
    Pressure,
    RcChannels,
)
from tilefix.links.timesync import BootTime

_SECOND_NS = 1_000_000_000
_KINDS = {mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA: AutopilotKind.ARDUPILOT, mavlink.MAV_AUTOPILOT_PX4: AutopilotKind.PX4}
_COPTERS = (
    mavlink.MAV_TYPE_QUADROTOR,
    mavlink.MAV_TYPE_COAXIAL,
    mavlink.MAV_TYPE_HELICOPTER,
    mavlink.MAV_TYPE_HEXAROTOR,
    mavlink.MAV_TYPE_OCTOROTOR,
    mavlink.MAV_TYPE_TRICOPTER,
    mavlink.MAV_TYPE_DODECAROTOR,
    mavlink.MAV_TYPE_DECAROTOR,
)
# 19 to 25 are the kinds of VTOL, whose names changed over the years.
_PLANES = (mavlink.MAV_TYPE_FIXED_WING, *range(19, 26))
_ROVERS = (mavlink.MAV_TYPE_GROUND_ROVER, mavlink.MAV_TYPE_SURFACE_BOAT)
_AIRFRAMES = {
    **dict.fromkeys(_COPTERS, Airframe.COPTER),
    **dict.fromkeys(_PLANES, Airframe.PLANE),
    **dict.fromkeys(_ROVERS, Airframe.ROVER),
}
_REFUSALS = {
    mavlink.MAV_PARAM_ERROR_DOES_NOT_EXIST: "does not have it",
    mavlink.MAV_PARAM_ERROR_VALUE_OUT_OF_RANGE: "says that the value is out of its range",
    mavlink.MAV_PARAM_ERROR_PERMISSION_DENIED: "does not permit it",
    mavlink.MAV_PARAM_ERROR_READ_ONLY: "says that it is read-only",
}
_LARGEST_LAT, _LARGEST_LON = 900_000_000, 1_800_000_000


class Decoder:
    """Decodes one vehicle's messages; `boot` maps its time to this process's."""

    def __init__(self) -> None:
        self.boot = BootTime()
        self.kind = AutopilotKind.OTHER
        self._decoders: dict[str, Callable[[Any, int], LinkMessage | None]] = {
            "ATTITUDE": self._attitude,
            "AUTOPILOT_VERSION": _nothing,
            "COMMAND_ACK": _command_result,
            "DISTANCE_SENSOR": self._range,
            "EKF_STATUS_REPORT": _flags,
            "ESTIMATOR_STATUS": _flags,
            "GIMBAL_DEVICE_ATTITUDE_STATUS": self._gimbal_device,
            "GPS_GLOBAL_ORIGIN": _origin,
            "GPS_RAW_INT": _receiver,
            "HEARTBEAT": _heartbeat,
            "HOME_POSITION": _home,
            "MOUNT_ORIENTATION": self._mount_orientation,
            "PARAM_ERROR": _refused_parameter,
            "PARAM_VALUE": self._parameter,
            "RC_CHANNELS": self._channels,
            "SCALED_PRESSURE": self._pressure,
            "SYSTEM_TIME": self._time,
            "TIMESYNC": _nothing,
        }

    @property
    def names(self) -> Collection[str]:
        """The names of messages that mean anything to tilefix."""
        return self._decoders.keys()

    def decode(self, message: Any, now_ns: int) -> LinkMessage | None:
        """What a message of a name that it knows says; `None` when that is nothing."""
        return self._decoders[message.get_type()](message, now_ns)

    def _attitude(self, message: Any, now_ns: int) -> LinkMessage | None:
        at_ns = self._fresh_ns(message.time_boot_ms, now_ns)
        roll, pitch, yaw = (math.degrees(angle) for angle in (message.roll, message.pitch, message.yaw))
        if at_ns is None or not all(map(math.isfinite, (roll, pitch, yaw))):
            return None
        forward, right, down = (
            math.degrees(rate) for rate in (message.rollspeed, message.pitchspeed, message.yawspeed)
        )
        # No gyroscope reads nothing at all about every axis: then nobody filled them in.
        known = any((forward, right, down)) and all(map(math.isfinite, (forward, right, down)))
        return Attitude(at_ns, roll, pitch, yaw, (forward, right, down) if known else None)

    def _mount_orientation(self, message: Any, now_ns: int) -> LinkMessage | None:
        """Roll and pitch against the horizon; of its two yaws the one from the nose, where it is known: the body's own
        comes more often than either."""
        of_body = math.isfinite(message.yaw)
        angles = (message.roll, message.pitch, message.yaw if of_body else message.yaw_absolute)
        at_ns = self._fresh_ns(message.time_boot_ms, now_ns)
        if at_ns is None or not all(map(math.isfinite, angles)):
            return None
        carrier = carrier_deg(rotation_deg(*angles))
        return CameraAttitude(at_ns, *carrier, of_body, GimbalSource.MOUNT_ORIENTATION)

    def _gimbal_device(self, message: Any, now_ns: int) -> LinkMessage | None:
        """The flags say what yaw counts from; where they do not, a locked yaw is one from north."""
        length, at_ns = math.hypot(*message.q), self._fresh_ns(message.time_boot_ms, now_ns)
        if at_ns is None or not (math.isfinite(length) and abs(length - 1.0) < 0.1):
            return None
        of_body = not message.flags & mavlink.GIMBAL_DEVICE_FLAGS_YAW_IN_EARTH_FRAME and (
            bool(message.flags & mavlink.GIMBAL_DEVICE_FLAGS_YAW_IN_VEHICLE_FRAME)
            or not message.flags & mavlink.GIMBAL_DEVICE_FLAGS_YAW_LOCK
        )
        carrier = carrier_deg(rotation_of(*message.q))
        return CameraAttitude(at_ns, *carrier, of_body, GimbalSource.GIMBAL_DEVICE)

    def _pressure(self, message: Any, now_ns: int) -> LinkMessage | None:
        return Pressure(self._local_ns(message.time_boot_ms, now_ns), float(message.press_abs))

    def _range(self, message: Any, now_ns: int) -> LinkMessage | None:
        """A downward rangefinder within its own limits; 1 is the quality of an invalid reading."""
        usable = message.min_distance <= message.current_distance <= message.max_distance and message.current_distance
        if not usable or message.orientation != mavlink.MAV_SENSOR_ROTATION_PITCH_270 or message.signal_quality == 1:
            return None
        return GroundRange(self._local_ns(message.time_boot_ms, now_ns), message.current_distance / 100.0)

    def _time(self, message: Any, now_ns: int) -> LinkMessage | None:
        return AutopilotTime(self._local_ns(message.time_boot_ms, now_ns), message.time_unix_usec * 1000)

    def _channels(self, message: Any, now_ns: int) -> LinkMessage | None:
        pwm_us = tuple(getattr(message, f"chan{number}_raw") for number in range(1, 19))
        known = tuple(0 if value == 65535 else value for value in pwm_us)
        return RcChannels(self._local_ns(message.time_boot_ms, now_ns), known)

    def _parameter(self, message: Any, now_ns: int) -> LinkMessage | None:
        bytewise = self.kind is AutopilotKind.PX4
        value = parametercoding.decode(message.param_value, message.param_type, bytewise=bytewise)
        return None if value is None or not message.param_id else Parameter(now_ns, message.param_id, value)

    def _local_ns(self, boot_ms: int, now_ns: int) -> int:
        """When it was measured; never later than now, and not earlier than a second ago."""
        at_ns = self._fresh_ns(boot_ms, now_ns)
        return now_ns - _SECOND_NS if at_ns is None else at_ns

    def _fresh_ns(self, boot_ms: int, now_ns: int) -> int | None:
        """When it was measured, never later than now; `None` when that is more than a second ago. An attitude that is
        dated anew would stand for an instant at which the vehicle had turned on."""
        local_ns = self.boot.to_local_ns(boot_ms * 1_000_000)
        if local_ns is None:
            return now_ns
        return None if local_ns < now_ns - _SECOND_NS else min(local_ns, now_ns)


def kind_of(heartbeat: Any) -> AutopilotKind:
    """Whose firmware sent a HEARTBEAT."""
    return _KINDS.get(heartbeat.autopilot, AutopilotKind.OTHER)


def airframe_of(heartbeat: Any) -> Airframe:
    """What it flies."""
    return _AIRFRAMES.get(heartbeat.type, Airframe.OTHER)


def version_of(message: Any) -> tuple[tuple[int, int, int] | None, bool]:
    """The version in an AUTOPILOT_VERSION, and whether it is of a development build; all zero is none."""
    major, minor, patch, stage = message.flight_sw_version.to_bytes(4, "big")
    known = (major, minor, patch) != (0, 0, 0)
    return ((major, minor, patch) if known else None), known and stage < mavlink.FIRMWARE_VERSION_TYPE_BETA


def _nothing(_: Any, __: int) -> LinkMessage | None:
    """The link itself attends to it."""
    return None


def _receiver(message: Any, now_ns: int) -> LinkMessage | None:
    """GPS_RAW_INT: what the first receiver says; a zero or a largest value stands for unknown."""
    known = message.fix_type >= 2 and (message.lat, message.lon) != (0, 0) and abs(message.lat) <= _LARGEST_LAT
    speed = None if message.vel == 65535 or message.cog == 65535 else message.vel / 100.0
    course = math.radians(message.cog / 100.0)
    return GnssReceiver(
        at_ns=now_ns,
        fix_type=message.fix_type,
        lat_deg=message.lat / 1e7 if known else None,
        lon_deg=message.lon / 1e7 if known else None,
        amsl_m=message.alt / 1e3 if message.fix_type >= 3 else None,
        horizontal_sigma_m=message.h_acc / 1e3 or None,
        vertical_sigma_m=message.v_acc / 1e3 or None,
        velocity_north_mps=None if speed is None else speed * math.cos(course),
        velocity_east_mps=None if speed is None else speed * math.sin(course),
        satellites=None if message.satellites_visible == 255 else message.satellites_visible,
        hdop=None if message.eph == 65535 else message.eph / 100.0,
    )


def _origin(message: Any, now_ns: int) -> LinkMessage | None:
    lat, lon = message.latitude, message.longitude
    if (lat, lon) == (0, 0) or abs(lat) > _LARGEST_LAT or abs(lon) > _LARGEST_LON:
        return None
    return Origin(now_ns, lat / 1e7, lon / 1e7, message.altitude / 1e3)


def _home(message: Any, now_ns: int) -> LinkMessage | None:
    return Home(now_ns, message.altitude / 1e3)


def _heartbeat(message: Any, now_ns: int) -> LinkMessage | None:
    armed = bool(message.base_mode & mavlink.MAV_MODE_FLAG_SAFETY_ARMED)
    return Heartbeat(now_ns, message.get_srcSystem(), armed)


def _flags(message: Any, now_ns: int) -> LinkMessage | None:
    """ArduPilot's EKF_STATUS_REPORT and PX4's ESTIMATOR_STATUS: their flags mean the same up to bit 9."""
    return EkfFlags(now_ns, message.flags)


def _refused_parameter(message: Any, now_ns: int) -> LinkMessage | None:
    if not message.param_id or message.error == mavlink.MAV_PARAM_ERROR_NO_ERROR:
        return None
    reason = _REFUSALS.get(message.error, f"refuses it, MAV_PARAM_ERROR {message.error}")
    return ParameterRefused(now_ns, message.param_id, reason)


def _command_result(message: Any, now_ns: int) -> LinkMessage | None:
    return CommandResult(now_ns, message.command, message.result)
