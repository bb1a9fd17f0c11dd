"""VISION_POSITION_ESTIMATE: position only, without an attitude. Pure.

No attitude is claimed: the only one there is comes from the autopilot. ArduPilot leaves a yaw that is not a number out.
"""

from __future__ import annotations

from tilefix.links.known import KnownAutopilot
from tilefix.links.reports import LocalReport, Route
from tilefix.publishing.position import Position
from tilefix.publishing.routes.local import local_report


def report(position: Position, autopilot: KnownAutopilot, *, delay_ns: int, reset_counter: int) -> LocalReport | str:
    """The position from the origin, or why it cannot be told."""
    return local_report(
        position, autopilot, Route.VISION, delay_ns=delay_ns, reset_counter=reset_counter, attitude_deg=None
    )
