"""Which route positions take: by autopilot, version, airframe, rate and what its parameters allow. Pure.

`AUTO` is the table, best first; docs/autopilots.md tells the flights behind it. A route that was asked for by name and
cannot work is refused in words, never replaced.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import Airframe, AutopilotKind
from tilefix.links.reports import Route
from tilefix.publishing.parameters import parameter_refusal
from tilefix.publishing.settings import LEAST_RATE_HZ, PublishSettings

Version = tuple[int, int, int]
_ARDUPILOT, _PX4, _OTHER = AutopilotKind.ARDUPILOT, AutopilotKind.PX4, AutopilotKind.OTHER
_NOT_TOLD = "autopilot's version not told yet"
# Before, PX4 knew no odometry that is aligned with north.
_NED_SINCE = (1, 14, 0)


@dataclass(frozen=True)
class Row:
    """One line of the table: for this firmware from this version on, these airframes and at least this rate."""

    kind: AutopilotKind
    route: Route
    why: str
    airframes: frozenset[Airframe] = frozenset(Airframe)
    since: Version | None = None

    def fits(self, autopilot: KnownAutopilot, rate_hz: float) -> bool:
        """True where it applies; without a version, a row that needs one does not."""
        identity = autopilot.identity
        return (
            identity is not None
            and identity.kind is self.kind
            and identity.airframe in self.airframes
            and rate_hz >= LEAST_RATE_HZ[self.route]
            and (self.since is None or (identity.version is not None and identity.version >= self.since))
        )


AUTO = (
    Row(_ARDUPILOT, Route.GPS_INPUT, "the only one that ArduPilot turns to by itself when GNSS goes, and back from"),
    Row(
        _ARDUPILOT,
        Route.VISION,
        "below 5 Hz a receiver counts as broken; external navigation is taken from 4 Hz",
        frozenset({Airframe.COPTER, Airframe.ROVER, Airframe.OTHER}),
    ),
    Row(
        _ARDUPILOT,
        Route.EXTERNAL_ESTIMATE,
        "below 4 Hz a plane takes positions one by one while airspeed carries it",
        frozenset({Airframe.PLANE}),
        (4, 5, 0),
    ),
    Row(_PX4, Route.GLOBAL_POSITION, "PX4's own input for positions from a map", since=(1, 18, 0)),
    Row(_PX4, Route.ODOMETRY, "before 1.18 PX4 has no input for global positions over MAVLink", since=_NED_SINCE),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The route, or `None` and why: `line` for the pilot, `reason` for the log."""

    route: Route | None
    line: str
    reason: str


def choose(settings: PublishSettings, autopilot: KnownAutopilot) -> Choice:
    """The route for this autopilot as far as it is known now."""
    identity = autopilot.identity
    wanted = settings.chosen_route
    if identity is None:
        # Nothing leaves the link before the autopilot said who it is.
        return Choice(wanted or Route.GPS_INPUT, "autopilot not known yet", "no heartbeat")
    if wanted is not None:
        refusal = impossible(wanted, autopilot) or parameter_refusal(wanted, settings, autopilot)
        if refusal is None:
            return Choice(wanted, f"positions go as {wanted.value}", "asked for in the configuration")
        return Choice(None, refusal, f"route {wanted.value} cannot work: {refusal}")
    rows = candidates(settings, autopilot)
    refusals = [(row, parameter_refusal(row.route, settings, autopilot)) for row in rows]
    for row, refusal in refusals:
        if refusal is None:
            return Choice(row.route, f"positions go as {row.route.value}", row.why)
    if refusals:
        told = "; ".join(f"{row.route.value}: {refusal}" for row, refusal in refusals)
        return Choice(None, refusals[0][1] or "", told)
    if identity.version is None and identity.kind is not _OTHER:
        return Choice(None, _NOT_TOLD, _NOT_TOLD)
    what = f"{identity.kind.value}, {identity.airframe.value}, {settings.rate_hz:g} Hz"
    return Choice(None, "no route for this autopilot: set one", f"no route for {what}; set [publish] route")


def candidates(settings: PublishSettings, autopilot: KnownAutopilot) -> list[Row]:
    """The rows of the table that apply. While PX4 has not told its version none does: an older one takes another."""
    if autopilot.kind is _PX4 and autopilot.version is None:
        return []
    return [row for row in AUTO if row.fits(autopilot, settings.rate_hz)]


def impossible(route: Route, autopilot: KnownAutopilot) -> str | None:
    """Why a route never works with this firmware and airframe, `None` where it may."""
    identity = autopilot.identity
    assert identity is not None
    kind, version = identity.kind, identity.version
    if route is Route.GPS_INPUT and kind is _PX4:
        return "PX4 takes no GPS_INPUT"
    if route is Route.EXTERNAL_ESTIMATE:
        if kind is not _ARDUPILOT:
            return "external_estimate is ArduPilot's only"
        if identity.airframe is not Airframe.PLANE:
            # A copter accepts it for 15 s, falls into its failsafe after 8, and refuses it from then on.
            return "external_estimate is for planes only"
        return _too_old(version, (4, 5, 0), "external_estimate")
    if route is Route.ODOMETRY and kind is _PX4:
        return _too_old(version, _NED_SINCE, "odometry")
    if route is Route.GLOBAL_POSITION:
        return _too_old(version, (1, 18, 0), "global_position") if kind is _PX4 else "global_position is PX4's only"
    return None


def _too_old(version: Version | None, since: Version, what: str) -> str | None:
    if version is None:
        return _NOT_TOLD
    return None if version >= since else f"{what} needs version {since[0]}.{since[1]}"
