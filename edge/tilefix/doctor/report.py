"""What the doctor found, as text for a person and as JSON for a script. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tilefix.doctor.diagnosis import Finding, Weight, plain
from tilefix.doctor.linkhealth import LinkHealth
from tilefix.links.messages import Airframe, AutopilotKind, Route
from tilefix.links.parameters import Written

ALL_RIGHT, SOMETHING_WRONG, COULD_NOT_TELL = 0, 1, 2
_HEADINGS = {Weight.WRONG: "Wrong:", Weight.ADVICE: "Worth a look:", Weight.UNREAD: "Not told:"}


@dataclass(frozen=True)
class Examination:
    """Everything found of one vehicle. `refusal`: why the route cannot work there at all; nothing was read then.
    `route`: `None` where no route works."""

    kind: AutopilotKind
    airframe: Airframe
    version: tuple[int, int, int]
    development: bool
    system_id: int
    url: str
    route: Route | None
    choice: str
    refusal: str | None = None
    parameters: int = 0
    findings: tuple[Finding, ...] = ()
    link: LinkHealth | None = None
    written: tuple[Written, ...] = ()

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What has to be mended."""
        return tuple(one for one in self.findings if one.weight is Weight.WRONG)

    @property
    def status(self) -> int:
        """The exit status. Advice and a weak link are right enough."""
        if self.refusal is not None or any(not one.right for one in self.written):
            return SOMETHING_WRONG
        if self.wrong:
            return SOMETHING_WRONG
        untold = not self.parameters or any(one.weight is Weight.UNREAD for one in self.findings)
        return COULD_NOT_TELL if untold else ALL_RIGHT


def opening(found: Examination) -> list[str]:
    """Who was heard, and the route."""
    version = ".".join(map(str, found.version)) + (" (development)" if found.development else "")
    lines = [f"{found.kind.value} {version}, {found.airframe.value}, system {found.system_id}, on {found.url}"]
    if found.route is not None:
        lines.append(f"Route: {found.route.value} ({found.choice})")
    return lines


def link_lines(health: LinkHealth) -> list[str]:
    """How well it is heard."""
    trip = "unknown" if health.round_trip_ms is None else f"{health.round_trip_ms:.1f} ms"
    lines = [f"Link: over {health.seconds:.1f} s, round trip {trip}"]
    for stream in health.streams:
        age = "" if stream.age_ms is None else f", {stream.age_ms:.1f} ms old (at most {stream.oldest_ms:.1f})"
        lines.append(f"  {stream.name:<14}{stream.rate_hz:5.1f} Hz{age}")
    return lines + [f"  Warning: {line}" for line in health.complaints]


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Each finding with its reason and the line that mends it."""
    lines = []
    for weight, heading in _HEADINGS.items():
        of_weight = [one for one in findings if one.weight is weight]
        lines += [heading] if of_weight else []
        for one in of_weight:
            value = "" if one.value is None else f" = {plain(one.value)}"
            lines.append(f"  {one.name}{value}: {one.why}")
            if one.line is not None:
                lines.append(f"      {one.line}" + ("        # counts after a reboot" if one.needs_reboot else ""))
    return lines


def written_line(written: Written) -> str:
    """What became of one that was set."""
    if written.right:
        return f"  set {written.name} to {plain(written.wanted)}, read back"
    now = "did not answer" if written.value is None else f"still says {plain(written.value)}"
    now = written.refusal or now
    return f"  could not set {written.name} to {plain(written.wanted)}: the autopilot {now}"


def closing(found: Examination) -> str:
    """The sum of it."""
    if found.status == ALL_RIGHT:
        return f"All right: {found.parameters} parameters fit the route."
    if found.status == COULD_NOT_TELL and not found.parameters:
        return "Could not tell: no question for a parameter is answered. Does it demand signed messages?"
    if found.status == COULD_NOT_TELL:
        return "Could not tell: not every parameter was read."
    return f"Not right: {len(found.wrong)} of {found.parameters} parameters have to be changed."


def as_json(found: Examination) -> dict[str, Any]:
    """The whole of it for a script; nothing in it is a NaN."""
    return {
        "autopilot": {
            "kind": found.kind.value,
            "airframe": found.airframe.value,
            "version": list(found.version),
            "development": found.development,
            "system_id": found.system_id,
            "url": found.url,
        },
        "route": None if found.route is None else found.route.value,
        "choice": found.choice,
        "refusal": found.refusal,
        "parameters": found.parameters,
        "findings": [{**asdict(one), "weight": one.weight.value, "line": one.line} for one in found.findings],
        "link": None if found.link is None else asdict(found.link),
        "written": [{**asdict(one), "right": one.right} for one in found.written],
        "status": found.status,
    }
