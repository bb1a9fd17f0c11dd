"""Whom the link listens to."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.clocks import ManualClock
from support.mavlink import PEER, Autopilot, FakeTransport, decoded
from support.packets import packet_of, signed
from tilefix.links.commands import Result
from tilefix.links.gate import ORDERS_PER_S
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.messages import Attitude, HealthState, Heartbeat, LinkMessage, Order, Severity
from tilefix.links.signing import Book, Signing
from tilefix.links.signingfiles import Bookkeeper

KEY = bytes(range(50, 82))
BEGUN = 10**12
TICKS_PER_S = 100_000
OTHER_PORT = (PEER[0], 40_000)
STRANGER = ("10.0.0.66", 14_550)
GROUND = (255, 190)


class Rig:
    def __init__(self, folder: Path | None = None, *, required: bool = True, system_id: int | None = None) -> None:
        self.clock, self.transport, self.autopilot = ManualClock(), FakeTransport(), Autopilot()
        self.keeper: Bookkeeper | None = None
        if folder is not None:
            signing = Signing(KEY, Book(BEGUN), self.clock.now_ns(), required=required)
            self.keeper = Bookkeeper(signing, folder / "stamps")
        self.link = MavlinkLink(self.transport, self.clock, system_id=system_id, signing=self.keeper)
        self.stamp = BEGUN

    def hear(self, *pieces: bytes, peer: tuple[str, int] = PEER) -> list[LinkMessage]:
        self.settle()
        self.transport.incoming.extend((piece, peer) for piece in pieces)
        heard = list(self.link.poll())
        self.settle()
        return heard

    def settle(self) -> None:
        """Waits for the disk."""
        if self.keeper is not None:
            self.keeper.turn(self.clock.now_ns())
            if self.keeper._under_way is not None:
                self.keeper._under_way[0].exception(timeout=30)
                self.keeper.turn(self.clock.now_ns())

    def sign(self, packet: bytes, *, key: bytes = KEY) -> bytes:
        """Signed by the vehicle's clock, which runs with ours."""
        self.stamp += 1
        return signed(packet, key, self.stamp)


def _order(sender: tuple[int, int] = GROUND, target: tuple[int, int] = (7, 191), command: int = 31010) -> bytes:
    params = struct.pack("<7fHBBB", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, command, *target, 0)
    return packet_of(mavlink.MAVLINK_MSG_ID_COMMAND_LONG, params, *sender)


def _kinds(heard: list[LinkMessage]) -> list[type]:
    return [type(one) for one in heard if isinstance(one, (Attitude, Order, Heartbeat))]


@pytest.fixture
def plain() -> Rig:
    rig = Rig()
    rig.hear(rig.autopilot.heartbeat())
    rig.transport.sent.clear()
    return rig


@pytest.fixture
def secure(tmp_path: Path) -> Rig:
    """Knows the vehicle by a signed heartbeat."""
    rig = Rig(tmp_path)
    assert Heartbeat in _kinds(rig.hear(rig.sign(rig.autopilot.heartbeat())))
    rig.transport.sent.clear()
    return rig


def test_a_router_may_come_back_on_another_port_of_its_host_after_a_silence(plain: Rig) -> None:
    assert plain.hear(plain.autopilot.heartbeat(), peer=OTHER_PORT) == []
    plain.clock.advance_s(5.5)
    assert Heartbeat in _kinds(plain.hear(plain.autopilot.heartbeat(), peer=OTHER_PORT))
    assert plain.link.gate.peer == plain.transport.focused == OTHER_PORT


def test_another_host_never_takes_the_vehicle_over(plain: Rig) -> None:
    for _ in range(4):
        plain.clock.advance_s(30.0)
        assert plain.hear(plain.autopilot.heartbeat(), plain.autopilot.attitude(1000), peer=STRANGER) == []
    assert plain.link.gate.peer == PEER


def test_signed_it_may_come_back_from_anywhere_but_only_after_a_silence(secure: Rig) -> None:
    assert secure.hear(secure.sign(secure.autopilot.heartbeat()), peer=STRANGER) == []
    secure.clock.advance_s(6.0)
    secure.stamp += 6 * TICKS_PER_S
    assert secure.hear(secure.autopilot.heartbeat(), peer=STRANGER) == []
    assert Heartbeat in _kinds(secure.hear(secure.sign(secure.autopilot.heartbeat()), peer=STRANGER))
    assert secure.link.gate.peer == STRANGER


def test_the_vehicle_may_be_named() -> None:
    rig = Rig(system_id=7)
    assert rig.hear(Autopilot(3).heartbeat()) == []
    assert rig.link.system_id is None
    rig.hear(rig.autopilot.heartbeat())
    assert rig.link.system_id == 7


@pytest.mark.parametrize(
    ("kind", "autopilot"),
    [
        (mavlink.MAV_TYPE_GCS, mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA),
        (mavlink.MAV_TYPE_QUADROTOR, mavlink.MAV_AUTOPILOT_INVALID),
    ],
)
def test_a_heartbeat_of_no_autopilot_says_nothing_even_from_its_address(plain: Rig, kind: int, autopilot: int) -> None:
    assert plain.hear(plain.autopilot.heartbeat(kind, autopilot)) == []


def test_noise_that_happens_to_be_a_heartbeat_is_no_vehicle() -> None:
    rig = Rig()
    noise = packet_of(mavlink.MAVLINK_MSG_ID_HEARTBEAT, bytes((1, 2, 3, 4, 2, 3, 7, 8, 212)), 231, 185)
    assert rig.hear(noise) == []
    assert rig.link.system_id is None


