"""How late the autopilot takes positions to be: the parameter against the configuration, or against a measurement.

What is sent is carried to the age that the parameter states, so that any value works that the estimator's buffer holds;
it has to be the one that tilefix goes by, and near the least that pictures take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tilefix.doctor.case import Case, Version
from tilefix.doctor.rules.rule import Effect, Rule
from tilefix.doctor.rules.wants import Want
from tilefix.links.messages import AutopilotKind, Route
from tilefix.publishing.latency import TOLERANCE_MS, advised_ms
from tilefix.publishing.parameters import RECEIVER_DELAY_MS, held_ms, receiver_names
from tilefix.publishing.receiverlag import lag_of

_ARDUPILOT, _PX4 = AutopilotKind.ARDUPILOT, AutopilotKind.PX4
_LOCAL = (Route.VISION, Route.ODOMETRY)
_CONFIGURED = "[publish] delay_ms says otherwise: positions are wrong by the speed times the difference"
_OVER_MS = 10.0  # of a buffer's end, that is a tenth of a metre at 10 m/s
_OVERFLOWS = (
    "older than what the estimator's buffer holds, which is made for the first receiver's delay: positions are fused "
    "as if they were younger, and are wrong by the speed times the difference"
)
_MEASURED = "not what pictures take at best: positions hold for an instant further from the picture than need be"


@dataclass(frozen=True)
class _Delay:
    """From `low` to `high`, where a zero counts as `zero_means`."""

    low: float
    high: float
    instead: float
    zero_means: float

    def holds(self, value: float) -> bool:
        return self.low <= (value or self.zero_means) <= self.high

    def mended(self, value: float) -> float | None:  # noqa: ARG002
        return self.instead


@dataclass(frozen=True)
class _Unattainable:
    """Nothing that could be set."""

    def holds(self, value: float) -> bool:  # noqa: ARG002
        return False

    def mended(self, value: float) -> float | None:  # noqa: ARG002
        return None


def first_receiver_names(case: Case) -> tuple[str, ...]:
    """The parameters by which ArduPilot sizes its buffer, where another receiver's delay has to fit in."""
    if case.kind is not _ARDUPILOT or case.route is not Route.GPS_INPUT or case.gps_id == 0:
        return ()
    return (*receiver_names(0, "DELAY_MS", case.version), *receiver_names(0, "TYPE", case.version))


def _first_receiver(case: Case) -> tuple[float | None, float | None]:
    """Its delay and its type, as far as they were told."""
    names = first_receiver_names(case)
    delay_ms, kind = (case.parameters.get(name) for name in names) if names else (None, None)
    return delay_ms, kind


def _held_ms(case: Case) -> float:
    return held_ms(case.route, case.kind, case.gps_id, *_first_receiver(case))


def _whose(case: Case) -> str:
    """Whose delay it is that the buffer holds, where no parameter tells that."""
    delay_ms, kind = _first_receiver(case)
    return "" if delay_ms or not first_receiver_names(case) else f" (first receiver: {lag_of(kind).of})"


def _too_late(case: Case) -> bool:
    return _measured(case) and (case.latency_ms or 0.0) > _held_ms(case) + TOLERANCE_MS


def _why_too_late(case: Case) -> str:
    held = f"{_held_ms(case):.0f}{_whose(case)}"
    return (
        f"pictures take {case.latency_ms:.0f} ms at best, the estimator's buffer holds {held}: "
        "no delay mends that, lower the latency (a smaller picture, a quicker engine or camera mode)"
    )


@dataclass(frozen=True)
class _Parameter:
    """One delay parameter: `zero_means` what the autopilot takes a zero for."""

    name: str
    kind: AutopilotKind
    routes: tuple[Route, ...]
    since: Version = (0, 0, 0)
    before: Version = (999, 0, 0)
    zero_means: float = 0.0
    longest_ms: float = 250.0

    def as_configured(self, case: Case) -> Want:
        delay_ms = min(case.delay_ms or 0.0, self.longest_ms)
        return _Delay(delay_ms - 0.5, delay_ms + 0.5, delay_ms, self.zero_means)

    def as_held(self, case: Case) -> Want:
        held_ms = _held_ms(case)
        return _Delay(0.0, held_ms + _OVER_MS, held_ms, self.zero_means)

    def as_measured(self, case: Case) -> Want:
        best_ms = advised_ms(case.latency_ms or 0.0, _held_ms(case))
        return _Delay(best_ms - TOLERANCE_MS, best_ms + TOLERANCE_MS, best_ms, self.zero_means)


def _configured(case: Case) -> bool:
    return case.delay_ms is not None


def _left_alone(case: Case) -> bool:
    return bool(first_receiver_names(case)) and case.delay_ms is None and case.latency_ms is None


def _measured(case: Case) -> bool:
    return case.delay_ms is None and case.latency_ms is not None


_PARAMETERS = (
    _Parameter("GPS{receiver}_DELAY_MS", _ARDUPILOT, (Route.GPS_INPUT,), since=(4, 6, 0), zero_means=RECEIVER_DELAY_MS),
    _Parameter(
        "GPS_DELAY_MS{old_receiver}", _ARDUPILOT, (Route.GPS_INPUT,), before=(4, 6, 0), zero_means=RECEIVER_DELAY_MS
    ),
    # Before 4.5.2 it was without effect.
    _Parameter("VISO_DELAY_MS", _ARDUPILOT, _LOCAL, since=(4, 5, 2)),
    _Parameter("EKF2_EV_DELAY", _PX4, _LOCAL, longest_ms=300.0),
    _Parameter("EKF2_AGP0_DELAY", _PX4, (Route.GLOBAL_POSITION,), longest_ms=200.0),
)

# The estimator's buffer is as long as the delays were when it started.
_BOOT = Effect.AT_BOOT


def _rule(
    one: _Parameter,
    want: Want | Callable[[Case], Want],
    why: str | Callable[[Case], str],
    when: Callable[[Case], bool],
    *,
    effect: Effect = Effect.AT_ONCE,
    advice: bool = False,
) -> Rule:
    return Rule(
        one.name,
        want,
        why,
        one.kind,
        one.routes,
        since=one.since,
        before=one.before,
        when=when,
        effect=effect,
        advice=advice,
    )


RULES = (
    *(_rule(one, one.as_configured, _CONFIGURED, _configured, effect=_BOOT) for one in _PARAMETERS),
    *(_rule(one, one.as_measured, _MEASURED, _measured, effect=_BOOT, advice=True) for one in _PARAMETERS),
    *(_rule(one, one.as_held, _OVERFLOWS, _left_alone) for one in _PARAMETERS if Route.GPS_INPUT in one.routes),
    *(_rule(one, _Unattainable(), _why_too_late, _too_late, advice=True) for one in _PARAMETERS),
)
