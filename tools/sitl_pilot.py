"""A ground station's pilot for SITL: parameters, missions, modes, arming; and a log of what the autopilot said."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from sitl_mavlink import Heard, Peer
from sitl_truth import TRUTH_STREAMS, Truth, TruthTrack
from tilefix.errors import LinkError, TilefixError
from tilefix.ports import Clock

_STREAMS = {
    **TRUTH_STREAMS,
    mavlink.MAVLINK_MSG_ID_GLOBAL_POSITION_INT: 10.0,
    mavlink.MAVLINK_MSG_ID_EKF_STATUS_REPORT: 5.0,
    mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: 2.0,
    mavlink.MAVLINK_MSG_ID_GPS2_RAW: 2.0,
    mavlink.MAVLINK_MSG_ID_MISSION_CURRENT: 1.0,
    mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN: 0.2,
}
_TURN_S = 0.005
_ANSWER_S = 1.5
_TRIES = 4
MODES = {"copter": {"GUIDED": 4, "AUTO": 3, "RTL": 6, "LAND": 9}, "plane": {"AUTO": 10, "RTL": 11, "LOITER": 12}}


@dataclass(frozen=True)
class EkfSample:
    """The autopilot's own position: nanoseconds since its boot, WGS84, metres above the sea."""

    at_ns: int
    lat_deg: float
    lon_deg: float
    amsl_m: float


@dataclass(frozen=True)
class Item:
    """One mission item: a MAV_CMD with its first four parameters, and a place (degrees, metres above home)."""

    command: int
    lat_deg: float = 0.0
    lon_deg: float = 0.0
    above_m: float = 0.0
    parameters: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@dataclass
class FlightLog:
    """What was heard, in time since the autopilot's boot unless named otherwise. `flags`: of EKF_STATUS_REPORT, with
    its position variance; `modes`: custom_mode at each change; `texts`: (monotonic ns, severity, text); `clocks`:
    (since boot, monotonic) when an ATTITUDE came.
    """

    truths: list[Truth] = field(default_factory=list)
    ekf: list[EkfSample] = field(default_factory=list)
    flags: list[tuple[int, int, float]] = field(default_factory=list)
    modes: list[tuple[int, int]] = field(default_factory=list)
    texts: list[tuple[int, int, str]] = field(default_factory=list)
    items: list[tuple[int, int]] = field(default_factory=list)
    armed: list[tuple[int, bool]] = field(default_factory=list)
    clocks: list[tuple[int, int]] = field(default_factory=list)

    @property
    def real_time_factor(self) -> float | None:
        """How fast the simulation ran against the clock; below 1 this machine had too little time for it."""
        if len(self.clocks) < 2:
            return None
        (boot_ns, at_ns), (last_boot_ns, last_ns) = self.clocks[0], self.clocks[-1]
        return (last_boot_ns - boot_ns) / (last_ns - at_ns)


