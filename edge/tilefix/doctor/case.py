"""What the doctor knows of one vehicle when it judges its parameters. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tilefix.links.messages import Airframe, AutopilotKind, Route

Version = tuple[int, int, int]
SOURCE_SETS = (1, 2, 3)
_EXTERNAL_NAV, _USUAL_SET = 6.0, 2


@dataclass(frozen=True)
class Case:
    """One vehicle, its route, what tilefix will send it, and the parameters that it told.

    `gps_id`: the receiver that tilefix is, from 0. `delay_ms`: what tilefix is configured to take positions to be late
    by, `None` when it asks the autopilot. `latency_ms`: measured from exposure to sending, if known. `start_sigma_m`:
    the widest position that the autopilot shall start from. `serial_port`, `baud`: the autopilot's port that the
    companion is wired to, where that is known.
    """

    kind: AutopilotKind
    airframe: Airframe
    version: Version
    route: Route
    gps_id: int = 1
    delay_ms: float | None = None
    latency_ms: float | None = None
    start_sigma_m: float = 9.5
    serial_port: int | None = None
    baud: int | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)

    def has_bit(self, name: str, bit: int) -> bool:
        """True when the parameter was told and has that bit."""
        return bool(int(self.parameters.get(name, 0.0)) >> bit & 1)

    @property
    def places(self) -> dict[str, str]:
        """What the names of rules are filled in with: numbers that depend on how tilefix is connected."""
        return {
            "receiver": str(self.gps_id + 1),
            "old_receiver": "" if self.gps_id == 0 else str(self.gps_id + 1),
            "set": str(self._source_set()),
            "port": "" if self.serial_port is None else str(self.serial_port),
        }

    def _source_set(self) -> int:
        """The set of EKF3's sources that takes its position from outside already, else the second."""
        told = (one for one in SOURCE_SETS if self.parameters.get(f"EK3_SRC{one}_POSXY") == _EXTERNAL_NAV)
        return next(told, _USUAL_SET)
