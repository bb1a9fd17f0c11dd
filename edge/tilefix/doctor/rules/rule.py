"""One rule: which parameter, of which vehicles and routes, has to be what, and why. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from tilefix.doctor.case import Case, Version
from tilefix.doctor.rules.wants import Want
from tilefix.links.messages import Airframe, AutopilotKind, Route


class Effect(enum.Enum):
    """When a new value begins to count."""

    AT_ONCE = "at once"
    AT_BOOT = "after a reboot"
    AT_BOOT_IF_RUNNING = "after a reboot, unless the parameter was 0"

    def needs_reboot(self, before: float) -> bool:
        """True when replacing `before` counts only after a reboot."""
        return self is Effect.AT_BOOT or (self is Effect.AT_BOOT_IF_RUNNING and before != 0.0)


def _always(_: Case) -> bool:
    return True


@dataclass(frozen=True)
class Rule:
    """`parameter` may hold places of `Case.places`, such as GPS{receiver}_TYPE.

    `want`, `why`: the demand and its reason, or functions that make them of the case. `since`, `before`: of the
    firmware's versions. `when`: further conditions. `advice`: worth a look, but right without. `essential`: a firmware
    without it cannot do the route at all.
    """

    parameter: str
    want: Want | Callable[[Case], Want]
    why: str | Callable[[Case], str]
    kind: AutopilotKind = AutopilotKind.ARDUPILOT
    routes: tuple[Route, ...] = tuple(Route)
    airframes: tuple[Airframe, ...] = tuple(Airframe)
    since: Version = (0, 0, 0)
    before: Version = (999, 0, 0)
    when: Callable[[Case], bool] = _always
    effect: Effect = Effect.AT_ONCE
    advice: bool = False
    essential: bool = False

    def concerns(self, case: Case) -> bool:
        """True for vehicles of the rule's kind, version and route, whatever their parameters."""
        known = "{port}" not in self.parameter or case.serial_port is not None
        return (
            known
            and case.kind is self.kind
            and case.route in self.routes
            and case.airframe in self.airframes
            and self.since <= case.version < self.before
        )

    def name(self, case: Case) -> str:
        """The parameter's name on that vehicle."""
        return self.parameter.format(**case.places)

    def demand(self, case: Case) -> Want:
        """What it has to be on that vehicle."""
        return self.want(case) if callable(self.want) else self.want

    def reason(self, case: Case) -> str:
        """Why, on that vehicle."""
        return self.why(case) if callable(self.why) else self.why
