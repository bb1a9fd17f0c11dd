"""Links to autopilots. The table is the only place that names a back-end; each is imported when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilefix.errors import LinkError
from tilefix.ports import AutopilotLink, Clock

if TYPE_CHECKING:
    from tilefix.links.messages import GimbalSource
    from tilefix.service.config import LinkSettings


def open_link(settings: LinkSettings, clock: Clock, gimbal: GimbalSource | None = None) -> AutopilotLink:
    """The link that the configuration names; raises `LinkError` when it can never work (one that is down is not
    an error: it is opened again and again). `gimbal`: the message to ask for that tells where the camera looks."""
    from tilefix.links.mavlink import MavlinkLink
    from tilefix.links.signingfiles import open_signing
    from tilefix.links.transport import open_transport

    transport, signing = open_transport(settings.url, clock), None
    if settings.signing_key_file is not None:
        try:
            signing = open_signing(
                settings.signing_key_file,
                settings.signing_state_file,
                required=settings.require_signing is not False,
                now_ns=clock.now_ns(),
            )
        except LinkError:
            transport.close()
            raise
    return MavlinkLink(
        transport,
        clock,
        component_id=settings.component_id,
        gimbal=gimbal,
        system_id=settings.system_id,
        signing=signing,
    )
