"""An autopilot on the bench, simulated here or ArduPilot's own, and publishers that feed it well or badly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.geodesy import LocalFrame
from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.flying import AutopilotSettings
from tilefix.simulation.vehicle import COPTER, PLANE, Course, SimulatedVehicle, Weather

HOME = (47.0, 8.0, 450.0)
_FRAME = LocalFrame(*HOME[:2])
_EAST_M_PER_DEG = 76_060.0
SPEED_MPS = 9.0
LATE_S = 0.2  # what an autopilot takes a receiver to be late by, unless told otherwise
LOCAL_FRD, LOCAL_NED, BODY_FRD = 20, 1, 12
NO_VELOCITY = 8 | 16
NAN = math.nan
Feed = Callable[["Bench"], None]


@dataclass(frozen=True)
class Truth:
    """Where the vehicle really is, and how fast, north and east."""

    lat_deg: float
    lon_deg: float
    amsl_m: float
    north_mps: float
    east_mps: float


class Bench:
    """What a test asks of an autopilot, whichever it is; times are the autopilot's.

    `heard` holds everything since the last `run`.
    """

    firmware: Firmware
    now_s: float
    heard: list[Any]
    frame = LocalFrame(*HOME[:2])

    def send(self, message: Any) -> None:
        raise NotImplementedError

    def run(self, seconds: float, feed: Feed | None = None, period_s: float = 0.1) -> list[Any]:
        """Lets time pass, feeding every period; gives the messages heard."""
        raise NotImplementedError

    def truth(self, ago_s: float = 0.0) -> Truth:
        raise NotImplementedError

    def lose_gnss(self) -> None:
        raise NotImplementedError

    def take_off(self, feed: Feed | None = None) -> None:
        """Arms and flies off, at `SPEED_MPS` and well above ground, feeding all the while."""
        raise NotImplementedError

    # What every bench can do

    @property
    def component(self) -> tuple[int, int]:
        return 1, 1

    def of(self, kind: str) -> list[Any]:
        return [message for message in self.heard if message.get_type() == kind]

    @property
    def texts(self) -> str:
        return "\n".join(message.text for message in self.of("STATUSTEXT"))

    def command(self, number: int, *params: float, feed: Feed | None = None) -> int | None:
        """COMMAND_LONG, and the answer to it."""
        padded = [*params, *[0.0] * (7 - len(params))]
        self.send(mavlink.MAVLink_command_long_message(*self.component, number, 0, *padded))
        return self._answer(number, feed)

    def _answer(self, number: int, feed: Feed | None = None) -> int | None:
        self.run(0.5, feed)
        acks = [ack.result for ack in self.of("COMMAND_ACK") if ack.command == number]
        return acks[0] if acks else None

    def arm(self, feed: Feed | None = None) -> tuple[bool, str]:
        """Tries to arm: whether it did, and what it told."""
        result = self.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1, feed=feed)
        return result == 0, self.texts

    def set(self, name: str, value: float) -> None:
        self.send(mavlink.MAVLink_param_set_message(*self.component, name.encode(), value, 9))
        self.run(0.3)

    def flags(self) -> int:
        """What it says of its estimator now."""
        self.send(mavlink.MAVLink_command_long_message(*self.component, 512, 0, 193, 0, 0, 0, 0, 0, 0))
        self.run(0.4)
        return int(self.of("EKF_STATUS_REPORT")[-1].flags)

    def has_position(self) -> bool:
        return bool(self.flags() & mavlink.EKF_POS_HORIZ_ABS)

    def error_m(self) -> float:
        """How far it is off, as it tells others where it is."""
        told = self.of("GLOBAL_POSITION_INT")[-1]
        true = self.truth(self.boot_s - told.time_boot_ms / 1000.0)
        return apart_m(told.lat / 1e7, told.lon / 1e7, true)

    @property
    def boot_s(self) -> float:
        """The autopilot's own clock now."""
        return self.now_s

    def origin(self) -> tuple[float, float] | None:
        self.send(mavlink.MAVLink_command_long_message(*self.component, 512, 0, 49, 0, 0, 0, 0, 0, 0))
        self.run(0.4)
        told = self.of("GPS_GLOBAL_ORIGIN")
        return (told[-1].latitude / 1e7, told[-1].longitude / 1e7) if told else None

    # Publishers

    def gps_input(self, east_m: float = 0.0, late_s: float = LATE_S, **changes: Any) -> None:
        """A good GPS_INPUT for the second receiver, but for `changes`; `east_m`: how far it is off."""
        true = self.truth(late_s)
        lat_deg, lon_deg = true.lat_deg, true.lon_deg + east_m / _EAST_M_PER_DEG
        fields: dict[str, Any] = {
            "time_usec": 0, "gps_id": 1, "ignore_flags": 0, "time_week_ms": 0, "time_week": 0, "fix_type": 3,
            "lat": round(lat_deg * 1e7), "lon": round(lon_deg * 1e7), "alt": true.amsl_m, "hdop": 1.0, "vdop": 1.0,
            "vn": true.north_mps, "ve": true.east_mps, "vd": 0.0, "speed_accuracy": 0.4, "horiz_accuracy": 2.0,
            "vert_accuracy": 3.0, "satellites_visible": 8, "yaw": 0,
        }  # fmt: skip
        self.send(mavlink.MAVLink_gps_input_message(**{**fields, **changes}))

    def _metres(self, east_m: float) -> tuple[float, float]:
        """(north_m, east_m) from the origin that it told, `east_m` off."""
        true = self.truth()
        east, north = self.frame.to_local(true.lat_deg, true.lon_deg)
        return north, east + east_m

    def vision(
        self, east_m: float = 0.0, *, variance: float = 4.0, reset: int = 0, stamp_s: float | None = None
    ) -> None:
        """A VISION_POSITION_ESTIMATE."""
        north, east = self._metres(east_m)
        usec = round((self.now_s if stamp_s is None else stamp_s) * 1e6)
        self.send(
            mavlink.MAVLink_vision_position_estimate_message(
                usec, north, east, -50.0, NAN, NAN, NAN, covariance(variance), reset
            )
        )

    def odometry(
        self, east_m: float = 0.0, *, frame: int = LOCAL_FRD, child: int = BODY_FRD, quality: int = 90
    ) -> None:
        """An ODOMETRY with a level attitude, nose north."""
        north, east = self._metres(east_m)
        true = self.truth()
        self.send(
            mavlink.MAVLink_odometry_message(
                round(self.now_s * 1e6), frame, child, north, east, -50.0, [1.0, 0.0, 0.0, 0.0], true.north_mps,
                true.east_mps, 0.0, NAN, NAN, NAN, covariance(4.0), covariance(0.04), 0, 2, quality,
            )
        )  # fmt: skip

    def estimate(self, *, frame: int = 0, z: float = NAN, east_m: float = 0.0) -> int | None:
        """MAV_CMD_EXTERNAL_POSITION_ESTIMATE, and the answer to it."""
        self.estimate_only(frame=frame, z=z, east_m=east_m)
        return self._answer(mavlink.MAV_CMD_EXTERNAL_POSITION_ESTIMATE)

    def estimate_only(
        self, *, frame: int = 0, z: float = NAN, east_m: float = 0.0, sent_s: float | None = None
    ) -> None:
        """The same without waiting; `sent_s`: its stamp, of this bench's clock when left out."""
        true = self.truth()
        lat_deg, lon_deg = true.lat_deg, true.lon_deg + east_m / _EAST_M_PER_DEG
        number = mavlink.MAV_CMD_EXTERNAL_POSITION_ESTIMATE
        sent_s = self.now_s if sent_s is None else sent_s
        place = (round(lat_deg * 1e7), round(lon_deg * 1e7), z)
        self.send(
            mavlink.MAVLink_command_int_message(*self.component, frame, number, 0, 0, sent_s, 0.0, 2.0, 0.0, *place)
        )


