"""Commands that the autopilot stand-in obeys, and what it answers. Source: ArduPilot GCS_Common and Copter's GCS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links.messages import Airframe
from tilefix.simulation.acceptance.verdicts import Verdict
from tilefix.simulation.flying import Flying
from tilefix.simulation.telemetry import COPTER_GUIDED, COPTER_LAND, RATES_HZ
from tilefix.simulation.uplink import external_estimate

_FORCED = 21196.0
_REFUSES_RATES = (4, 7, 0)
_ACCEPTED: int = mavlink.MAV_RESULT_ACCEPTED
_DENIED: int = mavlink.MAV_RESULT_DENIED
_UNSUPPORTED: int = mavlink.MAV_RESULT_UNSUPPORTED
_FAILED: int = mavlink.MAV_RESULT_FAILED


class Voice(Protocol):
    """What an order may make the autopilot say."""

    def say(self, line: str) -> None: ...

    def send_message(self, number: int) -> bool: ...

    def set_interval(self, number: int, interval_us: float) -> None: ...

    def restart_soon(self) -> None: ...


class Orders:
    """Obeys COMMAND_LONG and COMMAND_INT."""

    def __init__(self, flight: Flying, voice: Voice) -> None:
        self._flight = flight
        self._voice = voice
        self._obeyed: dict[int, Callable[[Any], int]] = {
            mavlink.MAV_CMD_SET_MESSAGE_INTERVAL: self._set_interval,
            mavlink.MAV_CMD_REQUEST_MESSAGE: self._request,
            mavlink.MAV_CMD_REQUEST_AUTOPILOT_CAPABILITIES: self._capabilities,
            mavlink.MAV_CMD_COMPONENT_ARM_DISARM: self._arm,
            mavlink.MAV_CMD_RUN_PREARM_CHECKS: self._check,
            mavlink.MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN: self._reboot,
            mavlink.MAV_CMD_DO_SET_MODE: self._set_mode,
            mavlink.MAV_CMD_SET_EKF_SOURCE_SET: self._source_set,
        }

    def obey(self, message: Any) -> int:
        """Carries a command out and gives its MAV_RESULT."""
        if message.command == mavlink.MAV_CMD_EXTERNAL_POSITION_ESTIMATE and message.get_type() == "COMMAND_INT":
            verdict = self._flight.take_estimate(external_estimate(message))
            return _DENIED if verdict is Verdict.DENIED else _ACCEPTED if verdict is Verdict.FUSED else _FAILED
        obeyed = self._obeyed.get(message.command)
        return _UNSUPPORTED if obeyed is None else obeyed(message)

    def _set_interval(self, message: Any) -> int:
        number = int(message.param1) if math.isfinite(message.param1) else -1
        if number not in RATES_HZ or not math.isfinite(message.param2):
            return _DENIED
        if self._too_fast(message.param2):
            return _DENIED
        self._voice.set_interval(number, message.param2)
        return _ACCEPTED

    def _too_fast(self, interval_us: float) -> bool:
        """True for what 4.7 refuses ("Increase SCHED_LOOP_RATE"): more than 0.8 times its loop rate."""
        if self._flight.settings.firmware.version < _REFUSES_RATES or interval_us <= 0.0:
            return False
        loop_us = 1e6 / self._flight.parameters.effective("SCHED_LOOP_RATE", 400.0)
        return max(interval_us // 1000.0, 1.0) * 800.0 < loop_us

    def _request(self, message: Any) -> int:
        number = int(message.param1) if math.isfinite(message.param1) else -1
        return _ACCEPTED if self._voice.send_message(number) else _FAILED

    def _capabilities(self, _: Any) -> int:
        self._voice.send_message(mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION)
        return _ACCEPTED

    def _arm(self, message: Any) -> int:
        flight = self._flight
        if message.param1 == 0.0:
            flight.armed = False
            return _ACCEPTED
        if message.param1 != 1.0:
            return _UNSUPPORTED
        if not flight.armed and message.param2 != _FORCED and self._told("Arm"):
            return _FAILED
        flight.armed = True
        return _ACCEPTED

    def _check(self, _: Any) -> int:
        self._told("PreArm")
        return _ACCEPTED

    def _told(self, when: str) -> bool:
        """Tells what keeps it from arming; true when something does."""
        failures = self._flight.nav.arming_failures(self._flight.vehicle.motion)
        for failure in failures:
            self._voice.say(f"{when}: {failure}")
        return bool(failures)

    def _reboot(self, message: Any) -> int:
        if message.param1 != 1.0:
            return _DENIED
        if self._flight.armed and message.param6 != _FORCED:
            return _FAILED
        self._voice.restart_soon()
        return _ACCEPTED

    def _set_mode(self, message: Any) -> int:
        """A copter's GUIDED needs a position; LAND does not."""
        flight = self._flight
        if flight.settings.firmware.airframe is not Airframe.COPTER:
            return _ACCEPTED
        if message.param2 == COPTER_LAND:
            flight.nav.landing = True
            return _ACCEPTED
        if message.param2 != COPTER_GUIDED:
            return _FAILED
        if not flight.has_position:
            self._voice.say("Mode change to GUIDED failed: requires position")
            return _FAILED
        flight.nav.landing = False
        return _ACCEPTED

    def _source_set(self, message: Any) -> int:
        return _ACCEPTED if self._flight.nav.select_sources(message.param1) else _DENIED
