"""What a flight log says of the vehicle, as series over time, and its state at one instant. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tilefix.errors import FlightError
from tilefix.links.attitude import between_deg
from tilefix.types import Float64Array, VehicleState

_MAX_ATTITUDE_GAP_S = 0.5
_MAX_HEIGHT_GAP_S = 2.0
_MAX_RANGE_AGE_S = 0.5
_MAX_GNSS_GAP_S = 1.5
# Messages of one instant may stand in the log in any order; more than this back is another flight or a broken log.
_MAX_STEP_BACK_S = 0.2
_FIRST_HEIGHTS = 10

Rows: TypeAlias = "Sequence[tuple[float, ...]] | Float64Array"


@dataclass(frozen=True)
class LogSeries:
    """Series of a log, each float64 with the time in seconds since the log's first message in its first column.

    `attitude`: (n, 4) with roll, pitch, yaw in degrees. `height`: (n, 2), metres above wherever the air pressure was
    that of the first samples. `ranged`: (n, 2), metres down to the ground along the body. `gnss`: (n, 3) with WGS84
    latitude and longitude of a receiver with a three-dimensional fix.
    """

    path: Path
    attitude: Float64Array
    height: Float64Array
    ranged: Float64Array
    gnss: Float64Array

    @property
    def ends_s(self) -> float:
        """The time of the last attitude."""
        return float(self.attitude[-1, 0])

    def state_at(self, time_s: float, at_ns: int, start_agl_m: float) -> VehicleState:
        """The vehicle's state; `start_agl_m`: the height above ground where the log began."""
        attitude = self._attitude_at(time_s)
        agl_m = self._ranged_at(time_s, attitude)
        if agl_m is None:
            height = _at(self.height, time_s, _MAX_HEIGHT_GAP_S)
            agl_m = None if height is None else float(height[0]) + start_agl_m
        if attitude is None:
            return VehicleState(at_ns, None, None, None, agl_m)
        return VehicleState(at_ns, *attitude, agl_m)

    def truth_at(self, time_s: float) -> tuple[float, float] | None:
        """(lat_deg, lon_deg) of the receiver, `None` where it had no fix."""
        place = _at(self.gnss, time_s, _MAX_GNSS_GAP_S)
        return None if place is None else (float(place[0]), float(place[1]))

    def _attitude_at(self, time_s: float) -> tuple[float, float, float] | None:
        after = int(np.searchsorted(self.attitude[:, 0], time_s))
        if after == len(self.attitude) or (after == 0 and self.attitude[0, 0] > time_s):
            return None
        right = self.attitude[after]
        left = self.attitude[max(after - 1, 0)]
        gap_s = float(right[0] - left[0])
        if gap_s > _MAX_ATTITUDE_GAP_S:
            return None
        share = 1.0 if gap_s == 0.0 else (time_s - float(left[0])) / gap_s
        roll_deg, pitch_deg, yaw_deg = (between_deg(float(left[i]), float(right[i]), share) for i in (1, 2, 3))
        return roll_deg, pitch_deg, yaw_deg

    def _ranged_at(self, time_s: float, attitude: tuple[float, float, float] | None) -> float | None:
        ranged = _at(self.ranged, time_s, _MAX_RANGE_AGE_S)
        if ranged is None or attitude is None:
            return None
        upright = math.cos(math.radians(attitude[0])) * math.cos(math.radians(attitude[1]))
        return float(ranged[0]) * upright if upright > 0.5 else None


def _at(series: Float64Array, time_s: float, max_gap_s: float) -> Float64Array | None:
    """The values at an instant, linear between two samples at most `max_gap_s` apart."""
    after = int(np.searchsorted(series[:, 0], time_s))
    if after == len(series) or (after == 0 and series[0, 0] > time_s):
        return None
    left, right = series[max(after - 1, 0)], series[after]
    gap_s = float(right[0] - left[0])
    if gap_s > max_gap_s:
        return None
    share = 1.0 if gap_s == 0.0 else (time_s - float(left[0])) / gap_s
    return np.asarray(left[1:] + share * (right[1:] - left[1:]), dtype=np.float64)


def checked_series(
    path: Path,
    names: dict[str, str],
    attitude: Rows,
    height: Rows,
    ranged: Rows,
    gnss: Rows,
) -> LogSeries:
    """The series of raw rows (any common zero of time), or `FlightError` for what is missing, not finite or goes back
    in time. `names`: what the log calls the messages behind each series."""
    raw = {"attitude": (attitude, 4), "height": (height, 2), "ranged": (ranged, 2), "gnss": (gnss, 3)}
    series = {key: np.asarray(rows, dtype=np.float64).reshape(-1, width) for key, (rows, width) in raw.items()}
    if len(series["attitude"]) < 2:
        raise FlightError(
            f"log holds no attitude ({names['attitude']})", where=path, mend="give the log of the whole flight"
        )
    zero_s = min(float(rows[0, 0]) for rows in series.values() if len(rows))
    for key, rows in series.items():
        if not np.isfinite(rows).all():
            at = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise FlightError(
                f"{names[key]} number {at + 1} is not finite", where=path, mend="give a log that is not damaged"
            )
        steps = np.diff(rows[:, 0])
        if len(steps) and steps.min() < -_MAX_STEP_BACK_S:
            at = int(steps.argmin())
            raise FlightError(
                f"time goes back by {-steps[at]:.1f} s at {names[key]} number {at + 2}",
                where=path,
                mend="give the log of one flight; a log of several must be split",
            )
        series[key] = rows[np.argsort(rows[:, 0], kind="stable")]
        series[key][:, 0] -= zero_s
    if len(series["height"]):
        series["height"][:, 1] -= np.median(series["height"][:_FIRST_HEIGHTS, 1])
    return LogSeries(path, series["attitude"], series["height"], series["ranged"], series["gnss"])
