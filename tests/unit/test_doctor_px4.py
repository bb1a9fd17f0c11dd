"""The doctor and PX4, whose parameters carry an integer's own bytes, over the real link."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.doctor import command
from tilefix.doctor.session import Session
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.messages import Airframe, AutopilotKind, Route
from tilefix.links.parameters import Patience
from tilefix.links.transport import Address
from tilefix.publishing.settings import PublishSettings
from tilefix.simulation.parameters import Answer, ParameterTable
from tilefix.timing import MonotonicClock


class Px4:
    """A transport whose other end is a PX4 that loses every third question."""

    def __init__(self, version: tuple[int, int, int]) -> None:
        self.table = ParameterTable.of(AutopilotKind.PX4, Airframe.COPTER, version)
        self._packed_version = (version[0] << 24) | (version[1] << 16) | (version[2] << 8) | 255
        self._sender = mavlink.MAVLink(None, srcSystem=1, srcComponent=1)
        self._parser = mavlink.MAVLink(None)
        self._questions = 0
        self._outbox = [
            mavlink.MAVLink_heartbeat_message(mavlink.MAV_TYPE_QUADROTOR, mavlink.MAV_AUTOPILOT_PX4, 0, 0, 3, 3)
        ]

    def read(self) -> list[tuple[bytes, Address | None]]:
        sent, self._outbox = self._outbox, []
        return [(bytes(message.pack(self._sender)), None) for message in sent]

    def write(self, data: bytes, peer: Address | None) -> bool:
        for message in self._parser.parse_buffer(data) or []:
            self._take(message)
        return True

    def focus(self, peer: Address | None) -> None:
        """A line has one peer."""

    def close(self) -> None:
        pass

    def _take(self, message: Any) -> None:
        kind = message.get_type()
        if kind == "COMMAND_LONG" and message.command == mavlink.MAV_CMD_REQUEST_MESSAGE:
            no_hash = ([0] * 8, [0] * 8, [0] * 8)
            self._outbox.append(
                mavlink.MAVLink_autopilot_version_message(0, self._packed_version, 0, 0, 0, *no_hash, 0, 0, 0)
            )
        elif kind in ("PARAM_REQUEST_READ", "PARAM_SET"):
            self._questions += 1
            if self._questions % 3 == 0:
                return
            if kind == "PARAM_REQUEST_READ":
                self._answer(self.table.read(message.param_id, message.param_index))
            else:
                self._answer(self.table.set(message.param_id, message.param_value, message.param_type))

    def _answer(self, answer: Answer | None) -> None:
        if answer is not None:
            self._outbox.append(
                mavlink.MAVLink_param_value_message(
                    answer.name.encode(), answer.field, answer.kind, answer.count, answer.index
                )
            )


def _doctor(autopilot: Px4, monkeypatch: pytest.MonkeyPatch, route: str = "auto") -> tuple[Any, list[str]]:
    monkeypatch.setattr(command, "LISTEN_S", 0.05)
    monkeypatch.setattr("tilefix.doctor.session.SETTLE_S", 0.0)
    clock = MonotonicClock()
    session = Session(MavlinkLink(autopilot, clock), clock, patience=Patience(0.05, 6, 10))
    args = argparse.Namespace(latency_ms=None, serial_port=None, write=True, yes=True)
    lines: list[str] = []
    found = command.examine(session, "a line", PublishSettings(route=route), args, lambda *said: lines.extend(said))
    return found, lines


def test_px4s_source_for_positions_of_a_map_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    autopilot = Px4((1, 18, 0))
    found, lines = _doctor(autopilot, monkeypatch)
    assert found.route is Route.GLOBAL_POSITION
    assert "      param set EKF2_AGP0_ID 1        # counts after a reboot" in lines
    assert [one.name for one in found.written] == ["EKF2_AGP0_ID", "EKF2_AGP0_CTRL"]
    assert found.status == 0
    assert (autopilot.table.stored("EKF2_AGP0_ID"), autopilot.table.stored("EKF2_AGP0_CTRL")) == (1.0, 1.0)


def test_an_older_px4_takes_odometry(monkeypatch: pytest.MonkeyPatch) -> None:
    autopilot = Px4((1, 16, 0))
    found, _ = _doctor(autopilot, monkeypatch)
    assert found.route is Route.ODOMETRY
    assert found.status == 0
    assert autopilot.table.stored("EKF2_EV_CTRL") == 1.0


def test_what_px4_does_not_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found, lines = _doctor(Px4((1, 18, 0)), monkeypatch, "gps_input")
    assert (found.route, found.status) == (None, 1)
    assert "PX4 takes no GPS_INPUT" in lines[-1]
    found, _ = _doctor(Px4((1, 17, 0)), monkeypatch, "global_position")
    assert (found.route, found.status) == (None, 1)
