"""Makes the autopilot use vision, and puts back what it was set to. Pure: gives what to ask and to set.

ArduPilot: on a second receiver (GPS_INPUT) it follows a spoofed first one unless GPS_AUTO_SWITCH = 0 and GPS_PRIMARY
name the second; as external navigation it changes over only when told to use another set of sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilefix.links.known import KnownAutopilot
from tilefix.links.messages import AutopilotKind, CommandResult, Parameter, Rebooted
from tilefix.links.reports import Route

_EVERY_NS = 1_000_000_000
_SELDOM_NS = 10_000_000_000
TRIES = 5
SET_EKF_SOURCE_SET = 42007  # MAV_CMD_SET_EKF_SOURCE_SET
_EXTERNAL_NAV = 6.0


@dataclass(frozen=True, slots=True)
class Read:
    """Ask for a parameter."""

    name: str


@dataclass(frozen=True, slots=True)
class Set:
    """Set a parameter."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Command:
    """Send a command with its first parameters."""

    command: int
    params: tuple[float, ...]


Request = Read | Set | Command


class ReceiverChoice:
    """Forces the receiver `gps_id` on ArduPilot, remembers what was set before and puts it back.

    `failed`: the autopilot did not take it; `left_over`: it was forced already when first asked, by a run of tilefix
    that did not end well, so that nothing is known to put back.
    """

    def __init__(self, gps_id: int) -> None:
        self._forced = {"GPS_AUTO_SWITCH": 0.0, "GPS_PRIMARY": float(gps_id)}
        self._known: dict[str, float] = {}
        self._before: dict[str, float] | None = None
        self._asked_ns: int | None = None
        self._tries = 0
        self._forcing = False
        self.failed = False
        self.left_over = False

    def hear(self, message: Parameter | CommandResult | Rebooted) -> None:
        """Takes in an answer of the autopilot."""
        if isinstance(message, Parameter) and message.name in self._forced:
            self._known[message.name] = message.value
            if self._before is None and len(self._known) == len(self._forced):
                self.left_over = self._known == self._forced
        elif isinstance(message, Rebooted):
            self._known.clear()

    @property
    def holds(self) -> bool:
        """True while the autopilot says that the receiver is forced."""
        return self._known == self._forced

    def release(self) -> list[Request]:
        """What puts everything back at once, for the end of a run; nothing where nothing was changed."""
        return [] if self._before is None else [Set(name, value) for name, value in self._before.items()]

    def step(self, now_ns: int, *, force: bool) -> list[Request]:
        """What to send now."""
        if force != self._forcing:
            self._forcing, self._tries, self._asked_ns, self.failed = force, 0, None, False
        waits_ns = _EVERY_NS if self._tries < TRIES else _SELDOM_NS
        if self._asked_ns is not None and now_ns - self._asked_ns < waits_ns:
            return []
        requests = self._due()
        if requests:
            self._asked_ns = now_ns
            self._tries += 1
            self.failed = self._forcing and self._tries >= TRIES
        elif self._tries:
            self._tries, self.failed = 0, False
        return requests

    def _due(self) -> list[Request]:
        missing: list[Request] = [Read(name) for name in self._forced if name not in self._known]
        if missing:
            return missing
        if self._forcing:
            if self._before is None and not self.left_over:
                self._before = dict(self._known)
            return [Set(name, value) for name, value in self._forced.items() if self._known[name] != value]
        if self._before is None:
            return []
        changed: list[Request] = [
            Set(name, value) for name, value in self._before.items() if self._known[name] != value
        ]
        if not changed:
            self._before = None
        return changed


def choice_for(
    route: Route | None, gps_id: int, autopilot: KnownAutopilot
) -> tuple[type[ReceiverChoice] | type[SourceChoice], int] | None:
    """Which choice, and its number, makes this autopilot use what comes by this route; `None` where it needs none or
    knows none: PX4 and single positions are the autopilot's own to weigh."""
    if autopilot.kind is not AutopilotKind.ARDUPILOT:
        return None
    if route is Route.GPS_INPUT and gps_id > 0:
        return ReceiverChoice, gps_id
    if route in (Route.VISION, Route.ODOMETRY):
        sets = [number for number in (1, 2, 3) if autopilot.parameter(f"EK3_SRC{number}_POSXY") == _EXTERNAL_NAV]
        if sets and sets[0] > 1:
            return SourceChoice, sets[0]
    return None


class SourceChoice:
    """Selects the set of EKF sources that takes external navigation, and the first one again. It is left alone where
    its position does not come from external navigation."""

    def __init__(self, source_set: int) -> None:
        """`source_set`: 2 or 3."""
        self._set = source_set
        self._name = f"EK3_SRC{source_set}_POSXY"
        self._position: float | None = None
        self._selected = 1
        self._asked_ns: int | None = None
        self._tries = 0
        self._wanted = 1
        self.failed = False

    def hear(self, message: Parameter | CommandResult | Rebooted) -> None:
        """Takes in an answer of the autopilot."""
        if isinstance(message, Parameter) and message.name == self._name:
            self._position = message.value
        elif isinstance(message, CommandResult) and message.command == SET_EKF_SOURCE_SET and message.accepted:
            self._selected = self._wanted
        elif isinstance(message, Rebooted):
            self._selected, self._asked_ns = 1, None

    @property
    def holds(self) -> bool:
        """True while the autopilot took the set for vision."""
        return self._selected == self._set

    def release(self) -> list[Request]:
        """What selects the first set again, for the end of a run; nothing where it is selected."""
        return [Command(SET_EKF_SOURCE_SET, (1.0,))] if self._selected != 1 else []

    def step(self, now_ns: int, *, force: bool) -> list[Request]:
        """What to send now."""
        wanted = self._set if force else 1
        if wanted != self._wanted:
            self._wanted, self._tries, self._asked_ns, self.failed = wanted, 0, None, False
        waits_ns = _EVERY_NS if self._tries < TRIES else _SELDOM_NS
        if self._asked_ns is not None and now_ns - self._asked_ns < waits_ns:
            return []
        request: Request | None = None
        if self._position is None:
            request = Read(self._name)
        elif self._selected != wanted and self._position == _EXTERNAL_NAV:
            request = Command(SET_EKF_SOURCE_SET, (float(wanted),))
        if request is not None:
            self._asked_ns = now_ns
            self._tries += 1
        else:
            self._tries = 0
        self.failed = force and (self._position not in (None, _EXTERNAL_NAV) or self._tries >= TRIES)
        return [] if request is None else [request]
