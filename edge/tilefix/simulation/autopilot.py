"""An autopilot stand-in that speaks real MAVLink 2 over a flight that loses its GNSS when told to.

Deterministic, without clock, thread or socket; `tilefix.simulation.live` runs it in real time over UDP.
"""

from __future__ import annotations

import math
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.geodesy import LocalFrame
from tilefix.simulation.flying import TICK_NS, AutopilotSettings, Flying
from tilefix.simulation.receiver import GpsInput
from tilefix.simulation.vehicle import Course, SimulatedVehicle

_GPS_EPOCH_UNIX_S, _GPS_LEAP_S, _WEEK_S = 315_964_800, 18, 604_800
_EKF_GOOD, _EKF_LOST = 0x033F, 0x00A5
_COPTER_GUIDED, _COPTER_LAND = 4, 9
_VERSION_4_6_0 = (4 << 24) | (6 << 16) | 255
# Streams a companion gets unasked; what is 0 has to be asked for, and 50 Hz of attitude too.
_RATES_HZ = {
    mavlink.MAVLINK_MSG_ID_HEARTBEAT: 1.0,
    mavlink.MAVLINK_MSG_ID_ATTITUDE: 4.0,
    mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: 2.0,
    mavlink.MAVLINK_MSG_ID_GLOBAL_POSITION_INT: 4.0,
    mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE: 2.0,
    mavlink.MAVLINK_MSG_ID_SYSTEM_TIME: 1.0,
    mavlink.MAVLINK_MSG_ID_EKF_STATUS_REPORT: 1.0,
    mavlink.MAVLINK_MSG_ID_HOME_POSITION: 0.0,
    mavlink.MAVLINK_MSG_ID_DISTANCE_SENSOR: 0.0,
}


