"""What is sent to the autopilot, and what the pilot is told. Pure: it decides, the daemon sends.

Nothing leaves that is incomplete: an autopilot fuses a velocity that is missing as standing still and a height that
is missing as zero. Nothing of the autopilot's own estimate is ever sent back to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilefix.links.messages import GnssReceiver, PositionReport, Severity
from tilefix.links.vehicle import Vehicle
from tilefix.toml.fields import limited
from tilefix.types import Fix, FixKind, NoFix, Reason

_TEXT_EVERY_NS = 1_000_000_000
_TEXT_CHARS = 50
_PREFIX = "tilefix: "
# Without a rate of its own the vertical speed is taken as none; what that may be wrong by goes into the sigma.
_UNKNOWN_CLIMB_SIGMA_MPS = 1.0
_CLIMB_SIGMA_MPS = 0.3
# A receiver that states no sigma: what a good one has.
_UNKNOWN_RECEIVER_SIGMA_M = 3.0
_RECEIVER_SPEED_SIGMA_MPS = 0.5
_RECEIVER_MAX_AGE_NS = 500_000_000
# A receiver that moves faster than this, or lies further from a map fix than its error explains, may be spoofed: it is
# not repeated for a while.
_JUMP_M = 50.0
_JUMP_MPS = 60.0
_CONTRADICTION_SIGMAS = 5.0
_DISTRUST_NS = 30_000_000_000
_DISTRUST = "GNSS jumped or contradicts the map"


@dataclass(frozen=True)
class PublishSettings:
    """How positions are sent.

    `gps_id`: the receiver's place in the autopilot, counted from 0: 1 is its second one (GPS2_TYPE = 14). 0 makes
    tilefix the only receiver, and what the autopilot reports of its first receiver is then not believed.
    `rate_hz`: ArduPilot takes a receiver below 5 Hz for broken. `satellites`: fewer than the real receiver sees,
    so that the autopilot prefers that one while it lives; at least 6, or it is not used.
    `max_sigma_m`: a position less certain is not sent; `max_coast_sigma_m`: the same for one that no picture
    confirmed lately. `delay_ms`: what the autopilot takes positions to be late by (GPSn_DELAY_MS; its 0 means 200):
    the position sent holds for that long ago. `mirror_gnss`: while the real receiver is good and there is no position
    of our own, its own position is sent: ArduPilot arms only when every receiver it knows has one.
    """

    gps_id: int = limited(0, 3, 1)
    rate_hz: float = limited(5.0, 20.0, 10.0)
    satellites: int = limited(6, 40, 8)
    max_sigma_m: float = limited(0.5, 100.0, 25.0)
    max_coast_sigma_m: float = limited(0.5, 100.0, 25.0)
    delay_ms: float = limited(0.0, 250.0, 200.0)
    mirror_gnss: bool = True
    min_sigma_m: float = limited(0.1, 100.0, 0.5)
    min_speed_sigma_mps: float = limited(0.05, 10.0, 0.2)


@dataclass(frozen=True, slots=True)
class Decision:
    """Either a report, or why there is none. `mirrored`: the report is the real receiver's own position."""

    report: PositionReport | None
    refusal: str | None
    mirrored: bool = False


