"""A receiver that is fed by GPS_INPUT, as ArduPilot's driver sees it. Pure.

What a message does not tell stays as an earlier one told it: a velocity that is flagged as ignored is the last one, or
standing still; an ignored altitude is zero. A receiver is healthy with a mean interval below 215 ms and never two
intervals in a row above 245 ms, which is asked before arming only; four seconds of silence are no fix.
Source: ArduPilot AP_GPS_MAV, AP_GPS::update_instance, AP_GPS::is_healthy.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.jitter import RECEIVER_LIMIT_S, JitterCorrection
from tilefix.simulation.acceptance.parameters import Parameters
from tilefix.simulation.acceptance.verdicts import Flaw, Tally, Verdict

FED_BY_MAVLINK = 14
IGNORE_ALTITUDE, IGNORE_HDOP, IGNORE_VELOCITY, IGNORE_ACCURACY = 1, 2, 8 | 16, 32 | 64 | 128
_IGNORE_HORIZONTAL_VELOCITY, _IGNORE_SPEED, _IGNORE_HORIZONTAL, _IGNORE_VERTICAL = 8, 32, 64, 128
_MEAN_INTERVAL_S, _LONG_INTERVAL_S, _COUNTED_INTERVAL_S = 0.215, 0.245, 2.0
_INTERVAL_WEIGHT = 0.02
SILENCE_S = 4.0
_USUAL_DELAY_S = 0.2
_UNKNOWN_HDOP = 99.99
NO_FIX, FIX_3D = 1, 3


@dataclass(frozen=True, slots=True)
class GpsInput:
    """One GPS_INPUT, in plain units. `stamp_s`: the GPS time that it states for itself, `None` without one."""

    receiver: int
    fix_type: int
    lat_deg: float
    lon_deg: float
    amsl_m: float
    north_mps: float
    east_mps: float
    horizontal_m: float
    vertical_m: float
    speed_mps: float
    satellites: int
    hdop: float
    ignored: int
    stamp_s: float | None = None


class MavlinkReceiver:
    """What the driver knows of itself after each message, and the count of what became of them."""

    def __init__(self, number: int, firmware: Firmware) -> None:
        self.number = number
        self.tally = Tally()
        self.message_s: float | None = None  # stamp of the last message, by the autopilot's clock
        self._firmware = firmware
        self._jitter = JitterCorrection(RECEIVER_LIMIT_S)
        self._long_intervals = 0
        self._mean_s = 0.0
        self._forget()

    def _forget(self) -> None:
        self.fix_type = NO_FIX
        self.satellites = 0
        self.hdop = _UNKNOWN_HDOP
        self.horizontal_m = self.vertical_m = self.speed_mps = 0.0
        self.position_deg: tuple[float, float] | None = None
        self.amsl_m = 0.0
        self.velocity_mps = (0.0, 0.0)  # east, north

    def wants(self, message: GpsInput) -> bool:
        """True when the message is for this receiver."""
        return message.receiver == self.number or not self._firmware.minds_receiver_number

    def take(self, message: GpsInput, now_s: float) -> tuple[Flaw, ...]:
        """Takes over what a message for this receiver tells, and gives what is wrong with it."""
        at_s = now_s
        if message.fix_type >= FIX_3D and message.stamp_s is not None:
            at_s = self._jitter.local_s(message.stamp_s, now_s)
        if self.message_s is not None:
            self._interval(at_s - self.message_s)
        self.message_s = at_s
        self.fix_type = message.fix_type
        self.satellites = message.satellites
        self.position_deg = (message.lat_deg, message.lon_deg)
        self.amsl_m = 0.0 if message.ignored & IGNORE_ALTITUDE else message.amsl_m
        if not message.ignored & IGNORE_HDOP:
            self.hdop = message.hdop
        if not message.ignored & _IGNORE_HORIZONTAL_VELOCITY:
            self.velocity_mps = (message.east_mps, message.north_mps)
        if not message.ignored & _IGNORE_SPEED:
            self.speed_mps = message.speed_mps
        if not message.ignored & _IGNORE_HORIZONTAL:
            self.horizontal_m = message.horizontal_m
        if not message.ignored & _IGNORE_VERTICAL:
            self.vertical_m = message.vertical_m
        return self._flaws(message)

    def _flaws(self, message: GpsInput) -> tuple[Flaw, ...]:
        flaws = [
            flaw
            for flaw, bits in (
                (Flaw.NO_VELOCITY, IGNORE_VELOCITY),
                (Flaw.NO_ALTITUDE, IGNORE_ALTITUDE),
                (Flaw.NO_ACCURACY, IGNORE_ACCURACY),
            )
            if message.ignored & bits
        ]
        return (*flaws, *(() if self.even else (Flaw.SLOW,)))

    def _interval(self, interval_s: float) -> None:
        self._long_intervals = self._long_intervals + 1 if interval_s > _LONG_INTERVAL_S else 0
        if interval_s < _COUNTED_INTERVAL_S:
            share = _INTERVAL_WEIGHT if self._mean_s > 0.0 else 1.0
            self._mean_s += share * (interval_s - self._mean_s)

    def watch(self, now_s: float) -> None:
        """Forgets everything after a silence."""
        if self.message_s is not None and now_s - self.message_s > SILENCE_S:
            self._forget()
            self._long_intervals += 1
            self.message_s = now_s

    @property
    def even(self) -> bool:
        """True when the messages come often and regularly enough."""
        return self._mean_s < _MEAN_INTERVAL_S and self._long_intervals < 2

    def delay_s(self, parameters: Parameters) -> float:
        """How late its positions are taken to be: GPSn_DELAY_MS, of which 0 stands for 200 ms."""
        declared_ms = parameters.effective(self._firmware.receiver_delay(self.number), 0.0)
        return declared_ms / 1000.0 if declared_ms > 0.0 else _USUAL_DELAY_S

    def refuse(self, verdict: Verdict) -> Verdict:
        """Counts a message that never reached the driver."""
        return self.tally.note(verdict)
