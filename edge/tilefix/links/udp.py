"""Datagrams to and from an autopilot: never blocks, never raises once open, and keeps floods off the vehicle's own."""

from __future__ import annotations

import socket

Address = tuple[str, int]
# One read takes at most this many datagrams and bytes, so that a flood cannot hold the loop.
_MAX_PIECES = 64
_MAX_READ_BYTES = 1 << 16
# A datagram carries packets of up to 280 bytes, a handful at most; what is longer is cut.
_PIECE_BYTES = 4096
# Half a second of a thousand packets each, where the system grants it (net.core.rmem_max): what a busy machine needs.
_QUEUE_BYTES = 1 << 20
# More than the largest queue can hold of the smallest datagrams.
_MAX_QUEUED = 4096


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
