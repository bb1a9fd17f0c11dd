"""Measures what the link costs: a vehicle's telemetry over UDP at a rate, from a process of its own, into the daemon.

Without and with signing, and with a stranger who repeats the vehicle's packets five times as fast to the same port: the
processor's share of parsing (`poll`) and of the rest of a turn (publishing at 10 Hz), and what is missing by the
packets' own numbers. Beside it, in the same run, the same bytes through pymavlink's reader, which decodes all of them.

    python tools/benchmark_link.py                       # 1,000 messages a second, 20 s each
    python tools/benchmark_link.py --rate 4000 --seconds 10
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import random
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from link_flight import NoCamera
from link_packets import sound_packet, with_signature
from machine import facts_of_this_machine, report
from tilefix.links.decode import Decoder
from tilefix.links.dialect import KNOWN, numbers
from tilefix.links.gate import Gate
from tilefix.links.mavlink import DEFAULT_COMPONENT_ID, MavlinkLink
from tilefix.links.signing import Book, Signing
from tilefix.links.signingfiles import Bookkeeper
from tilefix.links.transport import Udp
from tilefix.service.daemon import Daemon
from tilefix.timing import MonotonicClock, StageTimer
from tilefix.types import Covariance, Fix, FixKind, Frame, VehicleState

SEED = 1700
KEY = bytes(range(3, 35))
SYSTEM, STAMP = 7, 10**12
_TURN_S = 0.01
_BATCH_S = 0.005
_SIGNED_TICKS = 10
_FLOOD_PER_S = 5000
_DRAIN_NS = 300_000_000
_HEARTBEAT_EVERY = 50
# Shares of the messages of an ArduPilot that streams generously, in a thousand; beside them heartbeats.
MIX = {
    "ATTITUDE": 100,
    "SCALED_PRESSURE": 20,
    "GPS_RAW_INT": 10,
    "RC_CHANNELS": 20,
    "SYSTEM_TIME": 2,
    "EKF_STATUS_REPORT": 10,
    "PARAM_VALUE": 20,
    "ATTITUDE_QUATERNION": 100,
    "RAW_IMU": 100,
    "SCALED_IMU2": 100,
    "GLOBAL_POSITION_INT": 50,
    "LOCAL_POSITION_NED": 50,
    "VFR_HUD": 50,
    "SERVO_OUTPUT_RAW": 100,
    "SYS_STATUS": 20,
    "VIBRATION": 50,
    "NAMED_VALUE_FLOAT": 97,
    "AHRS2": 50,
    "TERRAIN_REPORT": 25,
    "BATTERY_STATUS": 25,
}


def telemetry(count: int, rate: float, *, signed: bool) -> list[bytes]:
    """That many packets of one vehicle, numbered, mixed as in `MIX`, as at that rate."""
    rng = random.Random(SEED)
    number_of = {kind.msgname: number for number, kind in mavlink.mavlink_map.items()}
    names = rng.choices(list(MIX), list(MIX.values()), k=count)
    packets = []
    names[::_HEARTBEAT_EVERY] = ["HEARTBEAT"] * len(names[::_HEARTBEAT_EVERY])
    for at, name in enumerate(names):
        boot_ms = 60_000 + round(at / rate * 1000.0)
        payload = {
            "HEARTBEAT": struct.pack("<IBBBBB", 4, 2, 3, 0x81, 4, 3),
            "ATTITUDE": struct.pack("<I6f", boot_ms, *(0.1 * math.sin(at / 50.0 + k) for k in range(6))),
            "SCALED_PRESSURE": struct.pack("<Iffh", boot_ms, 954.0 + rng.gauss(0.0, 0.02), 0.0, 2000),
            "SYSTEM_TIME": struct.pack("<QI", 1_800_000_000_000_000 + boot_ms * 1000, boot_ms),
            "GPS_RAW_INT": struct.pack("<QiiiHHHHBB", 0, 470_000_000, 80_000_000, 540_000, 80, 120, 500, 9000, 3, 14),
        }.get(name, struct.pack("<I", boot_ms) + rng.randbytes(60))
        packet = sound_packet(number_of[name], payload, SYSTEM, 1, at % 256)
        packets.append(with_signature(packet, KEY, STAMP + at * _SIGNED_TICKS) if signed else packet)
    return packets


def send(port: int, rate: float, seconds: float, signed: bool, flood: bool) -> None:
    """The vehicle, in its own process; with a stranger beside it who sends as fast as he may."""
    packets = telemetry(round(rate * seconds), rate, signed=signed)
    here = ("127.0.0.1", port)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as vehicle,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        vehicle.bind(("127.0.0.1", 0))
        vehicle.sendto(packets[0], here)
        time.sleep(0.5)  # as vehicles are: there before the flight
        begun, done, thrown = time.monotonic(), 1, 0
        while done < len(packets):
            elapsed = time.monotonic() - begun
            for packet in packets[done : 1 + round(elapsed * rate)]:
                vehicle.sendto(packet, here)
                done += 1
            for _ in range(round(elapsed * _FLOOD_PER_S) - thrown if flood else 0):
                stranger.sendto(packets[thrown % done], here)
                thrown += 1
            time.sleep(_BATCH_S)


class Standing:
    """A localizer that is always sure of one place."""

    usual_correlation: float | None = None

    def reset(self) -> None:
        return

    def hint(self, *_: float) -> None:
        return

    def process(self, frame: Frame, _: VehicleState, __: StageTimer | None = None) -> Fix:
        return self.predict(frame.captured_ns)

    def predict(self, at_ns: int) -> Fix:
        circle = Covariance(1.0, 0.0, 1.0)
        return Fix(at_ns, FixKind.FIX, 47.0, 8.0, 0.0, 0.0, circle, 0.0, 1.0, 0.0, circle)


def run(rate: float, seconds: float, *, signed: bool, flood: bool) -> dict[str, Any]:
    """One measurement: the daemon turns at 100 Hz while the vehicle sends."""
    clock, transport = MonotonicClock(), Udp(("127.0.0.1", 0), None)
    with tempfile.TemporaryDirectory() as folder:
        keeper = None
        if signed:
            keeper = Bookkeeper(Signing(KEY, Book(STAMP), clock.now_ns()), Path(folder) / "stamps")
        link = MavlinkLink(transport, clock, signing=keeper)
        daemon = Daemon(Standing(), NoCamera(), link, clock=clock)
        polled = 0

        def poll() -> Any:
            nonlocal polled
            begun_ns = time.thread_time_ns()
            heard = MavlinkLink.poll(link)
            polled += time.thread_time_ns() - begun_ns
            return heard

        link.poll = poll  # type: ignore[method-assign]
        sent_count = 0
        write = transport.write

        def counting(data: bytes, peer: Any) -> bool:
            nonlocal sent_count
            sent_count += data[7] == mavlink.MAVLINK_MSG_ID_GPS_INPUT
            return write(data, peer)

        transport.write = counting  # type: ignore[method-assign]
        sender = multiprocessing.get_context("spawn").Process(
            target=send, args=(transport.port, rate, seconds, signed, flood)
        )
        sender.start()
        picture = np.zeros((8, 8, 3), np.uint8)
        turned, begun_ns, ended_ns = 0, 0, 0
        for turn in itertools.count():
            if not begun_ns and link.gate.packets > 1:
                begun_ns, turned, polled = clock.now_ns(), 0, 0
            before_ns = time.thread_time_ns()
            daemon.turn()
            turned += time.thread_time_ns() - before_ns
            if turn % 25 == 0:
                daemon.look(Frame(picture, clock.now_ns() - 50_000_000, turn))
            if not sender.is_alive():
                ended_ns = ended_ns or clock.now_ns()
                if clock.now_ns() - ended_ns > _DRAIN_NS:
                    break
            time.sleep(_TURN_S)
        wall_ns = clock.now_ns() - begun_ns
        link.close()
    expected = round(rate * seconds)
    vehicles = link.gate._framers[link.gate.peer]
    return {
        "signed": signed,
        "flood": flood,
        "sent": expected,
        "heard": vehicles.packets,
        "missing_by_number": vehicles.lost,
        "positions_sent": sent_count,
        "parsing_share": polled / wall_ns,
        "rest_of_turn_share": (turned - polled) / wall_ns,
        "us_per_message": polled / 1e3 / max(vehicles.packets, 1),
        "wall_s": wall_ns / 1e9,
    }


def ratio(count: int, rounds: int = 5) -> dict[str, Any]:
    """The same bytes through the gate and through pymavlink's reader, in turn: microseconds a packet."""
    best: dict[str, float] = {}
    for signed in (False, True):
        packets = telemetry(count, 1000.0, signed=signed)
        name = "signed" if signed else "plain"
        for _ in range(rounds):
            for reader, took in (("gate", _gate_us(packets, signed)), ("pymavlink", _pymavlink_us(packets, signed))):
                best[f"{name}_{reader}_us"] = min(took, best.get(f"{name}_{reader}_us", math.inf))
        best[f"{name}_ratio"] = best[f"{name}_pymavlink_us"] / best[f"{name}_gate_us"]
    wanted = numbers(Decoder().names)
    meant = sum(
        MIX[kind.msgname]
        for number, kind in mavlink.mavlink_map.items()
        if number in wanted & KNOWN.keys() and kind.msgname in MIX
    )
    return best | {"share_of_messages_wanted": meant / sum(MIX.values())}


