"""MAV_CMD_EXTERNAL_POSITION_ESTIMATE: single positions that ArduPilot's plane jumps to. Pure.

Each one resets the estimate without a gate or a filter, so they go out seldom, and only those that a picture just
confirmed. They are refused while GNSS is fused and for a second after; a refusal is tried again soon, one that says the
command itself is wrong ends the route.
"""

from __future__ import annotations

from tilefix.links.known import KnownAutopilot
from tilefix.links.reports import EstimateReport
from tilefix.publishing.position import Position
from tilefix.publishing.settings import PublishSettings

COMMAND = 43003
_ACCEPTED, _DENIED, _UNSUPPORTED = 0, 2, 3
# ArduPilot answers within a tick; a command or its answer may be lost.
_ANSWER_NS = 1_000_000_000
_REFUSED_NS = 2_000_000_000


class ExternalEstimate:
    """Decides when the next one is due."""

    def __init__(self, settings: PublishSettings) -> None:
        self._every_ns = round(settings.estimate_every_s * 1e9)
        self._sent_ns: int | None = None
        self._reboots = 0

    def report(
        self, position: Position, autopilot: KnownAutopilot, now_ns: int, *, gnss: bool
    ) -> EstimateReport | str | None:
        """The next one, `None` while the last one holds, or why there is none. `gnss`: the real receiver is good."""
        if autopilot.reboots != self._reboots:
            self._reboots, self._sent_ns = autopilot.reboots, None
        if gnss:
            return "GNSS is used"
        result = autopilot.result(COMMAND)
        answer = None
        if result is not None and self._sent_ns is not None and result.at_ns >= self._sent_ns:
            answer = result.result
        if answer in (_DENIED, _UNSUPPORTED):
            return "autopilot denies external_estimate"
        waits_ns = {_ACCEPTED: self._every_ns, None: _ANSWER_NS}.get(answer, _REFUSED_NS)
        if self._sent_ns is not None and now_ns - self._sent_ns < waits_ns:
            return None if answer in (_ACCEPTED, None) else "autopilot refused the position"
        if not position.confirmed:
            return "no picture confirms the position"
        return EstimateReport(position.at_ns, position.lat_deg, position.lon_deg, position.sigma_m)

    def sent(self, now_ns: int) -> None:
        """Notes that one left."""
        self._sent_ns = now_ns
