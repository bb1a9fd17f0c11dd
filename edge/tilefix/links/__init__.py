"""Links to autopilots. The table is the only place that names a back-end; each is imported when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilefix.ports import AutopilotLink, Clock

if TYPE_CHECKING:
    from tilefix.links.messages import GimbalSource
    from tilefix.service.config import LinkSettings


def open_link(settings: LinkSettings, clock: Clock, gimbal: GimbalSource | None = None) -> AutopilotLink:
    """The link that the configuration names; raises `LinkError` when it can never work (one that is down is not
    an error: it is opened again and again). `gimbal`: the message to ask for that tells where the camera looks."""
    from tilefix.links.mavlink import MavlinkLink
    from tilefix.links.transport import open_transport

    return MavlinkLink(open_transport(settings.url, clock), clock, component_id=settings.component_id, gimbal=gimbal)
