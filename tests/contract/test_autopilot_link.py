"""What every link to an autopilot keeps: the contract of `tilefix.ports.AutopilotLink`."""

from __future__ import annotations

import os
import socket
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.mavlink import Autopilot
from tilefix.links import open_link
from tilefix.links.messages import Attitude, HealthState, LinkMessage, PositionReport, Severity
from tilefix.ports import AutopilotLink
from tilefix.service.config import LinkSettings
from tilefix.timing import MonotonicClock

REPORT = PositionReport(0, 1, 47.0, 8.0, 500.0, 1.0, 2.0, 0.0, 2.0, 3.0, 0.4, 8)
PATIENCE_S = 10.0


@dataclass
class Ends:
    """A link and the autopilot's end of it: `put` bytes there, `take` what came."""

    link: AutopilotLink
    put: Callable[[bytes], None]
    take: Callable[[], bytes]


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quietly(receive: Callable[[], bytes]) -> bytes:
    try:
        return receive()
    except (BlockingIOError, ConnectionRefusedError):
        return b""


def _udpin(stack: ExitStack) -> Ends:
    port = _free_port(socket.SOCK_DGRAM)
    link = open_link(LinkSettings(f"udpin:127.0.0.1:{port}"), MonotonicClock())
    other = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    other.connect(("127.0.0.1", port))
    other.setblocking(False)
    return Ends(link, lambda data: _ignore(other.send(data)), lambda: _quietly(lambda: other.recv(4096)))


def _udpout(stack: ExitStack) -> Ends:
    other = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    other.bind(("127.0.0.1", 0))
    other.setblocking(False)

    link = open_link(LinkSettings(f"udpout:127.0.0.1:{other.getsockname()[1]}"), MonotonicClock())

    # An autopilot that is sent to first answers there; here the test looks up the link's own port.
    port = link._transport.port  # type: ignore[attr-defined]
    return Ends(
        link, lambda data: _ignore(other.sendto(data, ("127.0.0.1", port))), lambda: _quietly(lambda: other.recv(4096))
    )


def _tcp(stack: ExitStack) -> Ends:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    link = open_link(LinkSettings(f"tcp:127.0.0.1:{server.getsockname()[1]}"), MonotonicClock())
    server.settimeout(PATIENCE_S)
    other = stack.enter_context(server.accept()[0])
    other.setblocking(False)
    return Ends(link, other.sendall, lambda: _quietly(lambda: other.recv(4096)))


def _serial(stack: ExitStack) -> Ends:
    master, slave = os.openpty()
    stack.callback(os.close, master)
    tty.setraw(master)
    os.set_blocking(master, False)
    link = open_link(LinkSettings(f"serial:{os.ttyname(slave)}:57600"), MonotonicClock())
    os.close(slave)
    return Ends(link, lambda data: _ignore(os.write(master, data)), lambda: _quietly(lambda: os.read(master, 4096)))


def _ignore(_: int) -> None:
    return None


@pytest.fixture(params=[_udpin, _udpout, _tcp, _serial], ids=lambda opener: opener.__name__[1:])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with ExitStack() as stack:
        made: Ends = request.param(stack)
        stack.callback(made.link.close)
        yield made


def _hear(ends: Ends, wanted: type[LinkMessage]) -> LinkMessage:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for message in ends.link.poll():
            if isinstance(message, wanted):
                return message
        time.sleep(0.002)
    raise AssertionError(f"no {wanted} came")


def _received(ends: Ends, wanted: str) -> object:
    parser = mavlink.MAVLink(None)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for message in parser.parse_buffer(ends.take()) or []:
            if message.get_type() == wanted:
                return message
        time.sleep(0.002)
    raise AssertionError(f"no {wanted} came")


def test_it_is_silent_and_patient_until_the_autopilot_speaks(ends: Ends) -> None:
    for _ in range(3):
        assert list(ends.link.poll()) == []
    assert ends.link.system_id is None
    assert not ends.link.send_report(REPORT)
    assert not ends.link.send_heartbeat(HealthState.BOOT)
    assert not ends.link.send_text(Severity.INFO, "x")
    assert not ends.link.send_value("TF_MATCH", 1.0, 0)
    assert ends.take() == b""


def test_it_takes_the_vehicles_id_and_carries_both_ways(ends: Ends) -> None:
    autopilot = Autopilot(17)
    ends.put(b"noise" + autopilot.heartbeat() + autopilot.attitude(1000, yaw=1.0))
    assert isinstance(_hear(ends, Attitude), Attitude)
    assert ends.link.system_id == 17
    assert ends.link.send_report(REPORT)
    sent = _received(ends, "GPS_INPUT")
    assert sent.get_srcSystem() == 17  # type: ignore[attr-defined]
    assert ends.link.send_text(Severity.NOTICE, "hello")
    assert ends.link.send_heartbeat(HealthState.ACTIVE)
    assert ends.link.send_value("TF_MATCH and more", 0.5, 7_000_000)
    value = _received(ends, "NAMED_VALUE_FLOAT")
    assert (value.name, value.value, value.time_boot_ms) == ("TF_MATCH a", 0.5, 0)  # type: ignore[attr-defined]


def test_closed_it_neither_speaks_nor_raises(ends: Ends) -> None:
    ends.put(Autopilot(17).heartbeat())
    _hear(ends, object)  # type: ignore[type-abstract]
    ends.link.close()
    ends.link.close()
    assert not ends.link.send_report(REPORT)
    assert list(ends.link.poll()) == []