class Pilot:
    """Flies one vehicle over one link. Every wait listens meanwhile and gives up with `LinkError`."""

    def __init__(self, peer: Peer, clock: Clock, alive: Callable[[], bool] = lambda: True) -> None:
        self._peer, self._clock, self._alive = peer, clock, alive
        self._track = TruthTrack()
        self._reboots = 0
        self.log = FlightLog()
        self.truth: Truth | None = None
        self.ekf_flags = 0
        self.fixes = {1: 0, 2: 0}
        self.origin: tuple[float, float] | None = None
        self.firmware = ""  # version and first letters of its commit, once asked for

    @staticmethod
    def streams() -> dict[int, float]:
        """What its link must ask for."""
        return dict(_STREAMS)

    # Listening

    def listen(self) -> list[Heard]:
        """Takes what arrived; raises `LinkError` when SITL ended."""
        if not self._alive():
            raise LinkError("SITL or tilefix ended in flight", mend="see the logs in the report's folder")
        heard = self._peer.poll()
        if self._peer.reboots != self._reboots:
            # Times since boot begin anew: what was noted before cannot stand beside what comes.
            self._reboots = self._peer.reboots
            self.log = FlightLog(texts=self.log.texts)
            self.truth, self.ekf_flags, self.fixes = None, 0, {1: 0, 2: 0}
        for one in heard:
            self._note(one)
        return heard

    def _note(self, heard: Heard) -> None:
        message, kind, log = heard.message, heard.kind, self.log
        truth = self._track.take(heard)
        if truth is not None:
            self.truth = truth
            log.truths.append(truth)
        now_ns = self._boot_ns(heard.at_ns)
        if kind == "ATTITUDE":
            log.clocks.append((message.time_boot_ms * 1_000_000, heard.at_ns))
        elif kind == "GLOBAL_POSITION_INT":
            place = (message.lat / 1e7, message.lon / 1e7, message.alt / 1e3)
            log.ekf.append(EkfSample(message.time_boot_ms * 1_000_000, *place))
        elif kind == "EKF_STATUS_REPORT":
            self.ekf_flags = message.flags
            log.flags.append((now_ns, message.flags, message.pos_horiz_variance))
        elif kind == "HEARTBEAT":
            armed = bool(message.base_mode & mavlink.MAV_MODE_FLAG_SAFETY_ARMED)
            if not log.modes or log.modes[-1][1] != message.custom_mode:
                log.modes.append((now_ns, message.custom_mode))
            if not log.armed or log.armed[-1][1] != armed:
                log.armed.append((now_ns, armed))
        elif kind == "STATUSTEXT":
            log.texts.append((heard.at_ns, message.severity, message.text))
        elif kind in ("GPS_RAW_INT", "GPS2_RAW"):
            self.fixes[1 if kind == "GPS_RAW_INT" else 2] = message.fix_type
        elif kind == "AUTOPILOT_VERSION":
            version = message.flight_sw_version
            commit = bytes(message.flight_custom_version).decode("ascii", "replace").strip("\0")
            self.firmware = f"{version >> 24}.{version >> 16 & 255}.{version >> 8 & 255} ({commit})"
        elif kind == "GPS_GLOBAL_ORIGIN":
            self.origin = message.latitude / 1e7, message.longitude / 1e7
        elif kind == "MISSION_CURRENT" and (not log.items or log.items[-1][1] != message.seq):
            log.items.append((now_ns, message.seq))

    def _boot_ns(self, at_ns: int) -> int:
        zero_ns = self._peer.boot.to_local_ns(0)
        return 0 if zero_ns is None else at_ns - zero_ns

    @property
    def boot_now_ns(self) -> int:
        """Now, since the autopilot's boot."""
        return self._boot_ns(self._clock.now_ns())

    @property
    def zero_ns(self) -> int:
        """When the autopilot booted, by this machine's monotonic clock."""
        return self._peer.boot.to_local_ns(0) or 0

    @property
    def armed(self) -> bool:
        """True while the motors may turn."""
        return bool(self.log.armed and self.log.armed[-1][1])

    @property
    def mode(self) -> int | None:
        """The custom mode it is in."""
        return self.log.modes[-1][1] if self.log.modes else None

    def wait(self, seconds: float) -> None:
        """Listens for so long."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.listen()
            time.sleep(_TURN_S)

    def until(self, true: Callable[[], bool], seconds: float, what: str) -> None:
        """Listens until something holds; raises `LinkError` naming `what` when it takes longer."""
        until_s = time.monotonic() + seconds
        while not true():
            if time.monotonic() > until_s:
                last = "; ".join(text for _, _, text in self.log.texts[-4:])
                raise LinkError(f"{what}: not within {seconds:g} s", mend=f"the autopilot said: {last}")
            self.listen()
            time.sleep(_TURN_S)

    def answer(self, kind: str, fits: Callable[[Any], bool], seconds: float = _ANSWER_S) -> Any:
        """The first message of a kind that fits, `None` when none comes in time."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            for heard in self.listen():
                if heard.kind == kind and fits(heard.message):
                    return heard.message
            time.sleep(_TURN_S)
        return None

    # Acting

    def command(self, number: int, *parameters: float) -> int | None:
        """Sends a command until it is answered; gives the MAV_RESULT, `None` without an answer."""
        for _ in range(_TRIES):
            self._peer.command(number, *parameters)
            ack = self.answer("COMMAND_ACK", lambda m: m.command == number)
            if ack is not None:
                return int(ack.result)
        return None

    def set_mode(self, mode: int) -> None:
        """Commands a mode and waits until the vehicle is in it."""
        flag = mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
        for _ in range(_TRIES):
            self.command(mavlink.MAV_CMD_DO_SET_MODE, flag, mode)
            try:
                self.until(lambda: self.mode == mode, 3.0, f"mode {mode}")
            except LinkError:
                continue
            return
        raise LinkError(f"mode {mode} was not taken", mend="see sitl.log and the texts in summary.json")

    def parameter(self, name: str) -> float | None:
        """A parameter's value; `None` when the vehicle has none of that name."""
        for _ in range(2):
            self._peer.send(mavlink.MAVLink_param_request_read_message(*self._target, name.encode(), -1))
            value = self.answer("PARAM_VALUE", lambda m: m.param_id == name, 1.0)
            if value is not None:
                return float(value.param_value)
        return None

    def set_parameter(self, name: str, value: float, *, check: bool = True) -> bool:
        """Sets a parameter and, unless told otherwise, reads it back; False when the vehicle did not take it."""
        real = mavlink.MAV_PARAM_TYPE_REAL32
        for _ in range(_TRIES):
            self._peer.send(mavlink.MAVLink_param_set_message(*self._target, name.encode(), value, real))
            if not check:
                return True
            back = self.answer("PARAM_VALUE", lambda m: m.param_id == name, 1.0)
            if back is not None and math.isclose(back.param_value, value, rel_tol=1e-4, abs_tol=1e-6):
                return True
        return False

    @property
    def _target(self) -> tuple[int, int]:
        if self._peer.vehicle is None:
            raise LinkError("no autopilot is heard", mend="is SITL running, and is the link right?")
        return self._peer.vehicle

    def upload(self, items: Sequence[Item]) -> None:
        """Replaces the mission; raises `LinkError` when it is refused."""
        count = mavlink.MAVLink_mission_count_message(*self._target, len(items), mavlink.MAV_MISSION_TYPE_MISSION)
        self._peer.send(count)
        until_s = time.monotonic() + 20.0
        while time.monotonic() < until_s:
            for heard in self.listen():
                message = heard.message
                if heard.kind in ("MISSION_REQUEST", "MISSION_REQUEST_INT") and message.seq < len(items):
                    self._peer.send(self._mission_item(message.seq, items[message.seq]))
                elif heard.kind == "MISSION_ACK":
                    if message.type == mavlink.MAV_MISSION_ACCEPTED:
                        return
                    raise LinkError(f"mission refused with {message.type}", mend="this is a fault of the tool")
            time.sleep(_TURN_S)
        raise LinkError("mission was not taken within 20 s", mend="see sitl.log")

    def _mission_item(self, number: int, item: Item) -> Any:
        frame = mavlink.MAV_FRAME_GLOBAL_RELATIVE_ALT if number else mavlink.MAV_FRAME_GLOBAL
        return mavlink.MAVLink_mission_item_int_message(
            *self._target, number, frame, item.command, 0, 1, *item.parameters,
            round(item.lat_deg * 1e7), round(item.lon_deg * 1e7), item.above_m, mavlink.MAV_MISSION_TYPE_MISSION,
        )  # fmt: skip

    def arm(self, seconds: float) -> tuple[float, list[str]]:
        """Arms with whatever checks are set; gives how long it took, and the reasons it was refused for meanwhile."""
        begun_s, first = time.monotonic(), len(self.log.texts)
        while True:
            result = self.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1.0)
            if result == mavlink.MAV_RESULT_ACCEPTED:
                break
            if time.monotonic() - begun_s > seconds:
                raise TilefixError(f"did not arm within {seconds:g} s: {self._refusals(first)[-3:]}")
            self.wait(2.0)
        self.until(lambda: self.armed, 5.0, "armed")
        return time.monotonic() - begun_s, self._refusals(first)

    def _refusals(self, first: int) -> list[str]:
        texts = [text for _, _, text in self.log.texts[first:] if text.startswith(("Arm:", "PreArm:"))]
        return list(dict.fromkeys(texts))
