"""What the daemon sends beside positions: lines for the pilot, figures for the log, and what the hand-over asks of the
autopilot. No clock, no thread."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence

from tilefix.handover.selection import Read, Request, Set
from tilefix.links.messages import Severity
from tilefix.localization.drift import MatchDrift
from tilefix.ports import AutopilotLink

_logger = logging.getLogger(__name__)
_DRIFT_NAME = "TF_MATCH"


class Saying:
    """Speaks over one link. `warnings`: lines that are told once the autopilot is heard."""

    def __init__(self, link: AutopilotLink, warnings: Sequence[str] = ()) -> None:
        self._link = link
        self._untold = deque((Severity.WARNING, line) for line in warnings)
        self._drift_low = False

    @property
    def heard(self) -> bool:
        """True once somebody listens."""
        return self._link.system_id is not None

    def line(self, line: tuple[Severity, str] | None) -> None:
        """Sends a whole line at once."""
        if line is not None:
            _logger.info("%s", line[1])
            self._link.send_text(*line)

    def later(self, news: Iterable[tuple[Severity, str]]) -> None:
        """Leaves lines, without the name in front, for the seconds to come."""
        self._untold.extend(news)

    def figures(self, figures: Iterable[tuple[str, float]], now_ns: int) -> None:
        """Sends figures by name."""
        for name, value in figures:
            self._link.send_value(name, value, now_ns)

    def every_second(self, drift: MatchDrift, now_ns: int) -> None:
        """Sends how well pictures match, against the start, and one line of what is still to be told."""
        if drift.settled:
            self._link.send_value(_DRIFT_NAME, drift.share_of_start, now_ns)
        if drift.low != self._drift_low:
            self._drift_low = drift.low
            severity, verb = (Severity.WARNING, "fell to") if drift.low else (Severity.INFO, "back at")
            self._untold.append((severity, f"map matches {verb} {100.0 * drift.share_of_start:.0f} % of start"))
        if self._untold and self.heard:
            severity, line = self._untold.popleft()
            _logger.warning("%s", line)
            self._link.send_text(severity, f"tilefix: {line}")

    def ask(self, requests: Iterable[Request]) -> None:
        """Asks of the autopilot what the hand-over needs."""
        for request in requests:
            if isinstance(request, Read):
                self._link.request_parameter(request.name)
            elif isinstance(request, Set):
                _logger.warning("setting %s to %g", request.name, request.value)
                self._link.set_parameter(request.name, request.value)
            else:
                _logger.warning("sending command %d %s", request.command, request.params)
                self._link.send_command(request.command, *request.params)
