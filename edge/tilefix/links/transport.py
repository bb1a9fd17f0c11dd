"""Bytes to and from an autopilot over serial, UDP or TCP: never blocks, never raises once open, reopens by itself.

serial:/dev/ttyTHS1:921600      a serial line, 8N1, raw
udpin:0.0.0.0:14550             waits for the autopilot's datagrams, answers whom the link points it at
udpout:192.168.1.10:14550       sends there first
tcp:127.0.0.1:5762              connects there
"""

from __future__ import annotations

import os
import socket
import termios
import tty
from collections.abc import Callable
from typing import Protocol

from tilefix.errors import LinkError
from tilefix.links.udp import Address, Udp
from tilefix.ports import Clock

__all__ = ["Address", "Serial", "Tcp", "Transport", "Udp", "open_transport"]

_PIECE_BYTES = 4096
# One read takes at most this many pieces, so that a flood cannot hold the loop.
_MAX_PIECES = 16
_FIRST_RETRY_NS = 250_000_000
_LONGEST_RETRY_NS = 5_000_000_000
_FORMS = "serial:DEVICE:BAUD, udpin:HOST:PORT, udpout:HOST:PORT or tcp:HOST:PORT"


class Transport(Protocol):
    """A carrier of bytes. Peers are told apart by a key; a line has one peer, `None`."""

    def read(self) -> list[tuple[bytes, Address | None]]:
        """What arrived since the last call."""
        ...

    def write(self, data: bytes, peer: Address | None) -> bool:
        """Sends all or nothing; False when it could not leave now."""
        ...

    def focus(self, peer: Address | None) -> None:
        """Keeps what comes from this peer apart from all others', so that nobody else can fill its queue."""
        ...

    def close(self) -> None:
        """Releases the carrier; may be called twice."""
        ...


class _Reopening:
    """A stream that is opened again, with growing waits, whenever it breaks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._retry_ns = _FIRST_RETRY_NS
        self._not_before_ns = 0
        self._closed = False

    def _may_open(self) -> bool:
        return not self._closed and self._clock.now_ns() >= self._not_before_ns

    def _broke(self) -> None:
        self._not_before_ns = self._clock.now_ns() + self._retry_ns
        self._retry_ns = min(2 * self._retry_ns, _LONGEST_RETRY_NS)

    def _works(self) -> None:
        self._retry_ns = _FIRST_RETRY_NS

    def focus(self, peer: Address | None) -> None:
        """A stream has one peer."""


class Tcp(_Reopening):
    """A TCP connection as client."""

    def __init__(self, remote: Address, clock: Clock) -> None:
        super().__init__(clock)
        self._remote = remote
        self._socket: socket.socket | None = None
        self._open()

    def _open(self) -> None:
        self._drop()
        if not self._may_open():
            return
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A peer that went away without a word is given up after some seconds, not after the system's quarter hour.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)
        try:
            connection.connect(self._remote)
        except BlockingIOError:
            pass  # under way; the first read tells
        except OSError:
            connection.close()
            self._broke()
            return
        self._socket = connection

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def read(self) -> list[tuple[bytes, Address | None]]:
        pieces: list[tuple[bytes, Address | None]] = []
        if self._socket is None:
            self._open()
        for _ in range(_MAX_PIECES):
            if self._socket is None:
                break
            try:
                data = self._socket.recv(_PIECE_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._drop()
                self._broke()
                break
            self._works()
            pieces.append((data, None))
        return pieces

    def write(self, data: bytes, peer: Address | None) -> bool:  # noqa: ARG002 - a stream has one peer
        if self._socket is None:
            return False
        try:
            sent = self._socket.send(data)
        except OSError:
            return False
        if sent != len(data):
            # Half a message would spoil the stream for the other side: start afresh.
            self._drop()
            self._broke()
        return sent == len(data)

    def close(self) -> None:
        self._closed = True
        self._drop()


class Serial(_Reopening):
    """A serial line: 8 bits, no parity, one stop bit, no flow control."""

    def __init__(self, device: str, baud: int, clock: Clock) -> None:
        super().__init__(clock)
        self._device = device
        self._speed = _speed(baud)
        self._line: int | None = None
        self._open()

    def _open(self) -> None:
        if not self._may_open():
            return
        self._broke()  # the next attempt waits, unless this one works
        try:
            line = os.open(self._device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return
        try:
            tty.setraw(line)
            attributes = termios.tcgetattr(line)
            attributes[2] &= ~(termios.CRTSCTS | termios.CSTOPB | termios.PARENB)
            attributes[2] |= termios.CLOCAL | termios.CREAD
            attributes[4] = attributes[5] = self._speed
            termios.tcsetattr(line, termios.TCSANOW, attributes)
        except (termios.error, OSError):
            os.close(line)
            return
        self._works()
        self._line = line

    def _drop(self) -> None:
        if self._line is not None:
            os.close(self._line)
            self._line = None

    def read(self) -> list[tuple[bytes, Address | None]]:
        pieces: list[tuple[bytes, Address | None]] = []
        if self._line is None:
            self._open()
        for _ in range(_MAX_PIECES):
            if self._line is None:
                break
            try:
                data = os.read(self._line, _PIECE_BYTES)
            except BlockingIOError:
                break
            except OSError:
                self._drop()
                self._broke()
                break
            if not data:
                break
            pieces.append((data, None))
        return pieces

    def write(self, data: bytes, peer: Address | None) -> bool:  # noqa: ARG002 - a stream has one peer
        if self._line is None:
            return False
        try:
            return os.write(self._line, data) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        self._closed = True
        self._drop()


def _speed(baud: int) -> int:
    speed = getattr(termios, f"B{baud}", None)
    if not isinstance(speed, int) or baud <= 0:
        raise LinkError(f"no serial speed {baud}", mend="use one that the system knows, such as 57600 or 921600")
    return speed


def open_transport(url: str, clock: Clock) -> Transport:
    """The carrier that `url` names. Raises `LinkError` for a URL that is none, or one that cannot work here."""
    scheme, _, rest = url.partition(":")
    makers: dict[str, Callable[[str, int], Transport]] = {
        "serial": lambda device, baud: Serial(device, baud, clock),
        "udpin": lambda host, port: Udp((host, port), None),
        "udpout": lambda host, port: Udp(("", 0), (host, port)),
        "tcp": lambda host, port: Tcp((host, port), clock),
    }
    place, _, number = rest.rpartition(":")
    if scheme not in makers or not place or not number.isdecimal():
        raise LinkError("not a link", where=url, mend=f"write {_FORMS}")
    if scheme != "serial":
        if not 1 <= int(number) <= 65535:
            raise LinkError(f"no port {number}", where=url, mend="use 1 to 65535")
        try:
            place = socket.gethostbyname(place)
        except OSError as error:
            raise LinkError(f"no host {place}: {error}", where=url, mend="write its IPv4 address") from error
    try:
        return makers[scheme](place, int(number))
    except LinkError as error:
        raise LinkError(error.what, where=url, mend=error.mend) from error
    except OSError as error:
        raise LinkError(f"cannot open: {error.strerror}", where=url, mend="is the port in use already?") from error
