"""ODOMETRY: position, the camera's velocity, and a quality. Pure.

The velocity has to be the body's. ArduPilot turns it back by the attitude in the message, PX4 by its own: so it is what
the autopilot said, at the instant of the position, and not the steadied one that pictures are laid on the ground by
(5 degrees of yaw between the two are 1.3 m/s at 15 m/s). Its variance is written so large that nothing can be learned
from it, and a configuration that takes yaw from external navigation is refused.
"""

from __future__ import annotations

from tilefix.links.reports import LocalReport, Route
from tilefix.links.vehicle import Vehicle
from tilefix.publishing.position import Position
from tilefix.publishing.routes.local import local_report


def report(position: Position, vehicle: Vehicle, *, delay_ns: int, reset_counter: int) -> LocalReport | str:
    """The position from the origin with its velocity, or why it cannot be told."""
    attitude = vehicle.told_attitude_at(position.at_ns)
    if attitude is None:
        return "no attitude for the velocity"
    return local_report(
        position,
        vehicle.autopilot,
        Route.ODOMETRY,
        delay_ns=delay_ns,
        reset_counter=reset_counter,
        attitude_deg=(attitude.roll_deg, attitude.pitch_deg, attitude.yaw_deg),
    )
