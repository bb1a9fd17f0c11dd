"""What is known of the autopilot: what it is, its parameters, its origin and its answers. Pure.

A reboot makes all of it void but the kind: the firmware may be another, the origin certainly is.
"""

from __future__ import annotations

import dataclasses

from tilefix.links.messages import (
    AutopilotKind,
    CommandResult,
    EkfFlags,
    Identity,
    LinkMessage,
    Origin,
    Parameter,
    Rebooted,
)

# Names come from the vehicle's own address only; what it could need is a fraction of this.
_MAX_NAMES = 4096


class KnownAutopilot:
    """Takes what the link heard; everything else reads it. `reboots` counts those that were noticed."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.origin: Origin | None = None
        self.before_reboot: Origin | None = None
        self.flags: EkfFlags | None = None
        self.reboots = 0
        self._parameters: dict[str, Parameter] = {}
        self._results: dict[int, CommandResult] = {}

    @property
    def kind(self) -> AutopilotKind | None:
        """Whose firmware flies; `None` before the first heartbeat."""
        return None if self.identity is None else self.identity.kind

    @property
    def version(self) -> tuple[int, int, int] | None:
        """Its version, `None` until it was told."""
        return None if self.identity is None else self.identity.version

    def take(self, message: LinkMessage) -> None:
        """Takes in one message of the link."""
        if isinstance(message, Identity):
            self.identity = message
        elif isinstance(message, Parameter):
            if message.name in self._parameters or len(self._parameters) < _MAX_NAMES:
                self._parameters[message.name] = message
        elif isinstance(message, Origin):
            self.origin = message
        elif isinstance(message, EkfFlags):
            self.flags = message
        elif isinstance(message, CommandResult):
            self._results[message.command] = message
        elif isinstance(message, Rebooted):
            self.reboots += 1
            self.before_reboot, self.origin, self.flags = self.origin or self.before_reboot, None, None
            self._parameters.clear()
            self._results.clear()
            if self.identity is not None:
                self.identity = dataclasses.replace(self.identity, version=None, development=False)

    def parameter(self, *names: str) -> float | None:
        """The value of the first of these parameters that the autopilot told."""
        return next((self._parameters[name].value for name in names if name in self._parameters), None)

    def read_ns(self, name: str) -> int | None:
        """When a parameter was last told."""
        told = self._parameters.get(name)
        return None if told is None else told.at_ns

    def result(self, command: int) -> CommandResult | None:
        """The last answer to a command."""
        return self._results.get(command)
