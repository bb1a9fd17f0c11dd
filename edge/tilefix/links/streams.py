"""Which streams to ask an autopilot for, and when: a request may be lost, and a reboot forgets it. Pure."""

from __future__ import annotations

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.links.messages import GimbalSource

STREAM_RATES_HZ = {
    # ArduPilot 4.7 refuses more than 0.8 of its loop rate, and a plane's is 50 Hz.
    mavlink.MAVLINK_MSG_ID_ATTITUDE: 40.0,
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
# PX4 sends it when it changes, however often it was asked for: who comes later has to request it.
ON_CHANGE = (mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN,)
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
# A refusal does not say of which stream it is: after so many requests in vain half as much is asked for, down to a
# quarter.
_TRIES_AT_A_RATE = 2
_MOST_HALVINGS = 2


class Streams:
    """Counts what comes and tells what to ask for."""

    def __init__(self, gimbal: GimbalSource | None = None) -> None:
        """`gimbal`: the message that tells where the camera looks, if one does."""
        self._rates_hz: dict[int, float] = dict(STREAM_RATES_HZ)
        if gimbal is not None:
            self._rates_hz[GIMBAL_STREAMS[gimbal]] = GIMBAL_RATE_HZ
        self._counts: dict[int, int] = {}
        self._in_vain: dict[int, int] = {}
        self._halvings: dict[int, int] = {}
        self._window_ns: int | None = None
        self._optional_ns = 0

    def restart(self) -> None:
        """The autopilot knows nothing of what was asked before."""
        self._window_ns = None
        self._in_vain.clear()
        self._halvings.clear()

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
            for one in missing:
                self._asked_in_vain(one)
        else:
            return []
        self._window_ns = now_ns
        self._counts.clear()
        return [(one, 1e6 / self._rate_hz(one)) for one in missing]

    def _rate_hz(self, message_id: int) -> float:
        """What is asked for now."""
        return self._rates_hz[message_id] / float(1 << self._halvings.get(message_id, 0))

    def _asked_in_vain(self, message_id: int) -> None:
        in_vain = self._in_vain.get(message_id, 0) + 1
        if in_vain >= _TRIES_AT_A_RATE:
            in_vain = 0
            self._halvings[message_id] = min(self._halvings.get(message_id, 0) + 1, _MOST_HALVINGS)
        self._in_vain[message_id] = in_vain

    def _missing(self, now_ns: int, seconds: float) -> list[int]:
        slow = [one for one in self._rates_hz if self._counts.get(one, 0) < 0.5 * self._rate_hz(one) * seconds]
        for one in self._rates_hz.keys() - set(slow):
            self._in_vain.pop(one, None)
        if now_ns - self._optional_ns >= _OPTIONAL_EVERY_NS:
            self._optional_ns = now_ns
            # What was too much for a while need not be for the rest of the flight.
            given_way, self._halvings = self._halvings.keys() - set(slow), {}
            return [*slow, *sorted(given_way)]
        return [one for one in slow if one in _USUAL]