class SimulatedAutopilot:
    """`receive` takes bytes, `step` flies on to a time and gives the packets sent on the way; `flight` is the truth.

    `companions`: heartbeats heard by (system, component); `texts`: the STATUSTEXTs heard; `malformed`: bad packets.
    """

    def __init__(
        self,
        vehicle: SimulatedVehicle,
        course: Course,
        frame: LocalFrame,
        *,
        start_ns: int,
        seed: int,
        settings: AutopilotSettings | None = None,
    ) -> None:
        self.settings = settings or AutopilotSettings()
        self.flight = Flying(vehicle, course, frame, start_ns=start_ns, seed=seed, settings=self.settings)
        self.companions: dict[tuple[int, int], int] = {}
        self.texts: list[str] = []
        self.malformed = 0
        self._told = 0
        self._sender = mavlink.MAVLink(None, srcSystem=self.settings.system_id, srcComponent=1)
        self._parser = mavlink.MAVLink(None)
        self._parser.robust_parsing = True
        self._intervals_s = {number: (1.0 / rate if rate else 0.0) for number, rate in _RATES_HZ.items()}
        self._due_s = dict.fromkeys(_RATES_HZ, 0.0)
        self._outbox: list[bytes] = []

    def step(self, now_ns: int) -> list[bytes]:
        """Flies on to `now_ns` and gives every packet sent on the way, replies included."""
        flight = self.flight
        while flight.start_ns + (flight.ticks + 1) * TICK_NS <= now_ns:
            flight.tick()
            for line in flight.events[self._told :]:
                self._send(mavlink.MAVLink_statustext_message(mavlink.MAV_SEVERITY_CRITICAL, line.encode()))
            self._told = len(flight.events)
            for number, interval_s in self._intervals_s.items():
                if interval_s > 0.0 and flight.now_s >= self._due_s[number] - 1e-9:
                    self._due_s[number] = max(self._due_s[number] + interval_s, flight.now_s - interval_s)
                    self._send_message(number)
        sent, self._outbox = self._outbox, []
        return sent

    def _boot_ns(self, at_ns: int) -> int:
        """Its own clock, which started earlier and runs a little fast."""
        since_ns = at_ns - self.flight.start_ns
        return round(self.settings.boot_offset_s * 1e9 + since_ns * (1.0 + self.settings.clock_drift))

    # What comes in ----------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ns: int) -> None:
        """Takes bytes that arrived at `now_ns`; replies leave with the next `step`."""
        for message in self._parser.parse_buffer(data) or []:
            kind = message.get_type()
            if kind == "BAD_DATA":
                self.malformed += 1
            elif kind == "HEARTBEAT":
                sender = (message.get_srcSystem(), message.get_srcComponent())
                self.companions[sender] = self.companions.get(sender, 0) + 1
            elif kind == "GPS_INPUT":
                self.flight.take_position(self._gps_input(message))
            elif kind == "TIMESYNC" and message.tc1 == 0:
                self._send(mavlink.MAVLink_timesync_message(self._boot_ns(now_ns), message.ts1))
            elif kind == "STATUSTEXT":
                self.texts.append(message.text)
            elif kind in ("COMMAND_LONG", "COMMAND_INT") and message.target_system in (0, self.settings.system_id):
                self._obey(message)

    def _gps_input(self, message: Any) -> GpsInput:
        age_s = None
        if message.time_week > 0:
            sent = message.time_week * _WEEK_S + message.time_week_ms / 1000.0 + _GPS_EPOCH_UNIX_S - _GPS_LEAP_S
            age_s = self.settings.unix_start_s + self.flight.now_s - sent
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
            age_s=age_s,
        )

    def _obey(self, message: Any) -> None:
        result = mavlink.MAV_RESULT_UNSUPPORTED
        if message.command == mavlink.MAV_CMD_SET_MESSAGE_INTERVAL:
            result = mavlink.MAV_RESULT_DENIED
            number = int(message.param1)
            if number in _RATES_HZ and math.isfinite(message.param2):
                usual_s = 1.0 / _RATES_HZ[number] if _RATES_HZ[number] else 0.0
                self._intervals_s[number] = usual_s if message.param2 == 0 else max(message.param2 / 1e6, 0.0)
                self._due_s[number] = self.flight.now_s
                result = mavlink.MAV_RESULT_ACCEPTED
        elif message.command == mavlink.MAV_CMD_REQUEST_MESSAGE:
            known = self._send_message(int(message.param1))
            result = mavlink.MAV_RESULT_ACCEPTED if known else mavlink.MAV_RESULT_FAILED
        elif message.command == mavlink.MAV_CMD_REQUEST_AUTOPILOT_CAPABILITIES:
            self._send_message(mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION)
            result = mavlink.MAV_RESULT_ACCEPTED
        sender = (message.get_srcSystem(), message.get_srcComponent())
        self._send(mavlink.MAVLink_command_ack_message(message.command, result, 0, 0, *sender))

    # What goes out ----------------------------------------------------------------------------------------------

    def _send(self, message: Any) -> None:
        self._outbox.append(bytes(message.pack(self._sender)))
        self._sender.seq = (self._sender.seq + 1) % 256

    def _send_message(self, number: int) -> bool:
        message = self._message(number)
        if message is not None:
            self._send(message)
        return message is not None

    def _message(self, number: int) -> Any:
        """The message of that number as it stands now; `None` for one that it does not send."""
        m, flight = mavlink, self.flight
        true = flight.vehicle.motion
        boot_ms = self._boot_ns(flight.start_ns + flight.ticks * TICK_NS) // 1_000_000
        if number == m.MAVLINK_MSG_ID_HEARTBEAT:
            mode = m.MAV_MODE_FLAG_SAFETY_ARMED | m.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
            kind = m.MAV_TYPE_FIXED_WING if flight.vehicle.airframe.banks else m.MAV_TYPE_QUADROTOR
            custom = _COPTER_LAND if flight.landing else _COPTER_GUIDED
            return m.MAVLink_heartbeat_message(kind, m.MAV_AUTOPILOT_ARDUPILOTMEGA, mode, custom, m.MAV_STATE_ACTIVE, 3)
        if number == m.MAVLINK_MSG_ID_ATTITUDE:
            angles = map(math.radians, flight.sensed_attitude_deg())
            return m.MAVLink_attitude_message(boot_ms, *angles, 0.0, 0.0, 0.0)
        if number == m.MAVLINK_MSG_ID_SCALED_PRESSURE:
            return m.MAVLink_scaled_pressure_message(boot_ms, flight.sensed_pressure_hpa(), 0.0, 2100)
        if number == m.MAVLINK_MSG_ID_GPS_RAW_INT:
            return self._gps_raw_int(boot_ms)
        if number == m.MAVLINK_MSG_ID_GLOBAL_POSITION_INT:
            lat, lon = self._degrees(*flight.reported_position)
            east, north = flight.estimator.velocity
            heights_mm = (round(flight.amsl_m * 1e3), round(true.agl_m * 1e3))
            speeds = (round(north * 100), round(east * 100), round(-true.climb_mps * 100))
            heading = round(true.yaw_deg * 100) % 36000
            return m.MAVLink_global_position_int_message(boot_ms, lat, lon, *heights_mm, *speeds, heading)
        if number == m.MAVLINK_MSG_ID_SYSTEM_TIME:
            unix_us = int((self.settings.unix_start_s + flight.now_s) * 1e6)
            return m.MAVLink_system_time_message(unix_us, boot_ms)
        if number == m.MAVLINK_MSG_ID_EKF_STATUS_REPORT:
            flags = _EKF_GOOD if flight.has_position else _EKF_LOST
            return m.MAVLink_ekf_status_report_message(flags, 0.1, 0.1, 0.1, 0.1, 0.0)
        if number == m.MAVLINK_MSG_ID_HOME_POSITION:
            lat, lon = self._degrees(flight.motions[0].east_m, flight.motions[0].north_m)
            ground_mm = round(self.settings.ground_amsl_m * 1e3)
            return m.MAVLink_home_position_message(lat, lon, ground_mm, 0, 0, 0, [1, 0, 0, 0], 0, 0, 0)
        if number == m.MAVLINK_MSG_ID_DISTANCE_SENSOR and self.settings.rangefinder_m > 0.0:
            upright = math.cos(math.radians(true.roll_deg)) * math.cos(math.radians(true.pitch_deg))
            reach_cm = round(self.settings.rangefinder_m * 100)
            range_cm = min(round(true.agl_m / upright * 100), 65535)
            down = m.MAV_SENSOR_ROTATION_PITCH_270
            return m.MAVLink_distance_sensor_message(boot_ms, 20, reach_cm, range_cm, 0, 0, down, 0)
        if number == m.MAVLINK_MSG_ID_AUTOPILOT_VERSION:
            able = m.MAV_PROTOCOL_CAPABILITY_MAVLINK2 | m.MAV_PROTOCOL_CAPABILITY_COMMAND_INT
            no_hash = ([0] * 8, [0] * 8, [0] * 8)
            return m.MAVLink_autopilot_version_message(able, _VERSION_4_6_0, 0, 0, 0, *no_hash, 0, 0, 0)
        return None

    def _degrees(self, east_m: float, north_m: float) -> tuple[int, int]:
        lat_deg, lon_deg = self.flight.frame.to_geodetic(east_m, north_m)
        return round(lat_deg * 1e7), round(lon_deg * 1e7)

    def _gps_raw_int(self, boot_ms: int) -> Any:
        flight = self.flight
        if flight.gnss_denied:
            unknown = (65535, 65535, 65535, 65535, 0)
            return mavlink.MAVLink_gps_raw_int_message(boot_ms * 1000, 1, 0, 0, 0, *unknown)
        east_m, north_m, amsl_m = flight.sensed_gnss()
        true = flight.vehicle.motion
        speed = round(math.hypot(true.east_mps, true.north_mps) * 100)
        course = round(math.degrees(math.atan2(true.east_mps, true.north_mps)) * 100) % 36000
        place = (*self._degrees(east_m, north_m), round(amsl_m * 1e3))
        accuracy = (0, 1200, 1600, 300, 0, 0)
        return mavlink.MAVLink_gps_raw_int_message(boot_ms * 1000, 3, *place, 70, 110, speed, course, 14, *accuracy)