class Publisher:
    """Turns the belief into reports, and changes of state into texts."""

    def __init__(self, settings: PublishSettings | None = None) -> None:
        self.settings = settings or PublishSettings()
        self._receiver: GnssReceiver | None = None
        self._distrusted_until_ns: int | None = None
        self._told: str | None = None
        self._told_ns: int | None = None

    def instant_ns(self, now_ns: int) -> int:
        """The instant that a position sent now has to hold for."""
        return now_ns - round(self.settings.delay_ms * 1e6)

    def decide(self, estimate: Fix | NoFix, vehicle: Vehicle) -> Decision:
        """What to send of an estimate that holds for `instant_ns`."""
        refusal, report = self._of_estimate(estimate, vehicle)
        distrusted = self._distrusts_receiver(estimate, vehicle)
        if report is None and self.settings.mirror_gnss and vehicle.gnss_available(estimate.at_ns):
            if distrusted:
                return Decision(None, _DISTRUST)
            mirrored = self._mirrored(estimate.at_ns, vehicle)
            if mirrored is not None:
                return Decision(mirrored, refusal, mirrored=True)
        return Decision(report, refusal)

    def _distrusts_receiver(self, estimate: Fix | NoFix, vehicle: Vehicle) -> bool:
        """True for a while after the receiver jumped or contradicted a fix on the map."""
        receiver, before = vehicle.last_gnss, self._receiver
        self._receiver = receiver
        if receiver is None or receiver.lat_deg is None or receiver.lon_deg is None:
            return False
        jumped = False
        if before is not None and before.lat_deg is not None and before.lon_deg is not None:
            apart_m = _apart_m(receiver.lat_deg, receiver.lon_deg, before.lat_deg, before.lon_deg)
            jumped = apart_m > _JUMP_M + _JUMP_MPS * (receiver.at_ns - before.at_ns) / 1e9
        contradicts = False
        if isinstance(estimate, Fix) and estimate.kind is FixKind.FIX:
            apart_m = _apart_m(receiver.lat_deg, receiver.lon_deg, estimate.lat_deg, estimate.lon_deg)
            seconds = abs(estimate.at_ns - receiver.at_ns) / 1e9
            contradicts = apart_m > _JUMP_M + _CONTRADICTION_SIGMAS * estimate.sigma_m + _JUMP_MPS * seconds
        if jumped or contradicts:
            self._distrusted_until_ns = estimate.at_ns + _DISTRUST_NS
        return self._distrusted_until_ns is not None and estimate.at_ns < self._distrusted_until_ns

    def _of_estimate(self, estimate: Fix | NoFix, vehicle: Vehicle) -> tuple[str | None, PositionReport | None]:
        if isinstance(estimate, NoFix):
            return _words(estimate.reason), None
        east_mps, north_mps = estimate.velocity_east_mps, estimate.velocity_north_mps
        if east_mps is None or north_mps is None or estimate.velocity_covariance is None:
            return "no velocity from the camera yet", None
        amsl_m, amsl_sigma_m = vehicle.amsl_m(estimate.at_ns), vehicle.amsl_sigma_m(estimate.at_ns)
        if amsl_m is None or amsl_sigma_m is None:
            return "no height above sea level", None
        settings = self.settings
        limit_m = settings.max_coast_sigma_m if estimate.kind is FixKind.COAST else settings.max_sigma_m
        speed_sigma_mps = estimate.velocity_covariance.sigma_major
        climb_mps = vehicle.climb_mps(estimate.at_ns)
        numbers = (estimate.lat_deg, estimate.lon_deg, amsl_m, amsl_sigma_m, east_mps, north_mps, speed_sigma_mps)
        if not all(map(math.isfinite, (*numbers, estimate.sigma_m))):
            return "position is not finite", None
        if estimate.sigma_m > limit_m:
            return f"position uncertain, over {limit_m:g} m", None
        week, week_ms = vehicle.gps_time(estimate.at_ns)
        climb_sigma_mps = _UNKNOWN_CLIMB_SIGMA_MPS if climb_mps is None else _CLIMB_SIGMA_MPS
        return None, PositionReport(
            at_ns=estimate.at_ns,
            gps_id=settings.gps_id,
            lat_deg=estimate.lat_deg,
            lon_deg=estimate.lon_deg,
            amsl_m=amsl_m,
            velocity_north_mps=north_mps,
            velocity_east_mps=east_mps,
            velocity_down_mps=-(climb_mps or 0.0),
            horizontal_sigma_m=max(estimate.sigma_m, settings.min_sigma_m),
            vertical_sigma_m=amsl_sigma_m,
            speed_sigma_mps=max(speed_sigma_mps, climb_sigma_mps, settings.min_speed_sigma_mps),
            satellites=settings.satellites,
            gps_week=week,
            gps_week_ms=week_ms,
        )

    def _mirrored(self, at_ns: int, vehicle: Vehicle) -> PositionReport | None:
        """The real receiver's own position carried to `at_ns` by its own velocity; `None` when it is incomplete."""
        receiver = vehicle.last_gnss
        if receiver is None or abs(at_ns - receiver.at_ns) > _RECEIVER_MAX_AGE_NS:
            return None
        lat_deg, lon_deg, amsl_m = receiver.lat_deg, receiver.lon_deg, receiver.amsl_m
        north_mps, east_mps = receiver.velocity_north_mps, receiver.velocity_east_mps
        if lat_deg is None or lon_deg is None or amsl_m is None or north_mps is None or east_mps is None:
            return None
        lat_deg, lon_deg = _moved(receiver, lat_deg, lon_deg, north_mps, east_mps, at_ns)
        week, week_ms = vehicle.gps_time(at_ns)
        return PositionReport(
            at_ns=at_ns,
            gps_id=self.settings.gps_id,
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            amsl_m=amsl_m,
            velocity_north_mps=north_mps,
            velocity_east_mps=east_mps,
            velocity_down_mps=-(vehicle.climb_mps(at_ns) or 0.0),
            horizontal_sigma_m=receiver.horizontal_sigma_m or _UNKNOWN_RECEIVER_SIGMA_M,
            vertical_sigma_m=receiver.vertical_sigma_m or 2.0 * _UNKNOWN_RECEIVER_SIGMA_M,
            speed_sigma_mps=_RECEIVER_SPEED_SIGMA_MPS,
            satellites=self.settings.satellites,
            gps_week=week,
            gps_week_ms=week_ms,
        )

    def text(self, decision: Decision, now_ns: int) -> tuple[Severity, str] | None:
        """The line for the pilot when the state changed, at most one a second; a change that came too soon is told
        when its second is over, if it still holds."""
        if decision.refusal is None:
            severity, line = Severity.NOTICE, _PREFIX + "position found"
        elif decision.mirrored:
            severity, line = Severity.INFO, _PREFIX + "repeating GNSS"
        else:
            severity, line = Severity.WARNING, f"{_PREFIX}{decision.refusal}"
        line = line[:_TEXT_CHARS]
        if line == self._told or (self._told_ns is not None and now_ns - self._told_ns < _TEXT_EVERY_NS):
            return None
        self._told, self._told_ns = line, now_ns
        return severity, line


def _words(reason: Reason) -> str:
    """The reason's sentence, or its name where the sentence is too long for a STATUSTEXT."""
    short = len(_PREFIX) + len(reason.value) <= _TEXT_CHARS
    return reason.value if short else reason.name.replace("_", " ").lower()


def _apart_m(lat_deg: float, lon_deg: float, other_lat_deg: float, other_lon_deg: float) -> float:
    """The distance of two places near each other, on a sphere of 6371 km."""
    across = math.cos(math.radians(lat_deg))
    return math.hypot(lat_deg - other_lat_deg, (lon_deg - other_lon_deg) * across) * math.pi * 6_371_000.0 / 180.0


def _moved(
    receiver: GnssReceiver, lat_deg: float, lon_deg: float, north_mps: float, east_mps: float, at_ns: int
) -> tuple[float, float]:
    """A position carried along its velocity for less than a second, on a sphere of 6371 km."""
    seconds = (at_ns - receiver.at_ns) / 1e9
    deg_per_m = 180.0 / (math.pi * 6_371_000.0)
    across = max(math.cos(math.radians(lat_deg)), 1e-3)
    return lat_deg + north_mps * seconds * deg_per_m, lon_deg + east_mps * seconds * deg_per_m / across
