"""The route that a vehicle is examined for: the one that tilefix would take if its parameters were right. Pure."""

from __future__ import annotations

from tilefix.links.known import KnownAutopilot
from tilefix.publishing.selection import Choice, candidates, impossible
from tilefix.publishing.settings import PublishSettings


def route_for(settings: PublishSettings, autopilot: KnownAutopilot) -> Choice:
    """The route, or `None` and why none works with this firmware and airframe, whatever is set in it."""
    wanted = settings.chosen_route
    if wanted is not None:
        refusal = impossible(wanted, autopilot)
        if refusal is not None:
            return Choice(None, refusal, f"route {wanted.value} cannot work: {refusal}")
        return Choice(wanted, "", "asked for")
    rows = candidates(settings, autopilot)
    if not rows:
        return Choice(None, "", f"no route is known to work at {settings.rate_hz:g} Hz; ask for one with --route")
    return Choice(rows[0].route, "", f"auto: {rows[0].why}")
