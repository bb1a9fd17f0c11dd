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
from tilefix.ports import Clock

Address = tuple[str, int]
# One read takes at most this many pieces and bytes, so that a flood cannot hold the loop.
_MAX_PIECES = 64
_MAX_READ_BYTES = 1 << 16
# A datagram carries packets of up to 280 bytes, a handful at most; what is longer is cut.
_PIECE_BYTES = 4096
# Half a second of a thousand packets each, where the system grants it (net.core.rmem_max): what a busy machine needs.
_QUEUE_BYTES = 1 << 20
# More than the largest queue can hold of the smallest datagrams.
_MAX_QUEUED = 4096
_MAX_STREAM_PIECES = _MAX_READ_BYTES // _PIECE_BYTES
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


class Udp:
    """Datagrams. `remote`: where to send before anybody was heard, and the only host listened to (udpout); `None` waits
    for anybody (udpin)."""

    def __init__(self, bind: Address, remote: Address | None) -> None:
        self._remote = remote
        self._socket = _bound(bind)
        self._focused: socket.socket | None = None
        self._peer: Address | None = None
        self._just_focused = False

    @property
    def port(self) -> int:
        """The local port."""
        return int(self._socket.getsockname()[1])

    def read(self) -> list[tuple[bytes, Address | None]]:
        # What of the peer's came before it had a queue of its own is all read first: it stays in order.
        pieces = _datagrams(self._socket, _MAX_QUEUED if self._just_focused else _MAX_PIECES)
        self._just_focused = False
        if self._remote is not None:
            pieces = [piece for piece in pieces if piece[1][0] == self._remote[0]]
        if self._focused is not None:
            # Between its making and its connecting others' datagrams may have come this way.
            pieces += [piece for piece in _datagrams(self._focused) if piece[1] == self._peer]
        return [(data, peer) for data, peer in pieces]

    def write(self, data: bytes, peer: Address | None) -> bool:
        target = peer or self._remote
        if target is None:
            return False
        try:
            return self._socket.sendto(data, target) == len(data)
        except OSError:
            return False

    def focus(self, peer: Address | None) -> None:
        """Opens a second socket on the same port, connected to the peer: the system gives it that peer's datagrams, and
        a flood by others fills only the first one's queue. Where it cannot be had, all come by the first."""
        if self._focused is not None:
            self._focused.close()
        self._focused, self._peer = None, peer
        if peer is None or self._socket.fileno() < 0:
            return
        try:
            # The port is shared for this moment only: else another program could take it, or never be told that it is
            # in use.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                focused = _bound(self._socket.getsockname(), shared=True)
            finally:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError:
            return
        try:
            focused.connect(peer)
            focused.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError:
            focused.close()
            return
        self._focused, self._just_focused = focused, True

    def close(self) -> None:
        self._socket.close()
        if self._focused is not None:
            self._focused.close()


def _bound(address: Address, *, shared: bool = False) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def _datagrams(source: socket.socket, most: int = _MAX_PIECES) -> list[tuple[bytes, Address]]:
    """What waits, oldest first, within the limits of one read."""
    pieces: list[tuple[bytes, Address]] = []
    taken = 0
    for _ in range(most):
        try:
            data, peer = source.recvfrom(_PIECE_BYTES)
        except BlockingIOError:
            break
        except OSError:
            # A port unreachable from an earlier send is reported here: nobody listens there yet.
            continue
        pieces.append((data, (str(peer[0]), int(peer[1]))))
        taken += len(data)
        if taken >= _MAX_READ_BYTES and most == _MAX_PIECES:
            break
    return pieces


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
        for _ in range(_MAX_STREAM_PIECES):
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
        for _ in range(_MAX_STREAM_PIECES):
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
