"""The vehicle as its own sensors tell it: what the localizer and the publisher ask about one instant. Pure.

Never holds the autopilot's estimate of position or velocity: of position only what the GNSS receiver itself says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tilefix.links.attitude import AttitudeHistory
from tilefix.links.gnsshistory import GnssHistory
from tilefix.links.height import Anchor, PressureAltitude
from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import (
    Attitude,
    AutopilotTime,
    CameraAttitude,
    GimbalSource,
    GnssReceiver,
    GroundRange,
    Home,
    LinkMessage,
    Pressure,
    Rebooted,
)
from tilefix.links.steady import SteadyAttitude
from tilefix.toml.fields import chosen, limited
from tilefix.types import VehicleState

# A range to the ground counts this long: at 5 m/s of climb it is then 2.5 m off.
_RANGE_MAX_AGE_NS = 500_000_000
# A beam of a degree or two meets crops, roofs and slopes: it measures what it meets first, not the mean ground.
_RANGE_SIGMA_M, _RANGE_SIGMA_SHARE = 1.0, 0.02
_LINK_SILENCE_NS = 3_000_000_000
_LATELY_NS = 1_000_000_000
# A receiver that does not state its vertical sigma gets a cautious one.
_UNKNOWN_VERTICAL_SIGMA_M = 5.0
# The autopilot's calendar clock is taken over once; a jump beyond this is a new one.
_CALENDAR_STEP_NS = 500_000_000
_CALENDAR_RANGE_UNIX_NS = (1_577_836_800 * 1_000_000_000, 4_102_444_800 * 1_000_000_000)  # 2020 to 2100
_GPS_EPOCH_UNIX_S = 315_964_800
_GPS_LEAP_S = 18
_WEEK_MS = 604_800_000


@dataclass(frozen=True)
class HeightSettings:
    """Where height comes from.

    `source`: `auto` (whatever is surest of a fresh rangefinder, pressure over the map's terrain, pressure over the
    ground's height), `rangefinder`, `terrain` (pressure over the map's terrain) or `baro` (pressure over the ground's
    height). `ground_amsl_m`: the ground's height above mean sea level; without it the autopilot's home is asked.
    `ground_sigma_m`: how far the ground on the way lies from it; `terrain_sigma_m`: how far the map's terrain and its
    datum may be off. `anchor`: what ties air pressure to sea level: `gnss` (the receiver's height before denial), or
    `ground` (the aircraft stands at `ground_amsl_m` when tilefix starts, for flights that never had GNSS).
    """

    source: str = chosen("auto", "rangefinder", "terrain", "baro")
    ground_amsl_m: float | None = limited(-500.0, 9000.0, None)
    ground_sigma_m: float = limited(0.0, 1000.0, 5.0)
    terrain_sigma_m: float = limited(0.0, 1000.0, 3.0)
    anchor: str = chosen("gnss", "ground")


@dataclass(frozen=True)
class GimbalSettings:
    """Whether a gimbal carries the camera: `source` names the message that tells where it looks (see `GimbalSource`),
    or is `none` for a camera that is fixed to the body. The mount then stands between gimbal and camera."""

    source: str = chosen("none", *(one.value for one in GimbalSource))

    @property
    def message(self) -> GimbalSource | None:
        """The message, `None` for a fixed camera."""
        return None if self.source == "none" else GimbalSource(self.source)


class Vehicle:
    """What the link told, and what follows from it for one instant."""

    def __init__(
        self,
        settings: HeightSettings | None = None,
        *,
        gimbal: GimbalSource | None = None,
        receiver_is_ours: bool = False,
        remember: Callable[[Anchor], None] | None = None,
    ) -> None:
        """`gimbal`: the message that tells where the camera looks, for one that a gimbal carries. `receiver_is_ours`:
        the receiver that the autopilot reports is the position that tilefix itself sends (gps_id 0), so that it proves
        nothing. `gnss_trusted`, set from outside: while it is not, heights above sea level are not taken from GNSS.
        `remember`: is given what ties air pressure to sea level, whenever GNSS told it anew."""
        self._settings = settings or HeightSettings()
        self.autopilot = KnownAutopilot()
        self._receiver_is_ours = receiver_is_ours
        self._remember = remember
        # What pictures are laid on the ground by, and what the autopilot said.
        self._attitudes, self._told_attitudes = AttitudeHistory(), AttitudeHistory()
        self._steady = SteadyAttitude()
        self._gimbal = gimbal
        # Two histories: an angle from the nose and one from north have nothing between them.
        self._carriers = {of_body: AttitudeHistory() for of_body in (True, False)}
        self._altitude = PressureAltitude()
        self._range: GroundRange | None = None
        self._home: Home | None = None
        self._gnss = GnssHistory()
        self.gnss_trusted = True
        self._unix_minus_local_ns: int | None = None
        self._heard_ns: int | None = None

    def take(self, message: LinkMessage) -> None:
        """Takes in one message of the link."""
        self._heard_ns = max(message.at_ns, self._heard_ns or message.at_ns)
        self.autopilot.take(message)
        if isinstance(message, Attitude):
            self._take_attitude(message)
        elif isinstance(message, CameraAttitude):
            if message.source is self._gimbal:
                angles = (message.roll_deg, message.pitch_deg, message.yaw_deg)
                self._carriers[message.of_body].add(Attitude(message.at_ns, *angles))
                self._carriers[not message.of_body].clear()
        elif isinstance(message, Pressure):
            self._take_pressure(message)
        elif isinstance(message, GnssReceiver):
            self._take_receiver(message)
        elif isinstance(message, GroundRange):
            self._range = message if math.isfinite(message.distance_m) else self._range
        elif isinstance(message, Home):
            self._home = message if math.isfinite(message.amsl_m) else self._home
        elif isinstance(message, AutopilotTime):
            self._take_time(message)
        elif isinstance(message, Rebooted):
            self._attitudes.clear()
            self._told_attitudes.clear()
            self._steady.restart()
            for carrier in self._carriers.values():
                carrier.clear()
            self._altitude.restart()
            self._range = None
            self._unix_minus_local_ns = None
        # Anything else says no more here than that it came.

    def _take_attitude(self, message: Attitude) -> None:
        self._told_attitudes.add(message)
        steady = self._steady.take(message, trusted=self._gnss.has_fix and self.gnss_trusted)
        if steady is not None:
            self._attitudes.add(steady)

    def _take_pressure(self, message: Pressure) -> None:
        self._altitude.add_pressure(message.at_ns, message.pressure_hpa)
        ground_m = self._settings.ground_amsl_m
        if self._settings.anchor == "ground" and ground_m is not None and not self._altitude.anchored:
            self._altitude.anchor(message.at_ns, ground_m, 1.0)

    def _take_receiver(self, message: GnssReceiver) -> None:
        if self._receiver_is_ours:
            return
        self._gnss.take(message)
        anchors = self._gnss.has_fix and self.gnss_trusted and self._settings.anchor == "gnss"
        if anchors and message.amsl_m is not None:
            sigma_m = message.vertical_sigma_m
            self._altitude.anchor(message.at_ns, message.amsl_m, sigma_m or _UNKNOWN_VERTICAL_SIGMA_M)
            anchor = self._altitude.anchored_by
            if self._remember is not None and anchor is not None:
                self._remember(anchor)

    def _take_time(self, message: AutopilotTime) -> None:
        if not _CALENDAR_RANGE_UNIX_NS[0] <= message.unix_ns <= _CALENDAR_RANGE_UNIX_NS[1]:
            return
        offset_ns = message.unix_ns - message.at_ns
        known_ns = self._unix_minus_local_ns
        if known_ns is None or abs(offset_ns - known_ns) > _CALENDAR_STEP_NS:
            self._unix_minus_local_ns = offset_ns

    def connected(self, now_ns: int) -> bool:
        """True while the autopilot is heard."""
        return self._heard_ns is not None and now_ns - self._heard_ns <= _LINK_SILENCE_NS

    def heard_lately(self, now_ns: int) -> bool:
        """True when the autopilot said anything within the last second."""
        return self._heard_ns is not None and now_ns - self._heard_ns <= _LATELY_NS

    @property
    def attitude_newest_ns(self) -> int | None:
        """The instant up to which the camera's attitude is known."""
        newest_ns = self._attitudes.newest_ns
        if self._gimbal is None or newest_ns is None:
            return newest_ns
        told_ns = [ns for one in self._carriers.values() if (ns := one.newest_ns) is not None]
        return min(newest_ns, *told_ns) if told_ns else None

    def _carrier_at(self, at_ns: int) -> Attitude | None:
        """The attitude of what carries the camera; `None` without one that is fresh."""
        body = self._attitudes.at(at_ns)
        if self._gimbal is None:
            return body
        carrier = self._carriers[False].at(at_ns)
        if carrier is not None:
            return carrier
        carrier = self._carriers[True].at(at_ns)
        if carrier is None or body is None:
            return None
        yaw_deg = (carrier.yaw_deg + body.yaw_deg + 180.0) % 360.0 - 180.0
        return Attitude(at_ns, carrier.roll_deg, carrier.pitch_deg, yaw_deg)

    def told_attitude_at(self, at_ns: int) -> Attitude | None:
        """The body's attitude at an instant as the autopilot said it; `None` without one that is fresh. For what the
        autopilot turns by its own attitude; what a picture shows is worked out from `state_at`."""
        return self._told_attitudes.at(at_ns)

    def gnss_available(self, now_ns: int) -> bool:
        """True while the receiver has a fix: lost at once, back only after it was good for a while."""
        return self._gnss.available(now_ns)

    @property
    def last_gnss(self) -> GnssReceiver | None:
        """The last good position of the receiver, however old."""
        return self._gnss.last_good

    @property
    def gnss_now(self) -> GnssReceiver | None:
        """What the receiver said last, `None` when that was no good position."""
        return self._gnss.newest

    def gnss_at(self, at_ns: int) -> tuple[float, float] | None:
        """The receiver's (lat_deg, lon_deg) at an instant (`GnssHistory.at`). For recordings only: the localizer never
        sees it."""
        return self._gnss.at(at_ns)

    def recall(self, anchor: Anchor) -> None:
        """Takes up what the process before knew of the height above sea level."""
        self._altitude.restore(anchor)

    def amsl_m(self, at_ns: int) -> float | None:
        """Height above mean sea level; `None` when unknown."""
        return self._altitude.amsl_m(at_ns)

    def amsl_sigma_m(self, at_ns: int) -> float | None:
        """One sigma of `amsl_m`."""
        return self._altitude.sigma_m(at_ns)

    def climb_mps(self, at_ns: int) -> float | None:
        """Climb rate from air pressure; `None` when unknown."""
        return self._altitude.climb_mps(at_ns)

    def gps_time(self, at_ns: int) -> tuple[int, int]:
        """(week, milliseconds of the week) of GPS time by the autopilot's clock; (0, 0) when it has none."""
        if self._unix_minus_local_ns is None:
            return 0, 0
        gps_ms = (at_ns + self._unix_minus_local_ns) // 1_000_000 - (_GPS_EPOCH_UNIX_S - _GPS_LEAP_S) * 1000
        return gps_ms // _WEEK_MS, gps_ms % _WEEK_MS

    def agl_m(self, at_ns: int) -> float | None:
        """Height above the ground by the configured source, without a map's terrain; `None` when unknown."""
        return self._agl(at_ns)[0]

    def _agl(self, at_ns: int) -> tuple[float | None, float | None]:
        """`agl_m` with its sigma."""
        source = self._settings.source
        if source in ("auto", "rangefinder"):
            ranged_m = self._ranged_agl_m(at_ns)
            if ranged_m is not None:
                return ranged_m, math.hypot(_RANGE_SIGMA_M, _RANGE_SIGMA_SHARE * ranged_m)
        if source in ("rangefinder", "terrain"):
            return None, None
        amsl_m, sigma_m = self.amsl_m(at_ns), self.amsl_sigma_m(at_ns)
        ground_m = self._settings.ground_amsl_m
        if ground_m is None and self._home is not None:
            ground_m = self._home.amsl_m
        if amsl_m is None or sigma_m is None or ground_m is None or amsl_m - ground_m <= 0.0:
            return None, None
        return amsl_m - ground_m, math.hypot(sigma_m, self._settings.ground_sigma_m)

    def _ranged_agl_m(self, at_ns: int) -> float | None:
        """The range made vertical: over flat ground a tilted beam is longer by 1 / (cos roll cos pitch)."""
        ranged = self._range
        if ranged is None or abs(at_ns - ranged.at_ns) > _RANGE_MAX_AGE_NS or ranged.distance_m <= 0.0:
            return None
        attitude = self._attitudes.at(ranged.at_ns)
        if attitude is None:
            return None
        upright = math.cos(math.radians(attitude.roll_deg)) * math.cos(math.radians(attitude.pitch_deg))
        return ranged.distance_m * upright if upright > 0.5 else None

    def state_at(self, at_ns: int) -> VehicleState:
        """What the localizer may know of the vehicle at an exposure."""
        attitude, body = self._carrier_at(at_ns), self._attitudes.at(at_ns)
        amsl_m, amsl_sigma_m = None, None
        if self._settings.source in ("auto", "terrain"):
            amsl_m, amsl_sigma_m = self.amsl_m(at_ns), self.amsl_sigma_m(at_ns)
            if amsl_sigma_m is not None:
                amsl_sigma_m = math.hypot(amsl_sigma_m, self._settings.terrain_sigma_m)
        heights = (*self._agl(at_ns), amsl_m, amsl_sigma_m)
        lean_deg = None
        if self._gimbal is not None and body is not None:
            upright = math.cos(math.radians(body.roll_deg)) * math.cos(math.radians(body.pitch_deg))
            lean_deg = math.degrees(math.acos(upright))
        if attitude is None:
            return VehicleState(at_ns, None, None, None, *heights, lean_deg)
        told = (attitude.roll_deg, attitude.pitch_deg, attitude.yaw_deg, *heights, lean_deg)
        return VehicleState(at_ns, *told)
