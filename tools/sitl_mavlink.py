"""A MAVLink peer for the SITL tools: messages with their arrival, streams asked for until they come, commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links.dialect import KNOWN, message_of
from tilefix.links.packets import Framer
from tilefix.links.timesync import BootTime
from tilefix.links.transport import Address, open_transport
from tilefix.ports import Clock

_SECOND_NS = 1_000_000_000
_ASK_EVERY_NS = 3 * _SECOND_NS
# A stream that comes at less than this share of its rate is asked for again: the autopilot may have rebooted.
_ENOUGH = 0.5


@dataclass(frozen=True)
class Heard:
    """A message of the autopilot and when it arrived (monotonic)."""

    message: Any
    at_ns: int

    @property
    def kind(self) -> str:
        """Its name."""
        return str(self.message.get_type())


class Peer:
    """One end of a link to an autopilot.

    `streams`: message id -> Hz, asked for as soon as the autopilot is heard and whenever one stays away. `system`,
    `component`: its own; 255 is what ArduPilot takes for the ground station.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        streams: dict[int, float] | None = None,
        *,
        system: int = 255,
        component: int = 190,
    ) -> None:
        self._transport = open_transport(url, clock)
        self._clock = clock
        self._streams = streams or {}
        self._sender = mavlink.MAVLink(None, srcSystem=system, srcComponent=component)
        self._framers: dict[Address | None, Framer] = {}
        self._peer: Address | None = None
        self._counts: dict[int, int] = {}
        self._asked_ns: int | None = None
        self._second_ns: int | None = None
        self.boot = BootTime()
        self.reboots = 0
        self.vehicle: tuple[int, int] | None = None

    def poll(self) -> list[Heard]:
        """What the autopilot said since the last call; sends the heartbeat, TIMESYNC and requests that are due."""
        heard: list[Heard] = []
        for data, peer in self._transport.read():
            framer = self._framers.setdefault(peer, Framer(KNOWN, KNOWN))
            for packet in framer.feed(data):
                heard.extend(self._take(message_of(packet), peer))
        self._keep_up()
        return heard

    def _take(self, message: Any, peer: Address | None) -> list[Heard]:
        now_ns = self._clock.now_ns()
        source = (message.get_srcSystem(), message.get_srcComponent())
        if message.get_type() == "HEARTBEAT" and message.autopilot != mavlink.MAV_AUTOPILOT_INVALID:
            self.vehicle, self._peer = source, peer
        if source != self.vehicle:
            return []
        if message.get_type() == "TIMESYNC" and message.tc1 > 0:
            self.boot.round_trip(message.ts1, message.tc1, now_ns)
        boot_ms = getattr(message, "time_boot_ms", 0)
        if boot_ms and self.boot.heard(boot_ms * 1_000_000, now_ns):
            self.reboots += 1
            self._asked_ns = self._second_ns = None
        self._counts[message.get_msgId()] = self._counts.get(message.get_msgId(), 0) + 1
        return [Heard(message, now_ns)]

    def _keep_up(self) -> None:
        if self.vehicle is None:
            return
        now_ns = self._clock.now_ns()
        if self._second_ns is None or now_ns - self._second_ns >= _SECOND_NS:
            self._second_ns = now_ns
            kind = mavlink.MAV_TYPE_GCS
            self.send(mavlink.MAVLink_heartbeat_message(kind, mavlink.MAV_AUTOPILOT_INVALID, 0, 0, 0, 3))
            self.send(mavlink.MAVLink_timesync_message(0, now_ns))
        if self._asked_ns is None:
            missing = list(self._streams)
        elif now_ns - self._asked_ns >= _ASK_EVERY_NS:
            seconds = (now_ns - self._asked_ns) / _SECOND_NS
            missing = [one for one, hz in self._streams.items() if self._counts.get(one, 0) < _ENOUGH * hz * seconds]
        else:
            return
        self._asked_ns = now_ns
        self._counts.clear()
        for number in missing:
            self.command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, number, 1e6 / self._streams[number])

    def command(self, number: int, *parameters: float) -> bool:
        """Sends COMMAND_LONG with up to seven parameters; the answer comes as COMMAND_ACK."""
        if self.vehicle is None:
            return False
        values = (*parameters, *([0.0] * (7 - len(parameters))))
        return self.send(mavlink.MAVLink_command_long_message(*self.vehicle, number, 0, *values))

    def send(self, message: Any) -> bool:
        """Sends a message; False when it could not leave."""
        packed = bytes(message.pack(self._sender))
        self._sender.seq = (self._sender.seq + 1) % 256
        return self._transport.write(packed, self._peer)

    def close(self) -> None:
        """Closes the link; may be called twice."""
        self._transport.close()
