"""The autopilot's parameters that a route depends on: their names by version, and what they rule out. Pure.

A route that the parameters rule out is not used: what is sent would be dropped, or fused as something else. The rest
of what should be set is `tilefix doctor`'s.
"""

from __future__ import annotations

from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import AutopilotKind
from tilefix.links.reports import Route
from tilefix.publishing.receiverlag import lag_of
from tilefix.publishing.settings import PublishSettings

# ArduPilot 4.6 counts receivers in front of the name; before, the first had no number.
_RENAMED_IN = (4, 6, 0)
_MAVLINK_RECEIVER = 14
_EXTERNAL_NAV = 6
_SETS = (1, 2, 3)
SENSOR_ID = 1
_NO_DELAY_BEFORE = (4, 5, 2)
# What ArduPilot assumes of a receiver over MAVLink whose delay parameter is 0.
RECEIVER_DELAY_MS = 200.0
_LOCAL = (Route.VISION, Route.ODOMETRY)
# How late the EKFs take anything to be at most: their buffers are made at the start, for the delays known by then.
# PX4 makes its buffer for EKF2_DELAY_MAX, which EKF2_EV_DELAY raises and EKF2_AGP0_DELAY does not.
_MOST_MS = {Route.GLOBAL_POSITION: 200.0}
_ARDUPILOT_MS, _PX4_LOCAL_MS = 250.0, 300.0
# ArduPilot asks the first receiver alone, and the barometer and the compass, which are late by this.
_LEAST_MS = 60.0


def held_ms(
    route: Route,
    kind: AutopilotKind | None,
    gps_id: int,
    first_delay_ms: float | None,
    first_type: float | None = None,
) -> float:
    """How late a position may be for the autopilot's buffer to hold its instant. `first_delay_ms`, `first_type`: the
    parameters of the first receiver, where they were told."""
    if kind is AutopilotKind.PX4:
        return _MOST_MS.get(route, _PX4_LOCAL_MS)
    if route is not Route.GPS_INPUT or gps_id == 0:
        return _ARDUPILOT_MS
    return min(max(first_delay_ms or lag_of(first_type).ms, _LEAST_MS), _ARDUPILOT_MS)


def receiver_names(gps_id: int, what: str, version: tuple[int, int, int] | None) -> tuple[str, ...]:
    """GPS2_TYPE and the like (`what`: TYPE or DELAY_MS), both names while the version is not known."""
    new = f"GPS{gps_id + 1}_{what}"
    old = f"GPS_{what}" if gps_id == 0 else f"GPS_{what}{gps_id + 1}"
    if version is None:
        return new, old
    return (new,) if version >= _RENAMED_IN else (old,)


def delay_names(route: Route, settings: PublishSettings, autopilot: KnownAutopilot) -> tuple[str, ...]:
    """The parameters that tell how late the autopilot takes positions to be; the first that exists counts."""
    if route is Route.GPS_INPUT:
        return receiver_names(settings.gps_id, "DELAY_MS", autopilot.version)
    if route in _LOCAL:
        return ("EKF2_EV_DELAY",) if autopilot.kind is AutopilotKind.PX4 else ("VISO_DELAY_MS",)
    return ("EKF2_AGP0_DELAY",) if route is Route.GLOBAL_POSITION else ()


def names(route: Route, settings: PublishSettings, autopilot: KnownAutopilot) -> list[str]:
    """All that has to be read for a route."""
    wanted = list(delay_names(route, settings, autopilot))
    if route is Route.GPS_INPUT:
        wanted += receiver_names(settings.gps_id, "TYPE", autopilot.version)
        if settings.gps_id != 0:
            wanted += [name for what in ("DELAY_MS", "TYPE") for name in receiver_names(0, what, autopilot.version)]
    elif route in _LOCAL and autopilot.kind is AutopilotKind.ARDUPILOT:
        wanted.append("VISO_TYPE")
        wanted += [f"EK3_SRC{number}_{axis}" for axis in ("POSXY", "YAW") for number in _SETS]
    elif route is Route.GLOBAL_POSITION:
        wanted += ["EKF2_AGP0_ID", "EKF2_AGP0_CTRL"]
    return wanted


def delay_ms(route: Route, settings: PublishSettings, autopilot: KnownAutopilot) -> float:
    """How late a position is to be: as configured, or as the autopilot takes it."""
    return taken_delay_ms(route, settings, autopilot) if settings.delay_ms is None else settings.delay_ms


def taken_delay_ms(route: Route, settings: PublishSettings, autopilot: KnownAutopilot) -> float:
    """How late the autopilot takes a position to be, by its parameter, or by what it does without."""
    told = autopilot.parameter(*delay_names(route, settings, autopilot))
    if route is Route.GPS_INPUT:
        return min(told, 250.0) if told is not None and told > 0.0 else RECEIVER_DELAY_MS
    if route in _LOCAL and autopilot.kind is AutopilotKind.ARDUPILOT:
        version = autopilot.version
        if version is not None and version < _NO_DELAY_BEFORE:
            return 1.0  # the parameter was without effect
        return 10.0 if told is None else min(max(told, 0.0), 250.0)
    return 0.0 if told is None else min(max(told, 0.0), 1000.0)


def parameter_refusal(route: Route, settings: PublishSettings, autopilot: KnownAutopilot) -> str | None:
    """What parameter makes a route useless, in a line; `None` when none is known to."""
    if route is Route.GPS_INPUT:
        for name in receiver_names(settings.gps_id, "TYPE", autopilot.version):
            told = autopilot.parameter(name)
            if told is not None and told != _MAVLINK_RECEIVER:
                return f"{name} is {told:g}, must be {_MAVLINK_RECEIVER}"
    elif route in _LOCAL and autopilot.kind is AutopilotKind.ARDUPILOT:
        return _external_nav_refusal(autopilot)
    elif route is Route.GLOBAL_POSITION:
        sensor, control = autopilot.parameter("EKF2_AGP0_ID"), autopilot.parameter("EKF2_AGP0_CTRL")
        if sensor is not None and sensor != SENSOR_ID:
            return f"EKF2_AGP0_ID is {sensor:g}, must be {SENSOR_ID}"
        if control is not None and not int(control) & 1:
            return f"EKF2_AGP0_CTRL is {control:g}, must be 1"
    return None


def _external_nav_refusal(autopilot: KnownAutopilot) -> str | None:
    """A yaw source of external navigation is refused for both messages: VISION_POSITION_ESTIMATE carries none, and that
    of ODOMETRY would be the autopilot's own."""
    kind = autopilot.parameter("VISO_TYPE")
    positions = [autopilot.parameter(f"EK3_SRC{number}_POSXY") for number in _SETS]
    yaws = [autopilot.parameter(f"EK3_SRC{number}_YAW") for number in _SETS]
    if kind == 0:
        return "VISO_TYPE is 0, must be 1"
    for number, yaw in zip(_SETS, yaws, strict=True):
        if yaw == _EXTERNAL_NAV:
            return f"EK3_SRC{number}_YAW must not be {_EXTERNAL_NAV}"
    if kind is None or None in positions or None in yaws:
        return "VISO and EK3_SRC parameters not read"
    return None if _EXTERNAL_NAV in positions else f"no EK3_SRCn_POSXY is {_EXTERNAL_NAV}"
