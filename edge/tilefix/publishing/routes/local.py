"""What VISION_POSITION_ESTIMATE and ODOMETRY have in common: metres from the autopilot's own origin. Pure."""

from __future__ import annotations

from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import AutopilotKind
from tilefix.links.reports import LocalReport, Route
from tilefix.publishing.covariance import rule_of, variances
from tilefix.publishing.origin import north_east_m
from tilefix.publishing.position import Position

# The largest error that ArduPilot tells apart.
_LARGEST_SIGMA_M = 100.0


def local_report(
    position: Position,
    autopilot: KnownAutopilot,
    route: Route,
    *,
    delay_ns: int,
    reset_counter: int,
    attitude_deg: tuple[float, float, float] | None,
) -> LocalReport | str:
    """The position from the origin that the autopilot reports, or why it cannot be told."""
    origin = autopilot.origin
    if origin is None:
        return "autopilot has no origin yet"
    kind = autopilot.kind or AutopilotKind.OTHER
    north_m, east_m = north_east_m(kind, origin, position.lat_deg, position.lon_deg)
    spread = position.covariance_m2
    sigma_m = min(position.sigma_m, _LARGEST_SIGMA_M)
    each = (spread.nn, spread.ee, position.vertical_sigma_m**2)
    return LocalReport(
        at_ns=position.at_ns,
        # The autopilot takes the delay off whatever the message is dated by.
        stamp_ns=position.at_ns + delay_ns,
        route=route,
        north_m=north_m,
        east_m=east_m,
        down_m=origin.amsl_m - position.amsl_m,
        velocity_north_mps=position.velocity_north_mps,
        velocity_east_mps=position.velocity_east_mps,
        velocity_down_mps=position.velocity_down_mps,
        sigma_m=sigma_m,
        speed_sigma_mps=position.speed_sigma_mps,
        variance_m2=variances(sigma_m, each, rule_of(autopilot)),
        attitude_deg=attitude_deg,
        reset_counter=reset_counter,
        quality=_quality(sigma_m),
    )


def _quality(sigma_m: float) -> int:
    """1 to 100 for VISO_QUAL_MIN: 100 up to a metre, 1 from a hundred."""
    return min(max(round(100.0 / max(sigma_m, 1.0)), 1), 100)
