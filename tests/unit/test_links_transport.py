"""Bytes over real sockets of the loopback and a pseudo-terminal."""

from __future__ import annotations

import os
import socket
import time
import tty
from collections.abc import Callable

import pytest

from support.clocks import ManualClock
from tilefix.errors import LinkError
from tilefix.links.transport import Address, Serial, Tcp, Transport, Udp, open_transport
from tilefix.timing import MonotonicClock


def _read_until(transport: Transport, enough: Callable[[bytes], bool]) -> tuple[bytes, Address | None]:
    """Reads until `enough`, failing after five seconds of real time: sockets deliver when they will."""
    data, peer = b"", None
    deadline = time.monotonic() + 5.0
    while not enough(data):
        assert time.monotonic() < deadline, f"only {data!r} came"
        for piece, peer in transport.read():  # noqa: B007 - the last peer is returned
            data += piece
        time.sleep(0.001)
    return data, peer


def _listener() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(5.0)
    return server


def test_udp_answers_whom_it_is_pointed_at() -> None:
    inward = Udp(("127.0.0.1", 0), None)
    outward = Udp(("127.0.0.1", 0), ("127.0.0.1", inward.port))
    try:
        assert inward.read() == []
        assert not inward.write(b"nobody yet", None)
        assert outward.write(b"hello", None)
        data, peer = _read_until(inward, bool)
        assert (data, peer) == (b"hello", ("127.0.0.1", outward.port))
        assert inward.write(b"answer", peer)
        assert _read_until(outward, bool)[0] == b"answer"
    finally:
        inward.close()
        outward.close()


def test_udp_outlives_a_peer_that_is_not_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    link = open_transport(f"udpout:127.0.0.1:{port}", MonotonicClock())
    try:
        for _ in range(5):
            link.write(b"x", None)
            assert link.read() == []
    finally:
        link.close()


def test_tcp_reconnects_when_the_other_side_restarts() -> None:
    server = _listener()
    port = server.getsockname()[1]
    clock = ManualClock()
    link = Tcp(("127.0.0.1", port), clock)
    try:
        first, _ = server.accept()
        first.sendall(b"one")
        assert _read_until(link, bool)[0] == b"one"
        assert link.write(b"back", None)
        assert first.recv(10) == b"back"
        first.close()
        deadline = time.monotonic() + 5.0
        while link.write(b"x", None):
            link.read()
            assert time.monotonic() < deadline
        assert not link.write(b"down", None)
        clock.advance_s(10.0)
        link.read()
        second, _ = server.accept()
        with second:
            second.sendall(b"two")
            assert _read_until(link, bool)[0] == b"two"
    finally:
        link.close()
        server.close()


def test_tcp_waits_longer_between_attempts_and_never_raises() -> None:
    with _listener() as server:
        port = server.getsockname()[1]
    clock = ManualClock()
    link = Tcp(("127.0.0.1", port), clock)
    for _ in range(50):
        assert link.read() == []
        assert not link.write(b"x", None)
        clock.advance_s(0.1)
    link.close()
    assert link.read() == []


def test_a_serial_line_carries_bytes_and_survives_its_loss() -> None:
    master, slave = os.openpty()
    tty.setraw(master)
    os.set_blocking(master, False)
    clock = ManualClock()
    link = Serial(os.ttyname(slave), 57600, clock)
    os.close(slave)
    try:
        os.write(master, b"\xfd\x00\r\n")
        assert _read_until(link, lambda data: len(data) >= 4)[0] == b"\xfd\x00\r\n"
        assert link.write(b"\r\x11", None)
        assert os.read(master, 10) == b"\r\x11"
    finally:
        os.close(master)
    for _ in range(5):
        assert link.read() == []
        clock.advance_s(1.0)
    assert not link.write(b"x", None)
    link.close()
    link.close()