def _gate_us(packets: Sequence[bytes], signed: bool) -> float:
    signing = None
    if signed:
        signing = Signing(KEY, Book(STAMP), 0)
    gate = Gate(numbers(Decoder().names), DEFAULT_COMPONENT_ID, signing=signing)
    peer = ("127.0.0.1", 1)
    begun_ns = time.thread_time_ns()
    heard = sum(len(gate.feed(packet, peer, 0)) for packet in packets)
    took_ns = time.thread_time_ns() - begun_ns
    assert heard > 0
    assert gate.packets == len(packets)
    return took_ns / 1e3 / len(packets)


def _pymavlink_us(packets: Sequence[bytes], signed: bool) -> float:
    reader = mavlink.MAVLink(None)
    if signed:
        reader.signing.secret_key = KEY
    begun_ns = time.thread_time_ns()
    heard = sum(len(reader.parse_buffer(packet) or ()) for packet in packets)
    took_ns = time.thread_time_ns() - begun_ns
    assert heard == len(packets)
    return took_ns / 1e3 / len(packets)


def cases() -> Iterator[tuple[bool, bool]]:
    """(signed, flood) of each measurement."""
    yield from ((False, False), (True, False), (False, True), (True, True))


def measure(rate: float, seconds: float) -> dict[str, Any]:
    """All measurements."""
    runs = [run(rate, seconds, signed=signed, flood=flood) for signed, flood in cases()]
    return {"machine": facts_of_this_machine(), "rate_hz": rate, "runs": runs, "readers": ratio(20_000)}