def covariance(variance: float) -> list[float]:
    """North, east and down of the same variance, in the upper triangle of a 6 by 6 covariance."""
    return [variance if place in (0, 6, 11) else 0.0 for place in range(21)]


def apart_m(lat_deg: float, lon_deg: float, true: Truth) -> float:
    return math.dist(_FRAME.to_local(lat_deg, lon_deg), _FRAME.to_local(true.lat_deg, true.lon_deg))


class StandIn(Bench):
    """The simulated autopilot. On the ground it has stood with GNSS until it knew where it is, unless `cold`."""

    def __init__(
        self, firmware: Firmware, parameters: Mapping[str, float] | None = None, *, cold: bool = False
    ) -> None:
        self.firmware = firmware
        plane = firmware.airframe is Airframe.PLANE
        self._vehicle = SimulatedVehicle(
            0.0, 0.0, 50.0, seed=1500, airframe=PLANE if plane else COPTER, weather=Weather(0.0, 0.0, 0.3)
        )
        settings = AutopilotSettings(
            firmware=firmware, receiver_index=None, parameters=parameters or {}, armed=False, ground_amsl_m=HOME[2]
        )
        path = [(0.0, 0.0), (0.0, 4000.0), (0.0, 8000.0)]
        self.autopilot = SimulatedAutopilot(
            self._vehicle, Course(path, SPEED_MPS), _FRAME, start_ns=0, seed=1500, settings=settings
        )
        self.heard = []
        self._ns = 0
        self._sender = mavlink.MAVLink(None, srcSystem=1, srcComponent=191)
        self._parser = mavlink.MAVLink(None)
        if not cold:
            self.run(20.0 if plane else 43.0)
            self.frame = LocalFrame(*(self.origin() or HOME[:2]))

    @property
    def now_s(self) -> float:  # type: ignore[override]
        return self._ns / 1e9

    @property
    def boot_s(self) -> float:
        return self.autopilot.boot_ns(self._ns) / 1e9

    def send(self, message: Any) -> None:
        self.autopilot.receive(bytes(message.pack(self._sender)), self._ns)

    def run(self, seconds: float, feed: Feed | None = None, period_s: float = 0.1) -> list[Any]:
        self.heard = []
        until_ns = self._ns + round(seconds * 1e9)
        while self._ns < until_ns:
            self._ns = min(self._ns + round(period_s * 1e9), until_ns)
            for packet in self.autopilot.step(self._ns):
                self.heard.extend(self._parser.parse_buffer(packet) or [])
            if feed is not None:
                feed(self)
        return self.heard

    def truth(self, ago_s: float = 0.0) -> Truth:
        flight = self.autopilot.flight
        motion = flight.truth_at(self._ns - round(ago_s * 1e9))
        lat_deg, lon_deg = flight.frame.to_geodetic(motion.east_m, motion.north_m)
        return Truth(lat_deg, lon_deg, HOME[2] + motion.agl_m, motion.north_mps, motion.east_mps)

    def lose_gnss(self) -> None:
        self.autopilot.flight.own.denied = True

    def take_off(self, feed: Feed | None = None) -> None:
        armed, texts = self.arm(feed)
        assert armed, texts
        self.run(12.0, feed)
        assert math.hypot(self.truth().north_mps, self.truth().east_mps) > 0.8 * SPEED_MPS
