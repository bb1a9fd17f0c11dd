"""One conversation with an autopilot: who it is, how well it is heard, what its parameters are, and setting them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tilefix.doctor.case import Case
from tilefix.doctor.diagnosis import Finding, names_of
from tilefix.doctor.linkhealth import LinkHealth, LinkTally
from tilefix.errors import LinkError
from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import AutopilotKind, Heartbeat, Identity, LinkMessage
from tilefix.links.parameters import ParameterClient, Patience, Written
from tilefix.ports import AutopilotLink, Clock

HEAR_S = 10.0
_VERSION_S = 5.0
# Until streams that were just asked for come at their rate.
SETTLE_S = 1.0
# The version may come before the heartbeat that says whether it is armed.
_ARMED_S = 2.5


class Session:
    """Talks over a link that is open; each call ends in bounded time."""

    def __init__(
        self,
        link: AutopilotLink,
        clock: Clock,
        *,
        patience: Patience | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._link = link
        self._clock = clock
        self._tally = LinkTally()
        self.autopilot = KnownAutopilot()
        self._armed: bool | None = None
        self._client = ParameterClient(link, clock, patience=patience, watch=self._take, wait=wait)

    def _take(self, message: LinkMessage) -> None:
        self._tally.take(message, self._clock.now_ns())
        self.autopilot.take(message)
        if isinstance(message, Heartbeat):
            self._armed = message.armed

    def identify(self, url: str) -> Identity:
        """Waits until the autopilot told what it is, its version included. Raises `LinkError` when it does not."""
        if not self._client.listen(HEAR_S, lambda: self.autopilot.identity is not None):
            raise LinkError(
                f"no autopilot heard within {HEAR_S:g} s",
                where=url,
                mend="is it powered, is this its port and speed, does another program hold the link?",
            )
        self._client.listen(_VERSION_S, lambda: self.autopilot.version is not None)
        identity = self.autopilot.identity
        assert identity is not None
        if identity.version is None and identity.kind is not AutopilotKind.OTHER:
            raise LinkError(
                f"{identity.kind.value} is heard but does not tell its version",
                where=url,
                mend="does the link carry both ways, and does the autopilot demand signed messages?",
            )
        return identity

    @property
    def system_id(self) -> int:
        """The vehicle's; 0 before it was heard."""
        return self._link.system_id or 0

    def examine(self, case: Case, seconds: float) -> tuple[dict[str, float], LinkHealth]:
        """Reads the parameters that rules ask for, and listens for as long."""
        parameters = self._client.read(names_of(case))
        self._client.listen(SETTLE_S)
        self._tally.start(self._clock.now_ns())
        self._client.listen(seconds)
        round_trip_ns = 2 * self._link.transit_ns or None
        health = self._tally.health(self._clock.now_ns(), case.kind, case.route, round_trip_ns)
        return parameters, health

    def armed(self) -> bool:
        """True when the vehicle is armed, or does not say that it is not."""
        self._client.listen(_ARMED_S, lambda: self._armed is not None)
        return self._armed is not False

    def mend(self, findings: Sequence[Finding], told: Callable[[Written], None]) -> list[Written]:
        """Sets what findings want, one after the other, and reads each back."""
        written = []
        for finding in findings:
            if finding.wanted is not None and not self.armed():
                written.append(self._client.write(finding.name, finding.wanted))
                told(written[-1])
        return written
