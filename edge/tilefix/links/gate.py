"""Whom a link listens to: the vehicle's own autopilot at its own address, and signed commands. No clock or socket.

The first autopilot heard becomes the vehicle. Its address may change only after a silence, and without a signature
only to another port of the same host (a router that restarted): nobody takes the link over in flight. Commands count
from the vehicle's own system at its own address, or signed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links.dialect import KNOWN, message_of
from tilefix.links.packets import Framer, Packet
from tilefix.links.signing import Signing, Trust
from tilefix.links.transport import Address

_SECOND_NS = 1_000_000_000
PEER_SILENCE_NS = 5 * _SECOND_NS
MAX_PEERS = 8
# A person or a script sends a command now and then; what comes faster is not asked for by either.
ORDERS_PER_S = 10
_PROTOCOL = 3  # what every heartbeat carries, by any version
_HEARTBEAT = mavlink.MAVLINK_MSG_ID_HEARTBEAT
COMMANDS = frozenset({mavlink.MAVLINK_MSG_ID_COMMAND_LONG, mavlink.MAVLINK_MSG_ID_COMMAND_INT})
# Kinds of MAVLink system that send heartbeats but are no vehicle's autopilot.
_NO_VEHICLES = (mavlink.MAV_TYPE_GCS, mavlink.MAV_TYPE_ONBOARD_CONTROLLER, mavlink.MAV_TYPE_GIMBAL)

Source = tuple[int, int]


class Heard(NamedTuple):
    """A packet that counts: its message, who sent it from where, and whether it is a command for tilefix."""

    message: Any
    number: int
    source: Source
    peer: Address | None
    is_order: bool


class Gate:
    """Lets through what counts. `vehicle`: (system, component) and `peer`: its address, once it was heard."""

    def __init__(
        self,
        wanted: Collection[int],
        component_id: int,
        *,
        system_id: int | None = None,
        signing: Signing | None = None,
    ) -> None:
        """`wanted`: the numbers of the vehicle's messages to let through. `system_id`: the only vehicle that may become
        ours, any where it is `None`."""
        self.vehicle: Source | None = None
        self.peer: Address | None = None
        self.heard_ns = 0
        self.refused = 0
        self._component_id = component_id
        self._system_id = system_id
        self._signing = signing
        self._wanted = frozenset(wanted) | COMMANDS | {_HEARTBEAT}
        self._framers: dict[Address | None, Framer] = {}
        self._orders_since_ns: int | None = None
        self._orders = 0

    @property
    def packets(self) -> int:
        """Whole packets that came by any of the addresses now known."""
        return sum(framer.packets for framer in self._framers.values())

    @property
    def lost(self) -> int:
        """How many packets of the vehicle's address its sequence numbers miss."""
        framer = self._framers.get(self.peer)
        return 0 if framer is None else framer.lost

    def feed(self, data: bytes, peer: Address | None, now_ns: int) -> list[Heard]:
        """What counts of the bytes that came from an address."""
        silent = now_ns - self.heard_ns > PEER_SILENCE_NS
        if self.vehicle is not None and peer != self.peer and self._signing is None and not silent:
            return []  # whatever it is, nobody else is listened to now
        heard: list[Heard] = []
        for packet in self._framer(peer).feed(data, datagram=peer is not None):
            one = self._admit(packet, peer, now_ns)
            if one is not None:
                heard.append(one)
        return heard

    def _framer(self, peer: Address | None) -> Framer:
        framer = self._framers.get(peer)
        if framer is None:
            if len(self._framers) >= MAX_PEERS:
                stranger = next(one for one in self._framers if one != self.peer)
                del self._framers[stranger]
            framer = self._framers[peer] = Framer(KNOWN, self._wanted)
        return framer

    def _admit(self, packet: Packet, peer: Address | None, now_ns: int) -> Heard | None:
        source = (packet.system, packet.component)
        at_home = self.vehicle is not None and peer == self.peer
        ours = at_home and source == self.vehicle
        is_order = packet.number in COMMANDS
        if not ours and not is_order and (packet.number != _HEARTBEAT or self.vehicle not in (None, source)):
            return None
        trust = Trust.UNSIGNED if self._signing is None else self._signing.check(packet, now_ns)
        if not trust.accepted:
            self.refused += 1
            return None
        message = message_of(packet)
        if is_order:
            of_vehicle = at_home and self.vehicle is not None and packet.system == self.vehicle[0]
            if not (of_vehicle or trust is Trust.SIGNED) or not self._for_us(message) or not self._in_time(now_ns):
                return None
            if self._signing is not None:
                self._signing.keep()
            return Heard(message, packet.number, source, peer, True)
        if packet.number == _HEARTBEAT and not _is_autopilot(message, source):
            return None
        if not ours and not self._becomes_ours(source, peer, trust, now_ns):
            return None
        self.heard_ns = now_ns
        return Heard(message, packet.number, source, peer, False)

    def _becomes_ours(self, source: Source, peer: Address | None, trust: Trust, now_ns: int) -> bool:
        """True when a heartbeat makes its sender the vehicle, or tells the vehicle's new address."""
        if self.vehicle is None:
            if self._system_id not in (None, source[0]):
                return False
            self.vehicle, self.peer = source, peer
            return True
        silent = now_ns - self.heard_ns > PEER_SILENCE_NS
        same_host = self.peer is not None and peer is not None and self.peer[0] == peer[0]
        if not silent or not (same_host or trust is Trust.SIGNED):
            return False
        self.peer = peer
        return True

    def _for_us(self, command: Any) -> bool:
        target = (command.target_system, command.target_component)
        return self.vehicle is not None and target == (self.vehicle[0], self._component_id)

    def _in_time(self, now_ns: int) -> bool:
        """False for orders that come too many in one second."""
        if self._orders_since_ns is None or now_ns - self._orders_since_ns >= _SECOND_NS:
            self._orders_since_ns, self._orders = now_ns, 0
        self._orders += 1
        return self._orders <= ORDERS_PER_S


def _is_autopilot(heartbeat: Any, source: Source) -> bool:
    autopilot = heartbeat.autopilot != mavlink.MAV_AUTOPILOT_INVALID and heartbeat.type not in _NO_VEHICLES
    return autopilot and source[0] != 0 and heartbeat.mavlink_version == _PROTOCOL
