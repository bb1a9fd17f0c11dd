"""Where EKF3 takes horizontal position and velocity from: its three sets of sources. Pure.

Source: ArduPilot AP_NavEKF_Source; EK3_SRC_OPTIONS bit 0 fuses the velocity of every set.
"""

from __future__ import annotations

import enum

from tilefix.simulation.acceptance.parameters import Parameters

SETS = 3
_USE_ALL_VELOCITIES = 1


class Source(enum.IntEnum):
    """Values of EK3_SRCn_POSXY and EK3_SRCn_VELXY that matter here."""

    NONE = 0
    GPS = 3
    EXTERNAL_NAV = 6


class SourceSets:
    """`active`: the set in use, counted from 1."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.active = 1

    def select(self, number: float) -> bool:
        """Changes to a set; false when there is no such set."""
        if number not in range(1, SETS + 1):
            return False
        self.active = int(number)
        return True

    def _value(self, number: int, name: str) -> int:
        usual = Source.GPS if number == 1 else Source.NONE
        return int(self._parameters.effective(f"EK3_SRC{number}_{name}", usual))

    @property
    def position(self) -> int:
        """Where the horizontal position comes from."""
        return self._value(self.active, "POSXY")

    def uses_velocity_of(self, source: Source) -> bool:
        """True when the horizontal velocity of that source is fused."""
        everything = int(self._parameters.effective("EK3_SRC_OPTIONS", 0)) & _USE_ALL_VELOCITIES
        sets = range(1, SETS + 1) if everything else (self.active,)
        return any(self._value(number, "VELXY") == source for number in sets)

    def names(self, source: Source) -> bool:
        """True when any set takes position or velocity from that source: then it is asked for before arming."""
        return any(self._value(number, name) == source for number in range(1, SETS + 1) for name in ("POSXY", "VELXY"))
