"""What the rules ask of an autopilot's parameters."""

from __future__ import annotations

from typing import Protocol


class Parameters(Protocol):
    """Parameters by name, as `tilefix.simulation.parameters.ParameterTable` keeps them."""

    def effective(self, name: str, default: float | None = None) -> float:
        """The value that is acted upon; `default` where the firmware has no such parameter."""
        ...
