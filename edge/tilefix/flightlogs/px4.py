"""PX4's logs (.ulg)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from pyulog import ULog

from tilefix.errors import FlightError
from tilefix.flightlogs.series import LogSeries, checked_series
from tilefix.types import Float64Array

_MAGIC = b"ULog\x01\x12\x35"
_NAMES = {
    "attitude": "vehicle_attitude",
    "height": "vehicle_air_data",
    "ranged": "distance_sensor",
    "gnss": "vehicle_gps_position",
}
_LOOKING_DOWN = 25


def read_ulog(path: Path) -> LogSeries:
    """The series of a .ulg; raises `FlightError`."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise FlightError("is no ULog", where=path, mend="give PX4's .ulg as it came off the card")
    try:
        # Given a name, the reader leaves its file open when it fails.
        with path.open("rb") as file, redirect_stdout(StringIO()):
            log = ULog(file, [*_NAMES.values(), "sensor_gps"], disable_str_exceptions=True)
        topics = {(one.name, one.multi_id): one.data for one in log.data_list}
        attitude = _attitude(topics.get((_NAMES["attitude"], 0)))
        height = _columns(topics.get((_NAMES["height"], 0)), ("baro_alt_meter",))
        ranged = _ranged(topics.get((_NAMES["ranged"], 0)))
        gnss = _gnss(topics.get((_NAMES["gnss"], 0)) or topics.get(("sensor_gps", 0)))
    except Exception as error:
        # The reader trusts the log: a damaged one makes it raise nearly anything.
        raise FlightError(f"ULog cannot be read: {error!r}", where=path, mend="copy it off the card again") from error
    return checked_series(path, _NAMES, attitude, height, ranged, gnss)


def _columns(topic: Any, names: Sequence[str]) -> Float64Array:
    """Time in seconds and the named fields, one row per sample."""
    if topic is None:
        return np.empty((0, 1 + len(names)))
    time_s = np.asarray(topic["timestamp"], dtype=np.float64) * 1e-6
    return np.column_stack([time_s, *(np.asarray(topic[name], dtype=np.float64) for name in names)])


def _attitude(topic: Any) -> Float64Array:
    """Euler angles of the quaternion (w, x, y, z) from body forward-right-down to north-east-down."""
    rows = _columns(topic, ("q[0]", "q[1]", "q[2]", "q[3]"))
    w, x, y, z = rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4]
    roll = np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2.0 * (w * y - z * x), -1.0, 1.0))
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return np.column_stack([rows[:, 0], *(np.degrees(angle) for angle in (roll, pitch, yaw))])


def _ranged(topic: Any) -> Float64Array:
    rows = _columns(topic, ("current_distance", "orientation", "min_distance", "max_distance"))
    inside = (rows[:, 1] >= rows[:, 3]) & (rows[:, 1] <= rows[:, 4]) & (rows[:, 2] == _LOOKING_DOWN)
    return np.asarray(rows[inside][:, :2])


def _gnss(topic: Any) -> Float64Array:
    """Newer logs hold degrees, older ones whole 1e-7 degrees."""
    if topic is not None and "latitude_deg" in topic:
        rows = _columns(topic, ("fix_type", "latitude_deg", "longitude_deg"))
    else:
        rows = _columns(topic, ("fix_type", "lat", "lon"))
        rows[:, 2:] *= 1e-7
    return np.asarray(rows[rows[:, 1] >= 3][:, (0, 2, 3)])
