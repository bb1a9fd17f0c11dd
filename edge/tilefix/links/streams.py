"""Which streams to ask an autopilot for, and when: a request may be lost, and a reboot forgets it. Pure."""

from __future__ import annotations

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links.messages import GimbalSource

STREAM_RATES_HZ = {
    mavlink.MAVLINK_MSG_ID_ATTITUDE: 50.0,
    mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE: 10.0,
    mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: 5.0,
    mavlink.MAVLINK_MSG_ID_DISTANCE_SENSOR: 10.0,
    mavlink.MAVLINK_MSG_ID_HOME_POSITION: 0.5,
    mavlink.MAVLINK_MSG_ID_SYSTEM_TIME: 1.0,
    mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN: 0.5,
    mavlink.MAVLINK_MSG_ID_EKF_STATUS_REPORT: 2.0,
    mavlink.MAVLINK_MSG_ID_ESTIMATOR_STATUS: 2.0,
    mavlink.MAVLINK_MSG_ID_RC_CHANNELS: 5.0,
}
# Asked for only where a gimbal carries the camera.
GIMBAL_STREAMS = {
    GimbalSource.MOUNT_ORIENTATION: mavlink.MAVLINK_MSG_ID_MOUNT_ORIENTATION,
    GimbalSource.GIMBAL_DEVICE: mavlink.MAVLINK_MSG_ID_GIMBAL_DEVICE_ATTITUDE_STATUS,
}
GIMBAL_RATE_HZ = 20.0
# What every vehicle sends; the rest an autopilot may not have (no rangefinder, no home yet, another firmware) and is
# asked for again only seldom.
_USUAL = (
    mavlink.MAVLINK_MSG_ID_ATTITUDE,
    mavlink.MAVLINK_MSG_ID_SCALED_PRESSURE,
    mavlink.MAVLINK_MSG_ID_GPS_RAW_INT,
    *GIMBAL_STREAMS.values(),
)
_SECOND_NS = 1_000_000_000
# Streams are counted over this long; one that comes at less than half its rate is asked for again.
_WINDOW_NS = 3 * _SECOND_NS
_OPTIONAL_EVERY_NS = 30 * _SECOND_NS


class Streams:
    """Counts what comes and tells what to ask for."""

    def __init__(self, gimbal: GimbalSource | None = None) -> None:
        """`gimbal`: the message that tells where the camera looks, if one does."""
        self._rates_hz = dict(STREAM_RATES_HZ)
        if gimbal is not None:
            self._rates_hz[GIMBAL_STREAMS[gimbal]] = GIMBAL_RATE_HZ
        self._counts: dict[int, int] = {}
        self._window_ns: int | None = None
        self._optional_ns = 0

    def restart(self) -> None:
        """The autopilot knows nothing of what was asked before."""
        self._window_ns = None

    def heard(self, message_id: int) -> None:
        """Counts one."""
        self._counts[message_id] = self._counts.get(message_id, 0) + 1

    def due(self, now_ns: int) -> list[tuple[int, float]]:
        """(message id, interval in microseconds) of each to ask for now: all at first, then those that stay away or
        come too slowly."""
        if self._window_ns is None:
            self._optional_ns = now_ns
            missing = list(self._rates_hz)
        elif now_ns - self._window_ns >= _WINDOW_NS:
            missing = self._missing(now_ns, (now_ns - self._window_ns) / _SECOND_NS)
        else:
            return []
        self._window_ns = now_ns
        self._counts.clear()
        return [(one, 1e6 / self._rates_hz[one]) for one in missing]

    def _missing(self, now_ns: int, seconds: float) -> list[int]:
        slow = [one for one, rate in self._rates_hz.items() if self._counts.get(one, 0) < 0.5 * rate * seconds]
        if now_ns - self._optional_ns >= _OPTIONAL_EVERY_NS:
            self._optional_ns = now_ns
            return slow
        return [one for one in slow if one in _USUAL]
