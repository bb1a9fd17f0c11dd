"""Stand-ins for what a daemon is made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tilefix.links.commands import Result
from tilefix.links.messages import (
    Attitude,
    GnssReceiver,
    HealthState,
    Heartbeat,
    LinkMessage,
    Order,
    Origin,
    PositionReport,
    Pressure,
    Report,
    Severity,
)
from tilefix.timing import StageTimer
from tilefix.types import Covariance, Fix, FixKind, Frame, NoFix, Reason, VehicleState

S = 1_000_000_000


def frame(captured_ns: int, sequence: int = 0) -> Frame:
    return Frame(np.zeros((16, 16, 3), np.uint8), captured_ns, sequence)


@dataclass
class FakeLink:
    """A `tilefix.ports.AutopilotLink` of lists."""

    incoming: list[LinkMessage] = field(default_factory=list)
    positions: list[PositionReport] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    commands: list[tuple[float, ...]] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    set: list[tuple[str, float]] = field(default_factory=list)
    heartbeats: list[HealthState] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    texts: list[tuple[Severity, str]] = field(default_factory=list)
    values: list[tuple[str, float]] = field(default_factory=list)
    answers: list[tuple[int, Result]] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    transit_ns: int = 0
    closed: int = 0
    system_id: int | None = 7

    def poll(self) -> Sequence[LinkMessage]:
        heard, self.incoming = self.incoming, []
        return heard

    def send_report(self, report: Report) -> bool:
        if isinstance(report, PositionReport):
            self.positions.append(report)
        else:
            self.reports.append(report)
        return True

    def set_origin(self, origin: Origin) -> bool:
        self.origins.append(origin)
        return True

    def send_command(self, command: int, *params: float) -> bool:
        self.commands.append((command, *params))
        return True

    def request_parameter(self, name: str) -> bool:
        self.requested.append(name)
        return True

    def set_parameter(self, name: str, value: float) -> bool:
        self.set.append((name, value))
        return True

    def send_heartbeat(self, state: HealthState, mode: int = 0) -> bool:
        self.heartbeats.append(state)
        self.modes.append(mode)
        return True

    def send_text(self, severity: Severity, text: str) -> bool:
        self.texts.append((severity, text))
        return True

    def send_value(self, name: str, value: float, at_ns: int) -> bool:
        self.values.append((name, value))
        return True

    def answer(self, order: Order, result: Result) -> bool:
        self.answers.append((order.command, result))
        return True

    def close(self) -> None:
        self.closed += 1

    def telemetry(self, at_ns: int, *, fix_type: int = 3, east_deg: float = 0.0) -> None:
        """All that a healthy autopilot says at an instant; it flies with `FakeLocalizer`."""
        east_deg += 5.0 * at_ns / S / 76_000.0
        self.incoming += [
            Heartbeat(at_ns, 7, True),
            Attitude(at_ns, 0.0, 0.0, 90.0),
            Pressure(at_ns, 954.61),
            GnssReceiver(at_ns, fix_type, 47.0, 8.0 + east_deg, 540.0, 0.9, 1.5, 0.0, 5.0),
        ]


class FakeFrames:
    """A `tilefix.ports.FrameSource` over a list; `None` in it is a wait without a frame."""

    def __init__(self, frames: Sequence[Frame | None]) -> None:
        self._frames = list(frames)
        self.closed = 0

    def read(self, timeout_s: float) -> Frame | None:
        if not self._frames:
            return None
        given = self._frames.pop(0)
        if given is None:
            threading.Event().wait(min(timeout_s, 0.01))
        return given

    @property
    def exhausted(self) -> bool:
        return not self._frames

    def close(self) -> None:
        self.closed += 1


class FakeLocalizer:
    """Flies 5 m/s east from the first frame on; refuses without attitude, and until `frames_to_find` frames came."""

    usual_correlation: float | None = None

    def __init__(self, frames_to_find: int = 0, during: Callable[[Frame], None] | None = None) -> None:
        self.calls: list[str] = []
        self.states: list[VehicleState] = []
        self._to_find = frames_to_find
        self._during = during
        self._seen = 0
        self._at_ns = 0
        self._refusal: Reason | None = Reason.NO_FRAME

    def reset(self) -> None:
        self.calls.append("reset")
        self._seen = 0

    def hint(self, lat_deg: float, lon_deg: float, sigma_m: float) -> None:
        self.calls.append(f"hint {lat_deg:.4f} {lon_deg:.4f} {sigma_m:.0f}")

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
        self.states.append(state)
        if self._during is not None:
            self._during(frame)
        self._seen += 1
        self._at_ns = frame.captured_ns
        self._refusal = Reason.AMBIGUOUS if self._seen <= self._to_find else None
        if state.yaw_deg is None:
            self._refusal = Reason.NO_ATTITUDE
        return self.predict(frame.captured_ns)

    def predict(self, at_ns: int) -> Fix | NoFix:
        age_s = (at_ns - self._at_ns) / S
        if self._refusal is not None or age_s > 5.0:
            return NoFix(at_ns, self._refusal or Reason.NO_MATCH)
        east_m = 5.0 * at_ns / S
        variance = (1.0 + age_s) ** 2
        return Fix(
            at_ns,
            FixKind.FIX if age_s <= 2.0 else FixKind.COAST,
            47.0,
            8.0 + east_m / 76_000.0,
            east_m,
            0.0,
            Covariance(variance, 0.0, variance),
            age_s,
            5.0,
            0.0,
            Covariance(0.04, 0.0, 0.04),
        )
