"""The daemon on the autopilot stand-in, over MAVLink, without a clock or a thread: its localizer knows the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from support.clocks import ManualClock
from support.daemons import FakeFrames, frame
from support.mavlink import PEER
from tilefix.camera import rotation_deg
from tilefix.geodesy import LocalFrame
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.transport import Address
from tilefix.publishing.publisher import Publisher
from tilefix.publishing.settings import PublishSettings
from tilefix.service.daemon import Daemon
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.flying import AutopilotSettings
from tilefix.simulation.vehicle import Course, SimulatedVehicle
from tilefix.timing import StageTimer
from tilefix.types import Covariance, Fix, FixKind, Frame, NoFix, Reason, VehicleState

S = 1_000_000_000
START_NS = 5 * S
FRAME = LocalFrame(47.0, 8.0)
PATH = [(0.0, 0.0), (0.0, 400.0), (400.0, 400.0), (400.0, 0.0)] * 4
_CIRCLE, _SPEED = Covariance(4.0, 0.0, 4.0), Covariance(0.09, 0.0, 0.09)
_LATENCY_NS = 80_000_000


class KnowingLocalizer:
    """Answers with the truth, `off_m` (east, north) beside it."""

    usual_correlation: float | None = None

    def __init__(self, autopilot: SimulatedAutopilot) -> None:
        self._flight = autopilot.flight
        self._at_ns: int | None = None
        self.off_m = (0.0, 0.0)

    def reset(self) -> None: ...

    def hint(self, lat_deg: float, lon_deg: float, sigma_m: float) -> None: ...

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
        self._at_ns = None if state.yaw_deg is None else frame.captured_ns
        return self.predict(frame.captured_ns)

    def predict(self, at_ns: int) -> Fix | NoFix:
        if self._at_ns is None or at_ns - self._at_ns > 3 * S:
            return NoFix(at_ns, Reason.NO_ATTITUDE)
        true = self._flight.truth_at(self._at_ns)
        ahead_s = (at_ns - self._at_ns) / S
        east_m = true.east_m + true.east_mps * ahead_s + self.off_m[0]
        north_m = true.north_m + true.north_mps * ahead_s + self.off_m[1]
        place = FRAME.to_geodetic(east_m, north_m)
        kind = FixKind.FIX if ahead_s < 2.0 else FixKind.COAST
        return Fix(at_ns, kind, *place, east_m, north_m, _CIRCLE, ahead_s, true.east_mps, true.north_mps, _SPEED)


class LaidOutLocalizer(KnowingLocalizer):
    """Answers as one whose pictures are laid on the ground by the attitude that the daemon gives: from `ABOVE_M`, an
    attitude that leans too far one way throws the position that way, and one that turns gives a false velocity."""

    ABOVE_M = 120.0
    _VELOCITY_S = 0.7  # over which velocities are filtered

    def __init__(self, autopilot: SimulatedAutopilot) -> None:
        super().__init__(autopilot)
        self.thrown_m = self.false_mps = np.zeros(2)

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
        if state.roll_deg is None or state.pitch_deg is None or state.yaw_deg is None:
            return super().process(frame, state, timer)
        true = self._flight.truth_at(frame.captured_ns)
        axes = [
            rotation_deg(*angles)[:2, 2]
            for angles in (
                (state.roll_deg, state.pitch_deg, state.yaw_deg),
                (true.roll_deg, true.pitch_deg, true.yaw_deg),
            )
        ]
        # A camera that is thought to look further north than it does is thought to be further south.
        north_m, east_m = self.ABOVE_M * (axes[1] - axes[0])
        thrown_m = np.array([east_m, north_m])
        if self._at_ns is not None:
            seconds = (frame.captured_ns - self._at_ns) / S
            share = 1.0 - math.exp(-seconds / self._VELOCITY_S)
            self.false_mps = self.false_mps + share * ((thrown_m - self.thrown_m) / seconds - self.false_mps)
        self.thrown_m = thrown_m
        return super().process(frame, state, timer)

    def predict(self, at_ns: int) -> Fix | NoFix:
        fix = super().predict(at_ns)
        if isinstance(fix, NoFix):
            return fix
        assert fix.velocity_east_mps is not None
        assert fix.velocity_north_mps is not None
        east_m, north_m = np.array([fix.east_m, fix.north_m]) + self.thrown_m
        lat_deg, lon_deg = FRAME.to_geodetic(float(east_m), float(north_m))
        return replace(
            fix,
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            east_m=float(east_m),
            north_m=float(north_m),
            velocity_east_mps=fix.velocity_east_mps + float(self.false_mps[0]),
            velocity_north_mps=fix.velocity_north_mps + float(self.false_mps[1]),
        )


class _Wire:
    """A `tilefix.links.transport.Transport` to the stand-in; packets take a moment each way."""

    def __init__(self, autopilot: SimulatedAutopilot, clock: ManualClock) -> None:
        self._autopilot, self._clock = autopilot, clock
        self.down: list[bytes] = []

    def read(self) -> list[tuple[bytes, Address | None]]:
        pieces, self.down = self.down, []
        return [(piece, PEER) for piece in pieces]

    def write(self, data: bytes, peer: Address | None) -> bool:
        self._autopilot.receive(data, self._clock.now_ns())
        return True

    def focus(self, peer: Address | None) -> None: ...

    def close(self) -> None: ...


class Flight:
    """`fly` moves everything on, in steps of 10 ms with a picture every quarter second."""

    def __init__(
        self,
        settings: AutopilotSettings,
        publish: PublishSettings | None = None,
        *,
        path=PATH,
        localizer: Callable[[SimulatedAutopilot], KnowingLocalizer] = KnowingLocalizer,
    ) -> None:
        self.clock = ManualClock(START_NS)
        vehicle = SimulatedVehicle(0.0, 0.0, 120.0, seed=3, speed_mps=8.0)
        self.autopilot = SimulatedAutopilot(
            vehicle, Course(path, 8.0), FRAME, start_ns=START_NS, seed=3, settings=settings
        )
        self._wire = _Wire(self.autopilot, self.clock)
        self.link = MavlinkLink(self._wire, self.clock)
        self.localizer = localizer(self.autopilot)
        self.publisher = Publisher(publish)
        self.daemon = Daemon(
            self.localizer, FakeFrames([]), self.link, self.publisher, clock=self.clock, at_loss="keep"
        )
        self._ticks = 0
        self.worst_m = 0.0

    @property
    def known(self):
        """What the daemon knows of the autopilot."""
        return self.daemon._vehicle.autopilot

    @property
    def error_m(self) -> float:
        """How far the autopilot's estimate lies from the truth."""
        true, (east_m, north_m) = self.autopilot.flight.vehicle.motion, self.autopilot.flight.estimator.position
        return math.hypot(east_m - true.east_m, north_m - true.north_m)

    def fly(self, seconds: float, *, pictures: bool = True) -> float:
        """Flies on; gives the largest error of the autopilot's estimate on the way."""
        self.worst_m = 0.0
        for _ in range(round(seconds * 100)):
            self.clock.advance_s(0.01)
            self._ticks += 1
            self._wire.down += self.autopilot.step(self.clock.now_ns())
            self.daemon.turn()
            if pictures and self._ticks % 25 == 0:
                self.daemon.look(frame(self.clock.now_ns() - _LATENCY_NS, self._ticks))
            self.worst_m = max(self.worst_m, self.error_m)
        return self.worst_m