def text(found: dict[str, Any]) -> str:
    """The table, and the two readers."""
    lines = [f"{found['rate_hz']:g} messages a second"]
    for one in found["runs"]:
        name = ("signed" if one["signed"] else "plain") + (" with a flood" if one["flood"] else "")
        lines.append(
            f"{name:20s} heard {one['heard']} of {one['sent']}, {one['missing_by_number']} missing; "
            f"{one['positions_sent']} positions; parsing {100.0 * one['parsing_share']:.2f} % of a core, "
            f"rest of the turn {100.0 * one['rest_of_turn_share']:.2f} %; {one['us_per_message']:.1f} us a message"
        )
    readers = found["readers"]
    lines += [
        f"{name}: gate {readers[f'{name}_gate_us']:.1f} us a packet, pymavlink {readers[f'{name}_pymavlink_us']:.1f}: "
        f"{readers[f'{name}_ratio']:.1f} times"
        for name in ("plain", "signed")
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures; 0 when it could."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000.0, help="messages a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement")
    parser.add_argument("--json", type=Path, default=Path("out/benchmark_link.json"))
    args = parser.parse_args(argv)
    return report("benchmark_link", args.json, lambda: measure(args.rate, args.seconds), text)


if __name__ == "__main__":
    sys.exit(main())