def test_unsigned_forged_and_repeated_traffic_of_a_signed_vehicle_is_refused(secure: Rig) -> None:
    attitude = secure.autopilot.attitude(2000, yaw=1.0)
    assert secure.hear(attitude) == []
    assert secure.hear(secure.sign(attitude, key=bytes(range(32)))) == []
    true = secure.sign(attitude)
    assert _kinds(secure.hear(true, true, true)) == [Attitude]
    assert _kinds(secure.hear(true)) == []


def test_a_key_that_is_not_required_still_tells_forgeries(tmp_path: Path) -> None:
    rig = Rig(tmp_path, required=False)
    rig.hear(rig.autopilot.heartbeat())
    attitude = rig.autopilot.attitude(2000)
    assert _kinds(rig.hear(attitude)) == [Attitude]
    assert _kinds(rig.hear(rig.sign(attitude, key=bytes(range(32))))) == []


def test_what_is_sent_is_signed_with_rising_stamps(secure: Rig) -> None:
    for _ in range(3):
        assert secure.link.send_text(Severity.INFO, "x")
    sent = [data for data, _ in secure.transport.sent]
    stamps = [int.from_bytes(data[-12:-6], "little") for data in sent]
    assert stamps == sorted(set(stamps))
    reader = mavlink.MAVLink(None)
    reader.signing.secret_key = KEY
    assert all(reader.decode(bytearray(data)).get_signed() for data in sent)


def test_nothing_leaves_without_a_stamp_that_is_written_down(secure: Rig) -> None:
    secure.clock.advance_s(6.0)
    assert not secure.link.send_heartbeat(HealthState.ACTIVE)
    secure.settle()
    assert secure.link.send_heartbeat(HealthState.ACTIVE)


def test_commands_count_from_the_vehicles_own_system_at_its_own_address(plain: Rig) -> None:
    (order,) = plain.hear(_order((7, 1)), _order((7, 1), (7, 1)), _order((7, 1), (0, 0)))
    assert order == Order(plain.clock.now_ns(), 31010, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0), (7, 1))
    assert _kinds(plain.hear(_order((7, 195)))) == [Order]
    assert plain.hear(_order(GROUND)) == []
    assert plain.hear(_order((7, 1)), peer=STRANGER) == []
    assert plain.hear(_order((7, 1)), peer=OTHER_PORT) == []


def test_a_signed_command_counts_from_anybody_anywhere_once(secure: Rig) -> None:
    order = secure.sign(_order(GROUND))
    assert _kinds(secure.hear(order, order, peer=STRANGER)) == [Order]
    assert secure.hear(order, peer=STRANGER) == []
    assert secure.hear(order) == []
    assert secure.hear(_order((7, 1))) == []  # unsigned, even from the vehicle
    assert secure.hear(secure.sign(_order(GROUND, (8, 191))), peer=STRANGER) == []


def test_an_answer_goes_where_the_order_came_from(secure: Rig) -> None:
    (order,) = secure.hear(secure.sign(_order(GROUND)), peer=STRANGER)
    assert isinstance(order, Order)
    secure.transport.sent.clear()
    assert secure.link.answer(order, Result.DENIED)
    (_, to), *_ = secure.transport.sent
    (answer,) = decoded(secure.transport)
    assert to == STRANGER
    assert (answer.command, answer.result) == (31010, mavlink.MAV_RESULT_DENIED)
    assert (answer.target_system, answer.target_component) == GROUND
    assert not secure.link.answer(Order(0, 31010, (0.0,) * 7, (9, 9)), Result.DENIED)


def test_a_flood_of_commands_is_cut_and_moves_no_answer_elsewhere(plain: Rig) -> None:
    flood = [_order((7, component)) for component in range(1, 200)]
    assert len(plain.hear(*flood)) == ORDERS_PER_S
    assert plain.hear(_order((7, 1))) == []
    plain.clock.advance_s(1.0)
    assert _kinds(plain.hear(_order((7, 1)))) == [Order]
    assert len(plain.link._askers) <= 8


def test_strangers_cost_no_memory(secure: Rig) -> None:
    for port in range(1000):
        secure.hear(b"\xfd\x20\x00" + bytes(10), peer=("10.0.0.66", port))
    assert len(secure.link.gate._framers) <= 8
    assert PEER in secure.link.gate._framers


def test_a_command_int_tells_its_place_in_degrees(plain: Rig) -> None:
    body = struct.pack("<4fiifHBBBBB", 0.0, 0.0, 30.0, 0.0, 471234567, -87654321, 7.0, 43003, 7, 191, 0, 0, 0)
    (order,) = plain.hear(packet_of(mavlink.MAVLINK_MSG_ID_COMMAND_INT, body, 7, 1))
    assert isinstance(order, Order)
    assert order.params[4:] == pytest.approx((47.1234567, -8.7654321, 7.0))


def test_a_timesync_answer_counts_once_and_only_to_a_question(plain: Rig) -> None:
    plain.clock.advance_s(1.0)
    plain.link.poll()
    (asked,) = [one for one in decoded(plain.transport) if one.get_type() == "TIMESYNC"]
    boot = plain.link._decoder.boot
    plain.hear(plain.autopilot.timesync(10**12, asked.ts1 + 1))
    assert boot.to_local_ns(0) is None
    plain.hear(plain.autopilot.timesync(70_000_000_000, asked.ts1))
    known = boot.to_local_ns(0)
    assert known is not None
    plain.hear(plain.autopilot.timesync(10**12, asked.ts1))
    assert boot.to_local_ns(0) == known
