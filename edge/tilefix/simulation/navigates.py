"""What a flight asks of the navigation of its autopilot, ArduPilot's or PX4's."""

from __future__ import annotations

from typing import Protocol

from tilefix.simulation.acceptance.externalestimate import ExternalEstimate
from tilefix.simulation.acceptance.externalnav import LocalPosition
from tilefix.simulation.acceptance.globalposition import GlobalPosition
from tilefix.simulation.acceptance.gnss import GpsInput, MavlinkReceiver
from tilefix.simulation.acceptance.origin import EkfOrigin
from tilefix.simulation.acceptance.verdicts import Tally, Verdict
from tilefix.simulation.estimator import Estimator, Pair
from tilefix.simulation.vehicle import Motion


class Navigates(Protocol):
    """`estimator`: where it believes to be; `tally`: what became of positions; `events`: what it told; `landing`: a
    failsafe ended the flight; `clock_offset_s`: the companion's clock, once TIMESYNC told it, added to its stamps."""

    estimator: Estimator
    origin: EkfOrigin
    tally: Tally
    events: list[str]
    landing: bool
    clock_offset_s: float | None

    @property
    def has_position(self) -> bool: ...

    @property
    def reported_position(self) -> Pair: ...

    @property
    def flags(self) -> int: ...

    @property
    def tests(self) -> tuple[float, float]: ...

    def settle(self, now_s: float) -> None: ...

    def update(self, now_s: float, *, armed: bool) -> None: ...

    def own_sample(self, then: Motion, *, flying: bool) -> None: ...

    def fed(self, number: int) -> MavlinkReceiver | None: ...

    def select_sources(self, number: float) -> bool: ...

    def set_origin(self, lat_deg: float, lon_deg: float, amsl_m: float) -> bool: ...

    def arming_failures(self, true: Motion) -> list[str]: ...

    def take_position(self, given: GpsInput, *, flying: bool) -> Verdict: ...

    def take_local(self, given: LocalPosition) -> Verdict: ...

    def take_estimate(self, given: ExternalEstimate) -> Verdict: ...

    def take_global(self, given: GlobalPosition) -> Verdict: ...
