"""A flight in which only the link is real: the stand-in for the autopilot, and daemon, publisher and link that fly.

Its clock is stepped, so the same traffic gives the same bytes. The localizer is replaced by the true position, moved by
what the vehicle's messages say (attitude, height): whatever changes these changes what is published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from link_packets import with_signature
from tilefix.geodesy import LocalFrame
from tilefix.links.gate import PEER_SILENCE_NS
from tilefix.links.mavlink import DEFAULT_COMPONENT_ID, MavlinkLink
from tilefix.links.signing import Book, Signing
from tilefix.links.signingfiles import Bookkeeper
from tilefix.links.transport import Address
from tilefix.service.daemon import Daemon
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.vehicle import Course, Motion, SimulatedVehicle
from tilefix.timing import StageTimer
from tilefix.types import Covariance, Fix, FixKind, Frame, NoFix, Reason, VehicleState

TURN_NS = 10_000_000
SYSTEM = 1
COMPONENT = DEFAULT_COMPONENT_ID
KEY = bytes(range(7, 39))
_START_NS = 5_000_000_000
_FRAME_TURNS = 20
_LATENCY_NS = 60_000_000
_BEGUN_STAMP = 10**12
_PATH = [(0.0, 0.0), (0.0, 400.0), (400.0, 400.0), (400.0, 0.0)] * 3
# Shares of the flight after which GNSS is lost, and the vehicle's own packets for longer than an address is kept for.
_DENIED, _CUT = 0.3, 0.6
_CUT_S = PEER_SILENCE_NS / 1e9 + 3.0

Piece = tuple[bytes, Address | None]


class SteppedClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at_ns = _START_NS

    def now_ns(self) -> int:
        return self.at_ns


@dataclass
class Pieces:
    """A transport of lists."""

    incoming: list[Piece] = field(default_factory=list)
    sent: list[Piece] = field(default_factory=list)

    def read(self) -> list[Piece]:
        pieces, self.incoming = self.incoming, []
        return pieces

    def write(self, data: bytes, peer: Address | None) -> bool:
        self.sent.append((data, peer))
        return True

    def focus(self, _: Address | None) -> None:
        return

    def close(self) -> None:
        return


class InMemory(Bookkeeper):
    """Writes nothing down: a disk would answer at another turn in each run."""

    def turn(self, now_ns: int) -> None:
        while (due := self.signing.due(now_ns)) is not None:
            self.signing.written(due)


class TruthfulLocalizer:
    """Where the vehicle truly is, moved by what its messages say of it."""

    usual_correlation: float | None = None

    def __init__(self, truth_at: Callable[[int], Motion], frame: LocalFrame) -> None:
        self._truth_at = truth_at
        self._frame = frame
        self._last: Fix | NoFix = NoFix(0, Reason.NO_FRAME)

    def reset(self) -> None:
        self._last = NoFix(self._last.at_ns, Reason.AMBIGUOUS)

    def hint(self, *_: float) -> None:
        self._last = NoFix(self._last.at_ns, Reason.AMBIGUOUS)

    def process(self, frame: Frame, state: VehicleState, _: StageTimer | None = None) -> Fix | NoFix:
        at_ns = frame.captured_ns
        if state.roll_deg is None or state.pitch_deg is None or state.yaw_deg is None or state.agl_m is None:
            self._last = NoFix(at_ns, Reason.NO_ATTITUDE)
            return self._last
        true = self._truth_at(at_ns)
        east_m = true.east_m + 0.1 * state.roll_deg + 0.01 * state.yaw_deg
        north_m = true.north_m + 0.1 * state.pitch_deg + 0.01 * state.agl_m
        lat_deg, lon_deg = self._frame.to_geodetic(east_m, north_m)
        circle = Covariance(1.0, 0.0, 1.0)
        slow = Covariance(0.04, 0.0, 0.04)
        velocity = (true.east_mps, true.north_mps)
        self._last = Fix(at_ns, FixKind.FIX, lat_deg, lon_deg, east_m, north_m, circle, 0.0, *velocity, slow)
        return self._last

    def predict(self, at_ns: int) -> Fix | NoFix:
        last = self._last
        if isinstance(last, NoFix):
            return NoFix(at_ns, last.reason)
        seconds = (at_ns - last.at_ns) / 1e9
        if seconds > 8.0:
            return NoFix(at_ns, Reason.NO_MATCH)
        assert last.velocity_east_mps is not None
        assert last.velocity_north_mps is not None
        east_m = last.east_m + last.velocity_east_mps * seconds
        north_m = last.north_m + last.velocity_north_mps * seconds
        lat_deg, lon_deg = self._frame.to_geodetic(east_m, north_m)
        kind = FixKind.FIX if seconds <= 2.0 else FixKind.COAST
        return replace(
            last,
            at_ns=at_ns,
            kind=kind,
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            east_m=east_m,
            north_m=north_m,
            match_age_s=seconds,
        )


class NoCamera:
    """Frames are looked at by the flight itself."""

    exhausted = False

    def read(self, _: float) -> Frame | None:
        return None

    def close(self) -> None:
        return


class LinkFlight:
    """One flight; `turn` flies on by 10 ms. `sent`: (turn, datagram, address) of all that tilefix sent."""

    def __init__(self, seed: int, home: Address, seconds: float, *, signed: bool) -> None:
        self.clock, self.transport, self.turns = SteppedClock(), Pieces(), 0
        self.sent: list[tuple[int, bytes, Address | None]] = []
        self._home, self._signed, self._stamp = home, signed, _BEGUN_STAMP
        self._denied_s, self._cut_s = _DENIED * seconds, (_CUT * seconds, _CUT * seconds + _CUT_S)
        frame = LocalFrame(47.0, 8.0)
        vehicle = SimulatedVehicle(0.0, 0.0, 120.0, seed=seed, speed_mps=8.0)
        self.autopilot = SimulatedAutopilot(vehicle, Course(_PATH, 8.0), frame, start_ns=_START_NS, seed=seed)
        keeper = InMemory(Signing(KEY, Book(_BEGUN_STAMP), self.clock.now_ns()), Path()) if signed else None
        self.link = MavlinkLink(self.transport, self.clock, signing=keeper)
        localizer = TruthfulLocalizer(self.autopilot.flight.truth_at, frame)
        self.daemon = Daemon(localizer, NoCamera(), self.link, clock=self.clock)
        self._picture = np.zeros((8, 8, 3), np.uint8)

    @property
    def seconds(self) -> float:
        """How long it has flown."""
        return self.turns * TURN_NS / 1e9

    def packets(self) -> list[bytes]:
        """Flies the vehicle on by a turn: the packets of it that arrive."""
        self.turns += 1
        self.clock.at_ns += TURN_NS
        self.autopilot.flight.gnss_denied = self.seconds >= self._denied_s
        packets = self.autopilot.step(self.clock.now_ns())
        if self._cut_s[0] <= self.seconds < self._cut_s[1]:
            return []
        return [self._sign(packet) for packet in packets] if self._signed else packets

    def turn(self, pieces: Sequence[Piece]) -> None:
        """Gives these to the link, takes a turn of the daemon, and shows it a picture when one is due."""
        self.transport.incoming.extend(pieces)
        self.daemon.turn()
        if self.turns % _FRAME_TURNS == 0:
            self.daemon.look(Frame(self._picture, self.clock.now_ns() - _LATENCY_NS, self.turns // _FRAME_TURNS))
        for data, peer in self.transport.sent:
            self.sent.append((self.turns, data, peer))
            if peer == self._home:
                self.autopilot.receive(data, self.clock.now_ns())
        self.transport.sent.clear()

    def _sign(self, packet: bytes) -> bytes:
        """The packet with the vehicle's signature: its clock runs with ours, and every packet has a tick of its own."""
        ticks = _BEGUN_STAMP + (self.clock.now_ns() - _START_NS) // 10_000
        self._stamp = max(self._stamp + 1, ticks)
        return with_signature(packet, KEY, self._stamp)