def test_a_serial_line_that_is_not_there_is_tried_again() -> None:
    clock = ManualClock()
    link = Serial("/dev/tilefix-no-such-line", 921600, clock)
    for _ in range(5):
        assert link.read() == []
        clock.advance_s(5.0)
    link.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tcp",
        "tcp:127.0.0.1",
        "tcp::5760",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:70000",
        "ftp:127.0.0.1:1",
        "udpin:127.0.0.1:x",
        "serial:/dev/ttyTHS1:12345",
        "serial:/dev/ttyTHS1",
        "udpin:256.256.256.256:14550",
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(LinkError) as caught:
        open_transport(url, MonotonicClock())
    assert caught.value.where == url
    assert caught.value.mend


def test_a_port_in_use_is_refused_with_the_mend() -> None:
    first = Udp(("127.0.0.1", 0), None)
    try:
        with pytest.raises(LinkError, match="in use"):
            open_transport(f"udpin:127.0.0.1:{first.port}", MonotonicClock())
    finally:
        first.close()


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def _drain(transport: Udp) -> list[tuple[bytes, Address | None]]:
    pieces: list[tuple[bytes, Address | None]] = []
    while more := transport.read():
        pieces += more
    return pieces


def test_a_flood_by_others_does_not_push_out_what_the_vehicle_sends() -> None:
    transport = Udp(("127.0.0.1", 0), None)
    here = ("127.0.0.1", transport.port)
    with _socket() as vehicle, _socket() as stranger:
        own: Address = vehicle.getsockname()
        transport.focus(own)
        for _ in range(3000):
            stranger.sendto(bytes(1400), here)
        for number in range(50):
            vehicle.sendto(bytes((number,)), here)
        pieces = _drain(transport)
        assert [data[0] for data, peer in pieces if peer == own] == list(range(50))
        assert sum(peer != own for _, peer in pieces) < 3000  # the queue of others really overflowed
        # Back to one queue, and on to another peer.
        transport.focus(None)
        vehicle.sendto(b"a", here)
        assert _drain(transport) == [(b"a", own)]
        transport.focus(stranger.getsockname())
        stranger.sendto(b"b", here)
        vehicle.sendto(b"c", here)
        assert sorted(_drain(transport)) == [(b"b", stranger.getsockname()), (b"c", own)]
        assert transport.write(b"d", own)
        assert vehicle.recv(10) == b"d"
    transport.close()
    assert transport.read() == []
    transport.focus(own)
    transport.close()


def test_what_came_before_the_focus_is_read_first() -> None:
    transport = Udp(("127.0.0.1", 0), None)
    here = ("127.0.0.1", transport.port)
    with _socket() as vehicle, _socket() as stranger:
        for number in range(100):
            stranger.sendto(b"x", here)
            vehicle.sendto(bytes((number,)), here)
        transport.focus(vehicle.getsockname())
        for number in range(100, 150):
            vehicle.sendto(bytes((number,)), here)
        own = [data[0] for data, peer in _drain(transport) if peer == vehicle.getsockname()]
    assert own == list(range(150))
    transport.close()


def test_a_focused_port_is_still_in_use_for_others() -> None:
    transport = Udp(("127.0.0.1", 0), None)
    transport.focus(("127.0.0.1", 9))
    with pytest.raises(OSError, match="in use"):
        Udp(("127.0.0.1", transport.port), None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", transport.port))
    transport.close()


def test_one_read_takes_a_bounded_part_of_a_flood() -> None:
    transport = Udp(("127.0.0.1", 0), None)
    with _socket() as stranger:
        for _ in range(100):
            stranger.sendto(bytes(8000), ("127.0.0.1", transport.port))
        pieces = transport.read()
    assert sum(len(data) for data, _ in pieces) <= 1 << 16
    assert {len(data) for data, _ in pieces} == {4096}
    transport.close()


def test_who_is_sent_to_is_the_only_host_listened_to() -> None:
    transport = open_transport("udpout:127.0.0.2:14550", ManualClock())
    assert isinstance(transport, Udp)
    with _socket() as stranger, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wanted:
        wanted.bind(("127.0.0.2", 0))
        stranger.sendto(b"no", ("127.0.0.1", transport.port))
        wanted.sendto(b"yes", ("127.0.0.1", transport.port))
        assert [data for data, _ in _drain(transport)] == [b"yes"]
    transport.close()
