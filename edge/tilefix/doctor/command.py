"""`tilefix doctor`: reads an autopilot's parameters over the link and says which are wrong for tilefix, and why."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tilefix.doctor import report
from tilefix.doctor.case import Case
from tilefix.doctor.diagnosis import diagnose
from tilefix.doctor.report import Examination
from tilefix.doctor.routing import route_for
from tilefix.doctor.session import Session
from tilefix.errors import LinkError
from tilefix.links import open_link
from tilefix.links.messages import AutopilotKind, Route
from tilefix.publishing.settings import PublishSettings
from tilefix.service.config import LinkSettings, load_config
from tilefix.timing import MonotonicClock

LISTEN_S = 5.0
# A fix on a map says at most 10 m; a receiver's limit is below that at its widest setting.
_WIDEST_START_M = 9.5
_OLDEST = {AutopilotKind.ARDUPILOT: (4, 5, 0), AutopilotKind.PX4: (1, 16, 0)}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tilefix doctor`."""
    parser.add_argument("--link", metavar="URL", help="serial:DEVICE:BAUD, udpin:HOST:PORT, udpout:HOST:PORT, tcp:...")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the flight's configuration: link, route, delay")
    parser.add_argument("--route", choices=["auto", *(one.value for one in Route)], help="instead of [publish] route")
    parser.add_argument("--serial-port", type=int, metavar="N", help="the companion is wired to SERIALn: judge it too")
    parser.add_argument("--latency-ms", type=float, metavar="MS", help="exposure to sending, as tilefix run logged it")
    parser.add_argument("--write", action="store_true", help="set what is wrong, after a question, and read it back")
    parser.add_argument("--yes", action="store_true", help="with --write: do not ask")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there as well")


def run(args: argparse.Namespace) -> int:
    """0 when all is right, 1 when something is wrong, 2 when it could not be told (raised as a `TilefixError`)."""
    link, publish = LinkSettings(args.link or ""), PublishSettings()
    if args.config is not None:
        config = load_config(args.config)
        link, publish = config.link, config.publish
        link = link if args.link is None else replace(link, url=args.link)
    elif args.link is None:
        raise LinkError("no link given", mend="write --link URL or --config FILE")
    if args.route is not None:
        publish = replace(publish, route=args.route)
    clock = MonotonicClock()
    with closing(open_link(link, clock)) as opened:
        found = examine(Session(opened, clock), link.url, publish, args, _show)
    if args.json is not None:
        _write_json(args.json, found)
    return found.status


def _show(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def examine(
    session: Session, url: str, publish: PublishSettings, args: argparse.Namespace, show: Callable[..., None]
) -> Examination:
    """The whole conversation; `show` is given the lines for a person as they come."""
    identity = session.identify(url)
    version = identity.version or (0, 0, 0)
    choice = route_for(publish, session.autopilot)
    found = Examination(
        kind=identity.kind,
        airframe=identity.airframe,
        version=version,
        development=identity.development,
        system_id=session.system_id,
        url=url,
        route=choice.route,
        choice=choice.reason,
        refusal=choice.reason if choice.route is None else None,
    )
    show(*report.opening(found))
    old = _OLDEST.get(identity.kind)
    if choice.route is None or old is None or version < old:
        refusal = found.refusal or "tilefix doctor knows ArduPilot from 4.5 and PX4 from 1.16 on"
        show(f"Refused: {refusal}")
        return replace(found, refusal=refusal)
    case = Case(
        kind=identity.kind,
        airframe=identity.airframe,
        version=version,
        route=choice.route,
        gps_id=publish.gps_id,
        delay_ms=publish.delay_ms,
        latency_ms=args.latency_ms,
        start_sigma_m=min(publish.max_sigma_m, _WIDEST_START_M),
        serial_port=args.serial_port,
        baud=_baud(url),
    )
    parameters, health = session.examine(case, LISTEN_S)
    # One that tells nothing at all lacks nothing: it does not answer.
    findings = tuple(diagnose(case, parameters)) if parameters else ()
    found = replace(found, parameters=len(parameters), link=health, findings=findings)
    show(*report.link_lines(health), *report.finding_lines(found.findings))
    if args.write and found.wrong:
        found = _mend(session, case, found, dict(parameters), args, show)
    show(report.closing(found))
    return found


def _mend(
    session: Session,
    case: Case,
    found: Examination,
    parameters: dict[str, float],
    args: argparse.Namespace,
    show: Callable[..., None],
) -> Examination:
    """Sets what is wrong and can be set, and judges again."""
    to_set = [one for one in found.wrong if one.line is not None]
    if not to_set:
        return found
    if session.armed():
        show("The vehicle is armed, or does not say that it is not: nothing is set.")
        return found
    if not args.yes and not _agreed(len(to_set)):
        show("Nothing was set.")
        return found
    written = session.mend(to_set, lambda one: show(report.written_line(one)))
    parameters |= {one.name: one.value for one in written if one.value is not None}
    reboot = [one.name for one in to_set if one.needs_reboot]
    if reboot:
        show(f"Reboot the autopilot: only its next start makes effective {', '.join(reboot)}.")
    return replace(found, written=tuple(written), findings=tuple(diagnose(case, parameters)))


def _agreed(count: int) -> bool:
    sys.stdout.write(f"Set {count} parameters now? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _baud(url: str) -> int | None:
    scheme, _, rest = url.partition(":")
    return int(rest.rpartition(":")[2]) if scheme == "serial" else None


def _write_json(path: Path, found: Examination) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(json.dumps(report.as_json(found), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise LinkError(f"cannot be written: {error.strerror}", where=path, mend="check --json") from error
