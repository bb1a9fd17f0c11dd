"""The attitude at an exposure, interpolated between what the autopilot sent. Pure."""

from __future__ import annotations

import bisect
import math

from tilefix.links.messages import Attitude

KEEP_S = 5.0
# Beyond the newest sample the attitude is held this long, no longer: at 50 deg/s it is then 5 degrees off.
MAX_HOLD_NS = 100_000_000
# Between two samples further apart than this the vehicle may have done anything.
MAX_GAP_NS = 500_000_000


class AttitudeHistory:
    """The last seconds of attitude, ordered by time."""

    def __init__(self) -> None:
        self._samples: list[Attitude] = []

    def clear(self) -> None:
        """Forgets everything."""
        self._samples.clear()

    def add(self, sample: Attitude) -> None:
        """Adds a sample; one out of order finds its place, one at a known instant or not finite is dropped."""
        if not all(map(math.isfinite, (sample.roll_deg, sample.pitch_deg, sample.yaw_deg))):
            return
        where = bisect.bisect_left(self._samples, sample.at_ns, key=_at_ns)
        if where < len(self._samples) and self._samples[where].at_ns == sample.at_ns:
            return
        self._samples.insert(where, sample)
        oldest_ns = self._samples[-1].at_ns - round(KEEP_S * 1e9)
        del self._samples[: bisect.bisect_left(self._samples, oldest_ns, key=_at_ns)]

    @property
    def newest_ns(self) -> int | None:
        """The instant of the newest sample."""
        return self._samples[-1].at_ns if self._samples else None

    def at(self, at_ns: int) -> Attitude | None:
        """The attitude at `at_ns`, or `None` when the samples do not reach it.

        Roll, pitch and yaw are interpolated linearly the short way round: at 50 Hz the difference to a slerp is
        below 0.01 degrees for any attitude that a map can be seen from.
        """
        after = bisect.bisect_left(self._samples, at_ns, key=_at_ns)
        if after == len(self._samples):
            newest = self._samples[-1] if self._samples else None
            return newest if newest is not None and at_ns - newest.at_ns <= MAX_HOLD_NS else None
        right = self._samples[after]
        if right.at_ns == at_ns:
            return right
        if after == 0 or right.at_ns - self._samples[after - 1].at_ns > MAX_GAP_NS:
            return None
        left = self._samples[after - 1]
        share = (at_ns - left.at_ns) / (right.at_ns - left.at_ns)
        return Attitude(
            at_ns,
            between_deg(left.roll_deg, right.roll_deg, share),
            between_deg(left.pitch_deg, right.pitch_deg, share),
            between_deg(left.yaw_deg, right.yaw_deg, share),
        )


def between_deg(left_deg: float, right_deg: float, share: float) -> float:
    """The angle `share` of the short way from `left_deg` to `right_deg`, within -180 to 180."""
    step_deg = (right_deg - left_deg + 180.0) % 360.0 - 180.0
    return (left_deg + share * step_deg + 180.0) % 360.0 - 180.0


def _at_ns(sample: Attitude) -> int:
    return sample.at_ns
