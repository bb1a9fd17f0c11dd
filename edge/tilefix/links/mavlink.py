"""The MAVLink 2 link to one autopilot: hears what the vehicle says, asks it for streams, sends what tilefix has.

Facts are ArduPilot's, flown in simulation: streams are asked for with MAV_CMD_SET_MESSAGE_INTERVAL, again after a
reboot or a silence; a TIMESYNC reply echoes `ts1`.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links import encode
from tilefix.links.commands import Result, order_of
from tilefix.links.decode import Decoder, airframe_of, kind_of, version_of
from tilefix.links.dialect import numbers
from tilefix.links.gate import Gate, Heard
from tilefix.links.messages import AutopilotKind, GimbalSource, Identity, LinkMessage, Order, Origin, Rebooted
from tilefix.links.reports import (
    EstimateReport,
    GlobalReport,
    HealthState,
    LocalReport,
    PositionReport,
    Report,
    Severity,
)
from tilefix.links.signingfiles import Bookkeeper
from tilefix.links.streams import ON_CHANGE, Streams
from tilefix.links.transport import Address, Transport
from tilefix.ports import Clock

DEFAULT_COMPONENT_ID = mavlink.MAV_COMP_ID_ONBOARD_COMPUTER  # 191
_SECOND_NS = 1_000_000_000
_TIMESYNC_EVERY_NS = _SECOND_NS
_VERSION_EVERY_NS = _SECOND_NS
_MAX_TYPES = 4096
# Questions about the time that may still be answered, and who sent the last commands.
_TIMESYNCS_OPEN = 4
_ASKERS = 8
_ANSWERS = ("COMMAND_ACK", "PARAM_ERROR")


class MavlinkLink:
    """`tilefix.ports.AutopilotLink` over any transport."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        component_id: int = DEFAULT_COMPONENT_ID,
        gimbal: GimbalSource | None = None,
        system_id: int | None = None,
        signing: Bookkeeper | None = None,
    ) -> None:
        """`gimbal`: the message that tells where the camera looks, if one does. `system_id`: the only vehicle to listen
        to, else the first one heard. `signing`: the key of a signed link."""
        self._transport = transport
        self._clock = clock
        # Stamps count from a second before the link was opened: none is zero, and seconds fit a float for hours.
        self._epoch_ns = clock.now_ns() - _SECOND_NS
        self._sender = mavlink.MAVLink(None, srcSystem=0, srcComponent=component_id)
        self._signing = signing
        if signing is not None:
            self._sender.signing.secret_key = signing.signing.key
            self._sender.signing.link_id = signing.signing.link_id
            self._sender.signing.sign_outgoing = True
        self._decoder = Decoder()
        self.gate = Gate(
            numbers(self._decoder.names),
            component_id,
            system_id=system_id,
            signing=None if signing is None else signing.signing,
        )
        self._focus: Address | None = None
        self._askers: dict[tuple[int, int], Address | None] = {}
        self._streams = Streams(gimbal)
        self._synced_ns: int | None = None
        self._timesyncs: deque[int] = deque(maxlen=_TIMESYNCS_OPEN)
        self._identity: Identity | None = None
        self._version_asked_ns: int | None = None
        self._parameter_types: dict[str, int] = {}

    @property
    def system_id(self) -> int | None:
        """The vehicle's system id, `None` until its autopilot was heard."""
        return self._vehicle[0] if self._vehicle else None

    @property
    def _vehicle(self) -> tuple[int, int] | None:
        return self.gate.vehicle

    # What comes in

    def poll(self) -> Sequence[LinkMessage]:
        """Decodes what arrived since the last call, and asks for streams and the time when due."""
        heard: list[LinkMessage] = []
        now_ns = self._clock.now_ns()
        if self._signing is not None:
            self._signing.turn(now_ns)
        for data, peer in self._transport.read():
            for one in self.gate.feed(data, peer, self._clock.now_ns()):
                heard.extend(self._decode(one))
        if self.gate.peer != self._focus:
            # From now on the vehicle's own packets wait in a queue that nobody else fills.
            self._focus = self.gate.peer
            self._transport.focus(self._focus)
        self._ask()
        return heard

    def _decode(self, heard: Heard) -> list[LinkMessage]:
        message, now_ns = heard.message, self._clock.now_ns()
        name = message.get_type()
        if heard.is_order:
            return self._order(heard, now_ns)
        if name in _ANSWERS and not self._asked(message):
            return []
        decoded: list[LinkMessage] = []
        boot_ms = getattr(message, "time_boot_ms", 0)
        if boot_ms and self._decoder.boot.heard(boot_ms * 1_000_000, now_ns):
            self._streams.restart()
            # After a reboot it may even be another firmware.
            self._synced_ns = self._identity = self._version_asked_ns = None
            decoded.append(Rebooted(now_ns))
        self._streams.heard(heard.number)
        if name in ("HEARTBEAT", "AUTOPILOT_VERSION"):
            decoded.extend(self._identify(message, now_ns))
        elif name == "TIMESYNC":
            self._timesync(message, now_ns)
        elif name == "PARAM_VALUE" and len(self._parameter_types) < _MAX_TYPES:
            self._parameter_types[message.param_id] = message.param_type
        one = self._decoder.decode(message, now_ns)
        return decoded if one is None else [*decoded, one]

    def _asked(self, answer: Any) -> bool:
        """True where an answer names us, or nobody: a router lets those to a ground station through as well."""
        system, component = answer.target_system, answer.target_component
        return system in (0, self.system_id) and component in (0, self._sender.srcComponent)

    def _order(self, heard: Heard, now_ns: int) -> list[LinkMessage]:
        """A command for tilefix, and where its answer goes."""
        self._askers.pop(heard.source, None)
        while len(self._askers) >= _ASKERS:
            del self._askers[next(iter(self._askers))]
        self._askers[heard.source] = heard.peer
        return [order_of(heard.message, heard.source, now_ns)]

    def _identify(self, message: Any, now_ns: int) -> list[LinkMessage]:
        """What the autopilot is, whenever that is news."""
        known = self._identity
        if message.get_type() == "HEARTBEAT":
            self._decoder.kind = kind_of(message)
            told = (self._decoder.kind, airframe_of(message))
            if known is not None and told == (known.kind, known.airframe):
                return []
            version = (None, False) if known is None else (known.version, known.development)
            self._identity = Identity(now_ns, *told, *version)
        else:
            version = version_of(message)
            if known is None or version[0] is None or version == (known.version, known.development):
                return []
            self._identity = Identity(now_ns, known.kind, known.airframe, *version)
        return [self._identity]

    def _timesync(self, message: Any, now_ns: int) -> None:
        """Takes an answer to a question of ours, once, and answers a question: PX4 dates what it is sent by that."""
        if message.tc1 > 0 and message.ts1 in self._timesyncs:
            self._timesyncs.remove(message.ts1)
            self._decoder.boot.round_trip(message.ts1 + self._epoch_ns, message.tc1, now_ns)
        elif message.tc1 == 0:
            self._send(mavlink.MAVLink_timesync_message(now_ns - self._epoch_ns, message.ts1))

    # What goes out

    def _ask(self) -> None:
        """Asks for the time every second, for the version until it is told, and for streams when due."""
        if self._vehicle is None:
            return
        now_ns = self._clock.now_ns()
        if self._synced_ns is None or now_ns - self._synced_ns >= _TIMESYNC_EVERY_NS:
            self._synced_ns = now_ns
            self._timesyncs.append(now_ns - self._epoch_ns)
            self._send(mavlink.MAVLink_timesync_message(0, self._timesyncs[-1]))
        asked_ns = self._version_asked_ns
        unknown = self._identity is None or self._identity.version is None
        if unknown and (asked_ns is None or now_ns - asked_ns >= _VERSION_EVERY_NS):
            self._version_asked_ns = now_ns
            self.send_command(mavlink.MAV_CMD_REQUEST_MESSAGE, mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION)
        for message_id, interval_us in self._streams.due(now_ns):
            self.send_command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, message_id, interval_us)
            if message_id in ON_CHANGE:
                self.send_command(mavlink.MAV_CMD_REQUEST_MESSAGE, message_id)

    def send_report(self, report: Report) -> bool:
        """Sends a position by the message that its class stands for."""
        if self._vehicle is None:
            return False
        if isinstance(report, PositionReport):
            return self._send(encode.gps_input(report, self._stamp_us(report.at_ns)))
        if isinstance(report, LocalReport):
            return self._send(encode.local(report, self._stamp_us(report.stamp_ns), self._decoder.kind))
        sent_us = self._stamp_us(self._clock.now_ns())
        held_ns = report.at_ns if isinstance(report, EstimateReport) else report.stamp_ns
        age_us = max(sent_us - self._stamp_us(held_ns), 0)
        if isinstance(report, EstimateReport):
            return self._send(encode.external_estimate(report, self._vehicle, sent_us / 1e6, age_us / 1e6))
        assert isinstance(report, GlobalReport)
        return self._send(encode.global_position(report, self._vehicle, sent_us, age_us))

    @property
    def transit_ns(self) -> int:
        """How long the quickest message takes one way; 0 before anything tells."""
        return self._decoder.boot.transit_ns

    def set_origin(self, origin: Origin) -> bool:
        """Sends SET_GPS_GLOBAL_ORIGIN; an autopilot that has an origin ignores it."""
        return self._vehicle is not None and self._send(encode.set_origin(self._vehicle[0], origin))

    def send_command(self, command: int, *params: float) -> bool:
        """Sends COMMAND_LONG; the answer comes as a `CommandResult`."""
        return self._vehicle is not None and self._send(encode.command(self._vehicle, command, params))

    def request_parameter(self, name: str) -> bool:
        """Asks for one parameter once; the answer comes as a `Parameter`, and none where there is no such name."""
        return self._vehicle is not None and self._send(encode.read_parameter(self._vehicle, name))

    def set_parameter(self, name: str, value: float) -> bool:
        """Sets one parameter; the answer comes as a `Parameter`. PX4 needs the type that it told when it was read."""
        of_px4 = self._decoder.kind is AutopilotKind.PX4
        kind = self._parameter_types.get(name) if of_px4 else mavlink.MAV_PARAM_TYPE_REAL32
        if self._vehicle is None or kind is None:
            return False
        try:
            return self._send(encode.set_parameter(self._vehicle, name, value, kind, bytewise=of_px4))
        except ValueError:
            return False

    def send_heartbeat(self, state: HealthState, mode: int = 0) -> bool:
        """Sends HEARTBEAT as an onboard computer without an autopilot."""
        return self._send(encode.heartbeat(state, mode))

    def send_text(self, severity: Severity, text: str) -> bool:
        """Sends STATUSTEXT, cut to 50 bytes of ASCII."""
        return self._send(encode.text(severity, text))

    def send_value(self, name: str, value: float, at_ns: int) -> bool:
        """Sends NAMED_VALUE_FLOAT; its time is the link's, for nothing is told of the autopilot's boot."""
        return self._send(encode.named_value(name, value, self._stamp_us(at_ns) // 1000))

    def _stamp_us(self, at_ns: int) -> int:
        """An instant by the one clock of this link; what lies before it is its beginning."""
        return max(at_ns - self._epoch_ns, 0) // 1000

    def answer(self, order: Order, result: Result) -> bool:
        """Tells who sent an order what became of it."""
        if order.sender not in self._askers:
            return False
        message = mavlink.MAVLink_command_ack_message(order.command, result.value, 0, 0, *order.sender)
        return self._send(message, self._askers[order.sender])

    def _send(self, message: Any, *to: Address | None) -> bool:
        """Packs as MAVLink 2, signs and hands to the transport, for the vehicle's address or another; nothing leaves
        before the vehicle's id is known."""
        if self._vehicle is None:
            return False
        self._sender.srcSystem = self._vehicle[0]
        if self._signing is not None:
            stamp = self._signing.signing.next_stamp(self._clock.now_ns())
            if stamp is None:
                return False  # rather nothing than a stamp that a restart would use again
            self._sender.signing.timestamp = stamp
        try:
            packed = bytes(message.pack(self._sender))
        except (struct.error, OverflowError):
            return False  # a value that its field cannot hold is none to fly by
        self._sender.seq = (self._sender.seq + 1) % 256
        return self._transport.write(packed, to[0] if to else self.gate.peer)

    def close(self) -> None:
        """Releases the transport."""
        self._transport.close()
        if self._signing is not None:
            self._signing.close(self._clock.now_ns())
