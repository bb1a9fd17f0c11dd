"""What the autopilot stand-in says, as MAVLink messages: its streams, and what it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links.messages import Airframe, AutopilotKind
from tilefix.simulation.acceptance.gnss import MavlinkReceiver
from tilefix.simulation.flying import TICK_NS, Flying

COPTER_GUIDED, COPTER_LAND = 4, 9
NO_SIGNAL_US = 65535
RC_CHANNELS = 18
_PLANE_AUTO, _ROVER_AUTO = 10, 10
_PX4_MISSION, _PX4_LAND = 4 << 16 | 4 << 24, 4 << 16 | 6 << 24
_UNKNOWN = 65535
_JOINED_S = 0.1
Triple = tuple[float, float, float]
_KINDS = {
    Airframe.COPTER: mavlink.MAV_TYPE_QUADROTOR,
    Airframe.PLANE: mavlink.MAV_TYPE_FIXED_WING,
    Airframe.ROVER: mavlink.MAV_TYPE_GROUND_ROVER,
    Airframe.OTHER: mavlink.MAV_TYPE_GENERIC,
}
# Streams that a companion gets unasked; what is 0 has to be asked for, and 50 Hz of attitude too.
RATES_HZ = {
    mavlink.MAVLINK_MSG_ID_HEARTBEAT: 1.0,
    mavlink.MAVLINK_MSG_ID_ATTITUDE: 4.0,
    mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: 2.0,
    mavlink.MAVLINK_MSG_ID_GLOBAL_POSITION_INT: 4.0,
    mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE: 2.0,
    mavlink.MAVLINK_MSG_ID_SYSTEM_TIME: 1.0,
    mavlink.MAVLINK_MSG_ID_EKF_STATUS_REPORT: 1.0,  # ArduPilot's, as the next is PX4's
    mavlink.MAVLINK_MSG_ID_ESTIMATOR_STATUS: 1.0,
    mavlink.MAVLINK_MSG_ID_GPS2_RAW: 2.0,
    mavlink.MAVLINK_MSG_ID_RC_CHANNELS: 2.0,
    mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN: 0.0,
    mavlink.MAVLINK_MSG_ID_HOME_POSITION: 0.0,
    mavlink.MAVLINK_MSG_ID_DISTANCE_SENSOR: 0.0,
}


class Telemetry:
    """Builds messages of a flight. `rc_pwm_us`: the pilot's channels, first one first; `custom_mode`: what is flown."""

    def __init__(self, flight: Flying) -> None:
        self.rc_pwm_us = [1500] * 8 + [0] * (RC_CHANNELS - 8)
        self._flight = flight
        self._told_ticks = 0  # when the attitude was
        self._rates: Triple = (0.0, 0.0, 0.0)
        self._left_deg: Triple = (0.0, 0.0, 0.0)
        px4 = flight.settings.firmware.kind is AutopilotKind.PX4
        self._builders: dict[int, Callable[[int], Any]] = {
            mavlink.MAVLINK_MSG_ID_HEARTBEAT: lambda _: self._heartbeat(),
            mavlink.MAVLINK_MSG_ID_ATTITUDE: self._attitude,
            mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: self._gps_raw_int,
            mavlink.MAVLINK_MSG_ID_GPS2_RAW: self._gps2_raw,
            mavlink.MAVLINK_MSG_ID_GLOBAL_POSITION_INT: self._global_position_int,
            mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE: self._pressure,
            mavlink.MAVLINK_MSG_ID_SYSTEM_TIME: self._system_time,
            **(
                {mavlink.MAVLINK_MSG_ID_ESTIMATOR_STATUS: self._estimator_status}
                if px4
                else {mavlink.MAVLINK_MSG_ID_EKF_STATUS_REPORT: lambda _: self._ekf_status()}
            ),
            mavlink.MAVLINK_MSG_ID_RC_CHANNELS: self._rc_channels,
            mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN: lambda _: self._origin(),
            mavlink.MAVLINK_MSG_ID_HOME_POSITION: lambda _: self._home(),
            mavlink.MAVLINK_MSG_ID_DISTANCE_SENSOR: self._range,
            mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION: lambda _: self._version(),
        }

    def message(self, number: int, boot_ms: int) -> Any:
        """The message of that number as it stands now; `None` for one that it does not send."""
        builder = self._builders.get(number)
        return None if builder is None else builder(boot_ms)

    def _heartbeat(self) -> Any:
        flight, m = self._flight, mavlink
        airframe = flight.settings.firmware.airframe
        mode = m.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED | (m.MAV_MODE_FLAG_SAFETY_ARMED if flight.armed else 0)
        custom = COPTER_LAND if flight.landing else COPTER_GUIDED
        if airframe is not Airframe.COPTER:
            custom = _PLANE_AUTO if airframe is Airframe.PLANE else _ROVER_AUTO
        state = m.MAV_STATE_ACTIVE if flight.armed else m.MAV_STATE_STANDBY
        autopilot = m.MAV_AUTOPILOT_ARDUPILOTMEGA
        if flight.settings.firmware.kind is AutopilotKind.PX4:
            autopilot, custom = m.MAV_AUTOPILOT_PX4, _PX4_LAND if flight.landing else _PX4_MISSION
        return m.MAVLink_heartbeat_message(_KINDS[airframe], autopilot, mode, custom, state, 3)

    def _attitude(self, boot_ms: int) -> Any:
        flight = self._flight
        ticks, self._told_ticks = flight.ticks - self._told_ticks, flight.ticks
        told = (*flight.sensed_attitude_deg(), *self._rates_dps(flight.sensed_rates_dps(ticks), ticks * TICK_NS / 1e9))
        return mavlink.MAVLink_attitude_message(boot_ms, *map(math.radians, told))

    def _rates_dps(self, turned_dps: Triple, seconds: float) -> Triple:
        """The rates to tell for a mean of the last seconds. What the rates told so far leave out of the turn, joined by
        straight lines, goes into the next: an autopilot's own integration at 400 Hz or more loses nothing."""
        if not 0.0 < seconds <= _JOINED_S:
            self._rates, self._left_deg = turned_dps, (0.0, 0.0, 0.0)
            return turned_dps
        before, left = self._rates, self._left_deg
        now = [turned + 0.5 * rest / seconds for turned, rest in zip(turned_dps, left, strict=True)]
        self._rates = (now[0], now[1], now[2])
        rests = [
            rest + seconds * (turned - 0.5 * (was + is_now))
            for rest, turned, was, is_now in zip(left, turned_dps, before, now, strict=True)
        ]
        self._left_deg = (rests[0], rests[1], rests[2])
        return self._rates

    def _pressure(self, boot_ms: int) -> Any:
        return mavlink.MAVLink_scaled_pressure_message(boot_ms, self._flight.sensed_pressure_hpa(), 0.0, 2100)

    def _global_position_int(self, boot_ms: int) -> Any:
        flight = self._flight
        if flight.nav.origin.place is None:
            return None
        true = flight.vehicle.motion
        lat, lon = self._degrees(*flight.reported_position)
        east, north = flight.estimator.velocity
        heights_mm = (round(flight.amsl_m * 1e3), round(true.agl_m * 1e3))
        speeds = (round(north * 100), round(east * 100), round(-true.climb_mps * 100))
        heading = round(true.yaw_deg * 100) % 36000
        return mavlink.MAVLink_global_position_int_message(boot_ms, lat, lon, *heights_mm, *speeds, heading)

    def _system_time(self, boot_ms: int) -> Any:
        unix_us = int((self._flight.settings.unix_start_s + self._flight.now_s) * 1e6)
        return mavlink.MAVLink_system_time_message(unix_us, boot_ms)

    def _ekf_status(self) -> Any:
        nav = self._flight.nav
        return mavlink.MAVLink_ekf_status_report_message(nav.flags, *nav.tests, 0.1, 0.1, 0.0)

    def _estimator_status(self, boot_ms: int) -> Any:
        ratios = (0.1,) * 6
        return mavlink.MAVLink_estimator_status_message(boot_ms * 1000, self._flight.nav.flags, *ratios, 1.0, 1.5)

    def _rc_channels(self, boot_ms: int) -> Any:
        count = sum(1 for pwm_us in self.rc_pwm_us if pwm_us)
        channels = [pwm_us or NO_SIGNAL_US for pwm_us in self.rc_pwm_us]
        return mavlink.MAVLink_rc_channels_message(boot_ms, count, *channels, 200)

    def _origin(self) -> Any:
        place = self._flight.nav.origin.place
        if place is None:
            return None
        lat_deg, lon_deg, amsl_m = place
        scaled = (round(lat_deg * 1e7), round(lon_deg * 1e7), round(amsl_m * 1e3))
        return mavlink.MAVLink_gps_global_origin_message(*scaled)

    def _home(self) -> Any:
        flight = self._flight
        lat, lon = self._degrees(flight.motions[0].east_m, flight.motions[0].north_m)
        ground_mm = round(flight.settings.ground_amsl_m * 1e3)
        return mavlink.MAVLink_home_position_message(lat, lon, ground_mm, 0, 0, 0, [1, 0, 0, 0], 0, 0, 0)

    def _range(self, boot_ms: int) -> Any:
        flight, true = self._flight, self._flight.vehicle.motion
        if flight.settings.rangefinder_m <= 0.0:
            return None
        upright = math.cos(math.radians(true.roll_deg)) * math.cos(math.radians(true.pitch_deg))
        reach_cm = round(flight.settings.rangefinder_m * 100)
        range_cm = min(round(true.agl_m / upright * 100), 65535)
        down = mavlink.MAV_SENSOR_ROTATION_PITCH_270
        return mavlink.MAVLink_distance_sensor_message(boot_ms, 20, reach_cm, range_cm, 0, 0, down, 0)

    def _version(self) -> Any:
        able = mavlink.MAV_PROTOCOL_CAPABILITY_MAVLINK2 | mavlink.MAV_PROTOCOL_CAPABILITY_COMMAND_INT
        px4 = self._flight.settings.firmware.kind is AutopilotKind.PX4
        able |= (
            mavlink.MAV_PROTOCOL_CAPABILITY_PARAM_ENCODE_BYTEWISE
            if px4
            else mavlink.MAV_PROTOCOL_CAPABILITY_PARAM_ENCODE_C_CAST
        )
        no_hash = ([0] * 8, [0] * 8, [0] * 8)
        version = self._flight.settings.firmware.packed_version
        return mavlink.MAVLink_autopilot_version_message(able, version, 0, 0, 0, *no_hash, 0, 0, 0)

    def _degrees(self, east_m: float, north_m: float) -> tuple[int, int]:
        lat_deg, lon_deg = self._flight.frame.to_geodetic(east_m, north_m)
        return round(lat_deg * 1e7), round(lon_deg * 1e7)

    def _gps_raw_int(self, boot_ms: int) -> Any:
        """The first receiver: the vehicle's own, unless that one is fed too."""
        flight, own = self._flight, self._flight.own
        fed = flight.nav.fed(0)
        if fed is not None:
            return mavlink.MAVLink_gps_raw_int_message(boot_ms * 1000, *self._fed(fed), *self._accuracy(fed))
        if own.fix_type < 3:
            unknown = (_UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN, own.satellites)
            return mavlink.MAVLink_gps_raw_int_message(boot_ms * 1000, own.fix_type, 0, 0, 0, *unknown)
        east_m, north_m, amsl_m = flight.sensed_gnss()
        true = flight.vehicle.motion
        speed = round(math.hypot(*own.velocity(true)) * 100)
        course = round(own.course_deg(true) * 100) % 36000
        place = (*self._degrees(east_m, north_m), round(amsl_m * 1e3))
        dilution = round(own.hdop * 100)
        accuracy = (0, round(own.horizontal_m * 1e3), round(own.vertical_m * 1e3), round(own.speed_mps * 1e3), 0, 0)
        return mavlink.MAVLink_gps_raw_int_message(
            boot_ms * 1000, own.fix_type, *place, dilution, dilution + 40, speed, course, own.satellites, *accuracy
        )

    def _gps2_raw(self, boot_ms: int) -> Any:
        fed = self._flight.nav.fed(1)
        if fed is None:
            return None
        return mavlink.MAVLink_gps2_raw_message(boot_ms * 1000, *self._fed(fed), 0, 0, 0, *self._accuracy(fed))

    @staticmethod
    def _fed(receiver: MavlinkReceiver) -> tuple[int, ...]:
        lat_deg, lon_deg = receiver.position_deg or (0.0, 0.0)
        east_mps, north_mps = receiver.velocity_mps
        return (
            receiver.fix_type,
            round(lat_deg * 1e7),
            round(lon_deg * 1e7),
            round(receiver.amsl_m * 1e3),
            min(round(receiver.hdop * 100), _UNKNOWN),
            _UNKNOWN,
            round(math.hypot(east_mps, north_mps) * 100),
            round(math.degrees(math.atan2(east_mps, north_mps)) * 100) % 36000,
            receiver.satellites,
        )

    @staticmethod
    def _accuracy(receiver: MavlinkReceiver) -> tuple[int, ...]:
        errors = (receiver.horizontal_m, receiver.vertical_m, receiver.speed_mps)
        return (0, *(round(error * 1e3) for error in errors), 0)
