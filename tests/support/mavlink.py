"""The other end of a MAVLink link, held by a test: packs what an autopilot would send, decodes what tilefix sent."""

from __future__ import annotations

from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links.transport import Address

PEER: Address = ("10.0.0.1", 14550)


class FakeTransport:
    """A `tilefix.links.transport.Transport` of two lists."""

    def __init__(self) -> None:
        self.incoming: list[tuple[bytes, Address | None]] = []
        self.sent: list[tuple[bytes, Address | None]] = []
        self.open = True
        self.takes = True
        self.focused: Address | None = None

    def read(self) -> list[tuple[bytes, Address | None]]:
        pieces, self.incoming = self.incoming, []
        return pieces

    def write(self, data: bytes, peer: Address | None) -> bool:
        if self.takes:
            self.sent.append((data, peer))
        return self.takes

    def focus(self, peer: Address | None) -> None:
        self.focused = peer

    def close(self) -> None:
        self.open = False


class Autopilot:
    """Packs messages as system `system`, component `component`."""

    def __init__(self, system: int = 7, component: int = 1) -> None:
        self._sender = mavlink.MAVLink(None, srcSystem=system, srcComponent=component)

    def pack(self, message: Any) -> bytes:
        packed = bytes(message.pack(self._sender))
        self._sender.seq = (self._sender.seq + 1) % 256
        return packed

    def heartbeat(
        self, kind: int = mavlink.MAV_TYPE_QUADROTOR, autopilot: int = mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA
    ) -> bytes:
        return self.pack(mavlink.MAVLink_heartbeat_message(kind, autopilot, 0, 0, mavlink.MAV_STATE_ACTIVE, 3))

    def attitude(
        self,
        boot_ms: int,
        roll: float = 0.0,
        pitch: float = 0.0,
        yaw: float = 0.0,
        rates: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> bytes:
        return self.pack(mavlink.MAVLink_attitude_message(boot_ms, roll, pitch, yaw, *rates))

    def pressure(self, boot_ms: int, hpa: float) -> bytes:
        return self.pack(mavlink.MAVLink_scaled_pressure_message(boot_ms, hpa, 0.0, 2000))

    def gps(
        self,
        fix_type: int = 3,
        lat_deg: float = 47.0,
        lon_deg: float = 8.0,
        amsl_m: float = 500.0,
        speed_mps: float = 5.0,
        course_deg: float = 90.0,
    ) -> bytes:
        return self.pack(
            mavlink.MAVLink_gps_raw_int_message(
                0, fix_type, round(lat_deg * 1e7), round(lon_deg * 1e7), round(amsl_m * 1e3), 80, 120,
                round(speed_mps * 100), round(course_deg * 100), 14, 0, 900, 1500, 200, 0, 0,
            )
        )  # fmt: skip

    def home(self, amsl_m: float) -> bytes:
        return self.pack(
            mavlink.MAVLink_home_position_message(
                470000000, 80000000, round(amsl_m * 1e3), 0, 0, 0, [1, 0, 0, 0], 0, 0, 0
            )
        )

    def range(self, boot_ms: int, distance_m: float, orientation: int = mavlink.MAV_SENSOR_ROTATION_PITCH_270) -> bytes:
        return self.pack(
            mavlink.MAVLink_distance_sensor_message(boot_ms, 20, 12000, round(distance_m * 100), 0, 0, orientation, 0)
        )

    def system_time(self, boot_ms: int, unix_us: int) -> bytes:
        return self.pack(mavlink.MAVLink_system_time_message(unix_us, boot_ms))

    def version(self, major: int, minor: int, patch: int, stage: int = 255) -> bytes:
        number = major << 24 | minor << 16 | patch << 8 | stage
        none = ([0] * 8, [0] * 8, [0] * 8)
        return self.pack(mavlink.MAVLink_autopilot_version_message(0, number, 0, 0, 0, *none, 0, 0, 0))

    def parameter(self, name: str, value: float, kind: int = mavlink.MAV_PARAM_TYPE_REAL32) -> bytes:
        return self.pack(mavlink.MAVLink_param_value_message(name.encode(), value, kind, 900, 65535))

    def origin(self, lat_deg: float, lon_deg: float, amsl_m: float) -> bytes:
        place = (round(lat_deg * 1e7), round(lon_deg * 1e7), round(amsl_m * 1e3))
        return self.pack(mavlink.MAVLink_gps_global_origin_message(*place, 0))

    def timesync(self, tc1: int, ts1: int) -> bytes:
        return self.pack(mavlink.MAVLink_timesync_message(tc1, ts1))


def decoded(transport: FakeTransport) -> list[Any]:
    """Every message that tilefix sent, in order; empties the list."""
    parser = mavlink.MAVLink(None)
    messages = [message for data, _ in transport.sent for message in parser.parse_buffer(data) or []]
    transport.sent.clear()
    return messages
