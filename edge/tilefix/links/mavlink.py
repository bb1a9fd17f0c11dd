"""The MAVLink 2 link to one autopilot: decodes what the vehicle says, asks it for streams, sends what tilefix has.

Facts are ArduPilot's, flown in simulation: streams are asked for with MAV_CMD_SET_MESSAGE_INTERVAL, again after a
reboot or a silence; a TIMESYNC reply echoes `ts1`; GPS_RAW_INT is the first receiver, the second one is GPS2_RAW.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.camera import carrier_deg, rotation_deg, rotation_of
from tilefix.links.framing import Framer
from tilefix.links.messages import (
    Attitude,
    AutopilotTime,
    CameraAttitude,
    GimbalSource,
    GnssReceiver,
    GroundRange,
    HealthState,
    Heartbeat,
    Home,
    LinkMessage,
    PositionReport,
    Pressure,
    Rebooted,
    Severity,
)
from tilefix.links.timesync import BootTime
from tilefix.links.transport import Address, Transport
from tilefix.ports import Clock

DEFAULT_COMPONENT_ID = mavlink.MAV_COMP_ID_ONBOARD_COMPUTER  # 191
STREAM_RATES_HZ = {
    mavlink.MAVLINK_MSG_ID_ATTITUDE: 50.0,
    mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE: 10.0,
    mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: 5.0,
    mavlink.MAVLINK_MSG_ID_DISTANCE_SENSOR: 10.0,
    mavlink.MAVLINK_MSG_ID_HOME_POSITION: 0.5,
    mavlink.MAVLINK_MSG_ID_SYSTEM_TIME: 1.0,
}
# Asked for only where a gimbal carries the camera.
GIMBAL_STREAMS = {
    GimbalSource.MOUNT_ORIENTATION: mavlink.MAVLINK_MSG_ID_MOUNT_ORIENTATION,
    GimbalSource.GIMBAL_DEVICE: mavlink.MAVLINK_MSG_ID_GIMBAL_DEVICE_ATTITUDE_STATUS,
}
GIMBAL_RATE_HZ = 20.0
_SECOND_NS = 1_000_000_000
_TIMESYNC_EVERY_NS = _SECOND_NS
# Streams are counted over this long; one that comes at less than half its rate is asked for again.
_STREAM_WINDOW_NS = 3 * _SECOND_NS
# What an autopilot may not have to send (no rangefinder, no home yet) is asked for again only this seldom.
_OPTIONAL_STREAMS = (
    mavlink.MAVLINK_MSG_ID_DISTANCE_SENSOR,
    mavlink.MAVLINK_MSG_ID_HOME_POSITION,
    mavlink.MAVLINK_MSG_ID_SYSTEM_TIME,
)
_OPTIONAL_EVERY_NS = 30 * _SECOND_NS
_PEER_SILENCE_NS = 5 * _SECOND_NS
_MAX_PEERS = 8
_TEXT_BYTES = 50
_NAME_BYTES = 10
_MAV_STATES = {
    HealthState.BOOT: mavlink.MAV_STATE_BOOT,
    HealthState.STANDBY: mavlink.MAV_STATE_STANDBY,
    HealthState.ACTIVE: mavlink.MAV_STATE_ACTIVE,
    HealthState.CRITICAL: mavlink.MAV_STATE_CRITICAL,
}
# Kinds of MAVLink system that send heartbeats but are no vehicle's autopilot.
_NO_VEHICLES = (mavlink.MAV_TYPE_GCS, mavlink.MAV_TYPE_ONBOARD_CONTROLLER, mavlink.MAV_TYPE_GIMBAL)


class MavlinkLink:
    """`tilefix.ports.AutopilotLink` over any transport."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        component_id: int = DEFAULT_COMPONENT_ID,
        gimbal: GimbalSource | None = None,
    ) -> None:
        """`gimbal`: the message that tells where the camera looks, if one does."""
        self._transport = transport
        self._rates_hz = dict(STREAM_RATES_HZ)
        if gimbal is not None:
            self._rates_hz[GIMBAL_STREAMS[gimbal]] = GIMBAL_RATE_HZ
        self._clock = clock
        self._sender = mavlink.MAVLink(None, srcSystem=0, srcComponent=component_id)
        self._unpacker = mavlink.MAVLink(None)
        self._framers: dict[Address | None, Framer[Any]] = {}
        self._peer: Address | None = None
        self._vehicle: tuple[int, int] | None = None
        self._boot = BootTime()
        self._heard_ns = 0
        self._counts: dict[int, int] = {}
        self._window_ns: int | None = None
        self._optional_ns = 0
        self._synced_ns: int | None = None
        self._decoders: dict[str, Callable[[Any, int], LinkMessage | None]] = {
            "ATTITUDE": self._attitude,
            "MOUNT_ORIENTATION": self._mount_orientation,
            "GIMBAL_DEVICE_ATTITUDE_STATUS": self._gimbal_device,
            "SCALED_PRESSURE": self._pressure,
            "GPS_RAW_INT": _receiver,
            "DISTANCE_SENSOR": self._range,
            "HOME_POSITION": _home,
            "SYSTEM_TIME": self._time,
            "TIMESYNC": self._timesync,
            "HEARTBEAT": _heartbeat,
        }

    @property
    def system_id(self) -> int | None:
        """The vehicle's system id, `None` until its autopilot was heard."""
        return self._vehicle[0] if self._vehicle else None

    def poll(self) -> Sequence[LinkMessage]:
        """Decodes what arrived since the last call, and asks for streams and the time when due."""
        heard: list[LinkMessage] = []
        for data, peer in self._transport.read():
            for message in self._parse(data, peer):
                heard.extend(self._decode(message, peer))
        self._ask()
        return heard

    def _parse(self, data: bytes, peer: Address | None) -> list[Any]:
        framer = self._framers.get(peer)
        if framer is None:
            if len(self._framers) >= _MAX_PEERS:
                stranger = next(one for one in self._framers if one != self._peer)
                del self._framers[stranger]
            framer = self._framers[peer] = Framer(self._unpack)
        return [message for message in framer.feed(data) if message.get_type() in self._decoders]

    def _unpack(self, packet: bytearray) -> Any:
        try:
            return self._unpacker.decode(packet)
        except (mavlink.MAVError, ValueError, TypeError, IndexError, struct.error):
            return None

    def _decode(self, message: Any, peer: Address | None) -> list[LinkMessage]:
        now_ns = self._clock.now_ns()
        source = (message.get_srcSystem(), message.get_srcComponent())
        if message.get_type() == "HEARTBEAT" and not self._accept_heartbeat(message, source, peer, now_ns):
            return []
        if source != self._vehicle or peer != self._peer:
            return []
        self._heard_ns = now_ns
        decoded: list[LinkMessage] = []
        boot_ms = getattr(message, "time_boot_ms", 0)
        if boot_ms and self._boot.heard(boot_ms * 1_000_000, now_ns):
            self._window_ns = self._synced_ns = None
            decoded.append(Rebooted(now_ns))
        self._counts[message.get_msgId()] = self._counts.get(message.get_msgId(), 0) + 1
        one = self._decoders[message.get_type()](message, now_ns)
        return decoded if one is None else [*decoded, one]

    def _accept_heartbeat(self, message: Any, source: tuple[int, int], peer: Address | None, now_ns: int) -> bool:
        """True for the vehicle's own autopilot; the first one heard becomes the vehicle. Its address may change
        only after a silence (a router that restarted), so that nobody can take the link over in flight."""
        is_autopilot = (
            message.autopilot != mavlink.MAV_AUTOPILOT_INVALID and message.type not in _NO_VEHICLES and source[0] != 0
        )
        if not is_autopilot:
            return False
        if self._vehicle is None:
            self._vehicle, self._peer = source, peer
            self._sender.srcSystem = source[0]
        elif source == self._vehicle and peer != self._peer and now_ns - self._heard_ns > _PEER_SILENCE_NS:
            self._peer = peer
        return source == self._vehicle and peer == self._peer

    def _ask(self) -> None:
        """Asks for the time every second, for all streams once the vehicle is known, and again for each that stays
        away or comes too slowly: a request may be lost, and a reboot forgets it."""
        if self._vehicle is None:
            return
        now_ns = self._clock.now_ns()
        if self._synced_ns is None or now_ns - self._synced_ns >= _TIMESYNC_EVERY_NS:
            self._synced_ns = now_ns
            self._send(mavlink.MAVLink_timesync_message(0, now_ns))
        if self._window_ns is None:
            self._optional_ns = now_ns
            missing = list(self._rates_hz)
        elif now_ns - self._window_ns >= _STREAM_WINDOW_NS:
            missing = self._missing_streams(now_ns, (now_ns - self._window_ns) / _SECOND_NS)
        else:
            return
        self._window_ns = now_ns
        self._counts.clear()
        for message_id in missing:
            interval_us = 1e6 / self._rates_hz[message_id]
            request = (mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, 0, message_id, interval_us, 0, 0, 0, 0, 0)
            self._send(mavlink.MAVLink_command_long_message(*self._vehicle, *request))

    def _missing_streams(self, now_ns: int, seconds: float) -> list[int]:
        slow = [one for one, rate in self._rates_hz.items() if self._counts.get(one, 0) < 0.5 * rate * seconds]
        if now_ns - self._optional_ns >= _OPTIONAL_EVERY_NS:
            self._optional_ns = now_ns
            return slow
        return [one for one in slow if one not in _OPTIONAL_STREAMS]

    def _attitude(self, message: Any, now_ns: int) -> LinkMessage | None:
        at_ns = self._local_ns(message.time_boot_ms, now_ns)
        angles = [math.degrees(angle) for angle in (message.roll, message.pitch, message.yaw)]
        return Attitude(at_ns, *angles) if all(map(math.isfinite, angles)) else None

    def _mount_orientation(self, message: Any, now_ns: int) -> LinkMessage | None:
        """Roll and pitch against the horizon; of its two yaws the one from the nose, where it is known: the body's own
        comes more often than either."""
        of_body = math.isfinite(message.yaw)
        angles = (message.roll, message.pitch, message.yaw if of_body else message.yaw_absolute)
        if not all(map(math.isfinite, angles)):
            return None
        carrier = carrier_deg(rotation_deg(*angles))
        at_ns = self._local_ns(message.time_boot_ms, now_ns)
        return CameraAttitude(at_ns, *carrier, of_body, GimbalSource.MOUNT_ORIENTATION)

    def _gimbal_device(self, message: Any, now_ns: int) -> LinkMessage | None:
        """The flags say what yaw counts from; where they do not, a locked yaw is one from north."""
        length = math.hypot(*message.q)
        if not (math.isfinite(length) and abs(length - 1.0) < 0.1):
            return None
        of_body = not message.flags & mavlink.GIMBAL_DEVICE_FLAGS_YAW_IN_EARTH_FRAME and (
            bool(message.flags & mavlink.GIMBAL_DEVICE_FLAGS_YAW_IN_VEHICLE_FRAME)
            or not message.flags & mavlink.GIMBAL_DEVICE_FLAGS_YAW_LOCK
        )
        carrier = carrier_deg(rotation_of(*message.q))
        at_ns = self._local_ns(message.time_boot_ms, now_ns)
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

    def _timesync(self, message: Any, now_ns: int) -> None:
        if message.tc1 > 0:
            self._boot.round_trip(message.ts1, message.tc1, now_ns)

    def _local_ns(self, boot_ms: int, now_ns: int) -> int:
        """When it was measured; never later than now, and not earlier than a second ago."""
        local_ns = self._boot.to_local_ns(boot_ms * 1_000_000)
        return now_ns if local_ns is None else min(max(local_ns, now_ns - _SECOND_NS), now_ns)

    def send_position(self, report: PositionReport) -> bool:
        """Sends GPS_INPUT with every field valid: ArduPilot fuses what is flagged as ignored all the same (velocity
        as standing still, height as zero). A picture has no dilution of precision; an ignored one stays unknown, which
        keeps the EKF from aligning, so both are a plain 1 and the accuracies carry the truth."""
        message = mavlink.MAVLink_gps_input_message(
            time_usec=report.at_ns // 1000,
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
        return self._send(message)

    def send_heartbeat(self, state: HealthState) -> bool:
        """Sends HEARTBEAT as an onboard computer without an autopilot."""
        return self._send(
            mavlink.MAVLink_heartbeat_message(
                mavlink.MAV_TYPE_ONBOARD_CONTROLLER, mavlink.MAV_AUTOPILOT_INVALID, 0, 0, _MAV_STATES[state], 3
            )
        )

    def send_text(self, severity: Severity, text: str) -> bool:
        """Sends STATUSTEXT, cut to 50 bytes of ASCII."""
        line = text.encode("ascii", "replace")[:_TEXT_BYTES]
        return self._send(mavlink.MAVLink_statustext_message(severity.value, line))

    def send_value(self, name: str, value: float, at_ns: int) -> bool:
        """Sends NAMED_VALUE_FLOAT; its time is this process's, for nothing is told of the autopilot's boot."""
        boot_ms = at_ns // 1_000_000 % (1 << 32)
        short = name.encode("ascii", "replace")[:_NAME_BYTES]
        return self._send(mavlink.MAVLink_named_value_float_message(boot_ms, short, value))

    def _send(self, message: Any) -> bool:
        """Packs as MAVLink 2 and hands to the transport; nothing leaves before the vehicle's id is known."""
        if self._vehicle is None:
            return False
        try:
            packed = bytes(message.pack(self._sender))
        except struct.error:
            return False  # a value that its field cannot hold is none to fly by
        self._sender.seq = (self._sender.seq + 1) % 256
        return self._transport.write(packed, self._peer)

    def close(self) -> None:
        """Releases the transport."""
        self._transport.close()


def _receiver(message: Any, now_ns: int) -> LinkMessage | None:
    """GPS_RAW_INT: what the first receiver says; a zero or a largest value stands for unknown."""
    known = message.fix_type >= 2 and (message.lat, message.lon) != (0, 0) and abs(message.lat) <= 900_000_000
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
    )


def _home(message: Any, now_ns: int) -> LinkMessage | None:
    return Home(now_ns, message.altitude / 1e3)


def _heartbeat(message: Any, now_ns: int) -> LinkMessage | None:
    armed = bool(message.base_mode & mavlink.MAV_MODE_FLAG_SAFETY_ARMED)
    return Heartbeat(now_ns, message.get_srcSystem(), armed)
