"""Carries out what the publisher decides, and asks the autopilot what it needs to know. No clock, no thread."""

from __future__ import annotations

import logging

from tilefix.links.messages import Severity
from tilefix.links.vehicle import Vehicle
from tilefix.ports import AutopilotLink
from tilefix.publishing.publisher import Decision, Publisher

_logger = logging.getLogger(__name__)
_LATENCY_NAME = "TF_DELAY"
News = list[tuple[Severity, str]]


class Sender:
    """Between one publisher and one link."""

    def __init__(self, publisher: Publisher, link: AutopilotLink) -> None:
        self._publisher = publisher
        self._link = link

    def instant_ns(self, now_ns: int, vehicle: Vehicle) -> int:
        """The instant that a position sent now has to hold for."""
        return self._publisher.instant_ns(now_ns, vehicle, self._link.transit_ns)

    def send(self, decision: Decision, now_ns: int, exposed_ns: int | None) -> bool:
        """Sends what was decided; True while the autopilot has a position of it. `exposed_ns`: of the newest picture
        that it rests on."""
        if decision.origin is not None:
            origin = decision.origin
            _logger.warning("giving the autopilot the origin %.7f %.7f", origin.lat_deg, origin.lon_deg)
            self._link.set_origin(origin)
        if decision.report is None:
            return decision.refusal is None
        if not self._link.send_report(decision.report):
            return False
        self._publisher.sent(decision)
        if decision.jumped:
            _logger.warning("position jumped: the reset counter goes up")
        if exposed_ns is not None:
            # While the receiver is mirrored a picture's position could have gone as early.
            self._publisher.latency.note(exposed_ns, now_ns)
        return True

    def attend(self, vehicle: Vehicle, now_ns: int) -> News:
        """Asks for the parameters that are due and gives what the pilot should read: the route, and a delay that does
        not fit. For once a second or so."""
        for name in self._publisher.wanted(vehicle, now_ns):
            self._link.request_parameter(name)
        news: News = []
        choice = self._publisher.new_choice(vehicle, now_ns)
        if choice is not None:
            _logger.info("route %s: %s", "none" if choice.route is None else choice.route.value, choice.reason)
            news.append((Severity.WARNING if choice.route is None else Severity.INFO, choice.line))
        advice = self._publisher.delay_advice(vehicle, self._link.transit_ns)
        if advice is not None:
            news.append((Severity.NOTICE, advice))
            least_ms = self._publisher.latency.ms
            if least_ms is not None:
                _logger.info("pictures take %.0f ms at best from exposure to sending", least_ms)
                self._link.send_value(_LATENCY_NAME, least_ms, now_ns)
        return news
