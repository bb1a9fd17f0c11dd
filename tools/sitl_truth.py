"""SITL's true motion at an instant, from SIM_STATE and the stamp of the ATTITUDE beside it.

SIM_STATE does not say when it holds. ATTITUDE does, and ArduPilot sends messages of one rate together: the truth that
follows an ATTITUDE in the same batch holds at its stamp, to a millisecond.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from dataclasses import dataclass
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from sitl_mavlink import Heard

TRUTH_HZ = 40.0  # what a loop of 50 Hz, as a plane's, still gives
TRUTH_STREAMS = {
    mavlink.MAVLINK_MSG_ID_ATTITUDE: TRUTH_HZ,
    mavlink.MAVLINK_MSG_ID_SIM_STATE: TRUTH_HZ,
}
# Truth that comes later than this after an ATTITUDE is not of its batch; without one it counts as of its arrival.
_SAME_BATCH_NS = 15_000_000
# Between two truths further apart (a cut link, a reboot) nothing is known.
_LONGEST_GAP_NS = 500_000_000
_KEPT = 2000


@dataclass(frozen=True, slots=True)
class Truth:
    """The true motion: WGS84, metres above sea level, metres per second; attitude NED in degrees."""

    at_ns: int
    lat_deg: float
    lon_deg: float
    amsl_m: float
    north_mps: float
    east_mps: float
    down_mps: float
    roll_deg: float
    pitch_deg: float
    yaw_deg: float


class TruthTrack:
    """Collects truths by autopilot time, gives one between them. `at_ns` of what it takes: nanoseconds since boot."""

    def __init__(self) -> None:
        self._truths: deque[Truth] = deque(maxlen=_KEPT)
        self._stamp: tuple[int, int] | None = None  # of the last ATTITUDE: boot time, arrival

    def take(self, heard: Heard) -> Truth | None:
        """Notes what a message says of the truth; gives the new truth, in time since boot, if it was one."""
        message, kind = heard.message, heard.kind
        if kind == "ATTITUDE":
            stamp_ns = message.time_boot_ms * 1_000_000
            if self._stamp is not None and stamp_ns < self._stamp[0] - 1_000_000_000:
                self._truths.clear()  # a reboot
            self._stamp = stamp_ns, heard.at_ns
            return None
        if kind != "SIM_STATE" or self._stamp is None:
            return None
        boot_ns, arrived_ns = self._stamp
        if heard.at_ns - arrived_ns > _SAME_BATCH_NS:
            boot_ns += heard.at_ns - arrived_ns
        if self._truths and boot_ns <= self._truths[-1].at_ns:
            return None
        truth = _truth_of(message, boot_ns)
        self._truths.append(truth)
        return truth

    @property
    def newest_ns(self) -> int | None:
        """Boot time of the newest truth."""
        return self._truths[-1].at_ns if self._truths else None

    def at(self, boot_ns: int) -> Truth | None:
        """The truth at an instant since boot, linear between its neighbours; `None` outside what is known."""
        stamps = [one.at_ns for one in self._truths]
        k = bisect.bisect_left(stamps, boot_ns)
        if k == len(stamps):
            return None
        later = self._truths[k]
        if later.at_ns == boot_ns:
            return later
        if k == 0:
            return None
        earlier = self._truths[k - 1]
        if later.at_ns - earlier.at_ns > _LONGEST_GAP_NS:
            return None
        return between(earlier, later, boot_ns)


def between(earlier: Truth, later: Truth, at_ns: int) -> Truth:
    """The truth at an instant between two: position along a cubic that keeps both velocities, angles the short way."""
    span_s = (later.at_ns - earlier.at_ns) / 1e9
    share = (at_ns - earlier.at_ns) / (later.at_ns - earlier.at_ns)
    north_deg = math.degrees(1.0 / 6_371_000.0)
    east_deg = north_deg / max(math.cos(math.radians(earlier.lat_deg)), 1e-6)

    def curve(first: float, last: float, slope: float, last_slope: float) -> float:
        """Cubic Hermite; slopes in units of the value per second."""
        s, r = share, 1.0 - share
        ends = first * (1.0 + 2.0 * s) * r * r + last * s * s * (3.0 - 2.0 * s)
        return ends + span_s * (slope * s * r * r - last_slope * s * s * r)

    def line(first: float, last: float) -> float:
        return first + share * (last - first)

    def angle(first: float, last: float) -> float:
        return first + share * ((last - first + 180.0) % 360.0 - 180.0)

    return Truth(
        at_ns,
        curve(earlier.lat_deg, later.lat_deg, earlier.north_mps * north_deg, later.north_mps * north_deg),
        curve(earlier.lon_deg, later.lon_deg, earlier.east_mps * east_deg, later.east_mps * east_deg),
        curve(earlier.amsl_m, later.amsl_m, -earlier.down_mps, -later.down_mps),
        line(earlier.north_mps, later.north_mps),
        line(earlier.east_mps, later.east_mps),
        line(earlier.down_mps, later.down_mps),
        angle(earlier.roll_deg, later.roll_deg),
        line(earlier.pitch_deg, later.pitch_deg),
        angle(earlier.yaw_deg, later.yaw_deg) % 360.0,
    )


def _truth_of(message: Any, boot_ns: int) -> Truth:
    # lat_int and lon_int resolve a centimetre; the float fields beside them only about 0.4 m.
    lat, lon = getattr(message, "lat_int", 0), getattr(message, "lon_int", 0)
    known = (lat, lon) != (0, 0)
    return Truth(
        boot_ns,
        lat / 1e7 if known else message.lat / (1e7 if abs(message.lat) > 400.0 else 1.0),
        lon / 1e7 if known else message.lon / (1e7 if abs(message.lon) > 400.0 else 1.0),
        message.alt,
        message.vn,
        message.ve,
        message.vd,
        math.degrees(message.roll),
        math.degrees(message.pitch),
        math.degrees(message.yaw) % 360.0,
    )
