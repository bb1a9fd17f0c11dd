"""A whole flight of daemon and simulated autopilot over real MAVLink packets, without pictures, clock or socket.

In place of a localizer stands one that knows the truth and errs as fixes do: by a slow error of two metres.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.clocks import ManualClock
from support.daemons import FakeFrames, frame
from support.mavlink import PEER, FakeTransport
from tilefix.geodesy import LocalFrame
from tilefix.handover.handover import Handover
from tilefix.handover.machine import State
from tilefix.handover.settings import HandoverSettings
from tilefix.links.mavlink import MavlinkLink
from tilefix.publishing.publisher import Publisher
from tilefix.publishing.settings import PublishSettings
from tilefix.service.daemon import Daemon
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.flying import AutopilotSettings
from tilefix.simulation.vehicle import Course, Drift, SimulatedVehicle
from tilefix.timing import StageTimer
from tilefix.types import Covariance, Fix, FixKind, Frame, NoFix, Reason, VehicleState

S = 1_000_000_000
SPEED_MPS = 9.0
SIGMA_M = 2.0
LATENCY_NS = 250_000_000
_SIDE_M = 700.0
_SQUARE = [(0.0, 0.0), (0.0, _SIDE_M), (_SIDE_M, _SIDE_M), (_SIDE_M, 0.0)]


class KnowingLocalizer:
    """A `tilefix.service.daemon.Locates` that knows where the flight is. `bias_m`: added to what it says (east, north);
    `blind`: it finds nothing; `resets`: how often its belief was made anew, after which it takes `finds_after` frames.
    """

    usual_correlation: float | None = None

    def __init__(self, autopilot: SimulatedAutopilot, seed: int) -> None:
        rng = np.random.default_rng([seed, 12])
        self._autopilot = autopilot
        self._errors = [Drift(rng, 0.7 * SIGMA_M, 10.0) for _ in range(2)]
        self._fix: Fix | None = None
        self._at_ns = 0
        self.bias_m = (0.0, 0.0)
        self.blind = False
        self.resets = 0
        self.finds_after = 12
        self._waits = 0

    def reset(self) -> None:
        self.resets += 1
        self._waits = self.finds_after

    def hint(self, lat_deg: float, lon_deg: float, sigma_m: float) -> None:
        self.reset()

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
        seconds = max((frame.captured_ns - self._at_ns) / S, 0.0)
        self._at_ns = frame.captured_ns
        for error in self._errors:
            error.step(min(seconds, 1.0))
        self._waits -= 1
        flight = self._autopilot.flight
        if self.blind or self._waits > 0:
            self._fix = None
            return NoFix(frame.captured_ns, Reason.NO_MATCH)
        true = flight.truth_at(frame.captured_ns)
        east_m = true.east_m + self._errors[0].value + self.bias_m[0]
        north_m = true.north_m + self._errors[1].value + self.bias_m[1]
        self._fix = Fix(
            frame.captured_ns, FixKind.FIX, *flight.frame.to_geodetic(east_m, north_m), east_m, north_m,
            Covariance(SIGMA_M**2, 0.0, SIGMA_M**2), 0.0, true.east_mps, true.north_mps, Covariance(0.09, 0.0, 0.09),
        )  # fmt: skip
        return self._fix

    def predict(self, at_ns: int) -> Fix | NoFix:
        fix = self._fix
        age_s = (at_ns - self._at_ns) / S
        if fix is None or age_s > 5.0:
            return NoFix(at_ns, Reason.NO_MATCH)
        assert fix.velocity_east_mps is not None
        assert fix.velocity_north_mps is not None
        east_m, north_m = fix.east_m + fix.velocity_east_mps * age_s, fix.north_m + fix.velocity_north_mps * age_s
        place = self._autopilot.flight.frame.to_geodetic(east_m, north_m)
        variance = (SIGMA_M + age_s) ** 2
        return Fix(
            at_ns, FixKind.FIX if age_s < 2.0 else FixKind.COAST, *place, east_m, north_m,
            Covariance(variance, 0.0, variance), age_s, fix.velocity_east_mps, fix.velocity_north_mps,
            fix.velocity_covariance,
        )  # fmt: skip


@dataclass
class HandoverFlight:
    """Flies on by `fly`; `texts` holds what tilefix told the pilot, `states` what it was at each turn."""

    seed: int = 5
    armed: bool = True
    handover: HandoverSettings = field(default_factory=HandoverSettings)
    publish: PublishSettings = field(default_factory=PublishSettings)
    at_loss: str = "auto"
    parameters: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.clock.advance_s(10.0)
        start_ns = self.clock.now_ns()
        vehicle = SimulatedVehicle(0.0, 0.0, 120.0, seed=self.seed, speed_mps=SPEED_MPS if self.armed else 0.0)
        self.autopilot = SimulatedAutopilot(
            vehicle,
            Course([*_SQUARE, *_SQUARE, *_SQUARE], SPEED_MPS),
            LocalFrame(47.0, 8.0),
            start_ns=start_ns,
            seed=self.seed,
            settings=AutopilotSettings(armed=self.armed, parameters=self.parameters),
        )
        self.localizer = KnowingLocalizer(self.autopilot, self.seed)
        self.transport = FakeTransport()
        self.link = MavlinkLink(self.transport, self.clock)
        self.hand = Handover(self.handover)
        self.daemon = Daemon(
            self.localizer,
            FakeFrames([]),
            self.link,
            Publisher(self.publish),
            handover=self.hand,
            clock=self.clock,
            at_loss=self.at_loss,
        )
        self.states: list[State] = []
        self.heard: list[Any] = []
        self.link_cut = False
        self.camera_dead = False
        self._sequence = itertools.count()
        self._ticks = 0
        self.told: list[Any] = []
        self._parser, self._own = mavlink.MAVLink(None), mavlink.MAVLink(None)

    @property
    def flight(self) -> Any:
        return self.autopilot.flight

    @property
    def state(self) -> State:
        return self.hand.state

    @property
    def texts(self) -> list[str]:
        return self.autopilot.texts

    def error_m(self) -> float:
        """How far the autopilot is off where it is."""
        true, (east_m, north_m) = self.flight.vehicle.motion, self.flight.estimator.position
        return math.hypot(east_m - true.east_m, north_m - true.north_m)

    def fly(self, seconds: float) -> list[float]:
        """Flies on; gives how far the autopilot was off, twenty times a second."""
        errors = []
        for _ in range(round(seconds * 20)):
            self._ticks += 1
            self.clock.advance_s(0.05)
            now_ns = self.clock.now_ns()
            for packet in self.autopilot.step(now_ns):
                self.heard.extend(self._parser.parse_buffer(packet) or [])
                if not self.link_cut:
                    self.transport.incoming.append((packet, PEER))
            self.daemon.turn()
            sent, self.transport.sent = self.transport.sent, []
            for data, _ in sent:
                said = self._own.parse_buffer(data) or []
                self.told.extend(one for one in said if one.get_type() == "NAMED_VALUE_FLOAT")
                if not self.link_cut:
                    self.autopilot.receive(data, now_ns)
            if self._ticks % 5 == 0 and not self.camera_dead:
                self.daemon.look(frame(now_ns - LATENCY_NS, next(self._sequence)))
            self.states.append(self.state)
            errors.append(self.error_m())
        return errors

    def order(self, value: float) -> None:
        """A command of the ground station, sent through the vehicle to tilefix."""
        sender = mavlink.MAVLink(None, srcSystem=1, srcComponent=190)
        command = mavlink.MAVLink_command_long_message(1, 191, mavlink.MAV_CMD_USER_1, 0, value, 0, 0, 0, 0, 0, 0)
        self.transport.incoming.append((bytes(command.pack(sender)), PEER))

    def arm(self) -> None:
        """Asks the autopilot to arm."""
        sender = mavlink.MAVLink(None, srcSystem=255, srcComponent=190)
        command = mavlink.MAVLink_command_long_message(
            1, 1, mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 0, 1, 0, 0, 0, 0, 0, 0
        )
        self.autopilot.receive(bytes(command.pack(sender)), self.clock.now_ns())
