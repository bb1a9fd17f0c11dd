"""Answers and a scripted localizer for tests of replay, score and report."""

from __future__ import annotations

from collections.abc import Callable

from tilefix.geodesy import LocalFrame
from tilefix.timing import StageTimer
from tilefix.types import Covariance, Fix, FixKind, Frame, NoFix, Reason, VehicleState

LOCAL = LocalFrame(47.0, 8.5)


def fix_at(
    east_m: float,
    north_m: float,
    *,
    kind: FixKind = FixKind.FIX,
    covariance: Covariance | None = None,
    match_age_s: float = 0.0,
    reason: Reason | None = None,
    at_ns: int = 0,
    local: LocalFrame = LOCAL,
) -> Fix:
    """A position in `local`, by default with a sigma of 2 m each way."""
    lat_deg, lon_deg = local.to_geodetic(east_m, north_m)
    return Fix(
        at_ns=at_ns,
        kind=kind,
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        east_m=east_m,
        north_m=north_m,
        covariance_m2=covariance or Covariance(4.0, 0.0, 4.0),
        match_age_s=match_age_s,
        velocity_east_mps=1.25,
        velocity_north_mps=-0.5,
        velocity_covariance=Covariance(0.1, 0.0, 0.1),
        reason=reason,
    )


class ScriptedLocalizer:
    """Answers each frame by a function of its number, and remembers what it was given."""

    def __init__(self, script: Callable[[int], Fix | NoFix]) -> None:
        self._script = script
        self.states: list[VehicleState] = []
        self.hints: list[tuple[int, float, float, float]] = []

    def hint(self, lat_deg: float, lon_deg: float, sigma_m: float) -> None:
        """Notes the hint with the number of frames seen before it."""
        self.hints.append((len(self.states), lat_deg, lon_deg, sigma_m))

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
        """The scripted answer to the next frame."""
        assert timer is not None
        assert frame.captured_ns == state.at_ns
        self.states.append(state)
        with timer.stage("register"):
            return self._script(len(self.states) - 1)
