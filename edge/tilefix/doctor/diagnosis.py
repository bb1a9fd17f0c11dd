"""Which parameters are wrong for a vehicle and its route. Pure."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tilefix.doctor.case import SOURCE_SETS, Case
from tilefix.doctor.rules import RULES
from tilefix.doctor.rules.alignment import ALSO_READ, ALSO_READ_FROM_4_6
from tilefix.doctor.rules.delay import first_receiver_names
from tilefix.doctor.rules.rule import Rule
from tilefix.links.messages import AutopilotKind, Route


class Weight(enum.Enum):
    """How much a finding counts."""

    WRONG = "wrong"
    ADVICE = "advice"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Finding:
    """One parameter that is not as it should be. `value`: `None` where the autopilot did not tell it; `wanted`: `None`
    where a person has to decide, or where there is nothing to set."""

    name: str
    value: float | None
    wanted: float | None
    weight: Weight
    why: str
    needs_reboot: bool = False

    @property
    def line(self) -> str | None:
        """The command that mends it, for MAVProxy's or PX4's console."""
        return None if self.wanted is None else f"param set {self.name} {plain(self.wanted)}"


def plain(value: float) -> str:
    """A parameter's value as people write it."""
    return str(int(value)) if value == math.floor(value) and abs(value) < 1e9 else f"{value:.6g}"


def names_of(case: Case) -> list[str]:
    """Every parameter to read before `diagnose`."""
    wanted = [rule.name(case) for rule in RULES if rule.concerns(case)]
    if case.kind is AutopilotKind.ARDUPILOT and case.route is Route.GPS_INPUT:
        wanted += ALSO_READ
        wanted += ALSO_READ_FROM_4_6 if case.version >= (4, 6, 0) else ()
    wanted += first_receiver_names(case)
    of_sets = [rule.parameter for rule in RULES if rule.concerns(case) and "{set}" in rule.parameter]
    wanted += [name.format(set=number) for name in of_sets for number in SOURCE_SETS]
    return list(dict.fromkeys(wanted))


def diagnose(case: Case, parameters: Mapping[str, float]) -> list[Finding]:
    """What is wrong, worth a look, or was not told, in the order of the rules; nothing when all is right."""
    case = replace(case, parameters=dict(parameters))
    judged = (_judge(rule, case) for rule in RULES if rule.concerns(case) and rule.when(case))
    return list(dict.fromkeys(one for one in judged if one is not None))


def _judge(rule: Rule, case: Case) -> Finding | None:
    name, want = rule.name(case), rule.demand(case)
    value = case.parameters.get(name)
    if value is None:
        if rule.essential:
            return Finding(name, None, None, Weight.WRONG, f"this firmware does not have it, and {rule.reason(case)}")
        return None if rule.advice else Finding(name, None, None, Weight.UNREAD, "the autopilot did not tell it")
    if want.holds(value):
        return None
    weight = Weight.ADVICE if rule.advice else Weight.WRONG
    return Finding(name, value, want.mended(value), weight, rule.reason(case), rule.effect.needs_reboot(value))
