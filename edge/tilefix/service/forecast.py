"""What the belief says of the next seconds, made once per frame, so that publishing never waits for a frame. Pure.

The localizer belongs to the thread that looks at frames; while that looks at the next one, positions go out at their
own rate. They are taken from here: predictions at a few instants, joined by straight lines. Position under constant
velocity is a straight line; the covariance grows ever faster, so a line between two instants lies above it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tilefix.geodesy import between
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason

_STEPS_S = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.5, 15.0, 20.0, 25.0, 30.0)


@dataclass(frozen=True)
class Forecast:
    """Predictions in order of time, the first at the frame; it ends with the first `NoFix`, if any."""

    knots: tuple[Fix | NoFix, ...]

    @classmethod
    def after(cls, at_ns: int, predict: Callable[[int], Fix | NoFix]) -> Forecast:
        """Asks `predict` for `at_ns` and the seconds after it, up to the first refusal."""
        knots: list[Fix | NoFix] = []
        for step_s in _STEPS_S:
            knots.append(predict(at_ns + round(step_s * 1e9)))
            if isinstance(knots[-1], NoFix):
                break
        return cls(tuple(knots))

    @property
    def begins_ns(self) -> int:
        """The frame's instant."""
        return self.knots[0].at_ns

    @property
    def refuses(self) -> bool:
        """True when the frame itself gave no position."""
        return isinstance(self.knots[0], NoFix)

    def at(self, at_ns: int) -> Fix | NoFix:
        """The estimate for an instant; before the frame it is the frame's own (and says so in `at_ns`), after the
        last prediction, and on the way to a refusal, a refusal."""
        before = self.knots[0]
        if isinstance(before, NoFix):
            return NoFix(at_ns, before.reason)
        if at_ns <= before.at_ns:
            return before
        for after in self.knots[1:]:
            if isinstance(after, NoFix):
                return NoFix(at_ns, after.reason)
            if at_ns <= after.at_ns:
                return _between(before, after, at_ns)
            before = after
        return NoFix(at_ns, before.reason or Reason.NO_FRAME)


def _between(before: Fix, after: Fix, at_ns: int) -> Fix:
    share = (at_ns - before.at_ns) / (after.at_ns - before.at_ns)

    def line(left: float, right: float) -> float:
        return left + share * (right - left)

    lat_deg, lon_deg = between(before.lat_deg, before.lon_deg, after.lat_deg, after.lon_deg, share)
    return replace(
        after,
        at_ns=at_ns,
        kind=FixKind.FIX if before.kind is after.kind is FixKind.FIX else FixKind.COAST,
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        east_m=line(before.east_m, after.east_m),
        north_m=line(before.north_m, after.north_m),
        covariance_m2=_line_of(before.covariance_m2, after.covariance_m2, share),
        match_age_s=line(before.match_age_s, after.match_age_s),
        velocity_covariance=None
        if before.velocity_covariance is None or after.velocity_covariance is None
        else _line_of(before.velocity_covariance, after.velocity_covariance, share),
    )


def _line_of(left: Covariance, right: Covariance, share: float) -> Covariance:
    return Covariance(*(a + share * (b - a) for a, b in zip(_flat(left), _flat(right), strict=True)))


def _flat(covariance: Covariance) -> tuple[float, float, float]:
    return covariance.ee, covariance.en, covariance.nn
